"""``data.clean`` as SQL: each step a layer over the raw rows, so that what it changed can be counted.

Views of a source are made on top of it, so contract, quarantine, publication and labels see the same cleaned cells.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from updraft.data.catalogue import MISFITS, TYPES
from updraft.data.cells import cell
from updraft.data.duck import columns_of, literal, name, parquet
from updraft.data.schema import STORAGE, ColumnType
from updraft.errors import DataError
from updraft.spec.cleaning import Clipped, Filled, Mapped, Parsed, Step, kind_after, shown
from updraft.spec.model import Project
from updraft.spec.source import Source

if TYPE_CHECKING:
    import duckdb

FLAG = "_filled"


def cleaned_columns(project: Project, source: str) -> dict[str, tuple[Step, ...]]:
    """The steps of a source's own columns: named as they are in the row source, as ``<source>_<column>`` in one that joins it."""
    clean, own = project.spec.data.clean, source == next(iter(project.spec.data.sources))
    if own:
        others = tuple(f"{other}_" for other in list(project.spec.data.sources)[1:])
        return {column: steps for column, steps in clean.items() if not column.startswith(others)}
    return {
        column.removeprefix(f"{source}_"): steps for column, steps in clean.items() if column.startswith(f"{source}_")
    }


def cleaning_of(con: duckdb.DuckDBPyConnection, project: Project, source: str, path: Path) -> Cleaning | None:
    """What is done to the cells of a source's raw file; None where nothing is."""
    steps = cleaned_columns(project, source)
    if not steps:
        return None
    kinds = {column: kind for column, kind in columns_of(con, parquet(str(path))).items() if column != MISFITS}
    return Cleaning(project.name, source, project.spec.data.sources[source], steps, kinds)


def cleaned_rows(con: duckdb.DuckDBPyConnection, project: Project, source: str, path: Path) -> str:
    """A table expression over a raw file as it is cleaned.

    :raises DataError: as :meth:`Cleaning.check`.
    """
    cleaning = cleaning_of(con, project, source, path)
    if cleaning is None:
        return parquet(str(path))
    cleaning.check(cleaning.kinds)
    layers = cleaning.layers(f"SELECT * FROM {parquet(str(path))}")
    return f"({cleaning.result(f'({layers})')})"


@dataclass(frozen=True)
class Cleaning:
    """The cleaning of one source's columns."""

    project: str
    source: str
    spec: Source
    steps: Mapping[str, Sequence[Step]]
    kinds: Mapping[str, str]
    """DuckDB types of the source's raw columns."""

    def check(self, listed: Collection[str]) -> None:
        """Hold the steps against the columns that are there.

        :param listed: every column of the joined rows, for the message.
        :raises DataError: when a column is not there, or is of a type that a step does not take.
        """
        for column, steps in self.steps.items():
            where = f"{self.project}: data.clean.{column}"
            if column not in self.kinds:
                raise DataError(
                    f"{where}: source {self.source} has no such column; there are {', '.join(sorted(listed))}"
                )
            number = self.kinds[column].partition("(")[0] in TYPES["number"]
            for position, step in enumerate(steps):
                known = kind_after(steps[:position])
                wrong = isinstance(step, Clipped) or (isinstance(step, Filled) and not isinstance(step.fill, str))
                if known is None and wrong and not number and not isinstance(getattr(step, "fill", None), bool):
                    raise DataError(
                        f"{where}[{position}]: {shown(step)} is for numbers, and {column} is {self.kinds[column]}; put {{parse: number}} first"
                    )
                if known is None and isinstance(step, Filled) and isinstance(step.fill, str) and number:
                    raise DataError(f"{where}[{position}]: {shown(step)} is a text, and {column} is a number")
                if isinstance(step, Filled) and step.flag and f"{column}{FLAG}" in self.kinds:
                    raise DataError(f"{where}[{position}]: there is a column {column}{FLAG} already; leave flag out")

    def layers(self, relation: str) -> str:
        """SQL that selects a relation with, for each column, the cell after each step (:func:`_after`)."""
        first = ", ".join(f"f.{name(column)} AS {name(_after(column, 0))}" for column in self.steps)
        query = f"SELECT f.*, {first} FROM ({relation}) AS f"
        for number in range(1, max(map(len, self.steps.values())) + 1):
            reached = {column: steps[number - 1] for column, steps in self.steps.items() if len(steps) >= number}
            made = (
                f"{self._value(column, number, step)} AS {name(_after(column, number))}"
                for column, step in reached.items()
            )
            query = f"SELECT f.*, {', '.join(made)} FROM ({query}) AS f"
        return query

    def result(self, layers: str) -> str:
        """SQL that selects a view of :meth:`layers` with the columns as they are after their steps, flags, and cells that did not parse."""
        hidden = [_after(column, number) for column, steps in self.steps.items() for number in range(len(steps) + 1)]
        replaced = [f"f.{name(_after(column, len(steps)))} AS {name(column)}" for column, steps in self.steps.items()]
        if misfits := [misfit for column, steps in self.steps.items() if (misfit := self._misfit(column, steps))]:
            unread = f"list_filter([{', '.join(misfits)}], lambda misfit: misfit IS NOT NULL)"
            replaced.append(f"map_from_entries(list_concat(map_entries(f.{MISFITS}), {unread})) AS {MISFITS}")
        flags = [
            f"f.{name(_after(column, number))} IS NULL AS {name(column + FLAG)}"
            for column, steps in self.steps.items()
            for number, step in enumerate(steps)
            if isinstance(step, Filled) and step.flag
        ]
        kept = f"f.* EXCLUDE ({', '.join(map(name, hidden))}) REPLACE ({', '.join(replaced)})"
        return f"SELECT {', '.join([kept, *flags])} FROM {layers} AS f"

    def counts(self) -> dict[str, str]:
        """What each step is called, and the SQL of how many cells of :meth:`layers` it changed; of a parse, how many it read."""
        counted = {}
        for column, steps in self.steps.items():
            for number, step in enumerate(steps, 1):
                before, after = name(_after(column, number - 1)), name(_after(column, number))
                changed = f"{after} IS NOT NULL" if isinstance(step, Parsed) else f"{before} IS DISTINCT FROM {after}"
                counted[f"{column}: {shown(step)}"] = f"count(*) FILTER ({changed})"
        return counted

    def _value(self, column: str, number: int, step: Step) -> str:
        own = f"f.{name(_after(column, number - 1))}"
        if isinstance(step, str):
            return f"{step}({own})"
        if isinstance(step, Mapped):
            cases = " ".join(f"WHEN {literal(old)} THEN {literal(new)}" for old, new in step.map.items())
            return f"CASE {own} {cases} ELSE {own} END"
        if isinstance(step, Clipped):
            low, high = (f"CAST({literal(bound)} AS {self._number(column, number)})" for bound in step.clip)
            return f"CASE WHEN {own} IS NOT NULL THEN least(greatest({own}, {low}), {high}) END"
        if isinstance(step, Filled):
            return f"COALESCE({own}, {literal(step.fill)})"
        return self._parsed(column, number, step)[0]

    def _number(self, column: str, number: int) -> str:
        """The type that bounds are compared in: whole numbers stay whole where the bounds are."""
        steps = self.steps[column]
        bounds = [bound for step in steps if isinstance(step, Clipped) for bound in step.clip]
        kind = kind_after(steps[: number - 1])
        whole = kind == "integer" or (kind != "number" and self.kinds[column].partition("(")[0] in TYPES["integer"])
        return "BIGINT" if whole and all(float(bound).is_integer() for bound in bounds) else "DOUBLE"

    def _parsed(self, column: str, number: int, step: Parsed) -> tuple[str, str]:
        """SQL for the value, and for whether there is something to read."""
        wanted = {
            "number": ColumnType("number", "DOUBLE", "stated"),
            "integer": ColumnType("integer", "BIGINT", "stated"),
            "date": ColumnType("time", "DATE", "stated"),
            "time": ColumnType("time", STORAGE["time"], "stated"),
        }[step.parse]
        source = self.spec.model_copy(update={"time_format": step.format})
        read = cell(_after(column, number - 1), "VARCHAR", wanted, source, written=True, whole=False)
        return read.value, read.present or "TRUE"

    def _misfit(self, column: str, steps: Sequence[Step]) -> str | None:
        for number, step in enumerate(steps, 1):
            if isinstance(step, Parsed):
                _, present = self._parsed(column, number, step)
                text, value = (f"f.{name(_after(column, position))}" for position in (number - 1, number))
                return f"CASE WHEN {present} AND {value} IS NULL THEN {{'key': {literal(column)}, 'value': {text}}} END"
        return None


def _after(column: str, number: int) -> str:
    """Name of the column that holds the cells after so many steps."""
    return f"_clean_{number}_{column}"

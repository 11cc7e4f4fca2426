"""The rows of a partition in the files of a source: SQL that reads each of their columns to its type, and notes what does not fit."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from updraft.data.catalogue import MISFITS
from updraft.data.cells import cell as read_cell
from updraft.data.cells import is_whole
from updraft.data.duck import first, literal, name, parquet
from updraft.data.pinned import SchemaOf
from updraft.data.schema import ColumnKind, ColumnType
from updraft.data.type_inference import chunks
from updraft.data.views import label_columns
from updraft.spec.label import label_number
from updraft.spec.source import Source

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Part:
    """The rows of ``[start, end)`` of one file."""

    path: Path
    columns: Mapping[str, str]
    start: datetime
    end: datetime

    def rows(self, spec: Source) -> str:
        """SQL that follows a SELECT."""
        time = f"f.{name(str(spec.event_time))}"
        within = f"WHERE {time} >= {literal(self.start)} AND {time} < {literal(self.end)}" if spec.event_time else ""
        return f"FROM {parquet(str(self.path))} AS f {within}"

    def odd(
        self,
        con: duckdb.DuckDBPyConnection,
        types: Mapping[str, ColumnType],
        spec: Source,
        *,
        written: bool,
        whole: Collection[str],
    ) -> frozenset[str]:
        """The columns that have cells which do not fit: few, mostly. A query that notes them for each column costs minutes of a wide file."""
        there = {column.lower(): column for column in self.columns}
        odd: set[str] = set()
        for some in chunks([column for column in types if column.lower() in there]):
            values, counts, asked = [], [], []
            for place, column in enumerate(some):
                own = there[column.lower()]
                cell = read_cell(own, self.columns[own], types[column], spec, written=written, whole=column in whole)
                if cell.present is not None:
                    values.append(f"{cell.value} AS {name(f'_value_{place}')}")
                    counts.append(f"count(*) FILTER ({name(f'_value_{place}')} IS NULL AND {cell.present})")
                    asked.append(column)
            if asked:
                answers = first(
                    con, f"SELECT {', '.join(counts)} FROM (SELECT f.*, {', '.join(values)} {self.rows(spec)}) AS f"
                )
                odd |= {column for column, count in zip(asked, answers, strict=True) if count}
        return frozenset(odd)

    def select(
        self,
        types: Mapping[str, ColumnType],
        spec: Source,
        *,
        written: bool,
        whole: Collection[str],
        odd: Collection[str],
    ) -> str:
        """SQL for the rows, each column read to its type, and what did not fit.

        In two steps, so that no cell is read twice: what did not fit is null although there is something.
        """
        inner, outer, texts = [], [], []
        there = {column.lower(): column for column in self.columns}
        for place, (column, kind) in enumerate(types.items()):
            own = there.get(column.lower())
            if own is None:  # added to the source since
                storage = "BIGINT" if column in whole else kind.storage
                outer.append(f"CAST(NULL AS {storage}) AS {name(column)}")
                continue
            cell = read_cell(own, self.columns[own], kind, spec, written=written, whole=column in whole)
            value = name(f"_value_{place}")
            inner.append(f"{cell.value} AS {value}")
            outer.append(f"{value} AS {name(column)}")
            if column in odd:
                misfit = f"({value} IS NULL AND {cell.present})"
                texts.append(f"CASE WHEN {misfit} THEN {{'key': {literal(column)}, 'value': {cell.text}}} END")
        nothing = "MAP {}::MAP(VARCHAR, VARCHAR)"
        noted = (
            f"map_from_entries(list_filter([{', '.join(texts)}], lambda misfit: misfit IS NOT NULL))"
            if texts
            else nothing
        )
        rows = f"(SELECT f.*, {', '.join(inner)} {self.rows(spec)})"
        return f"SELECT {', '.join(outer)}, {noted} AS {MISFITS} FROM {rows} AS f"


def whole_columns(
    con: duckdb.DuckDBPyConnection, parts: Sequence[Part], types: Mapping[str, ColumnType], spec: Source
) -> frozenset[str]:
    """The number columns in which these rows have whole numbers alone: they are published as such, and none is rounded."""
    numbers = [column for column, kind in types.items() if kind.kind == "number"]
    whole = set(numbers)
    for part in parts:
        there = {column.lower(): column for column in part.columns}
        asked = [column for column in numbers if column in whole and column.lower() in there]
        for some in chunks(asked):
            tests = ", ".join(
                f"bool_and({is_whole(own, part.columns[own], types[column], spec)})"
                for column in some
                for own in (there[column.lower()],)
            )
            answers = first(con, f"SELECT {tests} {part.rows(spec)}")
            whole -= {column for place, column in enumerate(some) if answers[place] is False}
    return frozenset(whole)


def that_bind(
    con: duckdb.DuckDBPyConnection, schema: SchemaOf, types: Mapping[str, ColumnType]
) -> dict[str, ColumnType]:
    """The types, where columns of the label have no value yet: the first of a number, a text and a boolean that the label takes."""
    import duckdb

    unknown = set(schema.unpinned(types)) & set(label_columns(schema.project, types))
    if not unknown:
        return dict(types)
    expr = label_number(schema.project.spec.data.label)
    candidates: tuple[tuple[ColumnKind, str], ...] = (("number", "DOUBLE"), ("text", "VARCHAR"), ("boolean", "BOOLEAN"))
    for kind, storage in candidates:
        tried = {
            column: replace(told, kind=kind, storage=storage) if column in unknown else told
            for column, told in types.items()
        }
        row = ", ".join(f"CAST(NULL AS {told.storage}) AS {name(column)}" for column, told in tried.items())
        try:
            con.execute(f"SELECT {expr} FROM (SELECT {row}) LIMIT 0").fetchall()
        except duckdb.Error:
            continue
        return tried
    return dict(types)  # what is wrong with the label is told where it is checked

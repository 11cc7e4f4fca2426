"""The data contract of a project: ``expectations.yaml``, or ``expectations.py`` with ``expectations() -> dict``."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from updraft.data.catalogue import ROWS, TABLE, TYPES, Kind, columns_of, row_kind
from updraft.data.cleaning import cleaned_columns
from updraft.errors import SpecError
from updraft.spec.cleaning import kind_after
from updraft.spec.document import Document, Path_, read_document
from updraft.spec.model import Project
from updraft.spec.part import Duration, Part
from updraft.spec.problems import Problem, SpecProblems, did_you_mean, shown_path
from updraft.spec.validation import validate


@dataclass(frozen=True)
class Expectation:
    """One expectation, named as in Great Expectations without ``expect_``."""

    name: str
    args: Mapping[str, Any]
    kind: Literal["row", "table"]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return columns_of(self.args)

    @property
    def text(self) -> str:
        """For people: ``column_values_to_be_between(wind_speed, max_value=150)``."""
        subject = ", ".join(self.columns)
        rest = [f"{key}={_short(value)}" for key, value in self.args.items() if key not in _SUBJECTS]
        return f"{self.name}({', '.join([subject, *rest] if subject else rest)})"

    @property
    def reason(self) -> str:
        """Why a row is in breach, in a few words; of row expectations."""
        made = row_kind(self.name).reason
        return made(self.args) if made else self.text


_SUBJECTS = ("column", "column_A", "column_B", "column_list")


def _short(value: object) -> str:
    text = "{" + ", ".join(map(str, value)) + "}" if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"


@dataclass(frozen=True)
class SourceContract:
    """What one source promises."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns that must be there, with their type: text, integer, number, time or boolean."""
    rows: tuple[Expectation, ...] = ()
    table: tuple[Expectation, ...] = ()
    fresh_within: timedelta | None = None
    joined_at_least: float | None = None

    @property
    def needed(self) -> frozenset[str]:
        """Every column that the contract reads."""
        read = {column for expectation in (*self.rows, *self.table) for column in expectation.columns}
        return frozenset(read | set(self.columns))


@dataclass(frozen=True)
class Contract:
    """The contract of a project; a source that it does not name gets only what every source promises."""

    sources: Mapping[str, SourceContract]

    def of(self, source: str) -> SourceContract:
        """The contract of a source."""
        return self.sources.get(source, SourceContract())


def load_contract(project: Project) -> Contract:
    """Read the contract of a project, and add what the spec itself promises: a key that is there and unique.

    :raises SpecProblems: with every problem found: file, line, source, key, index, what is allowed.
    """
    document = _read(project.folder)
    problems = list(document.problems)
    sources: dict[str, SourceContract] = {}
    if not isinstance(document.data, dict):
        no_mapping = f"expected a mapping of sources, found {type(document.data).__name__}"
        raise SpecProblems(problems or [document.problem((), no_mapping)])
    for source in document.data:
        if source not in project.spec.data.sources:
            hint = did_you_mean(str(source), project.spec.data.sources)
            problems.append(document.problem((str(source),), f"no such source{hint}"))
        else:
            sources[source] = _source(document.below(source), problems)
    row_source = next(iter(project.spec.data.sources))
    for source, contract in sources.items():
        spec = project.spec.data.sources[source]
        if contract.joined_at_least is not None and source == row_source:
            message = f"{source} is the row source, it joins nothing"
            problems.append(document.problem((source, "joined_at_least"), message))
        if contract.fresh_within is not None and spec.event_time is None:
            message = f"{source} has no event_time in project.yaml"
            problems.append(document.problem((source, "fresh_within"), message))
        for column, steps in cleaned_columns(project, source).items():
            kind, promised = kind_after(steps), contract.columns.get(column)
            if kind and promised and kind != promised and (kind, promised) != ("integer", "number"):
                message = f"{column} is {promised} here, and {kind} after data.clean.{column}; change one (a step {{parse: {promised}}} reads texts)"
                problems.append(document.problem((source, "columns", column), message, promised))
    if problems:
        raise SpecProblems(sorted(problems, key=lambda problem: problem.line or 0))
    sources[row_source] = _with_key(sources.get(row_source, SourceContract()), project.spec.data.key)
    return Contract(sources)


def _with_key(contract: SourceContract, key: tuple[str, ...]) -> SourceContract:
    always = [Expectation("column_values_to_not_be_null", {"column": column}, "row") for column in key]
    always.append(
        Expectation("compound_columns_to_be_unique", {"column_list": list(key)}, "row")
        if len(key) > 1
        else Expectation("column_values_to_be_unique", {"column": key[0]}, "row")
    )
    missing = tuple(expectation for expectation in always if expectation not in contract.rows)
    return SourceContract(
        contract.columns, (*contract.rows, *missing), contract.table, contract.fresh_within, contract.joined_at_least
    )


if TYPE_CHECKING:
    ColumnType = str
else:
    ColumnType = Literal[tuple(TYPES)]


class _Written(Part):
    """What may stand under a source in the file. Expectations are checked against the catalogue, by :class:`_Expectations`."""

    columns: dict[str, ColumnType] = Field(default_factory=dict)
    rows: tuple[Any, ...] = ()
    table: tuple[Any, ...] = ()
    fresh_within: Duration | None = None
    joined_at_least: Annotated[float, Field(ge=0, le=1)] | None = None


def _source(document: Document, problems: list[Problem]) -> SourceContract:
    """One source's part of the file, as much of it as is sound; ``problems`` grows. A key without a value promises nothing."""
    if isinstance(document.data, dict):
        document = replace(document, data={key: value for key, value in document.data.items() if value is not None})
    validated = validate(document, _Written)
    problems += validated.problems
    written = validated.spec or _Written()
    reader = _Expectations(document, problems)
    # As they stand in the file: validation makes tuples of lists, and Great Expectations takes lists.
    return SourceContract(
        columns=written.columns,
        rows=reader.read(document.data["rows"] if written.rows else (), "row", "rows", ROWS),
        table=reader.read(document.data["table"] if written.table else (), "table", "table", TABLE),
        fresh_within=written.fresh_within,
        joined_at_least=written.joined_at_least,
    )


class _Expectations:
    """Reads the expectations of a source by the catalogue, and keeps every problem."""

    def __init__(self, document: Document, problems: list[Problem]) -> None:
        self._document = document
        self._problems = problems

    def read(
        self, items: Sequence[object], kind: Literal["row", "table"], key: str, known: Mapping[str, Kind]
    ) -> tuple[Expectation, ...]:
        """The expectations under ``rows`` or ``table`` that are sound."""
        expectations = [self._expectation((key, index), item, kind, known) for index, item in enumerate(items)]
        return tuple(expectation for expectation in expectations if expectation is not None)

    def _wrong(self, where: Path_, what: str) -> None:
        self._problems.append(self._document.problem(where, what))

    def _expectation(
        self, where: Path_, item: object, kind: Literal["row", "table"], known: Mapping[str, Kind]
    ) -> Expectation | None:
        if not isinstance(item, dict) or not isinstance(item.get("expect"), str):
            self._wrong(where, "write {expect: column_values_to_not_be_null, column: NAME}")
            return None
        expected = str(item["expect"]).removeprefix("expect_")
        args = {str(name): value for name, value in item.items() if name != "expect"}
        if expected not in known:
            hint = " (it belongs under `table`)" if expected in TABLE else did_you_mean(expected, known)
            self._wrong(where, f"unknown expectation {item['expect']!r}{hint}")
            return None
        before = len(self._problems)
        self._arguments(where, expected, args, known[expected], kind)
        return Expectation(expected, args, kind) if len(self._problems) == before else None

    def _arguments(self, where: Path_, expected: str, args: dict[str, Any], kind: Kind, level: str) -> None:
        allowed = (*kind.needs, *kind.takes)
        for name in args:
            if name == "mostly" and level == "row":
                self._wrong(where, "mostly: a row keeps an expectation or breaks it; put the share under `table`")
            elif name not in allowed:
                self._wrong(
                    where, f"{expected} takes no {name!r}{did_you_mean(name, allowed)}; it takes {', '.join(allowed)}"
                )
        for name in kind.needs:
            if name not in args:
                self._wrong(where, f"{expected} needs {name!r}")
        for name, value in args.items():
            if (wrong := _wrong_argument(name, value)) is not None:
                self._wrong(where, f"{name}={_short(value)!r} is {wrong}")
        low, high = args.get("min_value"), args.get("max_value")
        if {"min_value", "max_value"} <= set(kind.takes) and low is None and high is None:
            self._wrong(where, f"{expected} needs min_value, max_value or both")
        try:
            if low is not None and high is not None and low > high:
                self._wrong(where, f"min_value {low} is above max_value {high}")
        except TypeError:
            self._wrong(where, f"min_value {low!r} and max_value {high!r} cannot be compared")
        mostly = args.get("mostly", 1)
        if not isinstance(mostly, int | float) or not 0 <= mostly <= 1:
            self._wrong(where, f"mostly={mostly!r} is no share from 0 to 1")


def _wrong_argument(name: str, value: object) -> str | None:
    """Why a value cannot be this argument: each is a value that SQL has a literal for, or a list of them."""
    if name in ("column", "column_A", "column_B", "regex"):
        return None if isinstance(value, str) else "no text"
    if name in ("value_set", "column_list", "column_set"):
        if not isinstance(value, list) or not value:
            return "not a list with something in it"
        allowed = str if name != "value_set" else _VALUES
        return None if all(isinstance(item, allowed) for item in value) else "not a list of plain values"
    if name == "quantile_ranges":
        ranges = value if isinstance(value, dict) and set(value) == {"quantiles", "value_ranges"} else {}
        lists = [ranges.get("quantiles"), *(ranges.get("value_ranges") or [None])]
        plain = all(isinstance(bounds, list) and all(_is_bound(item) for item in bounds) for bounds in lists)
        return None if plain else "not {quantiles: [0.5], value_ranges: [[0, 10]]}"
    if isinstance(value, float) and not math.isfinite(value):
        return "no finite number; leave an end out that has no bound"
    return None if value is None or isinstance(value, _VALUES) else "no plain value"


_VALUES = (str, int, float, bool, date)


def _is_bound(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _read(folder: Path) -> Document:
    """The contract's file; one that is not there, or empty, promises nothing more than every source does."""
    yaml_file, python_file = folder / "expectations.yaml", folder / "expectations.py"
    if yaml_file.exists() and python_file.exists():
        raise SpecError(f"{folder}: has both expectations.yaml and expectations.py; keep one of them")
    if python_file.exists():
        return Document(shown_path(python_file), _run(python_file), None, ())
    try:
        document = read_document(yaml_file)
    except FileNotFoundError:
        return Document(shown_path(yaml_file), {}, None, ())
    except OSError as error:
        raise SpecError(f"{yaml_file}: cannot be read: {error.strerror}") from error
    nothing = document.empty or (document.data is None and not document.problems)
    return Document(document.file, {}, None, ()) if nothing else document


def _run(file: Path) -> object:
    spec = importlib.util.spec_from_file_location(f"updraft_contract_{file.parent.name}", file)
    if spec is None or spec.loader is None:
        raise SpecError(f"{file}: cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return module.expectations()
    except Exception as error:  # whatever a project's own code raises is a problem of that file
        raise SpecError(f"{file}: expectations() failed: {type(error).__name__}: {error}") from error

"""A table as ingestion will read it: how its files are written, the type of each column, and what stands in the columns in numbers."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from updraft.data.cells import NULLS, cell, is_whole, listed
from updraft.data.duck import attempt, first, kind_of, name
from updraft.data.readers.opened import as_written, encoding_of
from updraft.data.schema import STORAGE, ColumnKind, ColumnType, of_storage
from updraft.data.type_inference import chunks, decimal_commas, has_long, infer, without_values
from updraft.errors import DataError, InputError
from updraft.spec.source import Source

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

NULL_WORDS = (*NULLS[1:], "n/a", "n.a.", "#N/A", "<NA>", "(null)", "-", "--", "?")
"""Texts of a CSV file that may stand for a missing value."""
SAMPLE = 20_000
"""Rows that are looked at where not every row has to be."""
_CODES = 0.9
"""Share of texts of two capital letters from which NA is one of them, such as the country."""


@dataclass(frozen=True)
class Column:
    """A column in numbers."""

    name: str
    kind: ColumnKind | None
    """None of a column without any value."""
    type: ColumnType
    missing: int = 0
    distinct: int = 0
    misfits: int = 0
    """Cells that are not of the column's type."""
    low: float | None = None
    high: float | None = None
    """Of a number."""
    is_whole: bool = False
    """Whether all numbers are whole."""

    @property
    def is_measure(self) -> bool:
        """Whether it has numbers with decimals."""
        return self.kind == "number" and not self.is_whole


@dataclass(frozen=True)
class Written:
    """A table before its event time is known: table ``written`` of a connection."""

    con: duckdb.DuckDBPyConnection
    name: str
    """Of the source."""
    source: Source
    stored: Mapping[str, str]
    """Columns, and DuckDB's type of each in the files."""
    kinds: Mapping[str, tuple[ColumnKind, str] | None]

    @property
    def is_text(self) -> bool:
        """Whether the files are text, so that they state no types."""
        return not self.source.url.endswith((".parquet", ".pq"))

    @cached_property
    def rows(self) -> int:
        """Rows of all files."""
        return int(first(self.con, "SELECT count(*) FROM written")[0])


@dataclass(frozen=True)
class Table:
    """A table whose event time is known: table ``typed`` of a connection, with ``_n``, the number of the row."""

    con: duckdb.DuckDBPyConnection
    name: str
    source: Source
    rows: int
    columns: Mapping[str, Column]

    @property
    def event_time(self) -> str:
        """The column."""
        return str(self.source.event_time)

    def distinct(self, columns: Sequence[str]) -> int:
        """How many different combinations of some columns there are."""
        return int(
            first(self.con, f"SELECT count(*) FROM (SELECT DISTINCT {', '.join(map(name, columns))} FROM typed)")[0]
        )

    def sample(self, *extra: str) -> pd.DataFrame:
        """Rows, evenly over the table: every column, and SQL expressions with their names."""
        step = max(1, -(-self.rows // SAMPLE))
        rows: pd.DataFrame = self.con.execute(
            f"SELECT {', '.join(['*', *extra])} FROM typed WHERE _n % {step} = 0 ORDER BY _n"
        ).df()
        return rows

    def asked(self, expression: str) -> tuple[Any, ...]:
        """The one row of a query over all rows.

        :raises DataError: when an expression cannot be evaluated.
        """
        return attempt(
            lambda: first(self.con, f"SELECT {expression} FROM typed"),
            lambda error: DataError(f"it cannot be evaluated: {kind_of(error)}"),
        )


@contextmanager
def read(url: str, source_name: str, *, decimal: str | None) -> Iterator[Written]:
    """Read the files behind a URL with the reader of ingestion.

    :param decimal: the decimal sign, where somebody said it.
    :raises InputError: when they cannot be read, with what to do.
    """
    try:
        encoding = encoding_of(url, source_name)
        source = Source.model_validate({"type": "file", "url": url, "encoding": encoding})
        with as_written(source, source_name) as (con, stored):
            written = Written(con, source_name, source, stored, {})
            yield _with_kinds(written, decimal) if written.is_text else replace(written, kinds=_stated(written))
    except DataError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"{error.filename or url} cannot be read: {error.strerror or error}") from error


def _stated(written: Written) -> dict[str, tuple[ColumnKind, str] | None]:
    """Of Parquet, which states types itself."""
    con, stored = written.con, written.stored
    empty = without_values(con, "written", stored)
    longs = has_long(
        con, "written", [column for column, kind in stored.items() if of_storage(kind) == ("number", "BIGINT")]
    )
    return {
        column: None if column in empty else ("integer", "BIGINT") if column in longs else of_storage(kind)
        for column, kind in stored.items()
    }


def _with_kinds(written: Written, decimal: str | None) -> Written:
    columns, con = list(written.stored), written.con
    source = written.source.model_copy(update={"decimal": decimal or "."})
    if decimal is None and (commas := decimal_commas(con, "written", columns)):
        if all(commas.values()):
            raise InputError(
                f"{source.url}: {', '.join(map(repr, commas))}: a comma before three digits may be a decimal sign or part "
                'thousands; say which with --decimal "," or, where they are thousands, write the numbers without, and say --decimal "."'
            )
        source = source.model_copy(update={"decimal": ","})
    kinds = infer(con, "written", columns, source)
    texts = [column for column, kind in kinds.items() if kind is not None and kind[0] == "text"]
    source = source.model_copy(update={"nulls": _null_words(con, texts, source)})
    if source.nulls:
        kinds |= infer(con, "written", texts, source)
    return replace(written, source=source, kinds=kinds)


def _null_words(con: duckdb.DuckDBPyConnection, texts: Sequence[str], source: Source) -> tuple[str, ...]:
    """Words that stand for a missing value: without them a column of texts is one of numbers or times, or they mean it everywhere."""
    words: dict[str, set[str]] = {}
    for column in texts:
        own = f"trim({name(column)})"
        rows = con.execute(f"SELECT DISTINCT {own} FROM written WHERE {own} IN ({listed(NULL_WORDS)})").fetchall()
        if rows:
            words[column] = {str(word) for (word,) in rows}
    without = infer(con, "written", list(words), source.model_copy(update={"nulls": NULL_WORDS})) if words else {}
    needed: set[str] = set()
    for column, present in words.items():
        kind = without[column]
        if kind is None or kind[0] != "text":
            needed |= present - set(NULLS)
        elif "NA" not in present or not _has_codes(con, column):
            needed |= present & set(NULLS)
    return tuple(word for word in NULL_WORDS if word in needed)


def _has_codes(con: duckdb.DuckDBPyConnection, column: str) -> bool:
    (share,) = first(
        con,
        f"SELECT avg(CASE WHEN regexp_full_match({name(column)}, '[A-Z]{{2}}') THEN 1 ELSE 0 END) FROM written WHERE {name(column)} IS NOT NULL",
    )
    return float(share or 0) >= _CODES


def typed(written: Written, source: Source, times: Sequence[str]) -> Table:
    """Read each column to its type.

    :param source: with its event time, and how times are written.
    :param times: columns that are times as ``source.time_format`` writes them.
    """
    con = written.con
    types = {
        column: ColumnType("time", STORAGE["time"], "role" if column == source.event_time else "stated")
        if column in (*times, source.event_time)
        else ColumnType(*(kind or ("text", "VARCHAR")), "inferred")
        for column, kind in written.kinds.items()
    }
    whole = _whole(written, source, types)
    selected, misfits = [], {}
    for column, stored in written.stored.items():
        of = cell(column, stored, types[column], source, written=written.is_text, whole=column in whole)
        selected.append(f"{of.value} AS {name(column)}")
        if of.present is not None:
            misfits[column] = f"({of.present}) AND ({of.value}) IS NULL"
    con.execute(
        f"CREATE OR REPLACE TABLE typed AS SELECT f.file_row_number AS _n, {', '.join(selected)} FROM written AS f"
    )
    columns: dict[str, Column] = {}
    for part in chunks(list(types)):
        columns |= _in_numbers(written, part, types, misfits, whole)
    return Table(con, written.name, source, written.rows, columns)


def _whole(written: Written, source: Source, types: Mapping[str, ColumnType]) -> frozenset[str]:
    numbers = [column for column, kind in types.items() if kind.kind in ("number", "integer")]
    whole: set[str] = set()
    for part in chunks(numbers):
        asked = ", ".join(
            f"bool_and({is_whole(column, written.stored[column], types[column], source)})" for column in part
        )
        told = first(written.con, f"SELECT {asked} FROM written AS f")
        whole |= {column for column, is_so in zip(part, told, strict=True) if is_so}
    return frozenset(whole)


def _in_numbers(
    written: Written,
    columns: Sequence[str],
    types: Mapping[str, ColumnType],
    misfits: Mapping[str, str],
    whole: frozenset[str],
) -> dict[str, Column]:
    con, asked = written.con, []
    for column in columns:
        own, is_number = name(column), types[column].kind in ("number", "integer")
        ends = f"min({own})::DOUBLE, max({own})::DOUBLE" if is_number else "NULL, NULL"
        asked.append(f"count(*) - count({own}), count(DISTINCT {own}), {ends}")
    told = first(con, f"SELECT {', '.join(asked)} FROM typed")
    wrong = first(
        con,
        f"SELECT {', '.join(f'count(*) FILTER ({misfits[column]})' if column in misfits else '0' for column in columns)} FROM written AS f",
    )
    facts = {}
    for place, column in enumerate(columns):
        missing, distinct, low, high = told[4 * place : 4 * place + 4]
        kind = types[column].kind if distinct else None
        facts[column] = Column(
            column, kind, types[column], int(missing), int(distinct), int(wrong[place]), low, high, column in whole
        )
    return facts

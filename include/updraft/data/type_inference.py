"""What the first file of a source tells of the types of its columns: from what almost all of a column's cells are."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from updraft.data.cells import CLOCK, DATE, EXACT, NULLS, PLAIN_NUMBER, TIME, listed, number_text, rounded
from updraft.data.duck import first, literal, name
from updraft.data.schema import STORAGE, ColumnKind
from updraft.spec.source import Source

if TYPE_CHECKING:
    import duckdb

CHUNK = 16
"""Columns that one query asks for."""
ALMOST_ALL = 0.95
"""Share of a column's cells that have to be numbers (or times) for the others to be misfits. Fewer, and the column is text."""
SAMPLE, SAMPLE_CELLS, LEAST = 50_000, 1_000_000, 2_000
"""Rows of a file from which types are told, evenly over the file; fewer of a wide one, by its cells, but so many at least."""

_LEADING_ZERO = r"0\d+"
_COMMA_NUMBER = r"[+-]?\d+,\d+"


def chunks(columns: Sequence[str]) -> Iterator[Sequence[str]]:
    """Columns in parts of :data:`CHUNK`: what a query costs grows with the square of what it asks."""
    for start in range(0, len(columns), CHUNK):
        yield columns[start : start + CHUNK]


def infer(
    con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], source: Source
) -> dict[str, tuple[ColumnKind, str] | None]:
    """Kind and storage of text columns, from what most of their cells are; None for a column without any.

    :param relation: a table expression with ``file_row_number``, whose ``columns`` are text.
    """
    kinds: dict[str, tuple[ColumnKind, str] | None] = {}
    for part in chunks(columns):
        kinds |= _infer(con, relation, part, source, of=len(columns))
    return kinds


def _infer(
    con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], source: Source, *, of: int
) -> dict[str, tuple[ColumnKind, str] | None]:
    (rows,) = first(con, f"SELECT count(*) FROM {relation}")
    step = max(1, -(-rows // min(SAMPLE, max(LEAST, SAMPLE_CELLS // of))))
    counts = []
    for column in columns:
        text = f"trim({name(column)})"
        there = f"({name(column)} IS NOT NULL AND {text} NOT IN ({listed((*NULLS, *source.nulls))}))"
        number = number_text(name(column), source)
        asked = (
            f"regexp_full_match({number}, {literal(PLAIN_NUMBER)}) AND NOT {rounded(number)}",
            f"regexp_full_match({text}, {literal(_LEADING_ZERO)})",
            f"lower({text}) IN ('true', 'false')",
            f"regexp_full_match({text}, {literal(DATE)}) AND TRY_CAST({text} AS DATE) IS NOT NULL",
            f"regexp_full_match({text}, {literal(rf'{DATE}[T ]{CLOCK}')}) AND TRY_CAST({text} AS TIMESTAMP) IS NOT NULL",
            f"regexp_full_match({text}, {literal(TIME)}) AND TRY_CAST({text} AS TIMESTAMPTZ) IS NOT NULL",
        )
        counts += [f"count(*) FILTER ({there})", *(f"count(*) FILTER ({there} AND {condition})" for condition in asked)]
    told = first(con, f"SELECT {', '.join(counts)} FROM {relation} WHERE file_row_number % {step} = 0")
    width = len(counts) // len(columns)
    return {column: _most(*told[place * width : (place + 1) * width]) for place, column in enumerate(columns)}


def _most(
    there: int, numbers: int, leading_zeros: int, booleans: int, dates: int, clocks: int, times: int
) -> tuple[ColumnKind, str] | None:
    if not there:
        return None
    enough = ALMOST_ALL * there
    if numbers >= enough and not leading_zeros:
        return "number", "DOUBLE"
    if booleans == there:
        return "boolean", "BOOLEAN"
    if times >= enough:
        plain = "DATE" if dates == times else "TIMESTAMP" if dates + clocks == times else STORAGE["time"]
        return "time", plain
    return "text", "VARCHAR"


def decimal_commas(con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str]) -> dict[str, bool]:
    """The text columns whose cells are almost all numbers with a comma, and whether all have three digits behind it: thousands, then."""
    commas: dict[str, bool] = {}
    for part in chunks(columns):
        counts = ", ".join(
            f"count(*) FILTER (regexp_full_match({name(column)}, {literal(_COMMA_NUMBER)})), "
            f"count(*) FILTER ({name(column)} NOT IN ({listed(NULLS)}) AND NOT regexp_full_match({name(column)}, '[+-]?\\d+')), "
            f"count(*) FILTER (regexp_full_match({name(column)}, '[+-]?\\d{{1,3}},\\d{{3}}'))"
            for column in part
        )
        told = first(con, f"SELECT {counts} FROM (SELECT * FROM {relation} LIMIT {LEAST})")
        for place, column in enumerate(part):
            with_comma, no_integers, thousands = told[3 * place : 3 * place + 3]
            if with_comma and with_comma >= ALMOST_ALL * no_integers:
                commas[column] = thousands == with_comma
    return commas


def has_long(con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str]) -> frozenset[str]:
    """The columns of integers that hold one which a float64 may round: they are no numbers, but whole numbers."""
    longs: set[str] = set()
    for part in chunks(columns):
        asked = ", ".join(f"COALESCE(max(abs({name(column)}::HUGEINT)) >= {EXACT}, FALSE)" for column in part)
        longs |= {
            column for column, long in zip(part, first(con, f"SELECT {asked} FROM {relation}"), strict=True) if long
        }
    return frozenset(longs)


def without_values(con: duckdb.DuckDBPyConnection, relation: str, columns: Mapping[str, str]) -> frozenset[str]:
    """The columns of a Parquet file, by name and DuckDB type, that hold nothing: they tell no type."""
    empty: set[str] = set()
    for part in chunks(list(columns)):
        asked = ", ".join(
            f"count({name(column)})"
            + (f" - count(*) FILTER (isnan({name(column)}))" if columns[column] in ("FLOAT", "DOUBLE") else "")
            for column in part
        )
        empty |= {
            column
            for column, count in zip(part, first(con, f"SELECT {asked} FROM {relation}"), strict=True)
            if not count
        }
    return frozenset(empty)

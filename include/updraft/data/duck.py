"""DuckDB connections as this room uses them: in memory, in UTC, with names and values quoted."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from updraft.errors import DataError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

THREADS = 2
"""Threads of one task: many tasks share a machine."""


@contextmanager
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database whose session is in UTC, so that times without a zone are read as UTC."""
    import duckdb

    made = duckdb.connect(":memory:", config={"threads": THREADS})
    try:
        made.execute("SET TimeZone = 'UTC'")
        made.execute("SET enable_progress_bar = false")
        yield made
    finally:
        made.close()


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn DuckDB's errors into ours without its words, which quote the data and would carry private values into logs and alerts.

    :param what: what was done, and with which file and columns.
    :raises DataError: with the kind of failure, and its line in the file where DuckDB tells it.
    """
    import duckdb

    try:
        yield
    except _about_names() as error:
        raise DataError(f"{what}: {str(error).strip().splitlines()[0]}") from None
    except duckdb.Error as error:
        line = re.search(r"\bline:? *(\d+)", str(error), re.IGNORECASE)
        where = f" at line {line[1]}" if line else ""
        raise DataError(f"{what}: {_KINDS.get(type(error).__name__, type(error).__name__)}{where}") from None


_KINDS = {
    "ConversionException": "a value does not convert to the type that is wanted",
    "InvalidInputException": "the content does not read as its format says",
    "OutOfRangeException": "a number is out of range",
    "OutOfMemoryException": "not enough memory",
}


def _about_names() -> tuple[type[Exception], ...]:
    """Errors that speak of SQL and names of columns, never of values."""
    import duckdb

    return (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)


def name(text: str) -> str:
    """An SQL identifier."""
    return '"' + text.replace('"', '""') + '"'


def names(columns: tuple[str, ...] | list[str]) -> str:
    """SQL identifiers with commas between them."""
    return ", ".join(name(column) for column in columns)


def literal(value: object) -> str:
    """An SQL literal: null, boolean, number, time or text."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime):
        return f"TIMESTAMPTZ '{value.isoformat()}'"
    return "'" + str(value).replace("'", "''") + "'"


def parquet(path: str, *, row_numbers: bool = False) -> str:
    """A table expression over a local Parquet file; ``row_numbers`` adds ``file_row_number`` (int64, from 0)."""
    return f"read_parquet({literal(path)}, file_row_number = {literal(row_numbers)}, hive_partitioning = FALSE)"


def first(con: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The one row of a query. The result is read to its end: an unread one blocks the connection."""
    rows = con.execute(query).fetchall()
    return tuple(rows[0])


def arrow(con: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """The rows of a query as an Arrow table."""
    return con.sql(query).to_arrow_table()


def columns_of(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Names and DuckDB types of the columns of a table expression."""
    rows = con.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()
    return {str(row[0]): str(row[1]) for row in rows}

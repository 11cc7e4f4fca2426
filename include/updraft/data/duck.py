"""DuckDB connections as this room uses them: in memory, in UTC, with names and values quoted."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

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

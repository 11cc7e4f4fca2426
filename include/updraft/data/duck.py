"""DuckDB connections as this room uses them: in memory, in UTC, with names and values quoted.

DuckDB's messages quote the values of cells. They never leave this room: an error tells the kind of failure in words of
ours, and is raised outside of the ``except`` that caught DuckDB's, so that not even its context holds it.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from updraft.errors import DataError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from updraft.settings import Settings
    from updraft.spec.model import Project

T = TypeVar("T")
P = ParamSpec("P")

THREADS = 2
"""Threads of one task: many tasks share a machine."""


_NOTHING_FROM_OUTSIDE: dict[str, Any] = {
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # else the name of a variable of this process is a table
}


@contextmanager
def connection(reads: Iterable[Path] = (), writes: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database whose session is in UTC, so that times without a zone are read as UTC.

    It reads some files and writes below one folder: whatever SQL comes to it, from a project or from the data, it
    opens no other file, no network and no other database, loads no extension, and none of that can be switched on again.

    What does not fit into memory goes to a folder that its owner alone can read, and that goes with the connection.
    """
    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        kept = {"threads": THREADS, "temp_directory": folder, **_NOTHING_FROM_OUTSIDE}
        made = duckdb.connect(":memory:", config=kept)
        try:
            made.execute("SET GLOBAL TimeZone = 'UTC'")  # of its cursors too
            made.execute("SET enable_progress_bar = false")
            made.execute(f"SET allowed_paths = [{', '.join(literal(str(path)) for path in reads)}]")
            made.execute(f"SET allowed_directories = [{literal(str(writes)) if writes else ''}]")
            made.execute("SET enable_external_access = false")
            made.execute("SET lock_configuration = true")
            yield made
        finally:
            made.close()


_KINDS = {
    "ConversionException": "a value does not convert to the type that is asked of it",
    "InvalidInputException": "a value or a line is not of the form that is asked of it",
    "OutOfRangeException": "a number is out of range",
    "InvalidTypeException": "a type does not fit",
    "TypeMismatchException": "a type does not fit",
    "OutOfMemoryException": "it does not fit into memory",
    "IOException": "a file cannot be read or written, as of a disk that is full",
    "PermissionException": "it asks for a file, a network or an extension, which ingestion opens for nobody",
    "BinderException": "the type of the column does not fit",
}
_NAMES_ONLY = ("BinderException", "CatalogException", "ParserException", "SyntaxException")
"""Raised before a row is read: their first line names columns and functions, and holds no value."""


def kind_of(error: duckdb.Error) -> str:
    """What failed, without a value of any cell; with the line of a CSV file where DuckDB tells one."""
    kind = type(error).__name__
    if kind in _NAMES_ONLY:
        return str(error).strip().splitlines()[0]
    line = re.match(r"Invalid Input Error: CSV Error on Line: (\d+)$", str(error).splitlines()[0])
    return in_words(kind) + (f" (line {line[1]} of the file)" if line else "")


def in_words(kind: str) -> str:
    """A class of DuckDB's errors, by its name, for people."""
    return _KINDS.get(kind, f"DuckDB raised {kind}")


def attempt(action: Callable[[], T], explain: Callable[[duckdb.Error], DataError]) -> T:
    """Run a query; where DuckDB fails, raise what ``explain`` makes of it, without DuckDB's error in its chain."""
    import duckdb

    try:
        return action()
    except duckdb.Error as error:
        failed = explain(error)
    raise failed


def without_values(
    step: Callable[Concatenate[Project, Settings, str, P], T],
) -> Callable[Concatenate[Project, Settings, str, P], T]:
    """Make a step of ingestion tell every failure of DuckDB that it does not explain itself by its kind alone."""

    @functools.wraps(step)
    def run(project: Project, settings: Settings, key: str, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return attempt(
            lambda: step(project, settings, key, *args, **kwargs),
            lambda error: DataError(f"{project.name}: partition {key}: {step.__name__} failed: {kind_of(error)}"),
        )

    return run


def first_failing(con: duckdb.DuckDBPyConnection, relation: str, expression: str, number: str) -> int | None:
    """The smallest ``number`` (a column of whole numbers) of a row on which an expression fails; None when it fails on none.

    By bisection, as nothing but the evaluation tells a row that fails from one that gives null.
    """
    import duckdb

    def fails(last: int) -> bool:
        try:
            con.execute(f"SELECT max(hash({expression})) FROM {relation} WHERE {number} <= {last}").fetchall()
        except duckdb.Error:
            return True
        return False

    low, high = first(con, f"SELECT COALESCE(min({number}), 0), COALESCE(max({number}), -1) FROM {relation}")
    if high < low or not fails(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle + 1, high)
    return int(low)


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

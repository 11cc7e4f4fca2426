"""``--data postgresql://…?table=NAME``: a table of a database, drafted from a copy of its rows, and read by the project where it stands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from updraft.connections import VARIABLE, Connection, GivenConnections
from updraft.data.readers.reader import Window
from updraft.data.readers.sql import SqlReader
from updraft.draft.project import Draft
from updraft.draft.words import slug
from updraft.errors import DataError, InputError
from updraft.spec.source import Source

_SCHEMES = ("postgresql", "postgres")
_OTHERS = ("mysql", "mariadb", "mssql", "oracle", "snowflake", "bigquery", "redshift", "sqlite", "duckdb", "jdbc")
_ALL_TIME = Window("", datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True)
class DatabaseTable:
    """A table or a view of a database, and how to sign in there."""

    connection: str
    """Id of the Airflow connection under which the project knows the database."""
    table: str
    """Its name, with its schema where that was said."""
    uri: str = field(repr=False)
    """Of the connection, with its secret."""

    @property
    def name(self) -> str:
        """For the source."""
        return slug(self.table.rpartition(".")[2], "rows")

    @property
    def variable(self) -> str:
        """Of the environment, where the connection may stand."""
        return f"{VARIABLE}{self.connection.upper()}"

    @property
    def place(self) -> str:
        """Where the rows are, without the secret."""
        return f"table {self.table} of {self.connection}"

    def of(self, drafted: Draft) -> Draft:
        """A draft of the copy as one that reads the table."""
        told = drafted.source.model_dump(include={"event_time", "time_format", "time_zone"}, exclude_none=True)
        source = {"type": "sql", "connection": self.connection, "table": self.table, **told}
        return replace(drafted, source=Source.model_validate(source))

    @contextmanager
    def copied(self) -> Iterator[str]:
        """URL of a Parquet file with every row, for as long as it is looked at: only this user reads it.

        :raises InputError: when the database refuses, does not answer, or has no such table; without the secret.
        """
        spec = Source.model_validate({"type": "sql", "connection": self.connection, "table": self.table})
        given = GivenConnections({self.connection: Connection.from_text(self.connection, self.uri)})
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = SqlReader(self.name, spec, given, kept=frozenset()).arrive(_ALL_TIME, Path(folder))
            except DataError as error:
                raise InputError(str(error)) from error
            url = f"file://{path}"
            try:
                yield url
            except InputError as error:
                raise InputError(str(error).replace(url, self.place)) from error


def table_of(data: str) -> DatabaseTable | None:
    """The table that ``--data`` names; None where it names no database.

    :raises InputError: when it names a database and no table, or a database that is not drafted from.
    """
    scheme = data.partition("://")[0].split("+")[0].lower() if "://" in data else ""
    if scheme in _OTHERS:
        raise InputError(
            f"--data {scheme}://…: a project is drafted from PostgreSQL and from files; write what is to be learnt from to a CSV or Parquet file, "
            "draft from that, and make its source one of type sql (docs/sources.md) where a driver of the database is installed"
        )
    if scheme not in _SCHEMES:
        return None
    try:
        parts = urlsplit(data)
        database, _ = parts.path.lstrip("/"), parts.port
    except ValueError:
        raise InputError(f"--data {scheme}://… does not read as an address of a database: {_FORM}") from None
    query = parse_qsl(parts.query)
    tables = [value for name, value in query if name == "table" and value]
    if len(tables) != 1 or not database or not parts.hostname:
        raise InputError(f"--data {scheme}://… has to name a host, a database and one table: {_FORM}")
    others = urlencode([(name, value) for name, value in query if name != "table"])
    uri = urlunsplit(("postgresql", parts.netloc, parts.path, others, ""))
    return DatabaseTable(slug(database, "database"), tables[0], uri)


_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE?table=NAME, with @, : and / in a password as %40, %3A and %2F"

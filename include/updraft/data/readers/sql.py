"""A table, a view or a query of a database, read window by window through SQLAlchemy.

SQLAlchemy and not ADBC: its drivers are here already, for the store, it reads every database that a team has a driver of, and it takes
the bounds of a window as parameters in any query. A server-side cursor keeps what is in memory to a batch.

All of a window is read in one read-only transaction, so that it is one state of the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from updraft import files
from updraft.connections import Connection, Connections
from updraft.data import limits
from updraft.data.readers import sql_types
from updraft.data.readers.reader import Window
from updraft.errors import DataError, SettingsError, SourceAway
from updraft.spec.source import EPOCHS, Source

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

_DIALECTS = {"postgres": "postgresql", "sqlserver": "mssql"}
_DRIVERS = {"postgresql": "postgresql+psycopg2"}
BATCH = 20_000
"""Rows in memory."""
_GLANCE = 1_000
_CONNECT_SECONDS = 10
_AROUND = timedelta(hours=2)
"""Wall-clock times are asked for with as much around the window: an hour that clocks skip or repeat lies in it."""
_NAMES_ONLY = "42"
"""Class of PostgreSQL's errors whose words name tables, columns and rights, and quote no value (Appendix A of its manual)."""
_TIMED_OUT = "57014"
BOUNDS = ("from", "until")


class SqlReader:
    """The rows of ``table`` or ``query``, within a window of the event time.

    :param kept: lower-case names that the project needs, beside ``columns``.
    """

    def __init__(self, source: str, spec: Source, connections: Connections, *, kept: frozenset[str]) -> None:
        self._source, self._spec, self._connections, self._kept = source, spec, connections, kept
        self._what = f"source {source}: {spec.place}"

    def revision(self, window: Window) -> str:
        """Of PostgreSQL a hash over all rows of the window, made there; of another database their number, first and last time."""
        import sqlalchemy as sa

        with self._connected() as con:
            columns = self._columns(con)
            rows = self._selected(con, columns, window).subquery("w")
            asked: list[Any] = [sa.func.count()]
            if con.dialect.name == "postgresql":
                texts = sa.cast(sa.literal_column("w"), sa.Text)
                asked.append(sa.func.sum(sa.cast(sa.func.hashtextextended(texts, 0), sa.Numeric)))
            elif self._spec.event_time is not None:
                time_column = rows.c[self._spec.event_time]
                asked += [sa.func.min(time_column), sa.func.max(time_column)]
            told = self._attempt(lambda: con.execute(sa.select(*asked).select_from(rows)).one())
        marks = [str(value) for value in told]
        if not told[0] and self._spec.event_time is not None:  # later rows say that the window has none
            marks.append(str(self.newest(window.start)))
        return files.canonical_hash([self._spec.place, marks])

    def newest(self, start: datetime) -> tuple[bool, datetime | None] | None:
        """Whether there is a row at or after a moment, and the newest event time. It asks the database for no more than that."""
        import sqlalchemy as sa

        with self._connected() as con:
            columns = self._columns(con)
            relation = self._relation(columns).subquery("w") if self._spec.query else self._relation(columns)
            time_column = self._time(relation)
            first = sa.select(sa.literal(1)).where(time_column >= self._bound(columns, start)).limit(1)
            parameters = self._bounds(Window("", start, datetime.max.replace(tzinfo=UTC)))
            if self._attempt(lambda: con.execute(first, parameters).first()) is not None:
                return True, None
            newest = self._attempt(lambda: con.execute(sa.select(sa.func.max(time_column)), parameters).scalar())
        if isinstance(newest, datetime):
            return False, newest if newest.tzinfo else newest.replace(tzinfo=UTC)
        return False, None

    def arrive(self, window: Window, folder: Path, *, glance: bool = False) -> Path:
        """Write the rows of the window as Parquet, batch by batch."""
        import pyarrow.parquet

        path, ends = folder / "arrived.parquet", time.monotonic() + self._spec.time_limit.total_seconds()
        with self._connected() as con:
            columns = self._columns(con)
            schema = self._schema(columns)
            rows = self._selected(con, columns, window)
            rows = rows.limit(_GLANCE) if glance else rows
            counted = 0
            with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
                for batch in self._batches(con, rows):
                    counted += len(batch)
                    if counted > limits.ROWS:
                        raise DataError(
                            f"{self._what} has more than {limits.ROWS:,} rows in the partition {window.key}"
                        )
                    if time.monotonic() > ends:
                        raise self._too_slow()
                    writer.write_table(self._arrow(batch, schema))
        return path

    def _batches(self, con: sa.Connection, rows: sa.Select[Any]) -> Iterator[list[Any]]:
        result = self._attempt(lambda: con.execution_options(stream_results=True, yield_per=BATCH).execute(rows))
        batches = iter(result.partitions(BATCH))
        while (batch := self._attempt(lambda: next(batches, None))) is not None:
            yield list(batch)

    def _arrow(self, batch: list[Any], schema: pa.Schema) -> pa.Table:
        import pyarrow as pa

        arrays = []
        for values, told in zip(zip(*batch, strict=True), schema, strict=True):
            try:
                arrays.append(sql_types.arrow_array(list(values), told.type))
                continue
            except (pa.ArrowException, ValueError, OverflowError):
                wrong = DataError(
                    f"{self._what}: column {told.name!r} has a value that its type {told.type} does not hold (it is not told here, as it "
                    "may be private); cast it in a query or a view"
                )
            raise wrong
        return pa.Table.from_arrays(arrays, schema=schema)

    def _schema(self, columns: dict[str, str]) -> pa.Schema:
        """The Arrow types of the columns that are kept.

        :raises DataError: with the columns of types that are not read.
        """
        import pyarrow as pa

        types = {column: sql_types.arrow_type(written) for column, written in columns.items()}
        if odd := [f"{column} ({columns[column]})" for column, kind in types.items() if kind is None]:
            raise DataError(
                f"{self._what}: no model learns from {', '.join(odd)}; name the columns to keep under data.sources.{self._source}.columns, "
                f"or cast it in a query or a view. What is read: {sql_types.READ}"
            )
        return pa.schema([(column, kind) for column, kind in types.items() if kind is not None])

    # What is asked for ------------------------------------------------------------------------------------------------

    def _selected(self, con: sa.Connection, columns: dict[str, str], window: Window) -> sa.Select[Any]:
        """The columns that are kept, of the rows of a window."""
        import sqlalchemy as sa

        relation = self._relation(columns)
        relation = relation.subquery("q") if self._spec.query else relation
        postgres = con.dialect.name == "postgresql"
        chosen = []
        for column, written in columns.items():
            value: Any = relation.c[column]
            if postgres and sql_types.is_read_as_text(written):
                value = sa.cast(value, sa.Text).label(column)
            elif postgres and sql_types.is_float_of_decimals(written):
                value = sa.cast(value, sa.Double).label(column)
            chosen.append(value)
        selected = sa.select(*chosen)
        if self._spec.event_time is not None:
            moment = self._time(relation)
            low, high = self._bound(columns, window.start), self._bound(columns, window.until, upper=True)
            selected = selected.where(moment >= low, moment < high)
        return selected.params(self._bounds(window)) if self._spec.query else selected

    def _bounds(self, window: Window) -> dict[str, datetime]:
        """What the query's own parameters stand for."""
        import sqlalchemy as sa

        if not self._spec.query:
            return {}
        named = set(sa.text(self._spec.query).compile().params)
        return {
            name: moment for name, moment in zip(BOUNDS, (window.start, window.until), strict=True) if name in named
        }

    def _relation(self, columns: dict[str, str]) -> Any:
        import sqlalchemy as sa

        named = [sa.column(column, _time_type(written)) for column, written in columns.items()]
        if self._spec.query:
            return sa.text(self._spec.query).columns(*named)
        schema, _, table = str(self._spec.table).rpartition(".")
        return sa.table(table, *named, schema=schema or None)

    def _time(self, relation: Any) -> Any:
        return relation.c[str(self._spec.event_time)]

    def _bound(self, columns: dict[str, str], moment: datetime, *, upper: bool = False) -> Any:
        """A bound of the window as the event time's column holds it. A wall clock's rows are asked for widely, and cut when they are read."""
        kind, _ = sql_types.plain_type(columns[str(self._spec.event_time)])
        if self._spec.time_format in EPOCHS:
            return moment.timestamp() * EPOCHS[str(self._spec.time_format)]
        if kind in ("timestamp with time zone", "timestamptz"):
            return moment
        if self._spec.time_zone:
            wide = moment + _AROUND if upper else moment - _AROUND
            return wide.astimezone(ZoneInfo(self._spec.time_zone)).replace(tzinfo=None)
        return moment.astimezone(UTC).replace(tzinfo=None)

    # Columns ----------------------------------------------------------------------------------------------------------

    def _columns(self, con: sa.Connection) -> dict[str, str]:
        """The columns that are kept, with their types as the database writes them.

        :raises DataError: when the table is not there, lacks a column that the project names, or may not be read.
        """
        there = _described(con, self._spec, self._attempt) if con.dialect.name == "postgresql" else self._reflected(con)
        spec = self._spec
        for key, named in (("event_time", (spec.event_time,)), ("columns", spec.columns), ("join", spec.join)):
            if missing := [column for column in named if column is not None and column not in there]:
                raise DataError(
                    f"{self._what} has no column {', '.join(map(repr, missing))} (data.sources.{self._source}.{key}); "
                    f"its columns are {', '.join(there)}"
                )
        kept = {column: written for column, written in there.items() if self._is_kept(column)}
        if spec.event_time is not None and spec.time_format not in EPOCHS:
            kind = sql_types.arrow_type(kept[spec.event_time])
            if kind is None or not str(kind).startswith(("timestamp", "date")):
                raise DataError(
                    f"{self._what}: event_time {spec.event_time!r} is of type {kept[spec.event_time]}, and no time to compare with; say "
                    "what it counts with `time_format: unix` or `unix_ms`, or cast it in a query or a view"
                )
        return kept

    def _is_kept(self, column: str) -> bool:
        named = (*self._spec.columns, *self._spec.join, self._spec.event_time)
        return not self._spec.columns or column in named or column.lower() in self._kept

    def _reflected(self, con: sa.Connection) -> dict[str, str]:
        import sqlalchemy as sa

        if self._spec.query:
            raise DataError(
                f"{self._what}: a query's types are told by PostgreSQL alone; make a view of it, and name that as `table`"
            )
        schema, _, table = str(self._spec.table).rpartition(".")
        try:
            columns = self._attempt(lambda: sa.inspect(con).get_columns(table, schema=schema or None))
        except sa.exc.NoSuchTableError:
            raise DataError(
                f"{self._what}: there is no such table or view; check data.sources.{self._source}.table"
            ) from None
        return {column["name"]: str(column["type"].compile(con.dialect)) for column in columns}

    # The database -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        import sqlalchemy as sa

        url = database_url(self._connections.get(str(self._spec.connection)))
        backend = url.get_backend_name()
        try:
            arguments = {"connect_timeout": _CONNECT_SECONDS} if backend == "postgresql" else {}
            engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=arguments)
        except (ImportError, sa.exc.ArgumentError) as error:
            raise DataError(
                f"{self._what}: the driver of a {backend} database is not installed here ({type(error).__name__})"
            ) from None
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if backend == "postgresql" else {}
        con = self._attempt(lambda: engine.connect().execution_options(**options))
        try:
            if backend == "postgresql":
                milliseconds = int(self._spec.time_limit.total_seconds() * 1000)
                self._attempt(lambda: con.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}"))
                self._attempt(lambda: con.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'"))
            yield con
        finally:
            con.close()
            engine.dispose()

    def _attempt(self, action: Callable[[], Any]) -> Any:
        """Ask the database; what goes wrong is told in one line, without a value of any row.

        :raises SourceAway: when it does not answer, or not in time.
        :raises DataError: when it refuses.
        """
        import sqlalchemy as sa

        try:
            return action()
        except sa.exc.DBAPIError as error:
            failed = self._failure(error)
        raise failed

    def _failure(self, error: sa.exc.DBAPIError) -> DataError:
        import sqlalchemy as sa

        state = str(getattr(error.orig, "pgcode", None) or "")
        if state == _TIMED_OUT:
            return self._too_slow()
        first_line = next(iter(str(error.orig).strip().splitlines()), "")
        if state.startswith(_NAMES_ONLY):
            return DataError(f"{self._what}: the database refuses: {first_line}")
        if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
            return SourceAway(f"{self._what}: the database does not answer: {first_line}", self._source)
        kind = type(error.orig).__name__
        return DataError(
            f"{self._what}: the database refuses: {kind} (its words are not repeated: they may quote a row)"
        )

    def _too_slow(self) -> SourceAway:
        seconds = self._spec.time_limit.total_seconds()
        return SourceAway(
            f"{self._what}: the database did not give the rows within {seconds:g} s; make an index on {self._spec.event_time}, "
            f"or raise data.sources.{self._source}.timeout",
            self._source,
        )


def _time_type(written: str) -> Any:
    """SQLAlchemy's type of a column, where it matters how a bound of a window is given to the database."""
    import sqlalchemy as sa

    name, _ = sql_types.plain_type(written)
    if name in ("timestamp with time zone", "timestamptz"):
        return sa.DateTime(timezone=True)
    if name.startswith(("timestamp", "datetime")):
        return sa.DateTime()
    return sa.types.NullType()


def _described(con: sa.Connection, spec: Source, attempt: Callable[[Callable[[], Any]], Any]) -> dict[str, str]:
    """Columns of a table or a query and their types, as PostgreSQL tells them of a query without rows."""
    import sqlalchemy as sa

    if spec.query:
        empty = sa.text(f"SELECT * FROM (\n{spec.query}\n) AS q LIMIT 0")  # noqa: S608  -- the project's own query
        named = {name: datetime(2000, 1, 1, tzinfo=UTC) for name in BOUNDS if name in empty.compile().params}
        result = attempt(lambda: con.execute(empty, named))
    else:
        schema, _, table = str(spec.table).rpartition(".")
        chosen: sa.Select[Any] = (
            sa.select(sa.literal_column("*")).select_from(sa.table(table, schema=schema or None)).limit(0)
        )
        result = attempt(lambda: con.execute(chosen))
    described = list(result.cursor.description)
    result.close()
    kinds: dict[int, str] = dict(
        con.execute(
            sa.text(
                "SELECT oid::bigint, CASE WHEN typtype = 'e' THEN 'enum' ELSE format_type(oid, NULL) END FROM pg_type "
                "WHERE oid = ANY(CAST(:oids AS bigint[]))"
            ),
            {"oids": [column.type_code for column in described]},
        ).all()
    )
    columns = {}
    for column in described:
        written = str(kinds.get(column.type_code, "unknown"))
        exact = written == "numeric" and column.precision and column.precision <= 1000
        columns[str(column.name)] = f"numeric({column.precision},{column.scale})" if exact else written
    return columns


def database_url(connection: Connection) -> sa.URL:
    """SQLAlchemy's URL of a connection.

    :raises SettingsError: when it has no type that names a database.
    """
    import sqlalchemy as sa

    kind = connection.kind.replace("_", "+") if "+" not in connection.kind else connection.kind
    kind = _DIALECTS.get(kind, kind)
    if not kind:
        raise SettingsError(f"connection {connection.id!r} has no type (conn_type), such as postgres")
    query = {
        str(key): str(value)
        for key, value in connection.extra.items()
        if isinstance(value, str | int) and not isinstance(value, bool) and key.startswith("ssl")
    }
    return sa.URL.create(
        _DRIVERS.get(kind, kind),
        username=connection.login or None,
        password=connection.password or None,
        host=connection.host or None,
        port=connection.port,
        database=connection.schema or None,
        query=query,
    )

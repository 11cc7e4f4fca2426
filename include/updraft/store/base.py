"""What every part of the store shares: the engine, reading rows, and the one way to write a row by its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from updraft.store.records import Decision

T = TypeVar("T")


class Witness(Protocol):
    """Who attests decisions outside of the database (:mod:`updraft.store.anchors`)."""

    def intend(self, decision: Decision) -> None:
        """A decision is about to be committed. What is raised here takes the decision back."""
        ...

    def confirm(self, decision: Decision) -> None:
        """It was committed."""
        ...


class Base:
    """One engine, and who attests what is decided."""

    def __init__(self, engine: sa.Engine, witness: Witness | None = None) -> None:
        self.engine = engine
        self.witness = witness

    def _rows(self, query: sa.Select[Any] | sa.CompoundSelect[Any]) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _scalar(self, query: sa.Select[Any]) -> Any:
        """The first column of the first row; None when there is no row."""
        with self.engine.connect() as connection:
            return connection.execute(query).scalar()

    def _write(
        self,
        table: sa.Table,
        values: Mapping[str, Any],
        *,
        change: Sequence[str] = (),
        where: sa.ColumnElement[bool] | None = None,
    ) -> bool:
        """:func:`upsert` in a transaction of its own."""
        with self.engine.begin() as connection:
            return upsert(connection, table, values, change=change, where=where)


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    values: Mapping[str, Any],
    *,
    change: Sequence[str] = (),
    where: sa.ColumnElement[bool] | None = None,
) -> bool:
    """Insert a row; where a row of its key is there already, that one stays, or takes over some of the new values.

    :param change: the columns that a row that is there takes over; none of them: it stays as it is.
    :param where: what must hold for the row that is there to be changed.
    :return: whether a row was written.
    """
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(table).values(**values)
    if change:
        key = [column.name for column in table.primary_key]
        taken = {name: insert.excluded[name] for name in change}
        statement = insert.on_conflict_do_update(index_elements=key, set_=taken, where=where)
    else:
        statement = insert.on_conflict_do_nothing()
    return bool(connection.execute(statement).rowcount)


def lock(connection: sa.Connection, name: str) -> None:
    """Wait until no other transaction holds the lock of this name; held until this one ends. SQLite serves one process, and has no need."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(name))))


def in_utc(moment: datetime) -> datetime:
    """A moment as the store keeps it, with its zone: SQLite keeps none, and what is written there is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def as_record(kind: type[T], row: Mapping[str, Any]) -> T:
    """The frozen record of a row that has a value for each of its fields."""
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: row[name] for name in names})

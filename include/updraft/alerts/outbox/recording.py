"""Events come in: each once, duplicates folded, and what is mended marked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from updraft.alerts import messages, policy
from updraft.alerts.alert import ONCE, Alert, fitted_key, fitted_project
from updraft.alerts.outbox.rows import FIELDS, utc
from updraft.store.base import upsert
from updraft.store.tables import alerts

# First number of PostgreSQL's two-number advisory lock; the second is the hash of the project.
_RECORDING = 20130108


def record(engine: sa.Engine, alert: Alert, *, now: datetime | None = None) -> int:
    """Store an event and return the id of the row whose message shows it.

    The same event (``project``, ``dedup``) again changes nothing, unless it was mended since: then it is another one (but for those
    that happen :data:`ONCE`). An event whose fold has a message of the last :data:`policy.FOLD_WINDOW` joins it and counts there.
    """
    now = now or datetime.now(UTC)
    c = alerts.c
    with engine.begin() as connection:
        lock(connection, alert.project)  # two first events of a fold at once would both become its head
        row, shown_by, new = insert(connection, alert, now)
        while not new and alert.entry not in ONCE and _mended_before(connection, row, now):
            alert = replace(alert, dedup=f"{alert.dedup}:{row}")
            row, shown_by, new = insert(connection, alert, now)
        if not new:
            return shown_by
        head = _head(connection, alert, row, now) if alert.fold else None
        if head is None:
            if alert.incident and not alert.thread:
                set_on(connection, row, thread=_thread_of_incident(connection, alert, row, now))
            return row
        set_on(connection, row, state="folded", folded_into=head)
        set_on(connection, head, count=c.count + 1)
        return head


def resolve(
    engine: sa.Engine,
    project: str,
    incident: str,
    part: str | Collection[str] | None,
    *,
    words: str | None,
    key: str | None = None,
    now: datetime | None = None,
) -> bool:
    """What an incident has of a part (a partition, a run) is mended: its messages say so, and a reply in their thread. Whether there was any.

    :param part: one, or several that are mended together; None for all that stands open of the incident.
    :param words: how it ended; None when something else that is told says so, and no reply is due.
    :param key: the partition of the run, where it has one: what other runs have of it is mended as well.
    """
    now = now or datetime.now(UTC)
    c = alerts.c
    project, incident = fitted_project(project), fitted_key(incident)
    parts = [part] if isinstance(part, str) else part
    still_open = sa.and_(c.project == project, c.incident == incident, c.resolved_at.is_(None))
    if parts is not None:
        mended = c.part.in_([fitted_key(name) for name in parts])
        still_open = sa.and_(still_open, mended if key is None else sa.or_(mended, c.key == key))
    with engine.connect() as connection:
        if connection.execute(sa.select(c.id).where(still_open).limit(1)).scalar() is None:
            return False
    with engine.begin() as connection:
        lock(connection, project)
        rows = connection.execute(sa.select(alerts).where(still_open).order_by(c.id)).mappings().all()
        connection.execute(sa.update(alerts).where(still_open).values(resolved_at=now, shown=0))
        heads = [row for row in rows if row["state"] in ("stored", "sending", "sent")]
        if heads and words is not None:
            newest = heads[-1]
            reply = messages.resolved(
                project,
                kind=newest["kind"],
                title=newest["title"],
                last=newest["id"],
                thread=newest["thread"],
                words=words,
                key=newest["key"],
            )
            insert(connection, reply, now)
    return bool(rows)


def lock(connection: sa.Connection, project: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_RECORDING, sa.func.hashtext(project))))


def insert(connection: sa.Connection, alert: Alert, now: datetime) -> tuple[int, int, bool]:
    """The event's row, the row whose message shows it, and whether it is new."""
    c = alerts.c
    values = {name: getattr(alert, name) for name in FIELDS} | {"links": dict(alert.links)}
    new = upsert(connection, alerts, {**values, "state": "stored", "written_at": now})
    query = sa.select(c.id, c.folded_into).where(c.project == alert.project, c.dedup == alert.dedup)
    row = connection.execute(query).one()
    return int(row.id), int(row.folded_into or row.id), bool(new)


def _mended_before(connection: sa.Connection, row: int, now: datetime) -> bool:
    mended = utc(connection.execute(sa.select(alerts.c.resolved_at).where(alerts.c.id == row)).scalar())
    return mended is not None and mended < now


def _thread_of_incident(connection: sa.Connection, alert: Alert, own: int, now: datetime) -> str:
    """The thread of what stands open of the incident; one of its own when nothing does."""
    c = alerts.c
    query = (
        sa.select(c.thread)
        .where(
            c.project == alert.project,
            c.incident == alert.incident,
            c.resolved_at.is_(None),
            c.thread.is_not(None),
            c.id != own,
            c.written_at > now - policy.INCIDENT_LASTS,
        )
        .order_by(c.id.desc())
        .limit(1)
    )
    thread = connection.execute(query).scalar()
    return f"incident:{own}" if thread is None else str(thread)


def _head(connection: sa.Connection, alert: Alert, own: int, now: datetime) -> int | None:
    c = alerts.c
    head = connection.execute(
        sa.select(c.id)
        .where(
            c.project == alert.project,
            c.fold == alert.fold,
            c.id != own,
            c.folded_into.is_(None),
            c.resolved_at.is_(None),
            c.state.in_(("stored", "sending", "sent")),
            c.written_at > now - policy.FOLD_WINDOW,
        )
        .order_by(c.id.desc())
        .limit(1)
    ).scalar()
    return None if head is None else int(head)


def set_on(connection: sa.Connection, row: int, **values: Any) -> None:
    connection.execute(sa.update(alerts).where(alerts.c.id == row).values(**values))

"""Alerts in the store: each event once, duplicates folded, and what has become of each.

States of a row: ``stored`` (waits to be sent) → ``sending`` (a sender has it in hand, or died with it) → ``sent``;
``failed`` (Slack will never take it), ``quiet`` (not to be sent: the project does not ask for it, or it is old news),
``folded`` (its event is shown by the row ``folded_into``).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from updraft.alerts import policy
from updraft.alerts.alert import Alert, fitted_project
from updraft.files import canonical_hash
from updraft.store.base import upsert
from updraft.store.tables import UNSENT, alerts

_FIELDS = tuple(field.name for field in fields(Alert))
# First number of PostgreSQL's two-number advisory locks; the second is the hash of the project.
_RECORDING, _DELIVERING = 20130108, 20130109
_LOCAL: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One row: an alert and what has become of it. A row that others folded into carries the latest event's words."""

    id: int
    alert: Alert
    state: str
    count: int
    """Events that it stands for."""
    shown: int
    """Events that its message in Slack shows."""
    channel: str | None
    channel_id: str | None
    ts: str | None
    error: str | None
    attempts: int
    tried_at: datetime | None
    not_before: datetime | None
    """Slack asked to be left alone until then."""
    written_at: datetime

    @property
    def mark(self) -> str:
        """What its message carries to be found again; differs between deployments that share a channel."""
        return canonical_hash([self.alert.project, self.alert.dedup, self.written_at.isoformat()])[:32]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What `updraft status` tells about a project's alerts."""

    waiting: int
    """Events that have not reached Slack yet."""
    failed: int
    """Messages of the last week that Slack did not take."""
    problems: tuple[str, ...]
    """Each thing that is wrong once, in words, with what to do."""
    latest: tuple[Stored, ...]
    """Newest first."""


def record(engine: sa.Engine, alert: Alert, *, now: datetime | None = None) -> int:
    """Store an event and return the id of the row whose message shows it.

    The same event (``project``, ``dedup``) again changes nothing. An event whose fold has a message of the last
    :data:`policy.FOLD_WINDOW` joins it and counts there.
    """
    now = now or datetime.now(UTC)
    values = {name: getattr(alert, name) for name in _FIELDS} | {"links": dict(alert.links)}
    c = alerts.c
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # two first events of a fold at once would both become its head
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_RECORDING, sa.func.hashtext(alert.project))))
        new = upsert(connection, alerts, {**values, "state": "stored", "written_at": now})
        row = connection.execute(
            sa.select(c.id, c.folded_into).where(c.project == alert.project, c.dedup == alert.dedup)
        ).one()
        if not new:
            return int(row.folded_into or row.id)
        head = _head(connection, alert, row.id, now) if alert.fold else None
        if head is None:
            return int(row.id)
        connection.execute(sa.update(alerts).where(c.id == row.id).values(state="folded", folded_into=head))
        connection.execute(sa.update(alerts).where(c.id == head).values(count=c.count + 1))
        return head


def _head(connection: sa.Connection, alert: Alert, own: int, now: datetime) -> int | None:
    c = alerts.c
    found = connection.execute(
        sa.select(c.id)
        .where(
            c.project == alert.project,
            c.fold == alert.fold,
            c.id != own,
            c.folded_into.is_(None),
            c.state.in_(("stored", "sending", "sent")),
            c.written_at > now - policy.FOLD_WINDOW,
        )
        .order_by(c.id.desc())
        .limit(1)
    ).scalar()
    return None if found is None else int(found)


def pending(engine: sa.Engine, project: str | None = None) -> list[Stored]:
    """Rows whose message is still to be sent, or to be updated, in the order of their events."""
    c = alerts.c
    query = sa.select(alerts).where(sa.text(f"({UNSENT})"))
    return _read(
        engine, (query if project is None else query.where(c.project == fitted_project(project))).order_by(c.id)
    )


def overdue(engine: sa.Engine, *, now: datetime, limit: int) -> list[str]:
    """Projects whose messages Slack asked to send later, and later is now; those that wait longest first."""
    c = alerts.c
    query = (
        sa.select(c.project)
        .where(sa.text(f"({UNSENT})"), c.not_before <= now, c.count > c.shown)
        .group_by(c.project)
        .order_by(sa.func.min(c.not_before))
        .limit(limit)
    )
    with engine.connect() as connection:
        return [str(name) for name in connection.execute(query).scalars()]


def recent(engine: sa.Engine, project: str, *, limit: int = 10) -> list[Stored]:
    """The newest rows of a project, newest first, whether sent or not."""
    c = alerts.c
    own = sa.and_(c.project == fitted_project(project), c.folded_into.is_(None))
    query = sa.select(alerts).where(own).order_by(c.id.desc()).limit(limit)
    return _read(engine, query)


def standing(engine: sa.Engine, project: str, *, limit: int = 10, now: datetime | None = None) -> Standing:
    """What is to be told about a project's alerts: how many wait, what is wrong (each thing once), the latest."""
    waiting = pending(engine, project)
    c = alerts.c
    lately = c.written_at > (now or datetime.now(UTC)) - policy.FAILED_IS_TOLD_FOR
    refused = sa.and_(c.project == fitted_project(project), c.state == "failed", lately)
    failed = _read(engine, sa.select(alerts).where(refused).order_by(c.id))
    codes = dict.fromkeys(row.error for row in (*waiting, *failed) if row.error)
    return Standing(
        waiting=len(waiting),
        failed=len(failed),
        problems=tuple(policy.explained(code) for code in codes),
        latest=tuple(recent(engine, project, limit=limit)),
    )


# -- what a sender does ------------------------------------------------------------------------------------------------


@contextmanager
def alone(engine: sa.Engine, project: str) -> Iterator[bool]:
    """Be the project's only sender; False when another one is at work.

    On PostgreSQL the server gives the lock back when the process dies, so who holds it knows that a row in state
    ``sending`` was left by a sender that died (a pooler such as PgBouncer has to pool by session). On SQLite, which
    serves one process, it is a lock of that process.
    """
    if engine.dialect.name != "postgresql":
        lock = _LOCAL[str(engine.url), project]
        mine = lock.acquire(blocking=False)
        try:
            yield mine
        finally:
            if mine:
                lock.release()
        return
    key = (_DELIVERING, sa.func.hashtext(project))
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")  # noqa: PLW2901  no open transaction
        mine = bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(*key))))
        try:
            yield mine
        finally:
            if mine:
                connection.scalar(sa.select(sa.func.pg_advisory_unlock(*key)))


def claim(engine: sa.Engine, row: Stored) -> None:
    """Say that the row is being sent, before it is: whoever finds it so after a crash looks before sending again."""
    _set(engine, row.id, state="sending")


def mark_sent(engine: sa.Engine, row: Stored, *, ts: str, channel: str, channel_id: str, shown: int) -> None:
    """The row's message stands in Slack and shows ``shown`` events."""
    place = {"ts": ts, "channel": channel, "channel_id": channel_id}
    _set(engine, row.id, state="sent", **place, shown=shown, error=None, attempts=0, not_before=None)


def mark_waiting(
    engine: sa.Engine,
    row: Stored,
    *,
    error: str,
    now: datetime,
    uncertain: bool = False,
    not_before: datetime | None = None,
) -> None:
    """The attempt came to nothing and is made again later; ``uncertain`` when the message may have got through.

    :param not_before: when Slack said how long it wants to be left alone.
    """
    state = "sending" if uncertain else ("sent" if row.ts else "stored")
    _set(engine, row.id, state=state, error=error, attempts=row.attempts + 1, tried_at=now, not_before=not_before)


def mark_anew(engine: sa.Engine, row: Stored) -> None:
    """The row's message is gone or can no longer be edited: post it as a new one."""
    _set(engine, row.id, state="stored", ts=None, shown=0, attempts=0, not_before=None)


def mark_failed(engine: sa.Engine, row: Stored, *, error: str) -> None:
    """Slack will never take this message; it stands in the store and in `updraft status`."""
    _set(engine, row.id, state="failed", error=error)


def mark_quiet(engine: sa.Engine, rows: Sequence[Stored]) -> None:
    """The rows are not to be sent; a message that is there already stays as it is."""
    sent = [row.id for row in rows if row.ts]
    quiet = [row.id for row in rows if not row.ts]
    with engine.begin() as connection:
        connection.execute(sa.update(alerts).where(alerts.c.id.in_(sent)).values(shown=alerts.c.count))
        connection.execute(sa.update(alerts).where(alerts.c.id.in_(quiet)).values(state="quiet"))


def thread_ts(engine: sa.Engine, row: Stored, *, channel: str) -> str | None:
    """Slack's id of the first message of the row's thread in the channel; None when the row opens it."""
    if row.alert.thread is None:
        return None
    c = alerts.c
    query = (
        sa.select(c.ts)
        .where(
            c.project == row.alert.project,
            c.thread == row.alert.thread,
            c.channel == channel,
            c.ts.is_not(None),
            c.id != row.id,
        )
        .order_by(c.id)
        .limit(1)
    )
    with engine.connect() as connection:
        found = connection.execute(query).scalar()
    return None if found is None else str(found)


def channel_id(engine: sa.Engine, channel: str) -> str | None:
    """Slack's id of a channel, from a message that went there; None before the first one."""
    c = alerts.c
    query = (
        sa.select(c.channel_id).where(c.channel == channel, c.channel_id.is_not(None)).order_by(c.id.desc()).limit(1)
    )
    with engine.connect() as connection:
        found = connection.execute(query).scalar()
    return None if found is None else str(found)


def _set(engine: sa.Engine, row: int, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(alerts).where(alerts.c.id == row).values(**values))


def _read(engine: sa.Engine, query: sa.Select[Any]) -> list[Stored]:
    c = alerts.c
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
        heads = [row["id"] for row in rows if row["count"] > 1]
        folded = sa.select(alerts).where(c.folded_into.in_(heads)).order_by(c.id)
        latest = {row["folded_into"]: row for row in connection.execute(folded).mappings()} if heads else {}
    return [_stored(row, latest.get(row["id"], row)) for row in rows]


def _stored(row: dict[str, Any], event: Any) -> Stored:
    own = {name: row[name] for name in ("project", "kind", "dedup", "thread", "fold")}
    told = {name: event[name] for name in _FIELDS if name not in own}
    kept = {field.name: row[field.name] for field in fields(Stored) if field.name != "alert"}
    kept |= {name: _utc(row[name]) for name in ("tried_at", "not_before", "written_at")}
    return Stored(alert=Alert(**own, **told), **kept)


def _utc(moment: datetime | None) -> datetime | None:
    """SQLite keeps no time zone; what is written here is UTC."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

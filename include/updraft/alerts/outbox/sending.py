"""What a sender does: be the only one, say what it has in hand, and what became of it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from updraft.alerts.outbox.recording import set_on
from updraft.alerts.outbox.rows import Stored
from updraft.store.tables import alerts

# First number of PostgreSQL's two-number advisory lock; the second is the hash of the project.
_DELIVERING = 20130109


_LOCAL: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)


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
    # What was mended while the message was on its way is still to be shown.
    mended_since = alerts.c.resolved_at.is_not(None) if row.resolved_at is None else sa.false()
    shows = sa.case((mended_since, 0), else_=shown)
    _set(engine, row.id, state="sent", **place, shown=shows, error=None, attempts=0, not_before=None)


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


def mark_digest(engine: sa.Engine, rows: Sequence[Stored]) -> None:
    """The rows are routine, and wait for the digest of their week."""
    with engine.begin() as connection:
        mine = alerts.c.id.in_([row.id for row in rows])
        connection.execute(sa.update(alerts).where(mine).values(state="digest", error=None))


def mark_unsent(engine: sa.Engine, rows: Sequence[Stored]) -> None:
    """The rows grew too old to be sent while there was no connection."""
    with engine.begin() as connection:
        mine = alerts.c.id.in_([row.id for row in rows])
        connection.execute(sa.update(alerts).where(mine).values(state="unsent"))


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
        ts = connection.execute(query).scalar()
    return None if ts is None else str(ts)


def channel_id(engine: sa.Engine, channel: str) -> str | None:
    """Slack's id of a channel, from a message that went there; None before the first one."""
    c = alerts.c
    query = (
        sa.select(c.channel_id).where(c.channel == channel, c.channel_id.is_not(None)).order_by(c.id.desc()).limit(1)
    )
    with engine.connect() as connection:
        known = connection.execute(query).scalar()
    return None if known is None else str(known)


def _set(engine: sa.Engine, row: int, **values: Any) -> None:
    with engine.begin() as connection:
        set_on(connection, row, **values)

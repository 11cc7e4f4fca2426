"""Alerts in the store: each event once, duplicates folded, and what has become of each.

States of a row: ``stored`` (waits to be sent) → ``sending`` (a sender has it in hand, or died with it) → ``sent``;
``failed`` (Slack will never take it), ``quiet`` (not to be sent: the project does not ask for it, or it is old news),
``folded`` (its event is shown by the row ``folded_into``), ``digest`` (routine: waits to be summed up), ``told`` (the row
``folded_into`` sums it up), ``unsent`` (grew too old to be sent while there was no connection; it is still to be summed up).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from updraft.alerts import messages, policy
from updraft.alerts.alert import ONCE, Alert, fitted_key, fitted_project
from updraft.files import canonical_hash
from updraft.store.base import upsert
from updraft.store.tables import OPEN, UNSENT, alerts

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
    resolved_at: datetime | None
    """When what it tells was mended."""

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

    The same event (``project``, ``dedup``) again changes nothing, unless it was mended since: then it is another one (but for those
    that happen :data:`ONCE`). An event whose fold has a message of the last :data:`policy.FOLD_WINDOW` joins it and counts there.
    """
    now = now or datetime.now(UTC)
    c = alerts.c
    with engine.begin() as connection:
        _lock(connection, alert.project)  # two first events of a fold at once would both become its head
        row, shown_by, new = _insert(connection, alert, now)
        while not new and alert.entry not in ONCE and _mended_before(connection, row, now):
            alert = replace(alert, dedup=f"{alert.dedup}:{row}")
            row, shown_by, new = _insert(connection, alert, now)
        if not new:
            return shown_by
        head = _head(connection, alert, row, now) if alert.fold else None
        if head is None:
            if alert.incident and not alert.thread:
                _set_on(connection, row, thread=_thread_of_incident(connection, alert, row, now))
            return row
        _set_on(connection, row, state="folded", folded_into=head)
        _set_on(connection, head, count=c.count + 1)
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
        _lock(connection, project)
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
            _insert(connection, reply, now)
    return bool(rows)


def standing_open(engine: sa.Engine, *, project: str | None = None, entry: str) -> list[Alert]:
    """Alerts of an entry that belong to an incident and are not mended, oldest first.

    :param project: None for those of every project.
    """
    c = alerts.c
    query = sa.select(alerts).where(sa.text(f"({OPEN})"), c.entry == entry).order_by(c.id)
    if project is not None:
        query = query.where(c.project == fitted_project(project))
    with engine.connect() as connection:
        return [_alert(row) for row in connection.execute(query).mappings()]


def sum_up_week(engine: sa.Engine, project: str, *, until: datetime) -> int | None:
    """Record the digest of the routine alerts from before ``until``, the begin of a week; None when there are none, or it was recorded before.

    It and what it sums up are written in one transaction: killed half way, nothing has happened, and done twice it is done once.
    What is recorded late for a week that was summed up waits for the next digest.
    """
    c = alerts.c
    project = fitted_project(project)
    with engine.begin() as connection:
        _lock(connection, project)
        due = sa.and_(c.project == project, c.state == "digest", c.written_at < until)
        rows = connection.execute(sa.select(alerts).where(due).order_by(c.id)).mappings().all()
        if not rows:
            return None
        routine = [_alert(row) for row in rows]
        since = min(_utc(row["written_at"]) or until for row in rows)
        digest = messages.digest(project, since=since.date(), until=until.date(), alerts=routine)
        row, _, new = _insert(connection, digest, datetime.now(UTC))
        if not new:
            return None
        told = c.id.in_([told_of["id"] for told_of in rows])
        connection.execute(sa.update(alerts).where(told).values(state="told", folded_into=row))
        return row


def sum_up_backlog(
    engine: sa.Engine, project: str, *, old: Sequence[Stored], follow: Sequence[Stored], now: datetime
) -> None:
    """Record what stood in the store while Slack could not be reached, in one alert, which takes in one that was not sent either.

    :param old: rows that are too old to be sent; they are marked quiet. :param follow: those that are sent after it.
    """
    c = alerts.c
    project = fitted_project(project)
    with engine.begin() as connection:
        _lock(connection, project)
        ids = [row.id for row in old]
        before = connection.execute(
            sa.select(c.id).where(c.project == project, c.state == "stored", c.entry == "backlog")
        ).scalars()
        taken_in = [int(row) for row in before]
        summed_up = sa.or_(c.id.in_(ids), c.folded_into.in_(taken_in))
        rows = connection.execute(sa.select(alerts).where(summed_up).order_by(c.id)).mappings().all()
        unmended = [_alert(row) for row in rows if row["incident"] and row["resolved_at"] is None]
        backlog = messages.backlog(
            project,
            first=min([*(row["id"] for row in rows), *(row.id for row in follow)]),
            old=[_alert(row) for row in rows],
            follow=len(follow),
            unmended=unmended,
        )
        row, _, _ = _insert(connection, backlog, now)
        quiet = [waiting["id"] for waiting in rows if not waiting["ts"]]
        connection.execute(sa.update(alerts).where(c.id.in_(quiet)).values(state="quiet", folded_into=row, error=None))
        superseded = [number for number in taken_in if number != row]
        connection.execute(sa.update(alerts).where(c.id.in_(superseded)).values(state="quiet", folded_into=row))
        sent_next = c.id.in_([alert.id for alert in follow])
        connection.execute(sa.update(alerts).where(sent_next).values(error=None, attempts=0, tried_at=None))


def _lock(connection: sa.Connection, project: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_RECORDING, sa.func.hashtext(project))))


def _insert(connection: sa.Connection, alert: Alert, now: datetime) -> tuple[int, int, bool]:
    """The event's row, the row whose message shows it, and whether it is new."""
    c = alerts.c
    values = {name: getattr(alert, name) for name in _FIELDS} | {"links": dict(alert.links)}
    new = upsert(connection, alerts, {**values, "state": "stored", "written_at": now})
    query = sa.select(c.id, c.folded_into).where(c.project == alert.project, c.dedup == alert.dedup)
    row = connection.execute(query).one()
    return int(row.id), int(row.folded_into or row.id), bool(new)


def _mended_before(connection: sa.Connection, row: int, now: datetime) -> bool:
    mended = _utc(connection.execute(sa.select(alerts.c.resolved_at).where(alerts.c.id == row)).scalar())
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
    own = sa.and_(c.project == fitted_project(project), c.state != "folded")
    query = sa.select(alerts).where(own).order_by(c.id.desc()).limit(limit)
    return _read(engine, query)


def standing(
    engine: sa.Engine, project: str, *, limit: int = 10, now: datetime | None = None, connected: bool = False
) -> Standing:
    """What is to be told about a project's alerts: how many wait, what is wrong (each thing once), the latest.

    :param connected: whether Airflow is known to have a connection by now, so that a want of one is over.
    """
    waiting, unsent = pending(engine, project), stood_unsent(engine, project)
    c = alerts.c
    lately = c.written_at > (now or datetime.now(UTC)) - policy.FAILED_IS_TOLD_FOR
    refused = sa.and_(c.project == fitted_project(project), c.state == "failed", lately)
    failed = _read(engine, sa.select(alerts).where(refused).order_by(c.id))
    codes = dict.fromkeys(row.error for row in (*waiting, *unsent, *failed) if row.error)
    if connected:
        codes.pop(policy.NO_CONNECTION, None)
    return Standing(
        waiting=len(waiting) + len(unsent),
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


def stood_unsent(engine: sa.Engine, project: str) -> list[Stored]:
    """Rows that grew old while there was no connection, and that nobody was told of since."""
    c = alerts.c
    unsent = sa.and_(c.project == fitted_project(project), c.state == "unsent")
    return _read(engine, sa.select(alerts).where(unsent).order_by(c.id))


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
        _set_on(connection, row, **values)


def _set_on(connection: sa.Connection, row: int, **values: Any) -> None:
    connection.execute(sa.update(alerts).where(alerts.c.id == row).values(**values))


def _read(engine: sa.Engine, query: sa.Select[Any]) -> list[Stored]:
    c = alerts.c
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
        heads = [row["id"] for row in rows if row["count"] > 1]
        folded = sa.select(alerts).where(c.folded_into.in_(heads), c.state == "folded").order_by(c.id)
        latest = {row["folded_into"]: row for row in connection.execute(folded).mappings()} if heads else {}
    return [_stored(row, latest.get(row["id"], row)) for row in rows]


def _stored(row: dict[str, Any], event: Any) -> Stored:
    own = {name: row[name] for name in ("project", "kind", "dedup", "thread", "fold", "incident", "part")}
    told = {name: event[name] for name in _FIELDS if name not in own}
    kept = {field.name: row[field.name] for field in fields(Stored) if field.name != "alert"}
    kept |= {name: _utc(row[name]) for name in ("tried_at", "not_before", "written_at", "resolved_at")}
    return Stored(alert=Alert(**own, **told), **kept)


def _alert(row: Any) -> Alert:
    return Alert(**{name: row[name] for name in _FIELDS})


def _utc(moment: datetime | None) -> datetime | None:
    """SQLite keeps no time zone; what is written here is UTC."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

"""What the store has of alerts: rows as they are read, and the questions that are asked of them.

States of a row: ``stored`` (waits to be sent) → ``sending`` (a sender has it in hand, or died with it) → ``sent``;
``failed`` (Slack will never take it), ``quiet`` (not to be sent: the project does not ask for it, or it is old news),
``folded`` (its event is shown by the row ``folded_into``), ``digest`` (routine: waits to be summed up), ``told`` (the row
``folded_into`` sums it up), ``unsent`` (grew too old to be sent while there was no connection; it is still to be summed up).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from updraft.alerts import policy
from updraft.alerts.alert import Alert, fitted_project
from updraft.files import canonical_hash
from updraft.store.base import in_utc
from updraft.store.tables import OPEN, UNSENT, alerts

FIELDS = tuple(field.name for field in fields(Alert))


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


def standing_open(engine: sa.Engine, *, project: str | None = None, entry: str) -> list[Alert]:
    """Alerts of an entry that belong to an incident and are not mended, oldest first.

    :param project: None for those of every project.
    """
    c = alerts.c
    query = sa.select(alerts).where(sa.text(f"({OPEN})"), c.entry == entry).order_by(c.id)
    if project is not None:
        query = query.where(c.project == fitted_project(project))
    with engine.connect() as connection:
        return [alert_of(row) for row in connection.execute(query).mappings()]


def pending(engine: sa.Engine, project: str | None = None) -> list[Stored]:
    """Rows whose message is still to be sent, or to be updated, in the order of their events."""
    c = alerts.c
    query = sa.select(alerts).where(sa.text(f"({UNSENT})"))
    return read(
        engine, (query if project is None else query.where(c.project == fitted_project(project))).order_by(c.id)
    )


@dataclass(frozen=True)
class Undelivered:
    """Of a project: what on-call has not been told."""

    messages: int
    """That have not reached Slack, those that grew too old to be sent included."""
    oldest: datetime | None
    """When the event of the oldest of them was recorded."""
    incidents: int
    """That are open: what went wrong and is not mended, told or not."""


def count_undelivered(engine: sa.Engine, project: str) -> Undelivered:
    """Count, without reading the rows; each part of the question is answered by an index of its own."""
    c, own = alerts.c, alerts.c.project == fitted_project(project)
    kept = [
        sa.select(sa.func.count().label("messages"), sa.func.min(c.written_at).label("oldest")).where(own, state)
        for state in (sa.text(f"({UNSENT})"), c.state == "unsent")
    ]
    open_incidents = sa.select(sa.func.count(c.incident.distinct())).where(own, sa.text(f"({OPEN})"))
    with engine.connect() as connection:
        rows = connection.execute(sa.union_all(*kept)).all()
        incidents = connection.execute(open_incidents).scalar_one()
    moments = [in_utc(row.oldest) for row in rows if row.oldest is not None]
    return Undelivered(sum(row.messages for row in rows), min(moments, default=None), incidents)


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
    return read(engine, query)


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
    failed = read(engine, sa.select(alerts).where(refused).order_by(c.id))
    codes = dict.fromkeys(row.error for row in (*waiting, *unsent, *failed) if row.error)
    if connected:
        codes.pop(policy.NO_CONNECTION, None)
    return Standing(
        waiting=len(waiting) + len(unsent),
        failed=len(failed),
        problems=tuple(policy.explained(code) for code in codes),
        latest=tuple(recent(engine, project, limit=limit)),
    )


def stood_unsent(engine: sa.Engine, project: str) -> list[Stored]:
    """Rows that grew old while there was no connection, and that nobody was told of since."""
    c = alerts.c
    unsent = sa.and_(c.project == fitted_project(project), c.state == "unsent")
    return read(engine, sa.select(alerts).where(unsent).order_by(c.id))


def read(engine: sa.Engine, query: sa.Select[Any]) -> list[Stored]:
    c = alerts.c
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
        heads = [row["id"] for row in rows if row["count"] > 1]
        folded = sa.select(alerts).where(c.folded_into.in_(heads), c.state == "folded").order_by(c.id)
        latest = {row["folded_into"]: row for row in connection.execute(folded).mappings()} if heads else {}
    return [_stored(row, latest.get(row["id"], row)) for row in rows]


def _stored(row: dict[str, Any], event: Any) -> Stored:
    own = {name: row[name] for name in ("project", "kind", "dedup", "thread", "fold", "incident", "part")}
    told = {name: event[name] for name in FIELDS if name not in own}
    kept = {field.name: row[field.name] for field in fields(Stored) if field.name != "alert"}
    kept |= {name: utc(row[name]) for name in ("tried_at", "not_before", "written_at", "resolved_at")}
    return Stored(alert=Alert(**own, **told), **kept)


def alert_of(row: Any) -> Alert:
    return Alert(**{name: row[name] for name in FIELDS})


def utc(moment: datetime | None) -> datetime | None:
    """A moment of a row, in UTC; None of none."""
    return None if moment is None else in_utc(moment)

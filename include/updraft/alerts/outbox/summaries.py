"""What is not told one by one: the routine of a week, and what stood in the store while Slack could not be reached."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from updraft.alerts import messages
from updraft.alerts.alert import fitted_project
from updraft.alerts.outbox.recording import insert, lock
from updraft.alerts.outbox.rows import Stored, alert_of, utc
from updraft.store.tables import alerts


def sum_up_week(engine: sa.Engine, project: str, *, until: datetime) -> int | None:
    """Record the digest of the routine alerts from before ``until``, the begin of a week; None when there are none, or it was recorded before.

    It and what it sums up are written in one transaction: killed half way, nothing has happened, and done twice it is done once.
    What is recorded late for a week that was summed up waits for the next digest.
    """
    c = alerts.c
    project = fitted_project(project)
    with engine.begin() as connection:
        lock(connection, project)
        due = sa.and_(c.project == project, c.state == "digest", c.written_at < until)
        rows = connection.execute(sa.select(alerts).where(due).order_by(c.id)).mappings().all()
        if not rows:
            return None
        routine = [alert_of(row) for row in rows]
        since = min(utc(row["written_at"]) or until for row in rows)
        digest = messages.digest(project, since=since.date(), until=until.date(), alerts=routine)
        row, _, new = insert(connection, digest, datetime.now(UTC))
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
        lock(connection, project)
        ids = [row.id for row in old]
        before = connection.execute(
            sa.select(c.id).where(c.project == project, c.state == "stored", c.entry == "backlog")
        ).scalars()
        taken_in = [int(row) for row in before]
        summed_up = sa.or_(c.id.in_(ids), c.folded_into.in_(taken_in))
        rows = connection.execute(sa.select(alerts).where(summed_up).order_by(c.id)).mappings().all()
        unmended = [alert_of(row) for row in rows if row["incident"] and row["resolved_at"] is None]
        backlog = messages.backlog(
            project,
            first=min([*(row["id"] for row in rows), *(row.id for row in follow)]),
            old=[alert_of(row) for row in rows],
            follow=len(follow),
            unmended=unmended,
        )
        row, _, _ = insert(connection, backlog, now)
        quiet = [waiting["id"] for waiting in rows if not waiting["ts"]]
        connection.execute(sa.update(alerts).where(c.id.in_(quiet)).values(state="quiet", folded_into=row, error=None))
        superseded = [number for number in taken_in if number != row]
        connection.execute(sa.update(alerts).where(c.id.in_(superseded)).values(state="quiet", folded_into=row))
        sent_next = c.id.in_([alert.id for alert in follow])
        connection.execute(sa.update(alerts).where(sent_next).values(error=None, attempts=0, tried_at=None))

"""How well a project delivers: how often, how soon, how often in vain and for how long, by month (the four keys of DORA), from its decisions.

Time is that of the ticks, so that a history that is replayed in minutes has the figures that it would have had.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from updraft.control.view import View
from updraft.data.partitions import KEY_FORMAT, tick_of
from updraft.store.records import Decision
from updraft.store.store import Store

YEAR = timedelta(days=365)
MOST = 400
"""Promotions and reinstatements, and rollbacks, that are looked at: the newest ones. More than one a day."""
_DAY = timedelta(days=1)


class Delivered(View):
    """What was delivered in a month, or in all of them."""

    month: str
    """``2013-03``; empty of all."""
    promotions: int
    """Versions that began to serve by their release: refreshes and changes."""
    changes: int
    """Those of them that were more than the same recipe on newer data."""
    data_days: float | None
    """Median days from the newest tick that a version learnt from to the tick at which it began to serve; None without a promotion."""
    change_days: float | None
    """Median days from the opening of a change's release to its promotion; None without a change."""
    taken_back: int
    """Promoted versions of this month that were taken back since, by the evidence or by a person, and not reinstated."""
    failure_rate: float | None
    """Share of the month's promotions that were taken back; None without a promotion."""
    restore_days: float | None
    """Median days for which a version had served that was taken back in this month; None where none was."""


class Delivery(View):
    """A year of deliveries of one project."""

    project: str
    until: str | None
    """The newest tick of the project, with which the year ends; None before the first."""
    months: tuple[Delivered, ...]
    """Months in which something was promoted or taken back, the newest first."""
    year: Delivered | None
    """All of them together; None where nothing was promoted or taken back."""


@dataclass(frozen=True)
class _Promotion:
    month: str
    change: bool
    data: timedelta | None
    since_opening: timedelta | None
    taken_back: bool


@dataclass(frozen=True)
class _TakenBack:
    month: str
    after: timedelta | None
    """How long it had served; None where its promotion is older than what is looked at."""


def read_delivery(store: Store, project: str, *, most: int = MOST) -> Delivery:
    """The figures of the year up to a project's newest tick. What is read does not grow with the history.

    :param most: beginnings of serving, and rollbacks, that are looked at.
    """
    newest = store.newest_partition(project, state=None)
    if newest is None:
        return Delivery(project=project, until=None, months=(), year=None)
    since = (tick_of(newest) - YEAR).strftime(KEY_FORMAT)
    begun = store.newest_decisions(project, ("promote", "reinstate"), most)
    rollbacks = store.newest_decisions(project, ("roll_back",), most)
    within = [decision for decision in begun if decision.kind == "promote" and decision.key > since]
    learnt_at = store.learnt_at(project, [str(decision.body["version"]) for decision in within])
    opened_at = store.releases_counted_from(project, [decision.subject for decision in within])
    last_begun = {str(decision.body["version"]): decision.seq for decision in begun}
    last_taken_back = {str(decision.body["previous"]): decision.seq for decision in rollbacks}
    promotions = [
        _Promotion(
            month=_month(decision),
            change=decision.body["lane"] == "change",
            data=_between(learnt_at.get(str(decision.body["version"])), decision.key),
            since_opening=_between(opened_at.get(decision.subject), decision.key),
            taken_back=last_taken_back.get(str(decision.body["version"]), 0)
            > last_begun[str(decision.body["version"])],
        )
        for decision in within
    ]
    takings = [
        _TakenBack(_month(decision), _between(_served_since(begun, decision), decision.key))
        for decision in rollbacks
        if decision.key > since
    ]
    months = sorted({p.month for p in promotions} | {t.month for t in takings}, reverse=True)
    return Delivery(
        project=project,
        until=newest,
        months=tuple(
            _delivered(month, [p for p in promotions if p.month == month], [t for t in takings if t.month == month])
            for month in months
        ),
        year=_delivered("", promotions, takings) if months else None,
    )


def _delivered(month: str, promotions: Sequence[_Promotion], takings: Sequence[_TakenBack]) -> Delivered:
    changes = [promotion for promotion in promotions if promotion.change]
    taken_back = sum(promotion.taken_back for promotion in promotions)
    return Delivered(
        month=month,
        promotions=len(promotions),
        changes=len(changes),
        data_days=_median_days(promotion.data for promotion in promotions),
        change_days=_median_days(promotion.since_opening for promotion in changes),
        taken_back=taken_back,
        failure_rate=taken_back / len(promotions) if promotions else None,
        restore_days=_median_days(taking.after for taking in takings),
    )


def _served_since(begun: Sequence[Decision], rollback: Decision) -> str | None:
    """The tick at which a version that was taken back had begun to serve; None where that is older than what is looked at."""
    version = str(rollback.body["previous"])
    keys = [before.key for before in begun if before.seq < rollback.seq and str(before.body["version"]) == version]
    return keys[-1] if keys else None


def _month(decision: Decision) -> str:
    return f"{tick_of(decision.key):%Y-%m}"


def _between(first: str | None, last: str) -> timedelta | None:
    return None if first is None else tick_of(last) - tick_of(first)


def _median_days(spans: Iterable[timedelta | None]) -> float | None:
    known = [span / _DAY for span in spans if span is not None]
    return median(known) if known else None

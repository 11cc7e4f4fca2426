"""Every project in one row: its state and why, what serves and how well, its data, what is under way and what comes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from updraft.control.release import bound_so_far
from updraft.control.situation import NEEDS_PERSON, STATES, Situation, State, read_situation
from updraft.control.view import View, finite
from updraft.loop.context import Loop
from updraft.loop.outlook import OpenRelease, release_outlook
from updraft.spec.load import BrokenProject
from updraft.spec.model import ProjectSpec
from updraft.store.records import PerformanceRow
from updraft.store.store import Store

NEWEST = 26
"""Measured partitions that a row's line of losses shows."""


class LossPoint(View):
    """The loss of what served on one partition, on the rows whose labels are known."""

    key: str
    version: str
    loss: float
    rows: int


class DriftNow(View):
    """How far the newest partition is from the reference."""

    key: str
    score: float | None
    """The largest standardised distance over the columns; None while it cannot be told."""
    threshold: float | None
    column: str | None
    alarm: bool
    words: str


class Rows(View):
    """What became of the rows of a partition."""

    key: str
    state: str
    published: int
    quarantined: int


class UnderWay(View):
    """An open release."""

    id: str
    version: str
    lane: str
    state: str
    partitions: int
    at_most: int | None
    """Partitions after which its state ends at the latest; None where a person ends it."""
    lower: float | None
    upper: float | None
    """The bound on its mean gain so far; None before the first look."""
    words: str
    """What becomes of it next."""


class FleetRow(View):
    """One project."""

    project: str
    owner: str
    description: str
    tags: tuple[str, ...]
    task: str
    state: State
    needs_person: bool
    reason: str
    champion: str | None
    since: str | None
    """The tick at which the champion began to serve."""
    serves_for: int | None
    """Partitions published since."""
    metric: str
    losses: tuple[LossPoint, ...]
    loss_at_promotion: float | None
    """Of the champion on the holdout that it was proved on."""
    drift: DriftNow | None
    rows: Rows | None
    kept_out: int
    kept_out_of: int
    under_way: tuple[UnderWay, ...]
    trainings_left: int | None
    """Of the policy's budget of a year; None where the policy never retrains."""
    trainings_per_year: int | None
    next: str
    """What comes next by the schedule."""


class Fleet(View):
    """Every project that the person may see."""

    as_of: datetime
    rows: tuple[FleetRow, ...]
    """Those that need a person first."""
    states: dict[State, int]
    """How many projects are in each state."""
    owners: tuple[str, ...]
    tags: tuple[str, ...]


def make_fleet(rows: Sequence[FleetRow], now: datetime) -> Fleet:
    """Rows in the order in which they are shown, with what they may be filtered by."""
    ordered = sorted(rows, key=lambda row: (STATES.index(row.state), row.project))
    counts = Counter(row.state for row in ordered)
    return Fleet(
        as_of=now,
        rows=tuple(ordered),
        states={state: counts[state] for state in STATES if counts[state]},
        owners=tuple(sorted({row.owner for row in ordered if row.owner})),
        tags=tuple(sorted({tag for row in ordered for tag in row.tags})),
    )


def read_row(loop: Loop, now: datetime) -> FleetRow:
    """One project's row, from the store."""
    return row_of(loop, read_situation(loop, now))


def row_of(loop: Loop, situation: Situation) -> FleetRow:
    """The same, where it was read already how the project stands."""
    store, spec = loop.store, loop.spec
    name, serving, standing = spec.name, situation.serving, situation.standing
    retrain = spec.monitoring.remedies.retrain
    serves_for = None
    if serving.since is not None:
        serves_for = store.count_published(name, after=serving.since, until=standing.published or serving.since)
    return FleetRow(
        **_of_spec(spec),
        state=situation.state,
        needs_person=situation.state in NEEDS_PERSON,
        reason=situation.reason,
        champion=serving.champion,
        since=serving.since,
        serves_for=serves_for,
        losses=tuple(loss_points(store.performance(name, newest=NEWEST), spec.loss_metric.name)),
        loss_at_promotion=loss_at_promotion(store, spec, serving.champion),
        drift=drift_now(store, name),
        rows=newest_rows(store, name, standing.newest),
        kept_out=situation.kept_out.partitions,
        kept_out_of=situation.kept_out.of,
        under_way=tuple(under_way(loop, release, situation) for release in standing.releases),
        trainings_left=trainings_left(situation),
        trainings_per_year=retrain.per_year if retrain else None,
        next=situation.next[0],
    )


def _of_spec(spec: ProjectSpec) -> dict[str, Any]:
    return {
        "project": spec.name,
        "owner": spec.owner,
        "description": spec.description,
        "tags": spec.tags,
        "task": spec.task,
        "metric": spec.loss_metric.name,
    }


def broken_row(project: BrokenProject) -> FleetRow:
    """The row of a project whose folder is wrong."""
    first, others = project.problems[0], len(project.problems) - 1
    more = f" (and {others} more)" if others else ""
    return FleetRow(
        project=project.name,
        owner="",
        description="",
        tags=(),
        task="",
        metric="",
        state="broken",
        needs_person=True,
        reason=f"{first}{more}",
        champion=None,
        since=None,
        serves_for=None,
        losses=(),
        loss_at_promotion=None,
        drift=None,
        rows=None,
        kept_out=0,
        kept_out_of=0,
        under_way=(),
        trainings_left=None,
        trainings_per_year=None,
        next=f"mend its folder: `updraft validate {project.name}`",
    )


def loss_points(performance: Iterable[PerformanceRow], metric: str) -> list[LossPoint]:
    """The losses of partitions in order, without those that have none."""
    measured = ((row, finite(row.metrics.get(metric))) for row in performance)
    return [
        LossPoint(key=row.key, version=row.version, loss=loss, rows=row.rows)
        for row, loss in measured
        if loss is not None
    ]


def loss_at_promotion(store: Store, spec: ProjectSpec, version: str | None) -> float | None:
    """What a version lost on the holdout that it was proved on; None where that is not known."""
    training = store.training_of(spec.name, version)
    if training is None:
        return None
    metrics = (training.result.get("gates") or {}).get("metrics") or {}
    return finite((metrics.get(spec.loss_metric.name) or {}).get("candidate"))


def drift_now(store: Store, project: str) -> DriftNow | None:
    """What the newest tick that was looked at says of drift; None before the first."""
    newest = store.newest_decisions(project, ("diagnose",), 1)
    if not newest or not newest[0].body.get("drift"):
        return None
    drift = newest[0].body["drift"]
    return DriftNow(
        key=newest[0].key,
        score=finite(drift.get("score")),
        threshold=finite(drift.get("threshold")),
        column=drift.get("column"),
        alarm=bool(drift.get("alarm")),
        words=str(drift.get("reason", "")),
    )


def trainings_left(situation: Situation) -> int | None:
    """Of the policy's budget of a year; None where the policy never retrains."""
    retrain, past = situation.spec.monitoring.remedies.retrain, situation.standing.past
    return None if retrain is None else max(retrain.per_year - (past.trained_this_year if past else 0), 0)


def newest_rows(store: Store, project: str, key: str | None) -> Rows | None:
    """What became of the rows of the newest partition; None before it is ingested.

    :param key: of that partition.
    """
    row = store.partition_row(project, key) if key is not None else None
    if row is None:
        return None
    return Rows(key=row.key, state=row.state, published=row.rows, quarantined=row.quarantined)


def under_way(loop: Loop, release: OpenRelease, situation: Situation) -> UnderWay:
    """An open release for people."""
    row, policy = release.row, loop.spec.release
    longest = {
        ("change", "shadow"): policy.change.shadow.at_most,
        ("refresh", "shadow"): policy.refresh.shadow,
        ("refresh", "probation"): policy.refresh.longest_probation,
    }
    so_far = bound_so_far(loop, row)
    return UnderWay(
        id=row.id,
        version=row.version,
        lane=row.lane,
        state=row.state,
        partitions=release.partitions,
        at_most=longest.get((row.lane, row.state)),
        lower=finite(so_far.lower) if so_far else None,
        upper=finite(so_far.upper) if so_far else None,
        words=release_outlook(situation.spec, release, situation.standing),
    )

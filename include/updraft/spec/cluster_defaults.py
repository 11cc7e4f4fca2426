"""What a policy leaves unsaid about evidence follows from its schedule: enough clusters, however short the partitions are.

A weekly partition holds seven days; a daily one holds a single day, an hourly one a 24th of it. With two partitions as holdout, as is right
for weeks, nothing could ever be shown of days. So where partitions are shorter than a day the cluster is the hour, and whatever is counted
in partitions is as many as hold the clusters that it needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter, ValidationError

from updraft.spec.part import Duration
from updraft.tasks.clusters import FEWEST_CLUSTERS, FIRST_LOOK

LENGTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
"""Length of the clusters that are times."""
WINDOW, FIRST_AFTER, HOLDOUT, PROBATION, LAYER_WINDOW, AT_LEAST, AT_MOST = 26, 8, 2, 4, 2, 2, 12
"""Partitions, where each holds enough clusters: `training.window`, `training.first_after`, `release.refresh.holdout` and `.probation`,
`monitoring.remedies.recalibrate.window`, `release.change.shadow.at_least` and `.at_most`, which also is
`release.refresh.probation_at_most`."""
EVERY, COOLDOWN, PER_YEAR = 4, 2, 12
"""`monitoring.remedies.retrain.every` and `.cooldown`, in partitions, and the least that `.per_year` is. Where a year has more than 48
partitions the budget is a training for every fourth one: twelve would be spent before the year is over, and nothing learnt for the rest of it."""
RATED_OVER = 28
"""Partitions over which such a budget holds as well (`.at_most`): it is meant to last, and triggers could spend all of it in a few months."""
DAYS_OF_A_YEAR = 365.25
TO_PROMOTE = 32
"""Clusters after which half of all changes that gain half a standard deviation are promoted (docs/verdict.md)."""


@lru_cache(maxsize=256)
def clusters_per_partition(schedule: str, cluster: str) -> float | None:
    """Clusters that the shortest partition of a schedule holds, a fraction where several partitions share one; None of a column's values."""
    from croniter import croniter

    if cluster not in LENGTHS:
        return None
    ticks = croniter(schedule, datetime(2024, 1, 1, tzinfo=UTC))
    moments: list[datetime] = [ticks.get_next(datetime) for _ in range(60)]
    shortest = min(later - earlier for earlier, later in pairwise(moments))
    return shortest / LENGTHS[cluster]


def partitions_with(clusters: int, per_partition: float | None) -> int:
    """Partitions that hold so many clusters; one of a column's values, of which nothing is known beforehand."""
    return 1 if per_partition is None else math.ceil(round(clusters / per_partition, 6))


@lru_cache(maxsize=256)
def partitions_a_year(schedule: str) -> float:
    """How many partitions a schedule makes in a year, by the mean of its gaps."""
    from croniter import croniter

    ticks = croniter(schedule, datetime(2024, 1, 1, tzinfo=UTC))
    moments: list[datetime] = [ticks.get_next(datetime) for _ in range(60)]
    return timedelta(days=DAYS_OF_A_YEAR) / ((moments[-1] - moments[0]) / (len(moments) - 1))


def partitions_without_labels(schedule: str, matures_after: timedelta) -> int:
    """The newest whole partitions whose labels have not matured yet."""
    days = clusters_per_partition(schedule, "day")
    return math.floor(round(matures_after / timedelta(days=1) / days, 6)) if days else 0


def with_defaults(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A policy as a person wrote it, with what its schedule says of the keys about evidence that it leaves out.

    Nothing is added where the schedule is none: the error says so elsewhere.
    """
    told = dict(spec)
    schedule, release = _at(told, "data").get("schedule"), told.get("release", {})
    if not isinstance(schedule, str) or not isinstance(release, dict) or len(schedule.split()) != 5:
        return told
    try:
        pace = _Pace.of(told, schedule, release)
    except (ValueError, KeyError):  # croniter's own errors are of the first kind
        return told
    for path, value, usual in (*_of_evidence(told, pace), *_of_shadow(told, pace), *_of_rhythm(told, pace)):
        if value != usual:
            told = _added(told, path, value)
    return told


_Default = tuple[tuple[str, ...], object, object]
"""A key, what the schedule says of it, and what it is where partitions hold enough clusters."""


@dataclass(frozen=True)
class _Pace:
    """What a schedule brings."""

    days: float | None
    """Length of its shortest partition."""
    per_partition: float | None
    """Clusters of its shortest partition."""
    late: int
    """Partitions that pass before the labels of one have matured, but for the first of them."""
    a_year: float

    @classmethod
    def of(cls, spec: Mapping[str, Any], schedule: str, release: Mapping[str, Any]) -> _Pace:
        """:raises ValueError: when the schedule is none."""
        days = clusters_per_partition(schedule, "day")
        per_partition = clusters_per_partition(schedule, str(release.get("cluster", _cluster(days))))
        try:
            matures_after = TypeAdapter(Duration).validate_python(_at(spec, "data", "label").get("matures_after", "1d"))
        except ValidationError:  # told elsewhere
            matures_after = timedelta()
        late = max(0, partitions_without_labels(schedule, matures_after) - 1)
        return cls(days, per_partition, late, partitions_a_year(schedule))


def _of_evidence(spec: Mapping[str, Any], pace: _Pace) -> Iterator[_Default]:
    """Clusters, and the windows that hold some: of a holdout, a probation, a layer, a first model."""
    training = _at(spec, "training")
    window = _partitions(training.get("window"), WINDOW)
    first_after = _partitions(training.get("first_after"), window)
    most = min(window // 2, first_after - 1)  # at least half of the window is learnt from
    few = partitions_with(FEWEST_CLUSTERS, pace.per_partition)
    # One partition more than the least: what is recalibrated across the holdout has a layer of the other partitions.
    holdout = max(HOLDOUT, min(few + 1, most))
    yield ("release", "cluster"), _cluster(pace.days), "day"
    yield ("release", "refresh", "holdout"), holdout, HOLDOUT
    probation = max(PROBATION, partitions_with(2 * FIRST_LOOK, pace.per_partition) + pace.late)
    yield ("release", "refresh", "probation"), probation, PROBATION
    at_most = max(AT_MOST, partitions_with(TO_PROMOTE, pace.per_partition) + pace.late)
    stated = _partitions(_at(spec, "release", "refresh").get("probation"), probation)
    yield ("release", "refresh", "probation_at_most"), max(at_most, stated), AT_MOST
    yield ("monitoring", "remedies", "recalibrate", "window"), max(LAYER_WINDOW, few), LAYER_WINDOW
    if _at(spec, "release", "refresh").get("holdout") is None:
        yield ("training", "first_after"), max(FIRST_AFTER, min(FIRST_AFTER - HOLDOUT + holdout, window)), FIRST_AFTER


def _of_shadow(spec: Mapping[str, Any], pace: _Pace) -> Iterator[_Default]:
    """Both ends of a change's shadow; where one is stated, the other does not contradict it."""
    shadow = _at(spec, "release", "change", "shadow")
    at_least = max(AT_LEAST, partitions_with(FIRST_LOOK, pace.per_partition))
    at_most = max(AT_MOST, partitions_with(TO_PROMOTE, pace.per_partition) + pace.late)
    yield (
        ("release", "change", "shadow", "at_least"),
        min(at_least, _partitions(shadow.get("at_most"), at_most)),
        AT_LEAST,
    )
    yield (
        ("release", "change", "shadow", "at_most"),
        max(at_most, _partitions(shadow.get("at_least"), at_least)),
        AT_MOST,
    )


def _of_rhythm(spec: Mapping[str, Any], pace: _Pace) -> Iterator[_Default]:
    """How often is retrained: a refresh that is worse is rolled back by its probation, which the next one must not end before it says anything."""
    every = max(EVERY, partitions_with(FIRST_LOOK + 1, pace.per_partition) + 1 + pace.late)
    yield ("monitoring", "remedies", "retrain", "every"), every, EVERY
    retrain = _at(spec, "monitoring", "remedies", "retrain")
    apart = max(_partitions(retrain.get("every"), EVERY), _partitions(retrain.get("cooldown"), COOLDOWN), 1)
    budget = math.floor(round(pace.a_year / min(apart, EVERY), 6))
    yield ("monitoring", "remedies", "retrain", "per_year"), max(PER_YEAR, budget), PER_YEAR
    if retrain.get("per_year") is None and budget > PER_YEAR and apart > 1:
        rate = {"trainings": math.ceil(RATED_OVER / min(apart, EVERY)), "of": RATED_OVER}
        yield ("monitoring", "remedies", "retrain", "at_most"), rate, None


def _partitions(stated: object, otherwise: int) -> int:
    """A stated number of partitions; another one where none is stated, or what is stated is no number."""
    return stated if isinstance(stated, int) and not isinstance(stated, bool) else otherwise


def _cluster(days: float | None) -> str:
    return "hour" if days is not None and days < 1 else "day"


def _at(spec: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The keys of a part; none of one that is not there, or is no part."""
    inner: Any = spec
    for name in path:
        inner = inner.get(name, {}) if isinstance(inner, dict) else {}
    return inner if isinstance(inner, dict) else {}


def _added(spec: Mapping[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    """The policy with a key that it leaves out; one that is stated stays, and so does a part that is something else than keys."""
    name, rest = path[0], path[1:]
    if not rest:
        return {name: value, **spec}
    inner = spec.get(name, {})
    return {**spec, name: _added(inner, rest, value)} if isinstance(inner, dict) else dict(spec)

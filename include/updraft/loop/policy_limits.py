"""What a policy can and cannot do with its schedule, worked out before anything runs.

A policy counts in partitions, and its statistics in clusters and years. So the same numbers mean something else for hours than for weeks:
a budget that lasts a year of one is spent in a day of the other, and a shadow may end before its first bound. Nothing here reads
data: it is arithmetic over ``project.yaml``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from updraft.data.partitions import partitions
from updraft.data.views import CLOCKS
from updraft.monitoring.drift import partitions_needed
from updraft.release.power import detectable_gain
from updraft.spec.document import Document
from updraft.spec.model import ProjectSpec, Release, Retrain
from updraft.spec.part import shown_duration
from updraft.spec.problems import Problem
from updraft.tasks.clusters import FIRST_LOOK

YEAR = timedelta(days=365)
"""What ``per_year`` counts in."""
_PER_YEAR = {"month": 12, "quarter": 4, "year": 1}
_DAYS_PER_YEAR = 365.25
_LENGTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
_TICKS = 370
"""From which the usual length of a partition is taken: a year of days."""


@dataclass(frozen=True)
class Pace:
    """How a project's partitions follow each other."""

    span: timedelta
    """From one tick to the next, in the mean."""
    cluster: timedelta | None
    """Length of a unit of evidence; None where a column says which rows belong together."""
    matures_after: timedelta

    @classmethod
    def of(cls, spec: ProjectSpec) -> Pace:
        """The pace of a project."""
        from croniter import croniter

        ticks = croniter(spec.data.schedule, datetime.combine(spec.data.start, datetime.min.time(), UTC))
        first: datetime = ticks.get_next(datetime)
        last = first
        for _ in range(_TICKS):
            last = ticks.get_next(datetime)
        return cls((last - first) / _TICKS, _LENGTHS.get(spec.release.cluster), spec.data.label.matures_after)

    def clusters(self, count: int) -> int | None:
        """Whole clusters whose labels are known by the last of so many ticks; None where a column says what a cluster is."""
        if self.cluster is None:
            return None
        return max(math.floor((count * self.span - self.matures_after) / self.cluster + 1e-6), 0)

    def partitions(self, clusters: int) -> int:
        """Ticks until so many clusters with their labels are known."""
        length = self.cluster or self.span
        return math.ceil((clusters * length + self.matures_after) / self.span - 1e-6)

    def lasting(self, count: float) -> str:
        """How long so many partitions last, in words."""
        days = count * self.span / timedelta(days=1)
        if days >= 2:
            return f"{days:,.0f} days"
        hours = count * self.span / timedelta(hours=1)
        return f"{hours:,.0f} hours" if hours >= 2 else f"{60 * hours:,.0f} minutes"


def policy_notes(spec: ProjectSpec) -> list[str]:
    """What each part of the policy comes to with this schedule: a sentence or two with the numbers, the key first."""
    pace = Pace.of(spec)
    return [
        *_waits(spec, pace),
        *_budget(spec, pace),
        *_drift(spec, pace),
        *_verdict(spec, pace),
        *_probation(spec, pace),
        *_slices(spec, pace),
        *_groups(spec, pace),
    ]


def policy_problems(document: Document, spec: ProjectSpec) -> Iterator[Problem]:
    """What keeps a policy from ever having a model that can be judged."""
    if spec.monitoring.remedies.retrain is None:
        yield document.problem(
            ("monitoring", "remedies", "retrain"),
            "is null, so nothing is ever trained, the first model neither; write `retrain: {every: 4}`, or for a first model alone "
            "`retrain: {every: 100000, on: []}`",
        )
    clusters = _clusters_of_first_window(spec)
    if clusters == 1:
        yield document.problem(
            ("training", "first_after"),
            f"lets the first model learn and be judged within one {spec.release.cluster}, and release.cluster says that rows of one "
            f"{spec.release.cluster} are one piece of evidence; raise it until the window holds several, or choose a shorter cluster",
            spec.training.first_after,
        )


def _clusters_of_first_window(spec: ProjectSpec) -> int | None:
    """Units of evidence in the partitions that the first model learns from; None where a column says what they are, or none are there."""
    form = CLOCKS.get(spec.release.cluster)
    until = datetime.combine(spec.data.end or spec.data.start, datetime.min.time(), UTC)
    last = until if spec.data.end else until + 10 * 366 * timedelta(days=1)
    if form is None:
        return None
    seen: set[str] = set()
    for number, partition in enumerate(partitions(spec, last), start=1):
        begins = max(partition.start, datetime.combine(spec.data.start, datetime.min.time(), UTC))
        seen |= {begins.strftime(form), (partition.tick - timedelta(microseconds=1)).strftime(form)}
        if number == spec.training.first_after or len(seen) > 1:
            break
    return len(seen) or None


def _waits(spec: ProjectSpec, pace: Pace) -> Iterator[str]:
    for name, source in spec.data.sources.items():
        if source.wait is not None and source.wait > pace.span:
            yield (
                f"data.sources.{name}.wait: {shown_duration(source.wait)} is longer than from a tick to the next ({pace.lasting(1)}), at which "
                "a file is late in any case, as the next partition has its turn"
            )


def _retrains(retrain: Retrain) -> int:
    """Least partitions from one training to the next that the policy itself calls for, in the mean."""
    rated = 1 if retrain.at_most is None else math.ceil(retrain.at_most.of / retrain.at_most.trainings)
    return max(retrain.every or 1, retrain.cooldown, rated, 1)


def _budget(spec: ProjectSpec, pace: Pace) -> Iterator[str]:
    retrain = spec.monitoring.remedies.retrain
    if retrain is None:
        return
    where, gap = "monitoring.remedies.retrain", _retrains(retrain)
    if retrain.every is not None and retrain.cooldown > retrain.every:
        yield (
            f"{where}: every {retrain.every} cannot happen, as cooldown forbids a training in the {retrain.cooldown} partitions after "
            f"another; it comes to every {gap}"
        )
    a_year = YEAR / pace.span
    wanted = a_year / gap
    often = (
        f"every {gap} partitions"
        if retrain.every is not None
        else f"at most every {gap} partitions, when a trigger calls for it"
    )
    if wanted < retrain.per_year + 1:  # the one that is over it comes as the first one's year ends
        yield f"{where}: {often} is {wanted:,.0f} trainings a year; per_year: {retrain.per_year} is enough"
        return
    spent = (retrain.per_year - 1) * gap
    silent = max(a_year - spent, 0)
    may = "is" if retrain.every is not None else "may be"
    yield (
        f"{where}: {often} is {wanted:,.0f} trainings a year, and per_year allows {retrain.per_year}: the budget {may} spent "
        f"{pace.lasting(spent)} after the first training, and then nothing is trained for {pace.lasting(silent)}, whatever happens; "
        f"write per_year: {math.ceil(wanted)}, or every: {math.ceil(a_year / retrain.per_year)}"
    )


def _drift(spec: ProjectSpec, pace: Pace) -> Iterator[str]:
    policy, training, retrain = spec.monitoring.drift, spec.training, spec.monitoring.remedies.retrain
    alarms, rule = policy.false_alarms, policy.persist
    per_year = timedelta(days=_DAYS_PER_YEAR) / pace.span
    needed = partitions_needed(rule, alarms.count * _PER_YEAR[alarms.per] / per_year)
    said = (
        f"monitoring.drift: {alarms.count:g} false alarm{'' if alarms.count == 1 else 's'} per {alarms.per} at {rule.hits} of {rule.of}, with "
        f"{per_year:,.0f} partitions a year, needs a reference of {needed} partitions"
    )
    if needed > training.window:
        yield (
            f"{said}, and a model learns from {training.window} at most (training.window): drift is never measured, unless earlier years "
            f"have {needed} partitions of the same season; raise training.window to {needed}, or allow more false alarms"
        )
        return
    if needed <= training.first_after:
        yield f"{said}, which the first model has: drift is measured from it on"
        return
    first = f"the first model has {training.first_after} (training.first_after)"
    if retrain is None or retrain.every is None:
        yield (
            f"{said}, and {first}: drift is not measured until a trigger has brought a model that learnt from {needed}, which may be "
            f"never; raise first_after to {needed}, set retrain.every, or allow more false alarms"
        )
        return
    gap = _retrains(retrain)
    trainings = math.ceil((needed - training.first_after) / gap)
    after = f"the first {trainings} refreshes have" if trainings > 1 else "the first refresh has"
    yield (
        f"{said}, and {first}: drift is not measured before {after} passed the gates, {pace.lasting(trainings * gap)} after the first "
        f"model; raise first_after to {needed} for it to be measured from the first one on"
    )


def _verdict(spec: ProjectSpec, pace: Pace) -> Iterator[str]:
    shadow, cluster = spec.release.change.shadow, spec.release.cluster
    where = "release.change.shadow"
    if pace.cluster is None:
        yield (
            f"{where}: at_most {shadow.at_most} partitions last {pace.lasting(shadow.at_most)}; a change can be shown good enough only when "
            f"they bring at least {FIRST_LOOK} values of {cluster}, which project.yaml does not tell"
        )
        return
    held, first = pace.clusters(shadow.at_most) or 0, pace.partitions(FIRST_LOOK)
    holds = f"at_most {shadow.at_most} partitions bring {_clusters(held)} with labels (release.cluster: {cluster})"
    if held < FIRST_LOOK:
        yield (
            f"{where}: {holds}, and nothing is shown before {FIRST_LOOK}: every change is rejected as not shown in time, however good; raise "
            f"at_most to {2 * first}, or choose a shorter cluster"
        )
        return
    earliest = max(shadow.at_least, first)
    yield (
        f"{where}: {holds}; the first bound comes after {FIRST_LOOK}, so a change can be promoted after {earliest} partitions "
        f"({pace.lasting(earliest)}) at the earliest"
    )


def _probation(spec: ProjectSpec, pace: Pace) -> Iterator[str]:
    stated, retrain = spec.release.refresh.longest_probation, spec.monitoring.remedies.retrain
    where = "release.refresh.probation_at_most"
    if not stated:
        yield "release.refresh.probation: 0, so a refresh that is worse stays until the next one, or until a person takes it back"
        return
    if pace.cluster is None:
        return
    gap = _retrains(retrain) if retrain is not None and retrain.every is not None else stated
    lasts = min(stated, gap)
    held, needs = pace.clusters(lasts) or 0, pace.partitions(FIRST_LOOK)
    ends = f", as the next refresh comes after {gap}" if gap < stated else ""
    cluster = spec.release.cluster
    brings = f"{where}: {lasts} partitions{ends} ({pace.lasting(lasts)}) bring {_clusters(held)} with labels (release.cluster: {cluster})"
    if held < FIRST_LOOK:
        more = f"raise it to {needs}" + (f" and retrain.every above {needs}" if gap < needs else "")
        yield (
            f"{brings}, and nothing is shown before {FIRST_LOOK}: a refresh that is worse is never rolled back by itself; {more}, or "
            "choose a shorter cluster"
        )
        return
    yield (
        f"{brings}; the first bound comes after {FIRST_LOOK}: a refresh that is worse can be rolled back from the {_nth(needs)} on; "
        f"{_can_be_kept(spec.release, held)}"
    )


def _can_be_kept(release: Release, clusters: int) -> str:
    """When a refresh that is as good as its predecessor can be shown to be no worse."""
    unjudged = "else it is kept without a judgement, and told"
    if not release.margin:
        return f"with release.margin: 0 only a refresh that is better can be shown no worse; {unjudged}"
    sd = release.margin / _needed(clusters, release.confidence)
    return (
        f"one that is as good is shown no worse in four of five cases where its gain varies by less than {sd:.2g} {release.metric} from one "
        f"{release.cluster} to the next (standard deviation; release.margin: {release.margin:g}); {unjudged}"
    )


@lru_cache(maxsize=64)
def _needed(clusters: int, confidence: float) -> float:
    """The gain that is shown in four of five cases within so many clusters, in standard deviations of a cluster's gain."""
    return detectable_gain(1.0, 0.0, clusters, confidence)


def _clusters(number: int) -> str:
    return "1 cluster" if number == 1 else f"{number} clusters"


def _nth(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def _slices(spec: ProjectSpec, pace: Pace) -> Iterator[str]:
    slices, holdout = spec.gates.slices, spec.release.refresh.holdout
    if slices is None or pace.cluster is None:
        return
    held = math.ceil(holdout * pace.span / pace.cluster)
    if held < slices.min_clusters:
        yield (
            f"gates.slices: the holdout of {holdout} partitions (release.refresh.holdout) holds {_clusters(held)}, and a slice with fewer than "
            f"min_clusters: {slices.min_clusters} gates nothing: no refresh is ever refused for a slice; raise holdout, or lower min_clusters"
        )


def _groups(spec: ProjectSpec, pace: Pace) -> Iterator[str]:
    fairness, holdout = spec.gates.fairness, spec.release.refresh.holdout
    if fairness is None or pace.cluster is None:
        return
    held = math.ceil(holdout * pace.span / pace.cluster)
    if held < fairness.min_clusters:
        yield (
            f"gates.fairness: the holdout of {holdout} partitions (release.refresh.holdout) holds {_clusters(held)}, and a group with fewer than "
            f"min_clusters: {fairness.min_clusters} decides nothing: no refresh is ever refused for its gaps; raise holdout"
        )

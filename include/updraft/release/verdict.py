"""The verdict on a model from paired evidence: promote, hold, reject, roll back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from updraft.release.bound import Bound, bound
from updraft.tasks.clusters import FEWEST_CLUSTERS, FIRST_LOOK

if TYPE_CHECKING:
    from updraft.spec.model import Release, SliceGate


class Verdict(StrEnum):
    """What the evidence says."""

    PROMOTE = "promote"
    HOLD = "hold"
    REJECT = "reject"
    ROLL_BACK = "roll_back"
    KEEP = "keep"


@dataclass(frozen=True)
class ClusterGain:
    """What the newer model gained on one cluster of matured rows.

    ``gain`` is the older model's loss minus the newer one's on the same rows, their mean: positive is good for the
    newer model. Every cluster weighs the same, however many rows it has: rows of a cluster share what makes them alike,
    so a cluster is one observation, and a busy day is not many.
    """

    cluster: str
    key: str
    """The partition at whose tick the labels were known."""
    rows: int
    gain: float
    slices: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """(rows, mean gain) of the rows of each slice, by ``column=value``."""
    against: str | None = None
    """The version that the older model was."""


@dataclass(frozen=True)
class SliceBound:
    """The bound on one guarded slice."""

    bound: Bound
    rows: int
    shown_inferior: bool


@dataclass(frozen=True)
class Judgement:
    """A verdict with what it rests on."""

    verdict: Verdict
    reason: str
    bound: Bound
    clusters: int
    partitions: int
    margin: float
    confidence: float
    slices: Mapping[str, SliceBound] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, for a decision's body."""
        return {
            "verdict": str(self.verdict),
            "reason": self.reason,
            "bound": self.bound.as_dict(),
            "clusters": self.clusters,
            "partitions": self.partitions,
            "margin": self.margin,
            "confidence": self.confidence,
            "slices": {
                name: held.bound.as_dict() | {"rows": held.rows, "shown_inferior": held.shown_inferior}
                for name, held in self.slices.items()
            },
        }


@dataclass(frozen=True)
class Champion:
    """What a challenger is compared with by now."""

    version: str
    since: str
    """The tick of its promotion."""


def judge_change(
    clusters: Sequence[ClusterGain],
    policy: Release,
    guard: SliceGate | None = None,
    *,
    partitions: int | None = None,
    champion: Champion | None = None,
) -> Judgement:
    """The verdict on a challenger in shadow.

    Where another version began to serve meanwhile, what was known before goes on counting, and does not decide alone: before the challenger
    is promoted, :data:`FIRST_LOOK` clusters have come in since, whose mean gain is above ``-margin``. Shown worse on them alone, it is
    rejected. Where champions follow each other so fast that so many never come in, the newest ones decide when the shadow has lasted as
    long as it may.

    :param clusters: in time order; a cluster that comes in several parts is put together, weighted by rows.
    :param policy: margin, confidence and how long a shadow lasts.
    :param guard: slices that must not be shown worse.
    :param partitions: seen so far, when more were seen than gave evidence.
    :param champion: what serves now; None where it does not matter what each cluster was held against.
    """
    weighed = _weigh(clusters, policy, guard, partitions)
    judgement, lately = _verdict_on_change(weighed, policy), _lately(clusters, policy, champion)
    if lately is None:
        return judgement
    if lately.bound.upper < -policy.margin:
        reason = f"shown worse since version {lately.champion} serves{_allowed(policy)}: {lately.words}; in all: {weighed.words}"
        return replace(judgement, verdict=Verdict.REJECT, reason=reason)
    judgement = replace(judgement, reason=f"{judgement.reason}; {lately.words}")
    if judgement.verdict is not Verdict.PROMOTE:
        return judgement
    shadow, in_time = policy.change.shadow, weighed.partitions < policy.change.shadow.at_most
    if lately.mean > -policy.margin and (lately.enough or not in_time):
        return judgement
    if in_time:
        reason = f"{judgement.reason}; waits for {FIRST_LOOK} clusters with a mean gain above {0.0 - policy.margin:g} since then"
        seen = f"{weighed.partitions} of {shadow.at_least} to {shadow.at_most} partitions"
        return replace(judgement, verdict=Verdict.HOLD, reason=f"{reason}, {seen}")
    reason = f"not shown in time ({weighed.partitions} partitions) to hold against what serves now: {judgement.reason}"
    return replace(judgement, verdict=Verdict.REJECT, reason=reason)


@dataclass(frozen=True)
class _Lately:
    """The part of a shadow's evidence that came in since the champion serves."""

    champion: str
    bound: Bound
    """On what came in since."""
    mean: float
    """Mean gain over that, or over the newest clusters where it is less than :data:`FIRST_LOOK`."""
    against: int
    """Clusters, of those that came in since, that are held against the champion: the labels of others were late."""
    metric: str

    @property
    def enough(self) -> bool:
        return self.bound.clusters >= FIRST_LOOK

    @property
    def words(self) -> str:
        n = self.bound.clusters
        if not n:
            return f"nothing came in since version {self.champion} serves"
        held = "" if self.against == n else f", {self.against} of them held against it"
        return (
            f"{self.bound.mean:+.4f} {self.metric} over the {n} that came in since version {self.champion} serves{held}"
        )


def _lately(clusters: Sequence[ClusterGain], policy: Release, champion: Champion | None) -> _Lately | None:
    """What came in since the champion serves; None where nothing was held against another version."""
    import numpy as np

    if champion is None or all(cluster.against in (champion.version, None) for cluster in clusters):
        return None
    since = [cluster for cluster in clusters if cluster.key > champion.since]
    gains, newest = gains_of(since), gains_of(clusters)[-FIRST_LOOK:]
    against = gains_of([cluster for cluster in since if cluster.against == champion.version])
    return _Lately(
        champion.version,
        bound(np.array([gain for _, gain in gains]), policy.confidence),
        float(np.mean([gain for _, gain in (gains if len(gains) >= FIRST_LOOK else newest)])),
        len(against),
        policy.metric,
    )


def _verdict_on_change(weighed: _Weighed, policy: Release) -> Judgement:
    shadow = policy.change.shadow
    seen = f"{weighed.partitions} of {shadow.at_least} to {shadow.at_most} partitions"
    worse = [name for name, held in weighed.slices.items() if held.shown_inferior]
    if weighed.bound.upper < -policy.margin:
        return weighed.say(Verdict.REJECT, f"shown worse than the champion{_allowed(policy)}: {weighed.words}")
    better = weighed.bound.lower > -policy.margin
    if better and not worse and weighed.partitions >= shadow.at_least:
        return weighed.say(Verdict.PROMOTE, f"{_shown(policy)}: {weighed.words}")
    if weighed.partitions >= shadow.at_most:
        why = f"shown worse on {', '.join(worse)}" if better and worse else "neither shown good enough nor shown worse"
        return weighed.say(
            Verdict.REJECT, f"not shown in time ({weighed.partitions} partitions): {why}; {weighed.words}"
        )
    if better and worse:
        return weighed.say(
            Verdict.HOLD, f"{_shown(policy)}, but shown worse on {', '.join(worse)}; {seen}; {weighed.words}"
        )
    if better:
        return weighed.say(
            Verdict.HOLD, f"{_shown(policy)}, and waits for {shadow.at_least} partitions; {seen}; {weighed.words}"
        )
    return weighed.say(Verdict.HOLD, f"not decided yet, {seen}: {weighed.words}")


def judge_probation(
    clusters: Sequence[ClusterGain], policy: Release, guard: SliceGate | None = None, *, partitions: int | None = None
) -> Judgement:
    """The verdict on a refreshed champion with its predecessor in shadow: back when it is shown worse, kept when it is shown to be no worse.

    What is neither has not been judged: not shown worse is not shown good. Slices are shown beside it and roll nothing back.
    """
    weighed = _weigh(clusters, policy, guard, partitions)
    if weighed.bound.upper < -policy.margin:
        return weighed.say(
            Verdict.ROLL_BACK, f"shown worse than the previous champion{_allowed(policy)}: {weighed.words}"
        )
    if weighed.bound.lower > -policy.margin:
        return weighed.say(
            Verdict.KEEP, f"shown no worse than the previous champion{_allowed(policy)}: {weighed.words}"
        )
    return weighed.say(
        Verdict.HOLD, f"neither shown worse than the previous champion nor shown to be no worse: {weighed.words}"
    )


@dataclass(frozen=True)
class _Weighed:
    bound: Bound
    slices: Mapping[str, SliceBound]
    partitions: int
    policy: Release

    @property
    def words(self) -> str:
        """The bound in words."""
        n, days = (
            self.bound.clusters,
            "clusters" if self.policy.cluster not in ("day", "hour", "week") else f"{self.policy.cluster}s",
        )
        if not n:
            return "no matured rows to compare yet"
        mean = f"mean gain {self.bound.mean:+.4f} {self.policy.metric} over {n} {days}"
        if math.isfinite(self.bound.lower):
            return f"{mean}, between {self.bound.lower:+.4f} and {self.bound.upper:+.4f}"
        return f"{mean}; {why_unbounded(n)}"

    def say(self, verdict: Verdict, reason: str) -> Judgement:
        policy = self.policy
        return Judgement(
            verdict,
            reason,
            self.bound,
            self.bound.clusters,
            self.partitions,
            policy.margin,
            policy.confidence,
            self.slices,
        )


def why_unbounded(clusters: int) -> str:
    """Why so many clusters give no bound on their mean gain."""
    if clusters < FIRST_LOOK:
        return f"the first look is after {FIRST_LOOK}"
    return "they are too few or too uneven to bound it"


def _shown(policy: Release) -> str:
    return "shown better than the champion" if not policy.margin else f"shown to cost less than {policy.margin:g}"


def _allowed(policy: Release) -> str:
    return f" by more than {policy.margin:g}" if policy.margin else ""


def _weigh(
    clusters: Sequence[ClusterGain], policy: Release, guard: SliceGate | None, partitions: int | None
) -> _Weighed:
    import numpy as np

    whole = gains_of(clusters)
    seen = len({c.key for c in clusters}) if partitions is None else partitions
    slices = _slices(clusters, policy, guard) if guard else {}
    return _Weighed(bound(np.array([g for _, g in whole]), policy.confidence), slices, seen, policy)


def is_better_so_far(clusters: Sequence[ClusterGain]) -> bool:
    """Whether a refresh on probation costs less than its predecessor so far: then that one is no way back, however bad the refresh is."""
    gains = [gain for _, gain in gains_of(clusters)]
    return len(gains) >= FEWEST_CLUSTERS and sum(gains) > 0


def gains_of(clusters: Sequence[ClusterGain]) -> list[tuple[int, float]]:
    """(rows, mean gain) of each cluster, its parts put together, in the order of its first part."""
    return _together((c.cluster, c.rows, c.gain) for c in clusters)


def _together(parts: Iterable[tuple[str, int, float]]) -> list[tuple[int, float]]:
    """(rows, mean gain) of each cluster, in the order of its first part."""
    sums: dict[str, tuple[int, float]] = {}
    for cluster, rows, gain in parts:
        before, mean = sums.get(cluster, (0, 0.0))
        total = before + rows
        sums[cluster] = (total, mean + (gain - mean) * (rows / total)) if total else (0, 0.0)
    return [pair for pair in sums.values() if pair[0]]


def _slices(clusters: Sequence[ClusterGain], policy: Release, guard: SliceGate) -> dict[str, SliceBound]:
    """Bounds on the slices with enough clusters and rows; the error is shared out among them (Bonferroni)."""
    import numpy as np

    names = sorted({name for c in clusters for name in c.slices if name.split("=", 1)[0] in guard.by})
    parts = {name: _together((c.cluster, *c.slices[name]) for c in clusters if name in c.slices) for name in names}
    enough = {
        name: pairs
        for name, pairs in parts.items()
        if len(pairs) >= guard.min_clusters and sum(rows for rows, _ in pairs) >= guard.min_rows
    }
    slices = {}
    for name, pairs in enough.items():
        confidence = 1 - (1 - policy.confidence) / len(enough)
        ends = bound(np.array([gain for _, gain in pairs]), confidence)
        inferior = ends.upper < -guard.no_worse_than_champion_by
        slices[name] = SliceBound(ends, sum(rows for rows, _ in pairs), inferior)
    return slices

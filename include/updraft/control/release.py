"""One release: the bound as it narrows, what guards it, what both models are, and how long until a verdict is likely."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from updraft.control.timeline import Decided, decided
from updraft.control.view import View, finite
from updraft.errors import InputError, StoreError
from updraft.loop.approval_question import release_facts
from updraft.loop.context import Loop
from updraft.loop.decision_words import TELLING
from updraft.loop.evidence import gains
from updraft.loop.release import next_step
from updraft.release.bound import Bound, bound, confidence_sequence, ends
from updraft.release.states import Policy
from updraft.release.verdict import ClusterGain, Judgement, gains_of, judge_change, judge_probation
from updraft.store.records import ReleaseRow
from updraft.tasks.clusters import FIRST_LOOK

FUTURES = 200
"""Futures that are drawn to say how long until a verdict is likely."""
_RUN = 5
"""Clusters that are drawn together: neighbours are alike."""


class BoundPoint(View):
    """The bound after one more cluster."""

    cluster: str
    key: str
    """The tick at which its labels were known."""
    rows: int
    gain: float
    """Of that cluster alone: the loss of the older model less that of the newer one; more is better."""
    mean: float | None
    lower: float | None
    upper: float | None
    """None before the first look."""


class Guard(View):
    """One slice on which a new model must not be shown worse."""

    name: str
    rows: int
    clusters: int
    mean: float | None
    lower: float | None
    upper: float | None
    shown_worse: bool


class Compared(View):
    """A metric of both models on the holdout, from the gates."""

    name: str
    candidate: float | None
    against: float | None
    worse_by: float | None
    lower: float | None
    upper: float | None
    """How much worse it may be, each end at the gates' confidence."""
    limit: float | None
    passed: bool
    rows: int | None = None


class GroupGap(View):
    """How far groups lie apart in one rate on the holdout, from the gates."""

    name: str
    candidate: float | None
    champion: float | None
    lower: float | None
    upper: float | None
    """Ends of the gap; where the champion's is the limit, of the difference of both."""
    limit: float | None
    """None where the champion's gap is the limit."""
    passed: bool
    words: str
    """Its figures, why it decides nothing, and the groups that are left out."""


class Fact(View):
    """What a person who answers has to know."""

    heading: str
    words: str


class Likely(View):
    """How the release ends if what comes is like what came: futures drawn from the gains so far."""

    passes: float
    """Share of futures in which the bound passes the line in time."""
    fails: float
    """Share in which it is shown worse in time."""
    clusters: int | None
    """Clusters after which half of those that end by evidence have ended; None where none does."""
    words: str


class ReleaseView(View):
    """A release for people."""

    id: str
    project: str
    version: str
    against: str | None
    lane: str
    state: str
    outcome: str | None
    opened_at: str
    closed_at: str | None
    reason: str | None
    next: str
    """What is next for it, or what became of it."""
    metric: str
    cluster: str
    margin: float
    confidence: float
    line: float
    """What the lower end of the bound has to pass."""
    bound: tuple[BoundPoint, ...]
    guards: tuple[Guard, ...]
    gates: tuple[Compared, ...]
    gate_slices: tuple[Compared, ...]
    gate_groups: tuple[GroupGap, ...]
    gates_passed: bool | None
    gates_against: str | None
    facts: tuple[Fact, ...]
    likely: Likely | None
    decisions: tuple[Decided, ...]
    asks: bool
    """Whether a person is asked now."""


def read_release(loop: Loop, release: str, until: datetime | None = None) -> ReleaseView:
    """One release of a project.

    :param until: the moment until which a person may answer, where that is known.
    :raises InputError: when the project has none of that id.
    """
    row = _known(loop, release)
    evidence = gains(loop, row.id)
    policy = loop.spec.release
    judgement = _judged(loop, row, evidence)
    training = loop.store.training_of(loop.name, row.version)
    gates: dict[str, Any] = dict((training.result.get("gates") if training else None) or {})
    serving = loop.store.serving(loop.name)
    facts = release_facts(loop, row, serving.champion, serving.since, until)
    about = loop.store.decisions_about(loop.name, row.id, TELLING)
    step = next_step(loop, row.id)
    return ReleaseView(
        id=row.id,
        project=loop.name,
        version=row.version,
        against=row.against,
        lane=row.lane,
        state=row.state,
        outcome=row.outcome,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        reason=row.reason,
        next=step.reason,
        metric=policy.metric,
        cluster=policy.cluster,
        margin=policy.margin,
        confidence=policy.confidence,
        line=0.0 - policy.margin,
        bound=tuple(bound_points(evidence, policy.confidence)),
        guards=tuple(_guards(judgement)),
        gates=tuple(compared_figures(gates.get("metrics") or {})),
        gate_slices=tuple(compared_figures(gates.get("slices") or {})),
        gate_groups=tuple(group_gaps(gates.get("fairness") or {})),
        gates_passed=gates.get("passed"),
        gates_against=gates.get("against"),
        facts=tuple(Fact(heading=heading, words=words) for heading, words in facts),
        likely=_likely(loop, row, evidence),
        decisions=tuple(shown for decision in reversed(about) if (shown := decided(decision)) is not None),
        asks=row.state == "approval",
    )


def _known(loop: Loop, release: str) -> ReleaseRow:
    try:
        row = loop.store.release(release)
    except StoreError:
        row = None
    if row is None or row.project != loop.name:
        raise InputError(f"{loop.name}: there is no release {release!r}")
    return row


def bound_so_far(loop: Loop, row: ReleaseRow) -> Bound | None:
    """The bound on the mean gain of a release; None before there is evidence."""
    import numpy as np

    gained = gains_of(gains(loop, row.id))
    return bound(np.array([gain for _, gain in gained]), loop.spec.release.confidence) if gained else None


def bound_points(clusters: Sequence[ClusterGain], confidence: float) -> list[BoundPoint]:
    """The bound after each cluster, in the order in which they came."""
    import numpy as np

    together = gains_of(clusters)
    if not together:
        return []
    firsts = list({cluster.cluster: cluster for cluster in reversed(clusters) if cluster.rows}.values())[::-1]
    looks = confidence_sequence(np.array([gain for _, gain in together]), confidence)
    return [
        BoundPoint(
            cluster=first.cluster,
            key=first.key,
            rows=rows,
            gain=gain,
            mean=finite(look.mean),
            lower=finite(look.lower),
            upper=finite(look.upper),
        )
        for first, (rows, gain), look in zip(firsts, together, looks, strict=True)
    ]


def _judged(loop: Loop, row: ReleaseRow, evidence: Sequence[ClusterGain]) -> Judgement:
    policy = Policy.of(loop.spec)
    judge = judge_change if row.lane == "change" else judge_probation
    return judge(evidence, policy.release, policy.guard)


def _guards(judgement: Judgement) -> list[Guard]:
    guards = [
        Guard(
            name=name,
            rows=held.rows,
            clusters=held.bound.clusters,
            mean=finite(held.bound.mean),
            lower=finite(held.bound.lower),
            upper=finite(held.bound.upper),
            shown_worse=held.shown_inferior,
        )
        for name, held in judgement.slices.items()
    ]
    return sorted(guards, key=lambda guard: (not guard.shown_worse, guard.mean if guard.mean is not None else math.inf))


def compared_figures(figures: Mapping[str, Mapping[str, Any]]) -> list[Compared]:
    """What gates kept of metrics or slices, by name."""
    return [
        Compared(
            name=name,
            passed=bool(figure.get("passed", True)),
            rows=figure.get("rows"),
            **{end: finite(figure.get(end)) for end in ("candidate", "against", "worse_by", "lower", "upper", "limit")},
        )
        for name, figure in figures.items()
    ]


def group_gaps(figures: Mapping[str, Mapping[str, Any]]) -> list[GroupGap]:
    """What gates kept of the rates of groups, by name."""
    return [
        GroupGap(
            name=name,
            passed=bool(figure["passed"]),
            words=str(figure["words"]),
            **{end: finite(figure.get(end)) for end in ("candidate", "champion", "lower", "upper", "limit")},
        )
        for name, figure in figures.items()
    ]


def _likely(loop: Loop, row: ReleaseRow, evidence: Sequence[ClusterGain]) -> Likely | None:
    """How an open release is likely to end; None of one that evidence does not end any more, or without enough of it."""
    policy = loop.spec.release
    together = gains_of(evidence)
    if row.state not in ("shadow", "probation") or (row.lane, row.state) == ("refresh", "shadow"):
        return None
    keys = {cluster.key for cluster in evidence}
    if len(together) < FIRST_LOOK:
        return None
    longest = policy.change.shadow.at_most if row.state == "shadow" else policy.refresh.longest_probation
    left = max(longest - len(keys), 1)
    coming = max(round(left * len(together) / len(keys)), 1)
    return likely_end([gain for _, gain in together], coming, policy.margin, policy.confidence, policy.cluster)


def likely_end(gained: Sequence[float], coming: int, margin: float, confidence: float, cluster: str) -> Likely:
    """Draw futures of so many more clusters from the gains so far, by runs of neighbours, and look at the bound of each.

    :param gained: mean gain of each cluster so far.
    :param coming: clusters that are still to come at most.
    """
    import numpy as np

    rng = np.random.default_rng(20130101)
    known = np.asarray(gained, dtype=np.float64)
    runs = -(-coming // _RUN)
    starts = rng.integers(0, len(known), size=(FUTURES, runs))
    index = (starts[:, :, None] + np.arange(_RUN)).reshape(FUTURES, -1)[:, :coming] % len(known)
    futures = np.concatenate([np.tile(known, (FUTURES, 1)), known[index]], axis=1)
    lower, _, upper = ends(futures, 1 - confidence)
    after = slice(len(known), None)
    passing, failing = lower[:, after] > -margin, upper[:, after] < -margin
    ended = passing | failing
    first = np.where(ended.any(axis=1), ended.argmax(axis=1), -1)
    rows = np.flatnonzero(first >= 0)
    passed = float(passing[rows, first[rows]].sum()) / FUTURES
    failed = float(failing[rows, first[rows]].sum()) / FUTURES
    half = int(np.median(first[rows])) + 1 if len(rows) else None
    what = f"{cluster}s" if cluster in ("day", "hour", "week") else "clusters"
    share = round(100 * (passed + failed))
    if half is None:
        words = (
            f"if what comes is like what came, the evidence decides nothing within the {coming} {what} that are left"
        )
    else:
        words = (
            f"if what comes is like what came, the evidence decides within the {coming} {what} that are left in {share} of 100 cases: "
            f"good enough in {round(100 * passed)}, shown worse in {round(100 * failed)}; mostly after about {half} more"
        )
    return Likely(passes=passed, fails=failed, clusters=half, words=words)

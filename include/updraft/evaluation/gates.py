"""The gates of a holdout: is a freshly trained model good enough to go on?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from updraft.errors import DataError
from updraft.evaluation.fairness import Gap, compare_groups
from updraft.tasks.clusters import FEWEST_CLUSTERS, too_few
from updraft.tasks.metrics import Metric
from updraft.tasks.resamples import RESAMPLES, ClusterResamples
from updraft.tasks.task_type import TaskType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from updraft.spec.model import Gates, SliceGate

LEVEL = 0.05


@dataclass(frozen=True)
class MetricComparison:
    """One metric of the candidate and of what it is held against, on the same rows.

    ``worse_by`` is how much worse the candidate is in the metric's own unit, negative when it is better; ``lower`` and
    ``upper`` are the ends of its 95 % interval when clusters are resampled (NaN when there are too few).
    """

    metric: str
    candidate: float
    against: float
    worse_by: float
    lower: float
    upper: float
    limit: float | None
    passed: bool

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; what is no number is null."""
        figures = {k: getattr(self, k) for k in ("candidate", "against", "worse_by", "lower", "upper")}
        rounded = {k: round(v, 9) if math.isfinite(v) else None for k, v in figures.items()}
        return {"metric": self.metric} | rounded | {"limit": self.limit, "passed": self.passed}


@dataclass(frozen=True)
class SliceComparison:
    """One slice: its comparison, and whether it is big enough to gate."""

    comparison: MetricComparison
    rows: int
    clusters: int
    gates: bool

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return self.comparison.as_dict() | {"rows": self.rows, "clusters": self.clusters, "gates": self.gates}


@dataclass(frozen=True)
class GateResult:
    """Whether a candidate passed, why not, and the figures."""

    passed: bool
    reasons: tuple[str, ...]
    """One sentence for each gate that refused; empty when it passed."""
    against: str
    """``champion`` or ``base rate``."""
    metrics: tuple[MetricComparison, ...]
    slices: Mapping[str, SliceComparison] = field(default_factory=dict)
    rows: int = 0
    clusters: int = 0
    note: str = ""
    """What did not decide, as it rests on too few clusters; empty where everything did."""
    fairness: tuple[Gap, ...] = ()
    """The rates of groups, where the project compares them."""

    @property
    def reason(self) -> str:
        """The outcome in one sentence."""
        if not self.passed:
            return "; ".join(self.reasons)
        figures = ", ".join(f"{m.metric} {m.candidate:.4f} against {m.against:.4f}" for m in self.metrics)
        note = f" ({self.note})" if self.note else ""
        groups = "".join(f"; {gap.told}" for gap in self.fairness)
        return f"passed every gate against the {self.against}: {figures}{note}{groups}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, for the training's row and the decision."""
        gates = {
            "passed": self.passed,
            "reasons": list(self.reasons),
            "against": self.against,
            "rows": self.rows,
            "clusters": self.clusters,
            "metrics": {m.metric: m.as_dict() for m in self.metrics},
            "slices": {name: compared.as_dict() for name, compared in self.slices.items()},
        }
        if self.note:
            gates["note"] = self.note
        if self.fairness:
            gates["fairness"] = {gap.name: gap.as_dict() for gap in self.fairness}
        return gates


def judge_gates(
    *,
    label: NDArray[np.float64],
    candidate: NDArray[np.float64],
    champion: NDArray[np.float64] | None,
    cluster: NDArray[np.object_],
    slices: Mapping[str, NDArray[np.object_]],
    gates: Gates,
    task: TaskType,
    groups: Mapping[str, NDArray[np.object_]] | None = None,
) -> GateResult:
    """Hold a candidate against the champion on the same rows, or the first model against the base rate.

    A metric refuses when the candidate's value is worse than the champion's by more than its limit. Slices are many
    and small, so one refuses only when it is *shown* worse by more than its limit (one-sided, 5 % shared out among the
    slices), and one with fewer than ``min_clusters`` or ``min_rows`` is only reported. A first model, and any model of
    a project without a gate on a metric, must beat the base rate of the holdout itself; so must one whose holdout holds too few clusters
    (:mod:`updraft.tasks.clusters`) to be compared with the champion, and the result says so.

    Where no gate is stated and the base rate is missed, what is better than the champion passes all the same: else a world that got harder to
    predict would leave the worst of all serving, and nothing would ever be learnt again.

    :param label: shape (rows,).
    :param candidate: scores of the same rows, as are ``champion``: shape (rows,), or (rows, classes) where the task serves a vector.
    :param cluster: shape (rows,), the unit of evidence.
    :param slices: by column, shape (rows,): the values that the rows are sliced by.
    :param groups: by column of ``gates.fairness``, shape (rows,): the values that are its groups (:mod:`updraft.evaluation.fairness`).
    :raises DataError: when there are no rows, a score is no number, a gate does not fit the task, or a column to
        slice by is missing.
    """
    limits = gates.metrics
    if unfit := [name for name in limits if name not in task.metric_names]:
        raise DataError(f"gates.{task.unfit(unfit[0])}")
    resamples = ClusterResamples.of(cluster)
    few = too_few(resamples.clusters)
    compares = bool(limits) and champion is not None
    against = "champion" if compares and not few else "base rate"
    compared = []
    for metric in [task.metric(name) for name in limits] or [task.headline]:
        reference = champion if champion is not None and against == "champion" else task.base_rate(metric, label)
        limit = limits[metric.name].no_worse_than_champion_by if against == "champion" else None
        compared.append(_Pair(label, candidate, reference, resamples).compare(metric, limit))
    note = _note(few, compares=compares)
    if not limits and champion is not None and few is None and not compared[0].passed:
        with_champion = _Pair(label, candidate, champion, resamples).compare(task.headline, None)
        if with_champion.passed:
            note = f"no better than the base rate, {compared[0].against:.4f}; the champion is worse than both"
            against, compared = "champion", [with_champion]
    reasons = [_refusal(comparison, against, task) for comparison in compared if not comparison.passed]
    by_slice: dict[str, SliceComparison] = {}
    if champion is not None and gates.slices is not None:
        losses = [task.metric(name) for name in limits if not task.metric(name).higher_is_better]
        metric = losses[0] if losses else task.headline
        by_slice = _slices(metric, _Pair(label, candidate, champion, resamples), cluster, slices, gates.slices)
        reasons += [_slice_refusal(name, part) for name, part in by_slice.items() if not part.comparison.passed]
    gaps: tuple[Gap, ...] = ()
    if gates.fairness is not None:
        gaps = compare_groups(
            label=label,
            candidate=candidate,
            champion=champion,
            cluster=cluster,
            values=groups or {},
            fairness=gates.fairness,
            task=task,
            level=LEVEL,
        )
        reasons += [gap.refusal for gap in gaps if not gap.passed]
    return GateResult(
        not reasons,
        tuple(reasons),
        against,
        tuple(compared),
        by_slice,
        len(label),
        resamples.clusters,
        note,
        gaps,
    )


def _note(few: str | None, *, compares: bool) -> str:
    if few is None:
        return ""
    rests = f"the holdout holds {few}"
    return (
        f"{rests}: it is not judged against the champion, and has beaten or missed the base rate alone"
        if compares
        else rests
    )


def _refusal(comparison: MetricComparison, against: str, task: TaskType) -> str:
    if not math.isfinite(comparison.worse_by):
        return f"{comparison.metric} cannot be judged: {task.metric(comparison.metric).undefined}"
    figures = f"{comparison.metric} {comparison.candidate:.4f} against {comparison.against:.4f}"
    if comparison.limit is None:
        return f"does not beat the {against}: {figures}"
    return (
        f"worse than the {against} by {comparison.worse_by:.4f}, more than the {comparison.limit:g} allowed: {figures}"
    )


def _slice_refusal(name: str, part: SliceComparison) -> str:
    comparison = part.comparison
    return (
        f"{name}: {comparison.metric} is shown worse than the champion's by more than {comparison.limit:g}"
        f" (by {comparison.worse_by:.4f}, at least {comparison.lower:.4f}, {part.clusters} clusters)"
    )


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two models' scores of the same rows."""

    label: NDArray[np.float64]
    candidate: NDArray[np.float64]
    against: NDArray[np.float64]
    resamples: ClusterResamples

    def compare(self, metric: Metric, limit: float | None, level: float = LEVEL / 2) -> MetricComparison:
        """The candidate passes when it is worse by no more than the limit; without a limit, when it is better."""
        sign = -1.0 if metric.higher_is_better else 1.0
        ours, theirs = (metric.value(self.label, score) for score in (self.candidate, self.against))
        resampled = [metric.resampled(self.label, score, self.resamples) for score in (self.candidate, self.against)]
        worse, half = sign * (ours - theirs), _half(resampled[0] - resampled[1], self.resamples.groups, level)
        passed = worse < 0 if limit is None else worse <= limit
        return MetricComparison(metric.name, ours, theirs, worse, worse - half, worse + half, limit, passed)

    def rows(self, mask: NDArray[np.bool_], cluster: NDArray[np.object_]) -> _Pair:
        """The pair on some of the rows."""
        return _Pair(self.label[mask], self.candidate[mask], self.against[mask], ClusterResamples.of(cluster[mask]))


def _half(resampled: NDArray[np.float64], clusters: int, level: float) -> float:
    """Half of an interval: t quantile × bootstrap standard deviation × √(n/(n−1)).

    Percentiles of so few clusters are too narrow, and those far out in the tail, as many slices ask for, are not there
    among 1,000 resamples. The t quantile mends both.
    """
    import numpy as np
    from scipy.special import stdtrit

    known = resampled[np.isfinite(resampled)]
    if clusters < 2 or len(known) < RESAMPLES // 2:
        return float("nan")
    return float(stdtrit(clusters - 1, 1 - level) * known.std() * math.sqrt(clusters / (clusters - 1)))


def _slices(
    metric: Metric,
    pair: _Pair,
    cluster: NDArray[np.object_],
    slices: Mapping[str, NDArray[np.object_]],
    guard: SliceGate,
) -> dict[str, SliceComparison]:
    """Every slice compared; one that is big enough refuses when the lower end of its worsening is above the limit."""
    import numpy as np

    if missing := [column for column in guard.by if column not in slices]:
        raise DataError(f"gates.slices.by names {missing[0]}, which the compared rows do not have")
    values = {column: np.asarray(slices[column]).astype(str) for column in guard.by}
    parts = {
        f"{column}={value}": pair.rows(of == value, cluster) for column, of in values.items() for value in np.unique(of)
    }
    big = {
        name
        for name, part in parts.items()
        if part.resamples.clusters >= max(guard.min_clusters, FEWEST_CLUSTERS) and len(part.label) >= guard.min_rows
    }
    compared_by_slice = {}
    for name, part in parts.items():
        limit = guard.no_worse_than_champion_by
        compared = part.compare(metric, limit, LEVEL / max(len(big), 1))
        shown = name in big and compared.lower > limit
        compared_by_slice[name] = SliceComparison(
            replace(compared, passed=not shown), len(part.label), part.resamples.clusters, name in big
        )
    return compared_by_slice

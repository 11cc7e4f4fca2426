"""The gates of a holdout: is a freshly trained model good enough to go on?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from updraft.errors import DataError
from updraft.evaluation.metrics import HIGHER_IS_BETTER, METRICS, base_rate, metric_value, resampled_counts, row_loss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from updraft.spec.model import Gates, SliceGate

LEVEL = 0.05
RESAMPLES = 1000
GROUPS = 200
"""More clusters than this are resampled in groups of whole ones: as good, and the pairs of groups fit in memory."""


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

    @property
    def reason(self) -> str:
        """The outcome in one sentence."""
        if not self.passed:
            return "; ".join(self.reasons)
        figures = ", ".join(f"{m.metric} {m.candidate:.4f} against {m.against:.4f}" for m in self.metrics)
        return f"passed every gate against the {self.against}: {figures}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, for the training's row and the decision."""
        return {
            "passed": self.passed,
            "reasons": list(self.reasons),
            "against": self.against,
            "rows": self.rows,
            "clusters": self.clusters,
            "metrics": {m.metric: m.as_dict() for m in self.metrics},
            "slices": {name: one.as_dict() for name, one in self.slices.items()},
        }


def judge_gates(
    *,
    label: NDArray[np.float64],
    candidate: NDArray[np.float64],
    champion: NDArray[np.float64] | None,
    cluster: NDArray[np.object_],
    slices: Mapping[str, NDArray[np.object_]],
    gates: Gates,
    task: str,
) -> GateResult:
    """Hold a candidate against the champion on the same rows, or the first model against the base rate.

    A metric refuses when the candidate's value is worse than the champion's by more than its limit. Slices are many and
    small, so one refuses only when it is *shown* worse by more than its limit (one-sided, 5 % shared out among the
    slices), and one with fewer than ``min_clusters`` or ``min_rows`` is only reported. A first model, and any model of a
    project without a gate on a metric, must beat the base rate of the holdout itself.

    :param label: shape (rows,), as are ``candidate`` and ``champion``, the scores.
    :param cluster: shape (rows,), the unit of evidence.
    :param slices: by column, shape (rows,): the values that the rows are sliced by.
    :raises DataError: when there are no rows, a score is no number, or a gate does not fit the task.
    """
    wanted = gates.metrics
    if unfit := [m for m in wanted if m not in METRICS.get(task, ())]:
        raise DataError(
            f"gates.{unfit[0]} does not fit a {task} model; its metrics are {', '.join(METRICS.get(task, ()))}"
        )
    sample = _Sample.of(cluster)
    reference = champion if wanted else None
    names = list(wanted) if wanted else [METRICS[task][0]]
    compared = []
    for name in names:
        limit = wanted[name].no_worse_than_champion_by if reference is not None else None
        against = base_rate(task, name, label) if reference is None else reference
        compared.append(_compare(name, label, candidate, against, sample, limit))
    reasons = [
        _refusal(one, "champion" if reference is not None else "base rate") for one in compared if not one.passed
    ]
    found: dict[str, SliceComparison] = {}
    if champion is not None and gates.slices is not None:
        metric = next((m for m in names if m not in HIGHER_IS_BETTER), METRICS[task][0])
        found = _slices(metric, label, candidate, champion, cluster, slices, gates.slices)
        reasons += [
            f"{name}: {one.comparison.metric} is shown worse than the champion's by more than {one.comparison.limit:g}"
            f" (by {one.comparison.worse_by:.4f}, at least {one.comparison.lower:.4f}, {one.clusters} clusters)"
            for name, one in found.items()
            if not one.comparison.passed
        ]
    return GateResult(
        not reasons,
        tuple(reasons),
        "champion" if reference is not None else "base rate",
        tuple(compared),
        found,
        len(label),
        sample.clusters,
    )


def _refusal(one: MetricComparison, against: str) -> str:
    if not math.isfinite(one.worse_by):
        return f"{one.metric} cannot be judged: the holdout holds one class only"
    figures = f"{one.metric} {one.candidate:.4f} against {one.against:.4f}"
    if one.limit is None:
        return f"does not beat the {against}: {figures}"
    return f"worse than the {against} by {one.worse_by:.4f}, more than the {one.limit:g} allowed: {figures}"


@dataclass(frozen=True, eq=False)
class _Sample:
    """Rows' groups of clusters, and how often each group is drawn in each resample."""

    codes: NDArray[np.intp]
    clusters: int
    groups: int
    counts: NDArray[np.float64]

    @classmethod
    def of(cls, cluster: NDArray[np.object_]) -> _Sample:
        import numpy as np

        names, codes = np.unique(np.asarray(cluster).astype(str), return_inverse=True)
        groups = min(len(names), GROUPS)
        counts = resampled_counts(groups, resamples=RESAMPLES, seed=1) if groups else np.zeros((RESAMPLES, 0))
        return cls(codes % max(groups, 1), len(names), groups, counts)

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over rows in each resample: shape (resamples,)."""
        import numpy as np

        totals = self.counts @ np.bincount(self.codes, values, self.groups)
        return np.asarray(totals / (self.counts @ np.bincount(self.codes, minlength=self.groups)), dtype=np.float64)

    def metric(self, metric: str, label: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
        """A metric in each resample: shape (resamples,)."""
        import numpy as np

        if metric == "auc":
            return self._auc(label > 0.5, score)
        mean = self.mean(row_loss(metric, label, score))
        return np.sqrt(mean) if metric == "rmse" else mean

    def _auc(self, positive: NDArray[np.bool_], score: NDArray[np.float64]) -> NDArray[np.float64]:
        """From pairs (ones of group a above zeros of group b), counted once, weighted by how often both are drawn."""
        import numpy as np

        ones = np.bincount(self.codes[positive], minlength=self.groups).astype(np.float64)
        zeros = np.bincount(self.codes[~positive], minlength=self.groups).astype(np.float64)
        pairs = np.zeros((self.groups, self.groups))
        order = np.argsort(score[positive])
        high, group = score[positive][order], self.codes[positive][order]
        for other in range(self.groups):
            low = np.sort(score[~positive & (self.codes == other)])
            above = (np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")) / 2
            pairs[:, other] = np.bincount(group, above, self.groups)
        with np.errstate(invalid="ignore", divide="ignore"):
            ranked = np.einsum("ra,ra->r", self.counts @ pairs, self.counts)
            return np.asarray(ranked / ((self.counts @ ones) * (self.counts @ zeros)), dtype=np.float64)


def _compare(
    metric: str,
    label: NDArray[np.float64],
    candidate: NDArray[np.float64],
    against: NDArray[np.float64],
    sample: _Sample,
    limit: float | None,
) -> MetricComparison:
    sign = -1.0 if metric in HIGHER_IS_BETTER else 1.0
    ours, theirs = metric_value(metric, label, candidate), metric_value(metric, label, against)
    worse = sign * (ours - theirs)
    half = _half(
        sample.metric(metric, label, candidate) - sample.metric(metric, label, against), sample.groups, LEVEL / 2
    )
    passed = worse < 0 if limit is None else worse <= limit
    return MetricComparison(metric, ours, theirs, worse, worse - half, worse + half, limit, passed)


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
    metric: str,
    label: NDArray[np.float64],
    candidate: NDArray[np.float64],
    champion: NDArray[np.float64],
    cluster: NDArray[np.object_],
    slices: Mapping[str, NDArray[np.object_]],
    guard: SliceGate,
) -> dict[str, SliceComparison]:
    import numpy as np

    masks = {
        f"{column}={value}": np.asarray(slices[column]).astype(str) == value
        for column in guard.by
        if column in slices
        for value in np.unique(np.asarray(slices[column]).astype(str))
    }
    samples = {name: _Sample.of(cluster[mask]) for name, mask in masks.items()}
    big = {n for n, mask in masks.items() if samples[n].clusters >= guard.min_clusters and mask.sum() >= guard.min_rows}
    found = {}
    for name, mask in masks.items():
        sample = samples[name]
        parts = (label[mask], candidate[mask], champion[mask])
        ours, theirs = metric_value(metric, parts[0], parts[1]), metric_value(metric, parts[0], parts[2])
        resampled = sample.metric(metric, parts[0], parts[1]) - sample.metric(metric, parts[0], parts[2])
        half = _half(resampled, sample.groups, LEVEL / max(len(big), 1))
        worse, limit = ours - theirs, guard.no_worse_than_champion_by
        shown = name in big and worse - half > limit
        compared = MetricComparison(metric, ours, theirs, worse, worse - half, worse + half, limit, not shown)
        found[name] = SliceComparison(compared, int(mask.sum()), sample.clusters, name in big)
    return found

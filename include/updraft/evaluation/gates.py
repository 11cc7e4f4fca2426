"""The gates of a holdout: is a freshly trained model good enough to go on?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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

    A metric refuses when the candidate's value is worse than the champion's by more than its limit. Slices are many
    and small, so one refuses only when it is *shown* worse by more than its limit (one-sided, 5 % shared out among the
    slices), and one with fewer than ``min_clusters`` or ``min_rows`` is only reported. A first model, and any model of
    a project without a gate on a metric, must beat the base rate of the holdout itself.

    :param label: shape (rows,), as are ``candidate`` and ``champion``, the scores.
    :param cluster: shape (rows,), the unit of evidence.
    :param slices: by column, shape (rows,): the values that the rows are sliced by.
    :raises DataError: when there are no rows, a score is no number, a gate does not fit the task, or a column to
        slice by is missing.
    """
    wanted = gates.metrics
    if unfit := [m for m in wanted if m not in METRICS.get(task, ())]:
        raise DataError(
            f"gates.{unfit[0]} does not fit a {task} model; its metrics are {', '.join(METRICS.get(task, ()))}"
        )
    sample = _Sample.of(cluster)
    names = list(wanted) or [METRICS[task][0]]
    against = "champion" if wanted and champion is not None else "base rate"
    compared = []
    for name in names:
        reference = champion if wanted and champion is not None else base_rate(task, name, label)
        limit = wanted[name].no_worse_than_champion_by if against == "champion" else None
        compared.append(_Pair(label, candidate, reference, sample).compare(name, limit))
    reasons = [_refusal(one, against) for one in compared if not one.passed]
    found: dict[str, SliceComparison] = {}
    if champion is not None and gates.slices is not None:
        metric = next((m for m in names if m not in HIGHER_IS_BETTER), METRICS[task][0])
        found = _slices(metric, _Pair(label, candidate, champion, sample), cluster, slices, gates.slices)
        reasons += [
            f"{name}: {one.comparison.metric} is shown worse than the champion's by more than {one.comparison.limit:g}"
            f" (by {one.comparison.worse_by:.4f}, at least {one.comparison.lower:.4f}, {one.clusters} clusters)"
            for name, one in found.items()
            if not one.comparison.passed
        ]
    return GateResult(
        not reasons,
        tuple(reasons),
        against,
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


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two models' scores of the same rows."""

    label: NDArray[np.float64]
    candidate: NDArray[np.float64]
    against: NDArray[np.float64]
    sample: _Sample

    def compare(self, metric: str, limit: float | None, level: float = LEVEL / 2) -> MetricComparison:
        """The candidate passes when it is worse by no more than the limit; without a limit, when it is better."""
        sign = -1.0 if metric in HIGHER_IS_BETTER else 1.0
        ours = metric_value(metric, self.label, self.candidate)
        theirs = metric_value(metric, self.label, self.against)
        resampled = [self.sample.metric(metric, self.label, score) for score in (self.candidate, self.against)]
        worse, half = sign * (ours - theirs), _half(resampled[0] - resampled[1], self.sample.groups, level)
        passed = worse < 0 if limit is None else worse <= limit
        return MetricComparison(metric, ours, theirs, worse, worse - half, worse + half, limit, passed)

    def rows(self, mask: NDArray[np.bool_], cluster: NDArray[np.object_]) -> _Pair:
        """The pair on some of the rows."""
        return _Pair(self.label[mask], self.candidate[mask], self.against[mask], _Sample.of(cluster[mask]))


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
        if part.sample.clusters >= guard.min_clusters and len(part.label) >= guard.min_rows
    }
    found = {}
    for name, part in parts.items():
        limit = guard.no_worse_than_champion_by
        compared = part.compare(metric, limit, LEVEL / max(len(big), 1))
        shown = name in big and compared.lower > limit
        found[name] = SliceComparison(
            replace(compared, passed=not shown), len(part.label), part.sample.clusters, name in big
        )
    return found

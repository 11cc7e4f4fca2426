"""Bounds on a mean gain that hold at every look, however often one looks.

The method is compared with others, and its error rates and power are tabled, in ``docs/verdict.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from updraft.errors import DataError
from updraft.release.dependence import inflation
from updraft.tasks.clusters import FIRST_LOOK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.38
"""Level of the test that the boundary starts from, over the promised one: found by simulation, as many looks are taken."""
PATIENCE = 60.0
"""Clusters after which the boundary has doubled: what was not shown by then may be a gain that passes."""
SLOWEST = 84.0
"""Clusters after which the boundary rises no more: the lags show what dependence so many clusters have."""


@dataclass(frozen=True)
class Bound:
    """Where the mean gain lies, from the clusters so far; each end alone has the asked confidence, at every look."""

    lower: float
    upper: float
    mean: float
    clusters: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; an end that is not known yet is null."""
        ends = {"lower": self.lower, "upper": self.upper, "mean": self.mean}
        return {k: round(v, 9) if math.isfinite(v) else None for k, v in ends.items()} | {"clusters": self.clusters}


def bound(gains: NDArray[np.float64], confidence: float) -> Bound:
    """The bound after the last cluster.

    :param gains: shape (clusters,), mean gain of each cluster in time order.
    :param confidence: of each end, such as 0.95.
    :raises DataError: when a gain is no number, or the confidence is not between 0.5 and 1.
    """
    return confidence_sequence(gains, confidence)[-1] if len(gains) else Bound(-math.inf, math.inf, math.nan, 0)


def confidence_sequence(gains: NDArray[np.float64], confidence: float) -> list[Bound]:
    """The bound after each cluster, first to last.

    :param gains: shape (clusters,), mean gain of each cluster in time order.
    :param confidence: of each end.
    :raises DataError: when a gain is no number, or the confidence is not between 0.5 and 1.
    """
    import numpy as np

    gains = np.asarray(gains, dtype=np.float64)
    if not 0.5 < confidence < 1:
        raise DataError(f"a confidence of {confidence} bounds nothing; set release.confidence between 0.5 and 1")
    if not np.isfinite(gains).all():
        raise DataError(f"gain {int(np.flatnonzero(~np.isfinite(gains))[0])} of {len(gains)} is no number")
    if not len(gains):
        return []
    below, mean, above = ends(gains[None, :], 1 - confidence)
    looks = zip(below[0].tolist(), above[0].tolist(), mean[0].tolist(), strict=True)
    return [Bound(*look, clusters) for clusters, look in enumerate(looks, 1)]


def ends(
    gains: NDArray[np.float64], alpha: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Lower end, mean and upper end after each cluster, for many histories at once.

    The mean μ is shown to be above m after n clusters when

        n w² / ((1 + w²) I) > h(n),   w = t + γ t²/3 + γ² t³/27 + γ/(6n),   t = (x̄ − m) / s,

    where s² is the mean squared deviation from x̄ and

    * w² / (1 + w²) is the self-normalised sum S²/(nV), S = Σ(x − m), V = Σ(x − m)²: as the variance is taken about m
      and not about x̄, a few clusters that happen to lie close together show nothing (de la Peña, Klass, Lai 2004);
    * γ = min(skewness, 0), so w is Hall's transformation (Hall 1992) where it lowers t: when losses are rare and large,
      the clusters before the first of them look better than they are;
    * I is what dependence adds to the variance of a mean (:func:`updraft.release.dependence.inflation`);
    * h(n) is :func:`boundary`.

    Each step is monotone in m, so the means not refuted are an interval, and its end has the closed form used here. The
    upper end is that of −x, its sign changed.

    :param gains: shape (histories, clusters).
    :param alpha: promised error of one end.
    :return: three arrays of shape (histories, clusters); an end is infinite before the first look, and while gains do
        not vary.
    """
    import numpy as np

    count = np.arange(1, gains.shape[1] + 1, dtype=np.float64)
    moments = _moments(gains)
    budget = moments.inflation * boundary(count, alpha)
    known = (moments.deviation > 0) & (count >= FIRST_LOOK) & (budget < count)
    passed = np.sqrt(budget / np.where(known, count - budget, 1.0))
    half = []
    for skewness in (moments.skewness, -moments.skewness):
        distance = _without_skewness(passed, np.maximum(-skewness, 0.0), count) * moments.deviation
        half.append(np.where(known, distance, np.inf))
    return moments.mean - half[0], moments.mean, moments.mean + half[1]


def boundary(count: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """h(n) = z² (1 + (min(n, 84)/60)²): what the squared self-normalised sum must pass after n clusters.

    z is the quantile of the normal distribution at 1 − 0.38 α. A gain that lasts for weeks and then passes cannot be
    told from a true one by so few clusters, however its autocorrelations are estimated. So the boundary rises for
    twelve weeks of days; with more clusters it is the estimate of the dependence that has to carry.

    :param count: clusters, any shape; the result has the same.
    :param alpha: promised error of one end, below 0.5.
    """
    import numpy as np

    quantile = NormalDist().inv_cdf(1 - LEVEL * alpha)
    return np.asarray(quantile**2 * (1 + (np.minimum(count, SLOWEST) / PATIENCE) ** 2), dtype=np.float64)


def _without_skewness(
    w: NDArray[np.float64], skew: NDArray[np.float64], count: NDArray[np.float64]
) -> NDArray[np.float64]:
    """t with Hall's transformation of t equal to w, for a skewness of −skew ≤ 0."""
    import numpy as np

    slight = skew < 1e-6
    safe = np.where(slight, 1.0, skew)
    solved = 3 * (1 - np.cbrt(1 - safe * (w + safe / (6 * count)))) / safe
    return np.asarray(np.where(slight, w, solved), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Moments:
    """Of every prefix of every history, each of shape (histories, clusters)."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    """Root mean squared deviation from the mean; exactly 0 while all gains are the same."""
    skewness: NDArray[np.float64]
    """Adjusted Fisher–Pearson."""
    inflation: NDArray[np.float64]


def _moments(gains: NDArray[np.float64]) -> _Moments:
    import numpy as np

    count = np.arange(1, gains.shape[1] + 1, dtype=np.float64)
    x = gains - gains[:, :1]
    first, second, third = (np.cumsum(x**power, axis=1) / count for power in (1, 2, 3))
    variance = np.maximum(second - first**2, 0.0)
    variance[np.maximum.accumulate(x, axis=1) == np.minimum.accumulate(x, axis=1)] = 0.0
    some = np.where(variance > 0, variance, 1.0)
    adjusted = np.sqrt(count * (count - 1)) / np.maximum(count - 2, 1)
    skewness = adjusted * (third - 3 * first * second + 2 * first**3) / some**1.5
    return _Moments(first + gains[:, :1], np.sqrt(variance), skewness, inflation(x))

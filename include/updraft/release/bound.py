"""Bounds on a mean gain that hold at every look, however often one looks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from updraft.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIRST_LOOK = 7
"""Clusters before anything is said: fewer do not show how much gains vary."""


@dataclass(frozen=True)
class Bound:
    """Where the mean gain lies, seen from the clusters so far. Each end alone holds with the asked confidence, at every look."""

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
    :raises DataError: when a gain is no number.
    """
    return confidence_sequence(gains, confidence)[-1] if len(gains) else Bound(-math.inf, math.inf, math.nan, 0)


def confidence_sequence(gains: NDArray[np.float64], confidence: float) -> list[Bound]:
    """The bound after each cluster, first to last.

    :param gains: shape (clusters,), mean gain of each cluster in time order.
    :param confidence: of each end.
    :raises DataError: when a gain is no number.
    """
    import numpy as np

    gains = np.asarray(gains, dtype=np.float64)
    if not np.isfinite(gains).all():
        raise DataError(f"gain {int(np.flatnonzero(~np.isfinite(gains))[0])} of {len(gains)} is no number")
    if not len(gains):
        return []
    mean, half = half_widths(gains[None, :], 1 - confidence)
    return [
        Bound(float(m - h), float(m + h), float(m), n) for n, (m, h) in enumerate(zip(mean[0], half[0], strict=True), 1)
    ]


def half_widths(gains: NDArray[np.float64], alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Running means and the distance to either end.

    The mean is shown to be above m when S² > h(n) V with S = Σ(x − m) and V = Σ(x − m)² + A, where A is what five
    Bartlett lags of centred autocovariance add (Newey, West 1987), and h is the boundary of a normal mixture in
    variance time n (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon 2021). V is taken about m and not about the mean, which is what protects
    the first looks. Solved for m: the ends are mean ± √(h B / (n (n − h))), B = Σ(x − mean)² + A.

    :param gains: shape (histories, clusters).
    :param alpha: error of one end.
    :return: means and half widths, each of shape (histories, clusters); infinite before the first look and while gains do not vary.
    """
    import numpy as np

    count = np.arange(1, gains.shape[1] + 1, dtype=np.float64)
    mean = np.cumsum(gains, axis=1) / count
    spread = _spread(gains)
    height = boundary(count, alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        half = np.sqrt(height * spread / (count * (count - height)))
    same = np.maximum.accumulate(gains, axis=1) == np.minimum.accumulate(gains, axis=1)
    return mean, np.where(same | (count < FIRST_LOOK) | (count <= height), np.inf, half)


def boundary(count: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """h(n): the square of the self-normalised sum that must be passed after n clusters."""
    import numpy as np

    wait = 2 * math.log(1 / (2 * alpha))
    rho = 28 / (wait + math.log(1 + wait))
    return np.asarray((1 + rho / count) * np.log((count + rho) / (4 * rho * alpha**2)), dtype=np.float64)


def _spread(gains: NDArray[np.float64], lags: int = 5) -> NDArray[np.float64]:
    """Σ(x − mean)² of each prefix, plus what its Bartlett-weighted autocovariances add; shape as given."""
    import numpy as np

    count = np.arange(1, gains.shape[1] + 1, dtype=np.float64)
    centred = gains - gains[:, :1]
    total = np.cumsum(centred, axis=1)
    mean = total / count
    spread = np.maximum(np.cumsum(centred**2, axis=1) - count * mean**2, 0.0)
    added = np.zeros_like(spread)
    for lag in range(1, min(lags, gains.shape[1] - 1) + 1):
        late, early = centred[:, lag:], centred[:, :-lag]
        products = np.cumsum(late * early, axis=1)
        sums = np.cumsum(late, axis=1) + np.cumsum(early, axis=1)
        inner = products - mean[:, lag:] * sums + (count[lag:] - lag) * mean[:, lag:] ** 2
        added[:, lag:] += 2 * (1 - lag / (lags + 1)) * inner
    return spread + np.maximum(added, 0.0)

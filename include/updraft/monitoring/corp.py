"""CORP: a proper score split into miscalibration, discrimination and uncertainty.

Dimitriadis, Gneiting, Jordan (2021), "Stable reliability diagrams for probabilistic classifiers", PNAS 118(8),
doi:10.1073/pnas.2016191118: recalibrate the scores by isotonic regression on the labels (pool adjacent violators), call
the recalibrated score's loss S_C, that of the scores S_X and that of the base rate S_R; then MCB = S_X - S_C,
DSC = S_R - S_C, UNC = S_R, and S_X = MCB - DSC + UNC.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from updraft.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

CLIP = 1e-7
"""Scores are kept this far from 0 and 1 in the log loss, whose value is infinite there."""


@dataclass(frozen=True)
class Decomposition:
    """Mean loss and its parts: ``loss = mcb - dsc + unc``, none below 0, in units of the loss (nats for log loss)."""

    metric: str
    rows: int
    loss: float
    mcb: float
    """What recalibration would gain on these very rows: an upper end, as it is fitted on them."""
    dsc: float
    """What the scores' order is worth."""
    unc: float
    """Loss of always saying the base rate."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class CalibrationCurve:
    """The CORP reliability diagram: one step per pool of scores, in ascending order."""

    score: tuple[float, ...]
    """Mean score of the pool."""
    rate: tuple[float, ...]
    """Share of positive labels in the pool: never falls from one pool to the next."""
    rows: tuple[int, ...]


def decompose(y: ArrayLike, p: ArrayLike, metric: Literal["log_loss", "brier"] = "log_loss") -> Decomposition:
    """Split the mean loss of scores into miscalibration, discrimination and uncertainty.

    :param y: labels, 0 or 1, shape (n,).
    :param p: scores, probabilities in [0, 1], shape (n,).
    :raises DataError: when shapes differ, there are no rows, a label is neither 0 nor 1 or a score is no probability.
    """
    labels, scores = _checked(y, p)
    if metric == "log_loss":
        scores = scores.clip(CLIP, 1 - CLIP)
    pools, firsts = _pools(labels, scores)
    calibrated = pools.repeat(_lengths(firsts, len(labels)))
    in_order = labels[scores.argsort(kind="stable")]
    loss = _loss(metric, labels, scores)
    least = _loss(metric, in_order, calibrated)
    base = _loss(metric, labels, labels.mean())
    return Decomposition(metric, len(labels), loss, loss - least, base - least, base)


def calibration_curve(y: ArrayLike, p: ArrayLike) -> CalibrationCurve:
    """The pools of isotonic regression, for a picture.

    :raises DataError: as in :func:`decompose`.
    """
    import numpy as np

    labels, scores = _checked(y, p)
    pools, firsts = _pools(labels, scores)
    rows = _lengths(firsts, len(labels))
    sums = np.add.reduceat(np.sort(scores), firsts)
    return CalibrationCurve(tuple((sums / rows).tolist()), tuple(pools.tolist()), tuple(int(number) for number in rows))


def _checked(y: ArrayLike, p: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    labels, scores = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise DataError(f"labels {labels.shape} and scores {scores.shape} must be two columns of equal length")
    if not len(labels):
        raise DataError("no rows: a loss of nothing cannot be split; wait until labels have matured")
    if not np.isin(labels, (0.0, 1.0)).all():
        raise DataError("a label is neither 0 nor 1; CORP here splits losses of binary labels")
    if not ((scores >= 0) & (scores <= 1)).all():  # also refuses NaN
        raise DataError("a score is no probability in [0, 1]; pass calibrated scores, not margins")
    return labels, scores


def _pools(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Isotonic regression of labels on scores -> value of each pool, and where it begins in the order of the scores.

    Equal scores are one observation with a weight, so they can never be told apart.
    """
    import numpy as np
    from scipy.optimize import isotonic_regression

    order = scores.argsort(kind="stable")
    firsts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    weights = _lengths(firsts, len(labels)).astype(np.float64)
    rates = np.add.reduceat(labels[order], firsts) / weights
    fitted = isotonic_regression(rates, weights=weights)
    begins = fitted.blocks[:-1]
    # The pool's own share, not the solver's running mean: exact for 0 and 1, where the log loss is delicate.
    starts = firsts[begins]
    values = np.add.reduceat(labels[order], starts) / _lengths(starts, len(labels))
    return values, starts


def _lengths(firsts: NDArray[np.intp], total: int) -> NDArray[np.intp]:
    import numpy as np

    lengths: NDArray[np.intp] = np.diff(np.r_[firsts, total])
    return lengths


def _loss(metric: str, y: NDArray[np.float64], p: NDArray[np.float64] | np.float64) -> float:
    import numpy as np
    from scipy.special import xlogy

    if metric == "brier":
        return float(np.mean((p - y) ** 2))
    if metric == "log_loss":  # 0·log 0 = 0: a pool of one label only costs nothing
        return float(-np.mean(xlogy(y, p) + xlogy(1 - y, 1 - p)))
    raise DataError(f"{metric!r} is not a loss that CORP splits here; choose log_loss or brier")

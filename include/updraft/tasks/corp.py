"""CORP: a proper score split into miscalibration, discrimination and uncertainty.

Dimitriadis, Gneiting, Jordan (2021), "Stable reliability diagrams for probabilistic classifiers", PNAS 118(8),
doi:10.1073/pnas.2016191118: recalibrate the scores by isotonic regression on the labels (pool adjacent violators), call
the recalibrated score's loss S_C, that of the scores S_X and that of the base rate S_R; then MCB = S_X - S_C,
DSC = S_R - S_C, UNC = S_R, and S_X = MCB - DSC + UNC.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from updraft.errors import DataError
from updraft.tasks.losses import LOG_LOSS, RowLoss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


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


def decompose(y: ArrayLike, p: ArrayLike, loss: RowLoss = LOG_LOSS) -> Decomposition:
    """Split the mean loss of scores into miscalibration, discrimination and uncertainty.

    :param y: labels, 0 or 1, shape (n,).
    :param p: scores, probabilities in [0, 1], shape (n,).
    :param loss: a proper loss of binary labels.
    :raises DataError: when shapes differ, there are no rows, a label is neither 0 nor 1 or a score is no probability.
    """
    labels, scores = _checked(y, p)
    scores = loss.kept_within(scores)
    pools, firsts = _pools(labels, scores)
    calibrated = pools.repeat(_lengths(firsts, len(labels)))
    in_order = labels[scores.argsort(kind="stable")]
    whole = float(loss.exact(labels, scores).mean())
    least = float(loss.exact(in_order, calibrated).mean())  # exact: a pool of one label only costs nothing
    base = float(loss.exact(labels, labels.mean()).mean())
    return Decomposition(loss.name, len(labels), whole, whole - least, base - least, base)


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

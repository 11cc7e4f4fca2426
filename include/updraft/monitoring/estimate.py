"""What a partition will have lost, before its labels are known: from the scores, in an interval that knows how wrong earlier estimates were.

Scores that are probabilities say themselves what they expect to lose (confidence-based performance estimation, CBPE: Kivimäki, Białek, Nurminen
and Kuberski 2024, "Confidence-based estimators for predictive performance in model monitoring", arXiv:2407.08649). Labels are then independent
draws with these probabilities, and mean and variance of every row's loss are known sums. A score that is a number says nothing of its error:
there the losses of known rows with a similar score stand for those of the new ones (direct loss estimation, DLE, of NannyML; by bins here).

Both believe that the world is as it was: that scores are calibrated still, that an error is as large as it was. Only labels could tell otherwise.
So an estimate is no ground for a decision, and what it can tell is how wrong that belief was lately. The interval is not the spread of the
labels alone, but split-conformal (Papadopoulos et al. 2002; Lei et al. 2018, "Distribution-free predictive inference for regression", section
5.2 for errors of unequal size): as wide as the errors of the last estimates that came true. Where the new error is exchangeable with them,
it holds at least in :data:`LEVEL` of all cases, whatever their distribution. A change breaks that until its first labels are known; two errors of
twenty later the interval is wide enough. While a world slides on, every error is larger than those before it, and fewer intervals hold than
should: how many did is told beside each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from updraft.tasks.metrics import MeanLoss, Metric

LEVEL = 0.9
"""How often an interval is to hold what comes true."""
RECENT = 20
"""Errors of earlier estimates that an interval is made of, at most: the newest ones, as calibration changes."""
FEWEST = 9
"""Errors without which there is no interval: of fewer not even the largest one is a bound that 9 of 10 errors keep (9 / (8 + 1) is the first)."""
_TWO_SIDED = 1.6448536269514722
"""Quantile of the normal distribution at (1 + :data:`LEVEL`) / 2."""
_RESOLUTION = 1e-6
"""What figures of a partition are rounded to (:func:`updraft.loop.context.rounded`): no error is known better."""
_ROWS_OF_BIN = 50
_MOST_BINS = 20


@dataclass(frozen=True)
class Expected:
    """What a partition is expected to lose."""

    value: float
    """In the metric's own unit: the root where the metric is one."""
    spread: float
    """Standard deviation of the metric over the labels that may come, in the same unit: of the luck of the labels alone."""
    figures: dict[str, float] = field(default_factory=dict)
    """What else is expected, by the name of its metric."""


@dataclass(frozen=True)
class PastError:
    """By how much an earlier estimate missed what came true."""

    error: float
    """What came true less what was estimated."""
    spread: float
    """Of that estimate: see :attr:`Expected.spread`."""


@dataclass(frozen=True)
class Interval:
    """Where the metric will lie, in :data:`LEVEL` of all cases."""

    lower: float
    upper: float


def expected_of_probabilities(
    metric: MeanLoss, score: NDArray[np.float64], probabilities: NDArray[np.float64], others: Sequence[Metric] = ()
) -> Expected | None:
    """The mean loss that scores expect of themselves; of log loss it is their mean entropy. None of no rows.

    With p_k for the probability of outcome k, and L_k for what the row loses when k comes, a row's loss has the mean Σ p_k L_k and the variance
    Σ p_k L_k² - (Σ p_k L_k)². Rows are taken as independent (for 0-1 loss the sum is Poisson-binomial), so that variances add up; what rows have
    in common shows in the errors of the past.

    :param score: as the task's loss takes it: shape (rows,) or (rows, classes).
    :param probabilities: of the outcomes 0, 1, … of each row, shape (rows, outcomes).
    :param others: metrics whose expectation is told too, where they have one.
    """
    import numpy as np

    rows, outcomes = probabilities.shape
    if not rows:
        return None
    mean, square = np.zeros(rows), np.zeros(rows)
    for outcome in range(outcomes):
        loss = metric.loss(np.full(rows, float(outcome)), score)
        mean += probabilities[:, outcome] * loss
        square += probabilities[:, outcome] * loss**2
    expected = {other.name: other.expected(probabilities) for other in others}
    figures = {name: value for name, value in expected.items() if value is not None}
    return _expected(metric, mean, np.maximum(square - mean**2, 0.0), figures)


def expected_of_losses(
    metric: MeanLoss, score: NDArray[np.float64], known_score: NDArray[np.float64], known_loss: NDArray[np.float64]
) -> Expected | None:
    """The mean loss of rows that lose what known rows with a similar score lost. None of no rows, or of too few known ones.

    Bins between quantiles of the known scores: an error that grows with the score, or is largest at both ends, is told alike; a monotone fit
    would miss the second.

    :param score: of the new rows, shape (rows,).
    :param known_score: of rows with known labels, from partitions that the model had not seen; shape (known,).
    :param known_loss: the loss of the same rows.
    """
    import numpy as np

    bins = min(len(known_score) // _ROWS_OF_BIN, _MOST_BINS)
    if not len(score) or not bins:
        return None
    edges = np.unique(np.quantile(known_score, np.arange(1, bins) / bins, method="lower")) if bins > 1 else np.array([])
    edges = edges[edges > known_score.min()]  # each bin begins at a known score, and so none is empty
    known_bin, new_bin = (np.searchsorted(edges, values, side="right") for values in (known_score, score))
    rows = np.bincount(known_bin, minlength=len(edges) + 1)
    mean = np.bincount(known_bin, known_loss, len(rows)) / rows
    square = np.bincount(known_bin, known_loss**2, len(rows)) / rows
    return _expected(metric, mean[new_bin], np.maximum(square - mean**2, 0.0)[new_bin], {})


def _expected(
    metric: MeanLoss, mean: NDArray[np.float64], variance: NDArray[np.float64], figures: dict[str, float]
) -> Expected:
    """Of each row's mean and variance of its loss."""
    import numpy as np

    loss, spread = float(mean.mean()), float(np.sqrt(variance.sum())) / len(mean)
    value = metric.of_mean(loss)
    if metric.root and value > 0:
        spread /= 2 * value  # the root's, to first order
    return Expected(value, spread, {name: figure for name, figure in figures.items() if math.isfinite(figure)})


def interval(expected: Expected, past: Sequence[PastError]) -> Interval | None:
    """The interval of an estimate, from the errors of the newest earlier ones; None while these are fewer than :data:`FEWEST`.

    An error has two parts: the luck of the labels, which a partition of many rows has little of, and miscalibration, which no number of rows
    makes smaller. So errors are held against the scale sqrt(spread² + τ²), where τ² is by how much the squared errors were larger on average
    than their spreads explain (a moment estimate, as that of DerSimonian and Laird 1986): partitions of unequal size are comparable, and where
    calibration holds τ is near 0. The half-width is the conformal quantile of the scaled errors, the ceil((n + 1) · LEVEL)-th smallest, times
    the new estimate's scale. It is never less than what the luck of the labels alone calls for, and no loss lies below 0.

    :param past: in order, the newest last.
    """
    import numpy as np

    past = past[-RECENT:]
    if len(past) < FEWEST:
        return None
    error = np.array([row.error for row in past])
    spread = np.array([row.spread for row in past])
    excess = max(float((error**2 - spread**2).mean()), 0.0)
    scale = np.maximum(np.sqrt(spread**2 + excess), _RESOLUTION)
    scaled = np.sort(np.abs(error) / scale)
    rank = math.ceil((len(past) + 1) * LEVEL - 1e-9)
    own = max(math.sqrt(expected.spread**2 + excess), _RESOLUTION)
    half = max(float(scaled[rank - 1]) * own, _TWO_SIDED * expected.spread)
    return Interval(max(expected.value - half, 0.0), expected.value + half)

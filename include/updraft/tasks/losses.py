"""Losses of single rows, given what was served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLIP = 1e-7
"""Probabilities are kept this far from 0 and 1: one certain mistake costs at most 16.1 of log loss, not infinity."""


@dataclass(frozen=True)
class RowLoss:
    """A loss that each row has of its own; lower is better. Called with labels and scores it gives shape (rows,).

    :raises DataError: when the shapes do not fit each other, or a label or a score is no number; names the row.
    """

    name: str
    unit: str
    """Of the loss, such as ``nats``; empty for a loss without one."""
    exact: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
    """The formula, for labels and scores that have been checked."""
    within: tuple[float, float] | None = None
    """Scores are moved into this range before the formula sees them."""
    by_class: bool = False
    """Whether a row's score is a vector, one value for each class."""

    def __call__(self, label: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Loss of each row."""
        label, score = checked(label, score, by_class=self.by_class)
        return self.exact(label, self.kept_within(score))

    def kept_within(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores moved into :attr:`within`."""
        import numpy as np

        return score if self.within is None else np.clip(score, *self.within)


def checked(
    label: NDArray[np.float64], score: NDArray[np.float64], *, by_class: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Labels and scores as float64, of shapes that fit each other.

    :param by_class: whether scores are of shape (rows, classes).
    :raises DataError: when they do not fit, or a value is no number; names the row.
    """
    import numpy as np

    label, score = np.asarray(label, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if label.ndim != 1 or score.shape[:1] != label.shape or score.ndim != (2 if by_class else 1):
        raise DataError(f"labels of shape {label.shape} cannot be compared with scores of shape {score.shape}")
    for name, values in (("score", score), ("label", label)):
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            raise DataError(f"the {name} of row {row} is no number; drop rows without a label before comparing models")
    if by_class and not np.isin(label, np.arange(score.shape[1])).all():
        row = int(np.flatnonzero(~np.isin(label, np.arange(score.shape[1])))[0])
        raise DataError(f"the label of row {row} is {label[row]:g}, and there are scores of {score.shape[1]} classes")
    return label, score


def log_likelihood_loss(label: NDArray[np.float64], probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Negative log-likelihood of labels 0 and 1. What is certain and right costs nothing (0·log 0 = 0); certain and wrong, infinity."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        of_ones = np.where(label == 0, 0.0, label * np.log(probability))
        of_zeros = np.where(label == 1, 0.0, (1 - label) * np.log1p(-probability))
    return -(of_ones + of_zeros)


def _squared(label: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
    return (label - score) ** 2


def _absolute(label: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.abs(label - score)


def score_of_label(label: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row the value in the column of its label.

    :param label: positions of columns, shape (rows,).
    :param values: shape (rows, classes).
    """
    import numpy as np

    return np.asarray(values[np.arange(len(label)), label.astype(np.intp)], np.float64)


def _log_loss_of_classes(label: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return -np.log(score_of_label(label, score))


def _brier_of_classes(label: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    # Σ (p_k - y_k)² = Σ p_k² - 2 p_y + 1
    return np.asarray((score**2).sum(axis=1) - 2 * score_of_label(label, score) + 1, np.float64)


def _zero_one(label: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(score.argmax(axis=1) != label, np.float64)


LOG_LOSS = RowLoss("log_loss", "nats", log_likelihood_loss, within=(CLIP, 1 - CLIP))
BRIER = RowLoss("brier", "", _squared)
"""Squared difference of probability and outcome (Brier 1950)."""
LOG_LOSS_OF_CLASSES = RowLoss("log_loss", "nats", _log_loss_of_classes, within=(CLIP, 1 - CLIP), by_class=True)
BRIER_OF_CLASSES = RowLoss("brier", "", _brier_of_classes, by_class=True)
"""Sum over the classes of the squared difference of probability and outcome (Brier 1950): from 0 to 2, twice that of two classes by :data:`BRIER`."""
ZERO_ONE = RowLoss("zero_one", "", _zero_one, by_class=True)
"""1 where the likeliest class is not the one that came; of equally likely ones the first counts."""
SQUARED_ERROR = RowLoss("squared_error", "squared units of the label", _squared)
ABSOLUTE_ERROR = RowLoss("absolute_error", "units of the label", _absolute)

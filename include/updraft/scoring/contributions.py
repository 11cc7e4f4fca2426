"""What each feature contributes to scores: Shapley values by sampling, the same for every trainer and task.

A score is explained against rows that a reference gives: what the features of a row have moved the score from what such rows get. One
draw takes a reference row and an order of the features, and sets one feature after the other to the row's own value; each feature is
credited with what its step moved. The mean over draws is an unbiased estimate of its Shapley value, and the steps of each draw add up to the
whole difference (Štrumbelj, Kononenko 2014, "Explaining prediction models and individual predictions with feature contributions",
algorithm 2, with whole permutations: Castro, Gómez, Tejada 2009). Features are set independently of each other, so that of features
that say the same each is credited with what the model makes of it, not with what it stands for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWS = 256
"""Draws of a row, at most."""
FEWEST = 8
"""Draws of a row that are made however long they take: a standard error of fewer says little."""


@dataclass(frozen=True, eq=False)
class Contributions:
    """What the features of rows have moved their scores by."""

    mean: NDArray[np.float64]
    """Rows × features, or rows × features × classes: the mean over draws, in units of the score."""
    spread: NDArray[np.float64]
    """Of the same shape: the standard deviation over draws."""
    draws: int

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """Of :attr:`mean`, row by row."""
        error: NDArray[np.float64] = self.spread / float(self.draws) ** 0.5
        return error


def contributions(
    score: Callable[[NDArray[np.float32]], NDArray[np.float64]],
    rows: NDArray[np.float32],
    reference: NDArray[np.float32],
    *,
    draws: int = DRAWS,
    seconds: float = 10.0,
    seed: int = 0,
) -> Contributions:
    """Estimate what the features have moved the scores of some rows by.

    The same rows, reference, draws and seed give the same figures, as long as the time is enough.

    :param score: encoded rows to scores, of shape (rows,) or (rows, classes).
    :param rows: encoded rows × features, at least one.
    :param reference: encoded rows × features that the rows are held against, at least one.
    :param draws: at most so many for each row, and two at least.
    :param seconds: no draw begins after so many, from :data:`FEWEST` on.
    """
    import numpy as np

    random, started = np.random.default_rng(seed), time.monotonic()
    count, features = rows.shape
    every_row = np.arange(count)
    total = squares = np.zeros(0)
    made = 0
    while made < max(draws, 2) and (made < FEWEST or time.monotonic() - started < seconds):
        mixed = reference[random.integers(0, len(reference), count)]
        order = np.argsort(random.random((count, features)), axis=1)
        before = score(mixed)
        moved = np.empty((count, features, *before.shape[1:]), np.float64)
        for step in range(features):
            column = order[:, step]
            mixed[every_row, column] = rows[every_row, column]
            after = score(mixed)
            moved[every_row, column] = after - before
            before = after
        total, squares = (moved, moved**2) if not made else (total + moved, squares + moved**2)
        made += 1
    mean = total / made
    spread = np.sqrt(np.maximum(squares / made - mean**2, 0.0) * made / max(made - 1, 1))
    return Contributions(mean, spread, made)

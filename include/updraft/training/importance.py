"""What a model looks at: as the model itself tells, or by taking one feature after the other away from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft.training.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from updraft.training.data import TrainingData

GAIN = "share of the gain"
PERMUTATION = "share of the loss it saves on unseen rows"
MOST_ROWS = 10_000
"""Rows that are permuted: enough for a picture, and 30 features then take a second."""
TIMES = 3


@dataclass(frozen=True)
class Importance:
    """Shares by feature, in the model's order; they sum to 1, or are all 0."""

    shares: Mapping[str, float]
    meaning: str
    """What they are shares of: :data:`GAIN` or :data:`PERMUTATION`."""


def gain_importance(model: Model) -> Importance | None:
    """What the columns gained in training; None when the model does not tell."""
    gains = model.scorer.gain()
    return None if gains is None else shares_of(model, gains, GAIN)


def permutation_importance(proof: Model, unseen: TrainingData) -> Importance:
    """What the features are worth to the proof model on rows that it has not seen.

    Permutation (Breiman 2001, "Random Forests", section 10): how much the mean loss grows when the values of one feature
    are shuffled between the rows; the mean of three shuffles, nothing below zero. Features that say the same share what
    they are worth, and either may show as nothing, as the other one stands in for it.
    """
    return shares_of(proof, _permuted(proof, unseen), PERMUTATION)


def shares_of(model: Model, gains: NDArray[np.float64], meaning: str) -> Importance:
    """What each column is worth, as shares of the whole."""
    whole = sum(map(float, gains)) or 1.0
    return Importance(
        {name: float(gain) / whole for name, gain in zip(model.encoder.names, gains, strict=True)}, meaning
    )


def _permuted(proof: Model, unseen: TrainingData) -> NDArray[np.float64]:
    import numpy as np

    random = np.random.default_rng(0)
    chosen = np.linspace(0, len(unseen.label) - 1, min(MOST_ROWS, len(unseen.label))).astype(int)
    values = proof.encoder.encode(unseen.features.iloc[chosen])
    label = unseen.label[chosen]
    plain = proof.task_type.mean_margin_loss(label, proof.scorer.margin(values))
    worse = np.zeros(values.shape[1])
    for column in range(values.shape[1]):
        kept = values[:, column].copy()
        for _ in range(TIMES):
            values[:, column] = random.permutation(kept)
            worse[column] += (proof.task_type.mean_margin_loss(label, proof.scorer.margin(values)) - plain) / TIMES
        values[:, column] = kept
    return np.maximum(worse, 0.0)

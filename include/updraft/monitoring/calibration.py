"""The calibration layer in service: refitted on the last matured partitions, and kept while it earns its place.

Which kind of layer it is, and how one is fitted, is its task's :class:`~updraft.tasks.calibration.CalibrationFamily`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from updraft.monitoring.trial import Trial, paired_trial
from updraft.tasks.calibration import Layer
from updraft.tasks.clusters import too_few
from updraft.tasks.task_type import TaskType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


CHOICE_LEVEL = 0.01
"""Chance that a strength is taken for better than the usual one by chance: lower than a trial's, as the choice is made anew at each tick."""


@dataclass(frozen=True, eq=False)
class Matured:
    """Rows of one partition with known labels, and what a model that had not seen them said: arrays of one length."""

    key: str
    label: NDArray[np.float64]
    margin: NDArray[np.float64]
    cluster: NDArray[np.object_]


@dataclass(frozen=True)
class Refit:
    """Outcome of a refit: the layer to serve with, and the trial that it stood."""

    layer: Layer
    in_force: bool
    trial: Trial | None
    reason: str
    strength: float | None = None
    """Weight of the identity in the layer's fit, in clusters; None when there is none in force."""
    too_few: bool = False
    """Whether it rests on too few clusters to be put in force."""


@dataclass(frozen=True)
class Walk:
    """A layer tried walk-forward, and at which strength."""

    trial: Trial
    strength: float


def fit_layer(task: TaskType, parts: Sequence[Matured], strength: float | None = None) -> Layer:
    """Fit a layer of the task's family on partitions.

    :param parts: at least one partition; margins must be out of sample.
    :param strength: weight of the identity, in clusters of the size that these have; the family's usual one when None.
    """
    import numpy as np

    label = np.concatenate([part.label for part in parts])
    margin = np.concatenate([part.margin for part in parts])
    clusters = task.calibration.usual_strength if strength is None else strength
    return task.calibration.fit(label, margin, clusters * len(label) / _clusters(parts))


def in_order(task: TaskType, parts: Sequence[Matured], strength: float) -> tuple[Layer, float] | None:
    """The layer of a strength, or of the next stronger one that leaves the ranking as it is; None when none does.

    Where the scores of a model say nothing any more, the best slope may be negative: that would be another model, and none that was proved.
    """
    for stronger in sorted(candidate for candidate in task.calibration.strengths if candidate >= strength):
        if (layer := fit_layer(task, parts, stronger)).keeps_order:
            return layer, stronger
    return None


def refit(task: TaskType, parts: Sequence[Matured], window: int) -> Refit:
    """The layer from the last ``window`` partitions, unless the same way of fitting is shown to hurt walk-forward.

    Walk-forward: for each of the last partitions (:attr:`CalibrationFamily.look_back`), layers fitted on the ``window`` partitions before
    it, one for each strength, are compared on it with no layer at all, by cluster. The family's usual strength is taken, or the best of those
    that are shown to cost less (one-sided 1 %). Shown to hurt (5 %) even so takes the layer away; anything else keeps it, as it is shrunk already. A
    layer whose own partitions hold too few clusters is not put in force, nor one that turns the ranking round (:func:`in_order`).

    :param parts: every partition with matured labels that the model had not seen, in order.
    """
    parts = [part for part in parts if len(part.label)]
    no_layer = task.calibration.layer(None)
    if not parts:
        return Refit(no_layer, in_force=False, trial=None, reason="no matured labels yet")
    fitted_on = parts[-window:]
    if few := too_few(_clusters(fitted_on)):
        reason = f"no layer: the last {len(fitted_on)} partitions hold {few}"
        return Refit(no_layer, in_force=False, trial=None, reason=reason, too_few=True)
    walk = walk_forward(task, parts, window)
    trial = walk.trial if walk else None
    if trial is not None and trial.shown_negative:
        return Refit(no_layer, in_force=False, trial=trial, reason=f"recalibration is shown to hurt: {trial.words}")
    fitted = in_order(task, fitted_on, walk.strength if walk else task.calibration.usual_strength)
    if fitted is None:
        reason = f"no layer: fitted on the last {len(fitted_on)} partitions it would turn the ranking round, however strong its prior"
        return Refit(no_layer, in_force=False, trial=trial, reason=reason)
    layer, strength = fitted
    reason = f"walk-forward gain {trial.words}" if trial else "too few partitions to try it walk-forward"
    return Refit(layer, in_force=True, trial=trial, reason=reason, strength=strength)


def walk_forward(task: TaskType, parts: Sequence[Matured], window: int) -> Walk | None:
    """Gain of the layer over no layer on the last partitions, each predicted from those before it; None when there is no pair.

    It looks back on more partitions than the family's where those hold too few clusters.
    """
    import numpy as np

    parts = [part for part in parts if len(part.label)]
    first = max(1, len(parts) - task.calibration.look_back)
    while first > 1 and too_few(_clusters(parts[first:])):
        first -= 1
    pairs = [(tuple(parts[max(0, i - window) : i]), parts[i]) for i in range(first, len(parts))]
    # What a single day tells is no layer in service; only where there is nothing else is such a pair looked at.
    pairs = [pair for pair in pairs if not too_few(_clusters(pair[0]))] or pairs
    if not pairs:
        return None
    clusters, family = np.concatenate([part.cluster for _, part in pairs]), task.calibration
    gains = {
        strength: np.concatenate([_gain(task, before, part, strength) for before, part in pairs])
        for strength in family.strengths
    }
    usual = gains[family.usual_strength]
    over_usual = {strength: paired_trial(gain - usual, clusters, CHOICE_LEVEL) for strength, gain in gains.items()}
    better = [strength for strength, trial in over_usual.items() if trial.shown_positive]
    strength = max(better, key=lambda candidate: over_usual[candidate].gain, default=family.usual_strength)
    return Walk(paired_trial(gains[strength], clusters), strength)


@lru_cache(maxsize=96)  # a tick adds one pair; the others are those of the tick before, where they are the same objects
def _gain(task: TaskType, before: tuple[Matured, ...], part: Matured, strength: float) -> NDArray[np.float64]:
    """By how much the layer of some partitions lowers the loss of each row of the one after them."""
    without = task.margin_loss(part.label, part.margin)
    fitted = in_order(task, before, strength)
    return without - task.margin_loss(part.label, fitted[0].apply(part.margin)) if fitted else 0.0 * without


def cross_fitted(task: TaskType, parts: Sequence[Matured]) -> list[Layer]:
    """For each partition the layer fitted on the others: with it a candidate says what it would say once it is recalibrated.

    Where the others hold too few clusters, such as with a single partition, or would turn the ranking round, its layer is the identity, as it
    would be in service.
    """
    no_layer, layers = task.calibration.layer(None), list[Layer]()
    for part in parts:
        others = [other for other in parts if other is not part and len(other.label)]
        fitted = None if too_few(_clusters(others)) else in_order(task, others, task.calibration.usual_strength)
        layers.append(fitted[0] if fitted else no_layer)
    return layers


def _clusters(parts: Sequence[Matured]) -> int:
    """Clusters that the rows of some partitions belong to; one that goes over a tick counts once."""
    return len({name for part in parts for name in part.cluster.astype(str).tolist()})

"""The calibration layer in service: refitted on the last matured partitions, and kept while it earns its place.

Which kind of layer it is, and how one is fitted, is its task's :class:`~updraft.tasks.calibration.CalibrationFamily`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft.monitoring.trial import Trial, paired_trial
from updraft.tasks.calibration import Layer
from updraft.tasks.clusters import too_few
from updraft.tasks.task_type import TaskType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
    too_few: bool = False
    """Whether it rests on too few clusters to be put in force."""


def fit_layer(task: TaskType, parts: Sequence[Matured], prior_rows: float | None = None) -> Layer:
    """Fit a layer of the task's family on partitions.

    :param parts: at least one partition; margins must be out of sample.
    :param prior_rows: weight of the identity, in rows; the family's own when None.
    """
    import numpy as np

    label = np.concatenate([part.label for part in parts])
    margin = np.concatenate([part.margin for part in parts])
    return task.calibration.fit(label, margin, prior_rows)


def refit(task: TaskType, parts: Sequence[Matured], window: int) -> Refit:
    """The layer from the last ``window`` partitions, unless the same way of fitting is shown to hurt walk-forward.

    Walk-forward: for each of the last partitions (:attr:`CalibrationFamily.look_back`), a layer fitted on the ``window`` partitions before
    it is compared on it with no layer at all, by cluster. Shown to hurt (one-sided 5 %) takes the layer away; anything else keeps it, as it
    is shrunk already. A layer whose own partitions hold too few clusters is not put in force: thousands of rows of one day are one day, and
    the prior, which is weighed in rows, does not see that.

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
    layer = fit_layer(task, fitted_on)
    trial = walk_forward(task, parts, window)
    if trial is not None and trial.shown_negative:
        return Refit(no_layer, in_force=False, trial=trial, reason=f"recalibration is shown to hurt: {trial.words}")
    reason = f"walk-forward gain {trial.words}" if trial else "too few partitions to try it walk-forward"
    return Refit(layer, in_force=True, trial=trial, reason=reason)


def walk_forward(task: TaskType, parts: Sequence[Matured], window: int) -> Trial | None:
    """Gain of the layer over no layer on the last partitions, each predicted from those before it; None when there is no pair.

    It looks back on more partitions than the family's where those hold too few clusters.
    """
    import numpy as np

    parts = [part for part in parts if len(part.label)]
    gains, clusters = [], []
    first = max(1, len(parts) - task.calibration.look_back)
    while first > 1 and too_few(_clusters(parts[first:])):
        first -= 1
    for i in range(first, len(parts)):
        layer = fit_layer(task, parts[max(0, i - window) : i])
        part = parts[i]
        before = task.margin_loss(part.label, part.margin)
        gains.append(before - task.margin_loss(part.label, layer.apply(part.margin)))
        clusters.append(part.cluster)
    return paired_trial(np.concatenate(gains), np.concatenate(clusters)) if gains else None


def cross_fitted(task: TaskType, parts: Sequence[Matured]) -> list[Layer]:
    """For each partition the layer fitted on the others: with it a candidate says what it would say once it is recalibrated.

    Where the others hold too few clusters, such as with a single partition, its layer is the identity, as it would be in service.
    """
    layers = []
    for part in parts:
        others = [other for other in parts if other is not part and len(other.label)]
        few = too_few(_clusters(others))
        layers.append(task.calibration.layer(None) if few else fit_layer(task, others))
    return layers


def _clusters(parts: Sequence[Matured]) -> int:
    """Clusters that the rows of some partitions belong to; one that goes over a tick counts once."""
    return len({name for part in parts for name in part.cluster.astype(str).tolist()})

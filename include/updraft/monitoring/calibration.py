"""The calibration layer: two parameters on a model's margin, refitted on the last matured labels, kept while it earns its place.

The layer is Platt's (1999) sigmoid on the log-odds (for regression a line on the prediction), shrunk towards the identity: labels of one
day are not independent, so two partitions of 13,000 rows carry far less than 13,000 rows' worth of evidence about two parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from updraft.monitoring.trial import Trial, paired_trial

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Task = Literal["binary", "regression"]

PRIOR_ROWS = 1000.0
"""Weight of the identity in the fit, in rows. Chosen on the first half of the flights; 500 to 3,000 differ by less than .0003 in log loss."""
LOOK_BACK = 4
"""Partitions on which the layer is tried walk-forward before it is put in force."""


@dataclass(frozen=True)
class Layer:
    """``margin -> intercept + slope * margin``."""

    intercept: float = 0.0
    slope: float = 1.0

    def apply(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """Margins in, margins out; float64."""
        return self.intercept + self.slope * margin

    def as_dict(self) -> dict[str, float]:
        """For a decision's body."""
        return {"intercept": self.intercept, "slope": self.slope}

    @classmethod
    def of(cls, values: dict[str, float] | None) -> Layer:
        """A layer from a decision's body; None is the identity."""
        return cls(**values) if values else cls()


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


def loss(task: Task, label: NDArray[np.float64], margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Loss per row of a margin: log loss in nats, or the squared error."""
    import numpy as np

    if task == "regression":
        return (label - margin) ** 2
    return np.asarray(np.logaddexp(0.0, margin) - label * margin, np.float64)


def fit_layer(task: Task, parts: Sequence[Matured], prior_rows: float = PRIOR_ROWS) -> Layer:
    """Fit intercept and slope by penalised maximum likelihood (Newton's method; the objective is convex).

    :param parts: at least one partition; margins must be out of sample.
    """
    import numpy as np

    label = np.concatenate([part.label for part in parts])
    margin = np.concatenate([part.margin for part in parts])
    design = np.column_stack([np.ones_like(margin), margin])
    if task == "regression":
        scale = np.diag([1.0, max(float(np.mean(margin**2)), 1e-12)]) * prior_rows
        normal = design.T @ design + scale
        intercept, slope = np.linalg.solve(normal, design.T @ label + scale @ np.array([0.0, 1.0]))
        return Layer(float(intercept), float(slope))
    identity = np.array([0.0, 1.0])
    parameters = identity.copy()
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ parameters, -500, 500)))
        gradient = design.T @ (p - label) + prior_rows * (parameters - identity)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + prior_rows * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        parameters -= step
        if float(np.abs(step).max()) < 1e-10:
            break
    return Layer(float(parameters[0]), float(parameters[1]))


def refit(task: Task, parts: Sequence[Matured], window: int) -> Refit:
    """The layer from the last ``window`` partitions, unless the same way of fitting is shown to hurt walk-forward.

    Walk-forward: for each of the last ``LOOK_BACK`` partitions, a layer fitted on the ``window`` partitions before it is compared on it
    with no layer at all, by cluster. Shown to hurt (one-sided 5 %) takes the layer away; anything else keeps it, as it is shrunk already.

    :param parts: every partition with matured labels that the model had not seen, in order.
    """
    parts = [part for part in parts if len(part.label)]
    if not parts:
        return Refit(Layer(), in_force=False, trial=None, reason="no matured labels yet")
    layer = fit_layer(task, parts[-window:])
    trial = walk_forward(task, parts, window)
    if trial is not None and trial.shown_negative:
        return Refit(Layer(), in_force=False, trial=trial, reason=f"recalibration is shown to hurt: {trial.words}")
    reason = f"walk-forward gain {trial.words}" if trial else "too few partitions to try it walk-forward"
    return Refit(layer, in_force=True, trial=trial, reason=reason)


def walk_forward(task: Task, parts: Sequence[Matured], window: int) -> Trial | None:
    """Gain of the layer over no layer on the last partitions, each predicted from those before it; None when there is no pair."""
    import numpy as np

    parts = [part for part in parts if len(part.label)]
    gains, clusters = [], []
    for i in range(max(1, len(parts) - LOOK_BACK), len(parts)):
        layer = fit_layer(task, parts[max(0, i - window) : i])
        part = parts[i]
        gains.append(loss(task, part.label, part.margin) - loss(task, part.label, layer.apply(part.margin)))
        clusters.append(part.cluster)
    return paired_trial(np.concatenate(gains), np.concatenate(clusters)) if gains else None


def cross_fitted(task: Task, parts: Sequence[Matured]) -> list[NDArray[np.float64]]:
    """Margins of each partition under the layer fitted on the others: what a candidate would say once it is recalibrated.

    With a single partition there are no others, and its margins stay as they are.
    """
    found = []
    for part in parts:
        others = [other for other in parts if other is not part and len(other.label)]
        found.append(fit_layer(task, others).apply(part.margin) if others else part.margin)
    return found

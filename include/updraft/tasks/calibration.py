"""Calibration families: the kinds of layer that are fitted on a model's margins when its labels are known.

A layer is shrunk towards the identity: labels of one day are not independent, so two partitions of 13,000 rows carry far less than
13,000 rows' worth of evidence about two parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from updraft.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Layer(Protocol):
    """A fitted layer."""

    def apply(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """Margins in, margins of the same shape out; float64."""
        ...

    def as_dict(self) -> dict[str, float]:
        """Its parameters, for a decision's body; :meth:`CalibrationFamily.layer` reads them back."""
        ...

    @property
    def keeps_order(self) -> bool:
        """Whether rows that the model ranks higher stay higher: what turns a ranking round is no calibration."""
        ...


class CalibrationFamily(ABC):
    """One kind of layer, how it is fitted, and how it is tried before it is put in force."""

    strengths: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    """Weights of the identity in the fit that are tried, in clusters: what a thousand rows of one day tell is what one day tells."""
    usual_strength: float = 0.3
    """The one of them that is taken unless another one is shown to cost less (docs/backtest.md has what each would have cost)."""
    look_back: int = 8
    """Partitions on which the layer is tried walk-forward before it is put in force."""

    @abstractmethod
    def layer(self, parameters: Mapping[str, float] | None) -> Layer:
        """The layer with these parameters; None is the identity.

        :raises DataError: when they are not the parameters of this family.
        """

    @abstractmethod
    def fit(self, label: NDArray[np.float64], margin: NDArray[np.float64], prior_rows: float) -> Layer:
        """Fit a layer by penalised maximum likelihood.

        :param label: shape (rows,).
        :param margin: of the same rows, out of sample.
        :param prior_rows: weight of the identity, in rows.
        """


@dataclass(frozen=True)
class AffineLayer:
    """``margin -> intercept + slope * margin``."""

    intercept: float = 0.0
    slope: float = 1.0

    def apply(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :meth:`Layer.apply`."""
        return self.intercept + self.slope * margin

    def as_dict(self) -> dict[str, float]:
        """See :meth:`Layer.as_dict`."""
        return {"intercept": self.intercept, "slope": self.slope}

    @property
    def keeps_order(self) -> bool:
        """See :attr:`Layer.keeps_order`."""
        return self.slope > 0


class _Affine(CalibrationFamily):
    def layer(self, parameters: Mapping[str, float] | None) -> AffineLayer:
        """See :meth:`CalibrationFamily.layer`."""
        if not parameters:
            return AffineLayer()
        if set(parameters) != {"intercept", "slope"}:
            raise DataError(f"a calibration layer here has an intercept and a slope, not {', '.join(parameters)}")
        return AffineLayer(**parameters)


class PlattScaling(_Affine):
    """Platt's (1999) sigmoid on the log-odds."""

    def fit(self, label: NDArray[np.float64], margin: NDArray[np.float64], prior_rows: float) -> AffineLayer:
        """By Newton's method; the objective is convex. A step that does not lower it enough is halved (Armijo 1966).

        Where the margins nearly separate the labels and the prior is weak, whole steps run away from the minimum.
        """
        import numpy as np

        design = np.column_stack([np.ones_like(margin), margin])
        identity = np.array([0.0, 1.0])

        def cost(at: NDArray[np.float64]) -> float:
            moved, from_identity = design @ at, at - identity
            return float(
                (np.logaddexp(0.0, moved) - label * moved).sum() + prior_rows * from_identity @ from_identity / 2
            )

        parameters, present = identity.copy(), cost(identity)
        for _ in range(50):
            p = 1.0 / (1.0 + np.exp(-np.clip(design @ parameters, -500, 500)))
            gradient = design.T @ (p - label) + prior_rows * (parameters - identity)
            hessian = (design * (p * (1 - p))[:, None]).T @ design + prior_rows * np.eye(2)
            step = np.linalg.solve(hessian, gradient)
            if float(np.abs(step).max()) < 1e-10:
                break
            size, fall = 1.0, float(gradient @ step)
            while (following := cost(parameters - size * step)) > present - 1e-4 * size * fall and size > 1e-8:
                size /= 2
            if following >= present:  # as near as numbers can tell
                break
            parameters, present = parameters - size * step, following
        return AffineLayer(float(parameters[0]), float(parameters[1]))


@dataclass(frozen=True)
class VectorLayer:
    """``margin -> intercept + slope * (margin - its mean over the classes)``, an intercept and a slope for each class.

    What is added to the margins of all classes of a row changes no score, and is taken away first: slopes that differ would make a change of it.
    """

    intercepts: tuple[float, ...] = ()
    slopes: tuple[float, ...] = ()
    """None for the identity."""

    def apply(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :meth:`Layer.apply`."""
        import numpy as np

        if not self.slopes:
            return margin
        return np.asarray(self.intercepts, np.float64) + np.asarray(self.slopes, np.float64) * _centred(margin)

    def as_dict(self) -> dict[str, float]:
        """See :meth:`Layer.as_dict`."""
        return {
            f"{name}_{position}": value
            for name, values in (("intercept", self.intercepts), ("slope", self.slopes))
            for position, value in enumerate(values)
        }

    @property
    def keeps_order(self) -> bool:
        """See :attr:`Layer.keeps_order`: no class is turned round."""
        return all(slope > 0 for slope in self.slopes)


class VectorScaling(CalibrationFamily):
    """A slope and an intercept for each class (Guo et al. 2017, "On calibration of modern neural networks")."""

    def layer(self, parameters: Mapping[str, float] | None) -> VectorLayer:
        """See :meth:`CalibrationFamily.layer`."""
        if not parameters:
            return VectorLayer()
        classes = range(len(parameters) // 2)
        names = [f"{name}_{position}" for name in ("intercept", "slope") for position in classes]
        if set(parameters) != set(names):
            raise DataError(
                f"a calibration layer here has an intercept and a slope for each class, not {', '.join(parameters)}"
            )
        values = tuple(parameters[name] for name in names)
        return VectorLayer(values[: len(classes)], values[len(classes) :])

    def fit(self, label: NDArray[np.float64], margin: NDArray[np.float64], prior_rows: float) -> VectorLayer:
        """By Newton's method; the objective is convex. A step that does not lower it enough is halved, as in :class:`PlattScaling`."""
        import numpy as np

        rows, classes = margin.shape
        moved = _centred(margin)
        came = np.asarray(label[:, None] == np.arange(classes), np.float64)
        identity = np.repeat([0.0, 1.0], classes)

        def scores(at: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
            """Probabilities, and the penalised negative log-likelihood."""
            layered = at[:classes] + at[classes:] * moved
            highest = layered.max(axis=1, keepdims=True)
            raised = np.exp(layered - highest)
            whole = raised.sum(axis=1, keepdims=True)
            lost = float((highest + np.log(whole)).sum() - (came * layered).sum())
            from_identity = at - identity
            return raised / whole, lost + prior_rows * float(from_identity @ from_identity) / 2

        parameters = identity.copy()
        p, present = scores(parameters)
        for _ in range(50):
            off = p - came
            gradient = np.concatenate([off.sum(axis=0), (off * moved).sum(axis=0)])
            gradient += prior_rows * (parameters - identity)
            design = np.concatenate([p, p * moved], axis=1)
            hessian = -design.T @ design
            of_intercepts, of_slopes = np.arange(classes), np.arange(classes, 2 * classes)
            hessian[of_intercepts, of_intercepts] += p.sum(axis=0)
            hessian[of_slopes, of_slopes] += (p * moved**2).sum(axis=0)
            both = (p * moved).sum(axis=0)
            hessian[of_intercepts, of_slopes] += both
            hessian[of_slopes, of_intercepts] += both
            # The same intercept for all classes changes no score: without a prior, only this keeps the matrix regular.
            hessian += max(prior_rows, 1e-9 * rows) * np.eye(2 * classes)
            step = np.linalg.solve(hessian, gradient)
            if float(np.abs(step).max()) < 1e-10:
                break
            size, fall = 1.0, float(gradient @ step)
            next_p, following = scores(parameters - size * step)
            while following > present - 1e-4 * size * fall and size > 1e-8:
                size /= 2
                next_p, following = scores(parameters - size * step)
            if following >= present:  # as near as numbers can tell
                break
            parameters, p, present = parameters - size * step, next_p, following
        return VectorLayer(tuple(map(float, parameters[:classes])), tuple(map(float, parameters[classes:])))


def _centred(margin: NDArray[np.float64]) -> NDArray[np.float64]:
    centred: NDArray[np.float64] = margin - margin.mean(axis=1, keepdims=True)
    return centred


class LinearRecalibration(_Affine):
    """A line on the predicted value, by penalised least squares."""

    def fit(self, label: NDArray[np.float64], margin: NDArray[np.float64], prior_rows: float) -> AffineLayer:
        """In closed form."""
        import numpy as np

        design = np.column_stack([np.ones_like(margin), margin])
        scale = np.diag([1.0, max(float(np.mean(margin**2)), 1e-12)]) * prior_rows
        normal = design.T @ design + scale
        intercept, slope = np.linalg.solve(normal, design.T @ label + scale @ np.array([0.0, 1.0]))
        return AffineLayer(float(intercept), float(slope))

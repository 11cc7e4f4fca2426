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
    """A slope and an intercept for each class (Guo et al. 2017, "On calibration of modern neural networks").

    A slope stays above :attr:`least_slope`. Where the margin of one class says the opposite of what comes, as that of a class that the model had
    never seen may, it is made to say nothing, and the layers of the other classes are what they would be.
    """

    least_slope: float = 0.05

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
        """By projected Newton steps (Bertsekas 1982); the objective is convex. A step that does not lower it enough is halved."""
        import numpy as np

        likelihood = _VectorLikelihood.of(label, margin, prior_rows)
        classes = margin.shape[1]
        least = np.repeat([-np.inf, self.least_slope], classes)
        parameters = likelihood.identity.copy()
        score, present = likelihood.at(parameters)
        for _ in range(50):
            gradient, hessian = likelihood.derivatives(parameters, score)
            free = (parameters > least) | (gradient < 0)
            step = np.zeros_like(parameters)
            step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
            size, following = 2.0, np.inf
            moved, next_score = parameters, score
            while size > 1e-8:
                size /= 2
                moved = np.maximum(parameters - size * step, least)
                next_score, following = likelihood.at(moved)
                if following <= present - 1e-4 * float(gradient @ (parameters - moved)):
                    break
            if following >= present:  # as near as numbers can tell
                break
            change = float(np.abs(moved - parameters).max())
            parameters, score, present = moved, next_score, following
            if change < 1e-10:
                break
        return VectorLayer(tuple(map(float, parameters[:classes])), tuple(map(float, parameters[classes:])))


@dataclass(frozen=True, eq=False)
class _VectorLikelihood:
    """What vector scaling minimises: the negative log-likelihood and the weight of the identity. Parameters: intercepts, then slopes."""

    margin: NDArray[np.float64]
    """Less its mean over the classes; shape (rows, classes)."""
    came: NDArray[np.float64]
    """1 for the class that came; the same shape."""
    prior_rows: float
    identity: NDArray[np.float64]

    @classmethod
    def of(cls, label: NDArray[np.float64], margin: NDArray[np.float64], prior_rows: float) -> _VectorLikelihood:
        import numpy as np

        classes = margin.shape[1]
        came = np.asarray(label[:, None] == np.arange(classes), np.float64)
        return cls(_centred(margin), came, prior_rows, np.repeat([0.0, 1.0], classes))

    def at(self, parameters: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Probabilities, and the value."""
        import numpy as np

        classes = self.margin.shape[1]
        layered = parameters[:classes] + parameters[classes:] * self.margin
        highest = layered.max(axis=1, keepdims=True)
        raised = np.exp(layered - highest)
        whole = raised.sum(axis=1, keepdims=True)
        lost = float((highest + np.log(whole)).sum() - (self.came * layered).sum())
        off = parameters - self.identity
        return raised / whole, lost + self.prior_rows * float(off @ off) / 2

    def derivatives(
        self, parameters: NDArray[np.float64], score: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The gradient and the Hessian.

        :param score: the probabilities at these parameters.
        """
        import numpy as np

        rows, classes = self.margin.shape
        off = score - self.came
        gradient = np.concatenate([off.sum(axis=0), (off * self.margin).sum(axis=0)])
        gradient += self.prior_rows * (parameters - self.identity)
        design = np.concatenate([score, score * self.margin], axis=1)
        hessian = -design.T @ design
        intercepts, slopes = np.arange(classes), np.arange(classes, 2 * classes)
        hessian[intercepts, intercepts] += score.sum(axis=0)
        hessian[slopes, slopes] += (score * self.margin**2).sum(axis=0)
        hessian[intercepts, slopes] += (score * self.margin).sum(axis=0)
        hessian[slopes, intercepts] += (score * self.margin).sum(axis=0)
        # The same intercept for all classes changes no score: without a prior, only this keeps the matrix regular.
        return gradient, hessian + max(self.prior_rows, 1e-9 * rows) * np.eye(2 * classes)


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

"""An estimator of scikit-learn that scores, and what turns its output into margins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from updraft.errors import IntegrityError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class SklearnScorer:
    """An estimator, and what turns its output into margins."""

    estimator: Any
    outputs: int
    """Of a row: 1, or as many as the task has classes."""
    classes: tuple[int, ...]
    """Those that it has seen, by position; empty for a regression."""
    start: tuple[float, ...]
    """Margin of each class without features, for those that it has not seen."""
    mean: float = 0.0
    scale: float = 1.0
    """Of the label of a regression, which is learnt less its mean and over its standard deviation."""

    def margin(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Margin per encoded row: shape (rows,), or (rows, classes)."""
        if not len(values):
            import numpy as np

            return np.empty((0, self.outputs) if self.outputs > 1 else 0, np.float64)
        return self._margin(self._raw(finite(values)))

    def gain(self) -> None:
        """Importance is by permutation, for every estimator alike."""

    def staged(self, values: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
        """Of boosted trees the margins after each round."""
        stages = self.estimator.staged_decision_function if self.classes else self.estimator.staged_predict
        for raw in stages(finite(values)):
            yield self._margin(raw)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> SklearnScorer:
        """What :meth:`as_dict` gave.

        :raises IntegrityError: when it is something else.
        """
        try:
            return cls(
                kept["estimator"],
                int(kept["outputs"]),
                tuple(kept["classes"]),
                tuple(kept["start"]),
                float(kept["mean"]),
                float(kept["scale"]),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise IntegrityError(f"not a model of the sklearn trainer: {type(error).__name__}: {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """What is kept: the fields, as types of JSON and the estimator."""
        kept = {"outputs": self.outputs, "classes": list(self.classes), "start": list(self.start)}
        return {"estimator": self.estimator, **kept, "mean": self.mean, "scale": self.scale}

    def _raw(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Log-odds of the second of two classes, a margin for each of several, or the number."""
        import numpy as np

        if not self.classes:
            return np.asarray(self.estimator.predict(values), np.float64)
        if hasattr(self.estimator, "decision_function"):
            return np.asarray(self.estimator.decision_function(values), np.float64)
        trees = len(self.estimator.estimators_)
        shares = np.asarray(self.estimator.predict_proba(values), np.float64)
        # As if one tree more said nothing: a forest whose trees agree would be certain, and one mistake cost infinity.
        margins = np.log((trees * shares + 1 / shares.shape[1]) / (trees + 1))
        return np.asarray(margins[:, 1] - margins[:, 0] if margins.shape[1] == 2 else margins, np.float64)

    def _margin(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        if self.outputs == 1:
            return np.asarray(self.mean + self.scale * raw, np.float64)
        if raw.ndim == 1:
            raw = np.column_stack([np.zeros(len(raw)), raw])
        if len(self.classes) == self.outputs:
            return np.asarray(raw, np.float64)
        highest = raw.max(axis=1, keepdims=True)
        known = raw - highest - np.log(np.exp(raw - highest).sum(axis=1, keepdims=True))
        margins = np.tile(np.array(self.start, np.float64), (len(raw), 1))
        margins[:, list(self.classes)] = known
        return margins


def finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Infinity as missing: the estimators refuse it."""
    import numpy as np

    return np.where(np.isfinite(values), values, np.float32(np.nan))

"""Metrics over rows: the mean of a row loss, its root, or the quality of a ranking."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft.errors import DataError
from updraft.tasks.losses import ZERO_ONE, RowLoss, checked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from updraft.tasks.resamples import ClusterResamples


class Metric(ABC):
    """A number over rows that a model is measured by."""

    name: str
    unit: str
    """Empty for a metric without one."""
    higher_is_better: bool
    undefined: str
    """When the metric is no number although labels and scores are."""

    @property
    def title(self) -> str:
        """Name and unit, for an axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def value(self, label: NDArray[np.float64], score: NDArray[np.float64]) -> float:
        """The metric over all rows; NaN where it is not defined.

        :param label: shape (rows,).
        :param score: shape (rows,), or (rows, classes) where a task serves a vector.
        :raises DataError: when there are no rows, shapes do not fit, or a value is no number.
        """
        if not len(label):
            raise DataError(f"{self.name} of no rows: no row with a known label was compared")
        return self._value(label, score)

    @abstractmethod
    def _value(self, label: NDArray[np.float64], score: NDArray[np.float64]) -> float: ...

    @abstractmethod
    def resampled(
        self, label: NDArray[np.float64], score: NDArray[np.float64], resamples: ClusterResamples
    ) -> NDArray[np.float64]:
        """The metric in each resample: shape (resamples,)."""

    def expected(self, probabilities: NDArray[np.float64]) -> float | None:
        """What it will be where labels are independent draws with these probabilities, and these are the scores; None where that is not known.

        :param probabilities: of the outcomes 0, 1, … of each row, shape (rows, outcomes).
        """
        return None


@dataclass(frozen=True)
class MeanLoss(Metric):
    """The mean of a row loss, or the root of that mean."""

    name: str
    loss: RowLoss
    unit: str
    root: bool = False
    higher_is_better: bool = False
    undefined: str = "a mean is too large for a number"

    def of_mean(self, mean: float) -> float:
        """The metric of rows whose mean loss is known."""
        import numpy as np

        return float(np.sqrt(mean)) if self.root else float(mean)

    def _value(self, label: NDArray[np.float64], score: NDArray[np.float64]) -> float:
        return self.of_mean(float(self.loss(label, score).mean()))

    def resampled(
        self, label: NDArray[np.float64], score: NDArray[np.float64], resamples: ClusterResamples
    ) -> NDArray[np.float64]:
        """See :meth:`Metric.resampled`."""
        import numpy as np

        mean = resamples.mean(self.loss(label, score))
        return np.sqrt(mean) if self.root else mean


@dataclass(frozen=True)
class Auc(Metric):
    """Probability that a random 1 is scored above a random 0, ties counting half (Mann–Whitney).

    NaN when only one class is present: then there is nothing to rank.
    """

    name: str = "auc"
    unit: str = ""
    higher_is_better: bool = True
    undefined: str = "the holdout holds one class only"

    def expected(self, probabilities: NDArray[np.float64]) -> float:
        """Expected pairs in the right order, of the expected pairs of a 1 and a 0.

        Σ_{i≠j} p_i (1 - p_j) ([p_i > p_j] + ½ [p_i = p_j]) / Σ_{i≠j} p_i (1 - p_j), in O(n log n). The AUC over weighted rows, as which CBPE is
        often computed, has the pairs i = j too, which no row makes with itself; without them numerator and denominator are exact. NaN where no
        pair can come.
        """
        import numpy as np

        ones, zeros = probabilities[:, 1], 1.0 - probabilities[:, 1]
        value, group = np.unique(ones, return_inverse=True)
        zeros_of_group = np.bincount(group, zeros, len(value))
        below = np.cumsum(zeros_of_group) - zeros_of_group
        ordered = ones * (below[group] + 0.5 * (zeros_of_group[group] - zeros))
        pairs = ones.sum() * zeros.sum() - (ones * zeros).sum()
        return float(ordered.sum() / pairs) if pairs > 0 else float("nan")

    def _value(self, label: NDArray[np.float64], score: NDArray[np.float64]) -> float:
        import numpy as np
        from scipy.stats import rankdata

        label, score = checked(label, score)
        positive = label > 0.5
        ones, zeros = int(positive.sum()), int((~positive).sum())
        if not ones or not zeros:
            return float("nan")
        ranks = np.asarray(rankdata(score), dtype=np.float64)
        return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))

    def resampled(
        self, label: NDArray[np.float64], score: NDArray[np.float64], resamples: ClusterResamples
    ) -> NDArray[np.float64]:
        """From pairs (ones of group a above zeros of group b), counted once, weighted by how often both are drawn."""
        import numpy as np

        positive, codes, groups = label > 0.5, resamples.codes, resamples.groups
        ones = np.bincount(codes[positive], minlength=groups).astype(np.float64)
        zeros = np.bincount(codes[~positive], minlength=groups).astype(np.float64)
        pairs = np.zeros((groups, groups))
        order = np.argsort(score[positive])
        high, group = score[positive][order], codes[positive][order]
        for other in range(groups):
            low = np.sort(score[~positive & (codes == other)])
            above = (np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")) / 2
            pairs[:, other] = np.bincount(group, above, groups)
        counts = resamples.counts
        with np.errstate(invalid="ignore", divide="ignore"):
            ranked = np.einsum("ra,ra->r", counts @ pairs, counts)
            return np.asarray(ranked / ((counts @ ones) * (counts @ zeros)), dtype=np.float64)


@dataclass(frozen=True)
class ShareRight(Metric):
    """Share of the rows whose likeliest class is the one that came."""

    name: str = "accuracy"
    unit: str = ""
    higher_is_better: bool = True
    undefined: str = "it is a share of no rows"

    def expected(self, probabilities: NDArray[np.float64]) -> float:
        """What the likeliest outcomes expect of themselves: the mean of max p_k."""
        return float(probabilities.max(axis=1).mean())

    def _value(self, label: NDArray[np.float64], score: NDArray[np.float64]) -> float:
        return 1.0 - float(ZERO_ONE(label, score).mean())

    def resampled(
        self, label: NDArray[np.float64], score: NDArray[np.float64], resamples: ClusterResamples
    ) -> NDArray[np.float64]:
        """See :meth:`Metric.resampled`."""
        return 1.0 - resamples.mean(ZERO_ONE(label, score))


@dataclass(frozen=True)
class MacroAuc(Metric):
    """Mean over the classes of the AUC of each class against all others: those that have rows, and are not all there is.

    NaN when only one class is present.
    """

    name: str = "auc"
    unit: str = ""
    higher_is_better: bool = True
    undefined: str = "the holdout holds one class only"

    def _value(self, label: NDArray[np.float64], score: NDArray[np.float64]) -> float:
        label, score = checked(label, score, by_class=True)
        auc = Auc()
        return _mean_of_known([auc.value(of_class, column) for of_class, column in _against_others(label, score)])

    def resampled(
        self, label: NDArray[np.float64], score: NDArray[np.float64], resamples: ClusterResamples
    ) -> NDArray[np.float64]:
        """The mean over the classes in each resample, of those that it holds."""
        import numpy as np

        auc = Auc()
        every = [auc.resampled(of_class, column, resamples) for of_class, column in _against_others(label, score)]
        return np.array([_mean_of_known(values) for values in np.transpose(every)], np.float64)


def _against_others(
    label: NDArray[np.float64], score: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """For each class whether a row is of it, and its score."""
    import numpy as np

    for position in range(score.shape[1]):
        yield np.asarray(label == position, np.float64), score[:, position]


def _mean_of_known(values: Iterable[float]) -> float:
    known = [float(value) for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else float("nan")

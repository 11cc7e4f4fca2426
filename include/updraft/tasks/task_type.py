"""The seam between what a model is for and everything that is done with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from updraft.errors import DataError
from updraft.tasks.calibration import CalibrationFamily
from updraft.tasks.losses import RowLoss
from updraft.tasks.metrics import MeanLoss, Metric
from updraft.tasks.objectives import LabelKind, LightgbmObjective, Start, TorchObjective, XgboostObjective
from updraft.tasks.parity import GroupRate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TaskType(ABC):
    """A kind of prediction.

    A model's raw output is its *margin*, a calibration layer moves margins, and the link makes *scores* of them, which are served.
    Margins and scores are of shape (rows,), or (rows, classes) where a task serves a vector. Labels are of shape (rows,).
    """

    name: str
    """As ``task`` in project.yaml, in requests and in models."""
    headline: MeanLoss
    """The metric of early stopping, of the card's comparisons, and of backtests."""
    metrics: tuple[Metric, ...]
    """Every metric, the headline first; what ``gates`` and fixed limits may name."""
    losses: tuple[RowLoss, ...]
    """The row losses that ``release.metric`` may name; the first one is the default, and what refit trials are judged by."""
    calibration: CalibrationFamily
    torch: TorchObjective
    label_is: LabelKind | None = None
    """None where no estimator of scikit-learn learns the task."""
    mean_label: str
    """What the mean label of some rows is called, on an axis."""
    figures: tuple[str, ...]
    """What one line about a partition tells, of the names that :meth:`measure` gives."""
    group_rates: tuple[GroupRate, ...] = ()
    """What groups may be compared by; empty where a score selects no row."""

    @property
    @abstractmethod
    def xgboost(self) -> XgboostObjective:
        """What XGBoost minimises."""

    @property
    def lightgbm(self) -> LightgbmObjective | None:
        """What LightGBM minimises; None where it does not learn the task."""
        return None

    # -- the classes of a label, where the task has a list of them

    def of_classes(self, classes: tuple[str, ...]) -> TaskType:
        """The task for a label with these classes, in order; the task itself where it has no list of them."""
        return self

    def complaints(self, classes: Sequence[str], *, missing_is_zero: bool) -> Iterator[tuple[str, str]]:
        """What is wrong with ``data.label`` in project.yaml for this task: its key, and the end of a sentence.

        :param missing_is_zero: whether a row without a label counts as 0.
        """
        if classes:
            yield "classes", f"does not suit task {self.name}, whose label is a number of its own"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row's margin and score: ``()``, or ``(classes,)`` where the task serves a vector."""
        return ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """What a model gives of a row, by name, in order."""
        return ("score",)

    # -- scores

    @abstractmethod
    def link(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """Margins -> scores, in float64."""

    @abstractmethod
    def margin_of(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores -> margins: the inverse of :meth:`link`."""

    # -- how good they are

    @abstractmethod
    def margin_loss(self, label: NDArray[np.float64], margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """The headline's loss of each row, from the margin: it never takes the logarithm of a rounded zero."""

    def mean_margin_loss(self, label: NDArray[np.float64], margin: NDArray[np.float64]) -> float:
        """The headline metric, from margins."""
        return self.headline.of_mean(float(self.margin_loss(label, margin).mean()))

    @property
    def default_loss(self) -> RowLoss:
        """The loss that decides where the policy names none."""
        return self.losses[0]

    def loss_named(self, name: str) -> RowLoss:
        """A loss of ``release.metric``.

        :raises DataError: when the task has no such loss; names those that it has.
        """
        for loss in self.losses:
            if loss.name == name:
                return loss
        raise DataError(f"{name} is no loss of a {self.name} model's rows; there are {', '.join(self.loss_names)}")

    def metric_of(self, loss: str) -> MeanLoss:
        """The metric that a loss of ``release.metric`` is told by: its mean, or the root of it; the headline where no metric is made of it."""
        means = (metric for metric in self.metrics if isinstance(metric, MeanLoss) and metric.loss.name == loss)
        return next(means, self.headline)

    def metric(self, name: str) -> Metric:
        """A metric by its name.

        :raises DataError: when the task has no such metric; names those that it has.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise DataError(self.unfit(name))

    def unfit(self, metric: str) -> str:
        """What is wrong with the name of a metric that the task does not have."""
        return f"{metric} does not fit a {self.name} model; its metrics are {', '.join(self.metric_names)}"

    @property
    def metric_names(self) -> tuple[str, ...]:
        """In order, the headline first."""
        return tuple(metric.name for metric in self.metrics)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """In order, the default first."""
        return tuple(loss.name for loss in self.losses)

    def measure(self, label: NDArray[np.float64], score: NDArray[np.float64]) -> dict[str, float]:
        """Every metric by its name, and what else is known of these scores.

        :raises DataError: when there are no rows, or a value is no number.
        """
        return {metric.name: metric.value(label, score) for metric in self.metrics}

    @abstractmethod
    def base_rate(self, metric: Metric, label: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of a model without features that has seen these very labels: the constant that is best by the metric.

        As it has seen them, beating it is not luck of the base rate.
        """

    def probabilities(self, score: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """What scores say of the labels 0, 1, … of their rows, shape (rows, outcomes); None where a score is no probability."""
        return None

    def outcomes(self, label: NDArray[np.float64]) -> NDArray[np.float64]:
        """What scores should have been: labels in the shape of scores."""
        return label

    def reliability(
        self, label: NDArray[np.float64], score: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the card bins: outcomes and what was said of them, each of one dimension. The mean of both should be the same in each bin."""
        return label, score

    # -- how it is learnt

    def label_figures(self, label: NDArray[np.float64]) -> dict[str, float]:
        """What is kept of the labels that a model learnt from, beside its metrics."""
        return {"label_mean": float(label.mean())}

    def label_facts(self, figures: Mapping[str, float]) -> dict[str, str]:
        """What the card says of :meth:`label_figures`, by name."""
        return {}

    @abstractmethod
    def label_totals(self, label: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over labels that :meth:`start` needs; those of several workers add up.

        :raises TrainingError: when a label is none of this task.
        """

    @abstractmethod
    def start(self, totals: NDArray[np.float64]) -> Start:
        """From :meth:`label_totals` of all workers where learning starts: a score, or of a task that serves a vector a margin for each class.

        :raises TrainingError: when there is no label, or nothing to learn from them.
        """

"""One of three or more classes: labels are positions in the project's ordered list of classes, scores are a probability for each class.

The list is part of the task (:meth:`Multiclass.of_classes`), so that margins and scores of all models of a project have the same columns, whichever
classes a training window holds. A class without a row in the window is learnt as nearly impossible: its loss is high, and finite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from updraft.errors import TrainingError
from updraft.tasks.calibration import VectorScaling
from updraft.tasks.losses import BRIER_OF_CLASSES, LOG_LOSS_OF_CLASSES, ZERO_ONE, score_of_label
from updraft.tasks.metrics import MacroAuc, MeanLoss, Metric, ShareRight
from updraft.tasks.objectives import LightgbmObjective, Start, TorchObjective, XgboostObjective
from updraft.tasks.task_type import TaskType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST_CLASSES = 3
MOST_CLASSES = 100
"""A model has a column of margins, and in each round a tree, for every class."""
_UNSEEN = 0.5
"""Rows that every class is counted with beside its own, when learning starts: the logarithm of a share of zero is no number."""
_ROWS_OF = "rows_of_class_"


def _torch_loss(functional: Any, output: Any, label: Any) -> Any:
    return functional.cross_entropy(output, label.long(), reduction="sum")


def _torch_first_bias(torch: Any, start: Start) -> Any:
    return torch.tensor(start, dtype=torch.float32)


@dataclass(frozen=True)
class Multiclass(TaskType):
    """See the module."""

    classes: tuple[str, ...] = ()
    """In the order of the columns; none where only the type itself is meant."""

    name = "multiclass"
    headline = MeanLoss("log_loss", LOG_LOSS_OF_CLASSES, "nats")
    metrics = (headline, MeanLoss("brier", BRIER_OF_CLASSES, ""), ShareRight(), MacroAuc())
    losses = (LOG_LOSS_OF_CLASSES, BRIER_OF_CLASSES, ZERO_ONE)
    calibration = VectorScaling()
    torch = TorchObjective(_torch_loss, _torch_first_bias, standardises_label=False)
    label_is = "classes"
    mean_label = "share in which the likeliest class is right"
    figures = ("log_loss", "accuracy")

    def of_classes(self, classes: tuple[str, ...]) -> TaskType:
        """The task with these classes; equal lists are one object."""
        return _of_classes(classes)

    def complaints(self, classes: Sequence[str], *, missing_is_zero: bool) -> Iterator[tuple[str, str]]:
        """See :meth:`TaskType.complaints`."""
        if not classes:
            yield (
                "classes",
                f"is missing: task {self.name} needs the classes of the label, an ordered list such as [low, middle, high]",
            )
        elif len(classes) < FEWEST_CLASSES:
            yield (
                "classes",
                f"names {len(classes)} of the {FEWEST_CLASSES} classes that task {self.name} takes at least; for two, write another task, "
                "and expr as a comparison",
            )
        elif len(classes) > MOST_CLASSES:
            yield "classes", f"names {len(classes)} classes, more than {MOST_CLASSES}; put rare ones together in expr"
        if missing_is_zero:
            yield (
                "missing",
                f"does not suit task {self.name}, whose labels are no amounts; exclude leaves such rows out",
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """A value for each class."""
        return (len(self.classes),)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The score of each class."""
        return tuple(f"score of {name}" for name in self.classes)

    @property
    def xgboost(self) -> XgboostObjective:
        """Trees for each class in every round, from the logarithms of the classes' shares."""
        return XgboostObjective("multi:softprob", "mlogloss", {"num_class": len(self.classes)})

    @property
    def lightgbm(self) -> LightgbmObjective:
        """The same; a class without a row stays at the logarithm of its share, which is counted as 1e-15."""
        return LightgbmObjective("multiclass", "multi_logloss", {"num_class": len(self.classes)})

    def link(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """Softmax."""
        import numpy as np

        raised = np.exp(margin - margin.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float64)

    def margin_of(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithms; those of all classes of a row may have another sum than the margins they came from."""
        import numpy as np

        with np.errstate(divide="ignore"):
            return np.asarray(np.log(score), np.float64)

    def margin_loss(self, label: NDArray[np.float64], margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log loss of margins m and a label y: log(Σ e^m) - m_y."""
        import numpy as np

        highest = margin.max(axis=1)
        whole = highest + np.log(np.exp(margin - highest[:, None]).sum(axis=1))
        return np.asarray(whole - score_of_label(label, margin), np.float64)

    def probabilities(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """The scores themselves."""
        return score

    def outcomes(self, label: NDArray[np.float64]) -> NDArray[np.float64]:
        """1 for the class that came, 0 for the others."""
        import numpy as np

        return np.asarray(label[:, None] == np.arange(len(self.classes)), np.float64)

    def base_rate(self, metric: Metric, label: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share of each class."""
        import numpy as np

        return np.tile(self._counts(label) / len(label), (len(label), 1))

    def reliability(
        self, label: NDArray[np.float64], score: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Whether the likeliest class is right, and how likely it was said to be (Guo et al. 2017, "On calibration of modern neural networks")."""
        import numpy as np

        return np.asarray(score.argmax(axis=1) == label, np.float64), np.asarray(score.max(axis=1), np.float64)

    def label_figures(self, label: NDArray[np.float64]) -> dict[str, float]:
        """Rows of each class, by its position: what keeps figures takes no name with strange characters."""
        return {f"{_ROWS_OF}{position}": float(rows) for position, rows in enumerate(self._counts(label))}

    def label_facts(self, figures: Mapping[str, float]) -> dict[str, str]:
        """The classes with their rows; those that were never seen say what follows."""
        known = [
            (name, int(figures[key]))
            for position, name in enumerate(self.classes)
            if (key := f"{_ROWS_OF}{position}") in figures
        ]
        if not known:
            return {}
        facts = {"classes": ", ".join(f"{name} ({rows:,} rows)" for name, rows in known)}
        unseen = [name for name, rows in known if not rows]
        if unseen:
            facts["never seen"] = f"{', '.join(unseen)}: the model takes them for nearly impossible"
        return facts

    def label_totals(self, label: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows of each class."""
        import numpy as np

        known = np.isin(label, np.arange(len(self.classes)))
        if not known.all():
            raise TrainingError(
                f"a {self.name} task needs labels that are positions in a list of {len(self.classes)} classes, "
                f"found {np.unique(label[~known])[:5].tolist()}"
            )
        return self._counts(label)

    def start(self, totals: NDArray[np.float64]) -> Start:
        """The logarithm of each class's share, where each class has half a row more than it has."""
        import numpy as np

        rows = int(totals.sum())
        if not rows:
            raise TrainingError("no labelled row to learn from")
        if (totals > 0).sum() < 2:
            raise TrainingError(
                f"every label of the {rows} rows is {self.classes[int(totals.argmax())]}: nothing to learn; widen training.window"
            )
        shares = (totals + _UNSEEN) / (rows + _UNSEEN * len(totals))
        return [float(value) for value in np.log(shares)]

    def _counts(self, label: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        return np.bincount(label.astype(np.intp), minlength=len(self.classes)).astype(np.float64)


@lru_cache(maxsize=256)
def _of_classes(classes: tuple[str, ...]) -> Multiclass:
    return Multiclass(classes)


MULTICLASS = _of_classes(())

"""A number: margin and score are the predicted value itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from updraft.errors import TrainingError
from updraft.tasks.calibration import LinearRecalibration
from updraft.tasks.losses import ABSOLUTE_ERROR, SQUARED_ERROR
from updraft.tasks.metrics import MeanLoss, Metric
from updraft.tasks.objectives import LightgbmObjective, Start, TorchObjective, XgboostObjective
from updraft.tasks.task_type import TaskType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNIT = "units of the label"
MAE = MeanLoss("mae", ABSOLUTE_ERROR, UNIT)


def _torch_loss(functional: Any, output: Any, label: Any) -> Any:
    return functional.mse_loss(output, label, reduction="sum")


def _torch_first_bias(torch: Any, start: Start) -> Any:
    return torch.zeros(1)  # the label is standardised: its mean is 0


class Regression(TaskType):
    """See the module."""

    name = "regression"
    headline = MeanLoss("rmse", SQUARED_ERROR, UNIT, root=True)
    metrics = (headline, MAE)
    losses = (SQUARED_ERROR,)
    calibration = LinearRecalibration()
    xgboost = XgboostObjective("reg:squarederror", "rmse")
    lightgbm = LightgbmObjective("regression", "rmse")
    torch = TorchObjective(_torch_loss, _torch_first_bias, standardises_label=True)
    label_is = "numbers"
    mean_label = "mean value"
    figures = ("rmse",)

    def link(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """The margin itself."""
        return margin

    def margin_of(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """The score itself."""
        return score

    def margin_loss(self, label: NDArray[np.float64], margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """The squared error."""
        return (label - margin) ** 2

    def base_rate(self, metric: Metric, label: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean, or by absolute error the median."""
        import numpy as np

        centre = np.median(label) if metric is MAE else np.mean(label)
        return np.full(len(label), float(centre))

    def label_totals(self, label: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows and the sum of their labels."""
        import numpy as np

        return np.array([len(label), label.sum()], np.float64)

    def start(self, totals: NDArray[np.float64]) -> float:
        """The mean."""
        rows, whole = totals
        if not rows:
            raise TrainingError("no labelled row to learn from")
        return float(whole / rows)


REGRESSION = Regression()

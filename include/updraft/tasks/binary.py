"""Yes or no: labels 0 and 1, margins in log-odds, scores that are probabilities of 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from updraft.errors import TrainingError
from updraft.tasks.calibration import PlattScaling
from updraft.tasks.corp import decompose
from updraft.tasks.losses import BRIER, LOG_LOSS
from updraft.tasks.metrics import Auc, MeanLoss, Metric
from updraft.tasks.objectives import LightgbmObjective, Start, TorchObjective, XgboostObjective
from updraft.tasks.parity import BINARY_RATES
from updraft.tasks.task_type import TaskType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def _torch_loss(functional: Any, output: Any, label: Any) -> Any:
    return functional.binary_cross_entropy_with_logits(output, label, reduction="sum")


def _torch_first_bias(torch: Any, start: Start) -> Any:
    return torch.logit(torch.tensor([start], dtype=torch.float64)).float()


class Binary(TaskType):
    """See the module."""

    name = "binary"
    headline = MeanLoss("log_loss", LOG_LOSS, "nats")
    metrics = (headline, MeanLoss("brier", BRIER, ""), Auc())
    losses = (LOG_LOSS, BRIER)
    calibration = PlattScaling()
    xgboost = XgboostObjective("binary:logistic", "logloss")
    lightgbm = LightgbmObjective("binary", "binary_logloss")
    torch = TorchObjective(_torch_loss, _torch_first_bias, standardises_label=False)
    label_is = "classes"
    mean_label = "share of positives"
    figures = ("log_loss", "auc", "mcb", "dsc")
    group_rates = BINARY_RATES

    def link(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """The logistic function."""
        import numpy as np

        small = np.exp(-np.abs(margin))  # never overflows
        return np.where(margin >= 0, 1.0, small) / (1.0 + small)

    def margin_of(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds; infinite for a score of 0 or 1."""
        import numpy as np

        with np.errstate(divide="ignore"):
            return np.asarray(np.log(score) - np.log1p(-score), np.float64)

    def margin_loss(self, label: NDArray[np.float64], margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log loss of a margin m and a label y: log(1 + e^m) - y m."""
        import numpy as np

        return np.asarray(np.logaddexp(0.0, margin) - label * margin, np.float64)

    def measure(self, label: NDArray[np.float64], score: NDArray[np.float64]) -> dict[str, float]:
        """The metrics, and the parts of the log loss: ``mcb``, ``dsc``, ``unc`` of :mod:`updraft.tasks.corp`."""
        parts = decompose(label, score)
        return super().measure(label, score) | {"mcb": parts.mcb, "dsc": parts.dsc, "unc": parts.unc}

    def base_rate(self, metric: Metric, label: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share of positives."""
        import numpy as np

        return np.full(len(label), float(np.mean(label)))

    def probabilities(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of 0 and of 1."""
        import numpy as np

        return np.column_stack([1.0 - score, score])

    def label_totals(self, label: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows and positives."""
        import numpy as np

        if not ((label == 1.0) | (label == 0.0)).all():
            raise TrainingError(f"a binary task needs labels 0 and 1, found {np.unique(label)[:5].tolist()}")
        return np.array([len(label), (label == 1.0).sum()], np.float64)

    def start(self, totals: NDArray[np.float64]) -> float:
        """The share of positives."""
        rows, ones = (int(total) for total in totals)
        if not rows:
            raise TrainingError("no labelled row to learn from")
        if ones in (0, rows):
            raise TrainingError(
                f"every label of the {rows} rows is {int(ones > 0)}: nothing to learn; widen training.window"
            )
        return ones / rows


BINARY = Binary()

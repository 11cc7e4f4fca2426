"""A third task type, made up: one of three grades, with a vector of scores. It is one object, and no other room knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from updraft.errors import DataError, TrainingError
from updraft.tasks.calibration import CalibrationFamily
from updraft.tasks.losses import RowLoss
from updraft.tasks.metrics import MeanLoss
from updraft.tasks.objectives import TorchObjective, XgboostObjective
from updraft.tasks.task_type import TaskType

GRADES = 3


def _said_of_the_label(label: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
    said: NDArray[np.float64] = score[np.arange(len(label)), label.astype(int)]
    return said


def _wrong(label: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
    wrong: NDArray[np.float64] = (score.argmax(axis=1) != label).astype(np.float64)
    return wrong


GRADE_LOSS = RowLoss(
    "grade_loss", "nats", lambda y, p: -np.log(_said_of_the_label(y, p)), within=(1e-7, 1.0), by_class=True
)
WRONG = RowLoss("wrong", "", _wrong, by_class=True)


@dataclass(frozen=True)
class Temperature:
    """Margins over a temperature."""

    temperature: float = 1.0

    def apply(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        return margin / self.temperature

    def as_dict(self) -> dict[str, float]:
        return {"temperature": self.temperature}

    @property
    def keeps_order(self) -> bool:
        return True


class TemperatureScaling(CalibrationFamily):
    """One parameter (Guo et al. 2017), shrunk towards 1."""

    look_back = 3

    def layer(self, parameters: Mapping[str, float] | None) -> Temperature:
        if parameters and set(parameters) != {"temperature"}:
            raise DataError(f"a calibration layer of grades has a temperature, not {', '.join(parameters)}")
        return Temperature(**parameters) if parameters else Temperature()

    def fit(self, label: NDArray[np.float64], margin: NDArray[np.float64], prior_rows: float) -> Temperature:
        from scipy.optimize import minimize_scalar

        def cost(inverse: float) -> float:
            return float(THREE_GRADES.margin_loss(label, inverse * margin).sum() + prior_rows * (inverse - 1) ** 2 / 2)

        return Temperature(1 / float(minimize_scalar(cost, bounds=(0.05, 20), method="bounded").x))


class ThreeGrades(TaskType):
    """Labels 0, 1, 2; margins and scores of shape (rows, 3)."""

    name = "three_grades"
    headline = MeanLoss("grade_loss", GRADE_LOSS, "nats")
    metrics = (headline, MeanLoss("wrong", WRONG, "share"))
    losses = (GRADE_LOSS,)
    calibration = TemperatureScaling()
    xgboost = XgboostObjective("multi:softprob", "mlogloss", {"num_class": GRADES})
    torch = TorchObjective(
        lambda functional, output, label: functional.cross_entropy(output, label.long(), reduction="sum"),
        lambda torch, start: torch.zeros(GRADES),
        standardises_label=False,
    )
    mean_label = "share of rows"
    figures = ("grade_loss", "wrong")

    def link(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        raised = np.exp(margin - margin.max(axis=1, keepdims=True))
        share: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
        return share

    def margin_of(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(score)

    def margin_loss(self, label: NDArray[np.float64], margin: NDArray[np.float64]) -> NDArray[np.float64]:
        highest = margin.max(axis=1)
        whole: NDArray[np.float64] = highest + np.log(np.exp(margin - highest[:, None]).sum(axis=1))
        return whole - _said_of_the_label(label, margin)

    def base_rate(self, metric: Any, label: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.tile(np.bincount(label.astype(int), minlength=GRADES) / len(label), (len(label), 1))

    def reliability(
        self, label: NDArray[np.float64], score: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return (label[:, None] == np.arange(GRADES)).astype(float).ravel(), score.ravel()

    def label_totals(self, label: NDArray[np.float64]) -> NDArray[np.float64]:
        if not np.isin(label, range(GRADES)).all():
            raise TrainingError(f"a grade is one of 0, 1, 2, found {np.unique(label)[:5].tolist()}")
        return np.bincount(label.astype(int), minlength=GRADES).astype(np.float64)

    def start(self, totals: NDArray[np.float64]) -> float:
        if (totals > 0).sum() < 2:
            raise TrainingError("every label is the same grade: nothing to learn")
        return 0.5  # XGBoost's own: what is added to every grade's margin changes no score


THREE_GRADES = ThreeGrades()

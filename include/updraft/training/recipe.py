"""How to learn: with the data, and the device it is learnt on, it determines the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from updraft.errors import TrainingError
from updraft.spec.trainers import TRAINERS, TrainerName, Value, complaints, unlearnt
from updraft.tasks.registry import DEFAULT, task_names, task_type
from updraft.tasks.task_type import TaskType

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Recipe:
    """One trainer's task and parameters."""

    task: str = DEFAULT.name
    params: Mapping[str, Value] = field(default_factory=dict)
    seed: int = 1
    threads: int = 2
    trainer: TrainerName = "xgboost"
    device: Device = "cpu"
    classes: tuple[str, ...] = ()
    """Of the label, in order, where the task has a list of them."""

    def __post_init__(self) -> None:
        """:raises TrainingError: names every parameter that is not known, out of range, or not the user's to set."""
        if self.trainer not in TRAINERS:
            raise TrainingError(f"there is no trainer {self.trainer!r}; there are {', '.join(TRAINERS)}")
        if self.task not in task_names():
            raise TrainingError(f"task {self.task!r}: the {self.trainer} trainer learns {' and '.join(task_names())}")
        problems = [
            f"{name} = {self.params[name]!r}: {what}" + (f" (there are {', '.join(allowed)})" if allowed else "")
            for name, what, allowed in complaints(self.trainer, self.params)
        ]
        if problems:
            raise TrainingError(f"parameters of the {self.trainer} trainer: {'; '.join(problems)}")
        if why := unlearnt(self.trainer, self.params, self.task_type):
            raise TrainingError(f"the {self.trainer} trainer, task {self.task}: {why}")

    def own(self, name: str) -> Value:
        """A parameter that has a default of ours, as set or by that default."""
        return TRAINERS[self.trainer].value(self.params, name)

    @property
    def own_names(self) -> frozenset[str]:
        """The parameters that have a default of ours."""
        return TRAINERS[self.trainer].own

    @property
    def rounds(self) -> int:
        """The most rounds of a phase: trees of XGBoost, passes over the rows of torch."""
        return int(self.own("rounds"))

    @property
    def external_memory(self) -> bool:
        """Whether the rows stay on disk while they are learnt from; of the trainers, XGBoost can."""
        return "external_memory" in TRAINERS[self.trainer].own and bool(self.own("external_memory"))

    @property
    def task_type(self) -> TaskType:
        """What the task means."""
        return task_type(self.task, self.classes)

    @property
    def loss(self) -> str:
        """The metric that early stopping looks at."""
        return self.task_type.headline.name

"""A team's own trainer: one file. It says the share of positives (or the mean) in every row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from updraft.errors import IntegrityError
from updraft.spec.trainers import Param, Rules
from updraft.training.encoding import Encoder
from updraft.training.host import ALONE, Group, Watch
from updraft.training.learning import Checkpoint, Learnt, Progress, Rows
from updraft.training.recipe import Recipe


@dataclass(frozen=True)
class Constant:
    """Weights, loaded."""

    value: float

    def margin(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.full(len(values), self.value)

    def gain(self) -> None:
        return None


RULES = Rules(
    {
        "rounds": Param(1, whole=True, low=1),
        "early_stopping": Param(1, whole=True, low=1),
        "shift": Param(0.0, low=-1),
    },
    fixed={"seed": "from `training.seed`"},
    renamed={"offset": "shift"},
)


@dataclass(frozen=True)
class Majority:
    """The trainer."""

    file: str = "model.json"
    libraries: tuple[str, ...] = ("numpy",)
    to_install: str = "install our-models"
    rules: Rules = RULES

    def learn(
        self,
        recipe: Recipe,
        encoder: Encoder,
        phase: str,
        rows: Rows,
        *,
        rounds: int,
        validation: Rows | None,
        checkpoint: Checkpoint | None,
        watch: Watch,
        group: Group = ALONE,
    ) -> Learnt:
        mean = rows.label.mean() + float(recipe.own("shift"))
        margin = float(recipe.task_type.margin_of(np.array([mean]))[0])
        progress = Progress(1, None, 1, (), done=True)
        if validation is not None:
            loss = recipe.task_type.mean_margin_loss(validation.label, np.full(len(validation.label), margin))
            progress = Progress(1, loss, 1, (loss,), done=True)
        return Learnt(json.dumps(margin).encode(), progress)

    def scorer(self, weights: bytes, encoder: Encoder, threads: int) -> Constant:
        value: Any = json.loads(weights)
        if not isinstance(value, float):
            raise IntegrityError("not the number of a majority")
        return Constant(value)


MAJORITY = Majority()

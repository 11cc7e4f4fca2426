"""XGBoost in blocks, so that a training that was killed goes on and ends with the same bytes.

Each block is a fresh ``xgb.train`` that continues from the bytes of the model so far, with seed = base + first round,
whether or not anything was interrupted: with sampled rows or columns, the random state of one long call cannot be
carried over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from updraft.errors import TrainingError
from updraft.spec.trainers import complaints
from updraft.training.library import load_xgboost

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

OURS = {"rounds": 200, "early_stopping": 20, "checkpoint_every": 100}
"""Parameters that steer the blocks, with their defaults."""
_OBJECTIVE = {"binary": ("binary:logistic", "logloss"), "regression": ("reg:squarederror", "rmse")}


@dataclass(frozen=True)
class Recipe:
    """How to learn: with the data it determines the model."""

    task: Literal["binary", "regression"] = "binary"
    params: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    seed: int = 1
    threads: int = 2

    def __post_init__(self) -> None:
        """:raises TrainingError: names every parameter that is not known, out of range, or not the user's to set."""
        if self.task not in _OBJECTIVE:
            raise TrainingError(f"task {self.task!r}: the xgboost trainer learns {' and '.join(sorted(_OBJECTIVE))}")
        problems = [
            f"{name} = {self.params[name]!r}: {what}" + (f" (there are {', '.join(allowed)})" if allowed else "")
            for name, what, allowed in complaints(self.params)
        ]
        if problems:
            raise TrainingError(f"parameters of the xgboost trainer: {'; '.join(problems)}")

    def own(self, name: str) -> int:
        """One of :data:`OURS`."""
        return int(self.params.get(name, OURS[name]))

    @property
    def metric(self) -> str:
        """XGBoost's name of the loss that early stopping looks at."""
        return _OBJECTIVE[self.task][1]

    def booster(self, base_score: float, first_round: int) -> dict[str, Any]:
        """The parameters of one block."""
        objective, metric = _OBJECTIVE[self.task]
        return {
            **{name: value for name, value in self.params.items() if name not in OURS},
            "objective": objective,
            "eval_metric": metric,
            "tree_method": "hist",
            "base_score": base_score,
            "nthread": self.threads,
            "seed": self.seed + first_round,
        }


@dataclass(frozen=True)
class Progress:
    """Where a phase stands after a block; JSON-able, the early-stopping state included."""

    rounds: int = 0
    best: float | None = None
    """Lowest validation loss so far; null without validation rows."""
    best_rounds: int = 0
    curve: tuple[float, ...] = ()
    done: bool = False


class Checkpoint(Protocol):
    """Where blocks are kept between processes."""

    def load(self, phase: str) -> tuple[bytes, Progress] | None:
        """The last whole block of a phase."""

    def save(self, phase: str, booster: bytes, progress: Progress) -> None:
        """Keep a block, replacing the one before at once or not at all."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """Encoded rows: float32 features, their XGBoost types, and labels."""

    values: NDArray[np.float32]
    types: list[str]
    label: NDArray[np.float64]

    def quantile(self, recipe: Recipe, reference: Any = None) -> Any:
        """As XGBoost's quantised matrix; a validation matrix takes its bins from the training one."""
        return load_xgboost().QuantileDMatrix(
            self.values,
            label=self.label,
            feature_types=self.types,
            enable_categorical=True,
            max_bin=int(recipe.params.get("max_bin", 256)),
            ref=reference,
            nthread=recipe.threads,
        )


def boost(
    recipe: Recipe,
    phase: str,
    rows: Matrix,
    *,
    rounds: int,
    validation: Matrix | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[bytes, Progress]:
    """Train up to a number of rounds, in blocks; with validation rows, stop when they no longer gain.

    :return: the model as UBJSON, and the progress: ``best_rounds`` is what to use of it.
    :raises TrainingError: when the labels cannot be learnt from.
    """
    booster, progress = (checkpoint.load(phase) if checkpoint else None) or (b"", Progress())
    if progress.done:
        return booster, progress
    base_score = base(recipe.task, rows.label)
    matrix = rows.quantile(recipe)
    watched = validation.quantile(recipe, matrix) if validation is not None else None
    while not progress.done:
        last = min(progress.rounds + recipe.own("checkpoint_every"), rounds)
        booster, progress = _block(
            recipe, matrix, watched, base_score=base_score, booster=booster, progress=progress, last=last
        )
        if progress.rounds >= rounds:
            progress = replace(progress, done=True)
        if watched is None:
            progress = replace(progress, best_rounds=progress.rounds)
        if checkpoint:
            checkpoint.save(phase, booster, progress)
        log.info("%s: %d rounds, best %s at %d", phase, progress.rounds, progress.best, progress.best_rounds)
    return booster, progress


def base(task: str, label: NDArray[np.float64]) -> float:
    """The mean label, given explicitly so that every block continues from the same start.

    :raises TrainingError: when there is no label, or a binary task has other labels than 0 and 1, or only one of them.
    """
    import numpy as np

    if not len(label):
        raise TrainingError("no labelled row to learn from")
    if task == "binary":
        values = np.unique(label)
        if not np.isin(values, (0.0, 1.0)).all():
            raise TrainingError(f"a binary task needs labels 0 and 1, found {values[:5].tolist()}")
        if len(values) == 1:
            raise TrainingError(
                f"every label of the {len(label)} rows is {values[0]:g}: nothing to learn; widen training.window"
            )
    return float(label.mean())


def _block(
    recipe: Recipe,
    matrix: Any,
    watched: Any,
    *,
    base_score: float,
    booster: bytes,
    progress: Progress,
    last: int,
) -> tuple[bytes, Progress]:
    seen = progress

    def watch(loss: float) -> bool:
        nonlocal seen
        better = seen.best is None or loss < seen.best
        now = seen.rounds + 1
        seen = Progress(
            rounds=now,
            best=loss if better else seen.best,
            best_rounds=now if better else seen.best_rounds,
            curve=(*seen.curve, loss),
        )
        return now - seen.best_rounds >= recipe.own("early_stopping")

    model = load_xgboost().train(
        recipe.booster(base_score, progress.rounds),
        matrix,
        last - progress.rounds,
        evals=[(watched, "validation")] if watched is not None else (),
        xgb_model=bytearray(booster) if booster else None,
        verbose_eval=False,
        callbacks=[_watcher(watch)] if watched is not None else None,
    )
    if watched is None:
        seen = replace(progress, rounds=last)
    stopped = seen.rounds < last or seen.rounds - seen.best_rounds >= recipe.own("early_stopping")
    return bytes(model.save_raw("ubj")), replace(seen, done=watched is not None and stopped)


def _watcher(watch: Callable[[float], bool]) -> Any:
    class Watcher(load_xgboost().callback.TrainingCallback):  # type: ignore[misc]
        """Hands each round's validation loss on; XGBoost's own early stopping forgets between calls."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, list[float]]]) -> bool:
            [losses] = evals_log["validation"].values()
            return watch(float(losses[-1]))

    return Watcher()

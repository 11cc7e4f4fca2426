"""XGBoost in blocks, so that a training that was killed goes on and ends with the same bytes.

Each block is a fresh ``xgb.train`` that continues from the bytes of the model so far, with seed = base + first round,
whether or not anything was interrupted: with sampled rows or columns, the random state of one long call cannot be
carried over. For the same reason a training that is asked to end cannot keep a part of a block: it finishes the block
when that fits into the grace time, and leaves it otherwise.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from updraft.errors import IntegrityError
from updraft.spec.trainers import TRAINERS
from updraft.tasks.objectives import Start
from updraft.training.collective import xgboost_collective
from updraft.training.host import ALONE, Group, Watch, leave
from updraft.training.learning import Checkpoint, Learnt, Progress, Rows, start_of
from updraft.training.library import IN_EVERY_ENVIRONMENT, load_xgboost

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from updraft.training.encoding import Encoder
    from updraft.training.recipe import Recipe
    from updraft.training.spill import SpilledRows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class XgboostTrainer:
    """Gradient-boosted trees. See :class:`updraft.training.learning.Trainer`."""

    file: str = "model.ubj"
    libraries: tuple[str, ...] = ("xgboost",)
    to_install: str = IN_EVERY_ENVIRONMENT

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
        """Train up to a number of rounds, in blocks."""

        def matrices() -> tuple[Any, Any]:
            matrix = _quantile(recipe, encoder, rows)
            return matrix, _watched(recipe, encoder, validation, matrix) if validation is not None else None

        return _learn(
            recipe, phase, start_of(recipe.task_type, rows.label, group), matrices, rounds, checkpoint, watch, group
        )

    def learn_from_disk(
        self,
        recipe: Recipe,
        encoder: Encoder,
        phase: str,
        rows: SpilledRows,
        folder: Path,
        *,
        rounds: int,
        validation: SpilledRows | None,
        checkpoint: Checkpoint | None,
        watch: Watch,
        group: Group = ALONE,
    ) -> Learnt:
        """The same with the quantised rows on disk, read page by page in each round.

        :param folder: for the pages; they are a quarter of the rows' float32 size.
        """

        def matrices() -> tuple[Any, Any]:
            matrix = _on_disk(recipe, encoder, rows, folder / f"{phase}-rows")
            if validation is None:
                return matrix, None
            return matrix, _on_disk(recipe, encoder, validation, folder / f"{phase}-validation", matrix)

        start = start_of(recipe.task_type, rows.label, group)
        learnt = _learn(recipe, phase, start, matrices, rounds, checkpoint, watch, group)
        gc.collect()  # XGBoost's matrix and its iterator hold each other: its pages would stay while the next phase runs
        return learnt

    def scorer(self, weights: bytes, encoder: Encoder, threads: int) -> XgboostScorer:
        """A booster from UBJSON."""
        return XgboostScorer(_load(weights, threads), tuple(encoder.names))


XGBOOST = XgboostTrainer()


@dataclass(frozen=True, eq=False)
class XgboostScorer:
    """A loaded booster."""

    booster: Any
    names: tuple[str, ...]

    def margin(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw output per row; of a booster of several classes one for each."""
        import numpy as np

        return np.asarray(self.booster.inplace_predict(values, predict_type="margin"), np.float64)

    def gain(self) -> NDArray[np.float64]:
        """Total gain of the splits on each column; zero for one that no split uses."""
        import numpy as np

        gains = self.booster.get_score(importance_type="total_gain")
        return np.array([gains.get(f"f{i}", gains.get(name, 0.0)) for i, name in enumerate(self.names)], np.float64)


def _learn(
    recipe: Recipe,
    phase: str,
    base_score: Start,
    matrices: Callable[[], tuple[Any, Any]],
    rounds: int,
    checkpoint: Checkpoint | None,
    watch: Watch,
    group: Group,
) -> Learnt:
    state, progress = (checkpoint.load(phase) if checkpoint else None) or (b"", Progress())
    if not progress.done:
        with xgboost_collective(group):
            matrix, watched = matrices()
            blocks = _Phase(recipe, phase, matrix, watched, base_score, rounds, matrix.num_row(), watch, group)
            state, progress = blocks.run(state, progress, checkpoint)
    return Learnt(_cut(state, progress, recipe.threads), progress)


@dataclass(frozen=True, eq=False)
class _Phase:
    """One phase, block by block."""

    recipe: Recipe
    name: str
    matrix: Any
    watched: Any
    """The validation rows, or None."""
    base_score: Start
    rounds: int
    rows: int
    watch: Watch
    group: Group

    def run(self, booster: bytes, progress: Progress, checkpoint: Checkpoint | None) -> tuple[bytes, Progress]:
        """Go on from a block to the end."""
        while not progress.done:
            last = min(progress.rounds + int(self.recipe.own("checkpoint_every")), self.rounds)
            booster, progress = self._block(booster, progress, last)
            if progress.rounds >= self.rounds:
                progress = replace(progress, done=True)
            if self.watched is None:
                progress = replace(progress, best_rounds=progress.rounds)
            if checkpoint:
                checkpoint.save(self.name, booster, progress)
            log.info("%s: %d rounds, best %s at %d", self.name, progress.rounds, progress.best, progress.best_rounds)
            if not progress.done and self.group.highest(float(self.watch.leaving is not None)):
                leave(self.name, progress.rounds)
        return booster, progress

    def _block(self, booster: bytes, progress: Progress, last: int) -> tuple[bytes, Progress]:
        seen = progress
        began = time.monotonic()

        def after_round(loss: float | None) -> bool:
            nonlocal seen
            seen = seen.after(loss) if loss is not None else replace(seen, rounds=seen.rounds + 1)
            self.watch.saw(self.name, seen.rounds, self.rounds, self.rows, loss, seen.best)
            leaving, until = self.watch.leaving, 0.0
            if leaving is not None:
                needed = (last - seen.rounds) * (time.monotonic() - began) / (seen.rounds - progress.rounds)
                until = leaving + needed
            if self.group.highest(until) > self.watch.grace:
                leave(self.name, progress.rounds)
            return self._stops(seen)

        model = load_xgboost().train(
            self._params(progress.rounds),
            self.matrix,
            last - progress.rounds,
            evals=[(self.watched, "validation")] if self.watched is not None else (),
            xgb_model=bytearray(booster) if booster else None,
            verbose_eval=False,
            callbacks=[_after_each_round(after_round)],
        )
        return bytes(model.save_raw("ubj")), replace(seen, done=seen.rounds < last or self._stops(seen))

    def _stops(self, seen: Progress) -> bool:
        patience = int(self.recipe.own("early_stopping"))
        waited = self.watched is not None and seen.rounds - seen.best_rounds >= patience
        return waited or self.watch.prunes(seen.rounds, seen.best)

    def _params(self, first_round: int) -> dict[str, Any]:
        recipe = self.recipe
        learnt_as = recipe.task_type.xgboost
        ours = TRAINERS["xgboost"].own
        return {
            **{name: value for name, value in recipe.params.items() if name not in ours},
            **learnt_as.params,
            "objective": learnt_as.objective,
            "eval_metric": learnt_as.eval_metric,
            "tree_method": "hist",
            "base_score": self.base_score,
            "nthread": recipe.threads,
            "seed": recipe.seed + first_round,
            **({"device": recipe.device} if recipe.device != "cpu" else {}),
        }


def _quantile(recipe: Recipe, encoder: Encoder, rows: Rows, reference: Any = None) -> Any:
    """XGBoost's quantised matrix; a validation matrix takes its bins from the training one."""
    return load_xgboost().QuantileDMatrix(
        rows.values,
        label=rows.label,
        feature_types=encoder.feature_types,
        enable_categorical=True,
        max_bin=int(recipe.params.get("max_bin", 256)),
        ref=reference,
        nthread=recipe.threads,
    )


def _watched(recipe: Recipe, encoder: Encoder, rows: Rows, reference: Any) -> Any:
    """The matrix of validation rows. On a CPU not a quantised one: trees read it four times as slowly, to the same scores."""
    if recipe.device != "cpu":
        return _quantile(recipe, encoder, rows, reference)
    return load_xgboost().DMatrix(
        rows.values,
        label=rows.label,
        feature_types=encoder.feature_types,
        enable_categorical=True,
        nthread=recipe.threads,
    )


def _on_disk(recipe: Recipe, encoder: Encoder, rows: SpilledRows, cache: Path, reference: Any = None) -> Any:
    """The same with its pages in files that begin with ``cache``."""

    class Batches(load_xgboost().DataIter):  # type: ignore[misc]
        """Hands batches to XGBoost, which goes through them several times."""

        def __init__(self) -> None:
            super().__init__(cache_prefix=str(cache), release_data=True)
            self._batches = rows.batches()

        def reset(self) -> None:
            self._batches = rows.batches()

        def next(self, input_data: Callable[..., None]) -> bool:
            batch = next(self._batches, None)
            if batch is None:
                return False
            input_data(data=batch.values, label=batch.label, feature_types=encoder.feature_types)
            return True

    return load_xgboost().ExtMemQuantileDMatrix(
        Batches(),
        max_bin=int(recipe.params.get("max_bin", 256)),
        ref=reference,
        nthread=recipe.threads,
        enable_categorical=True,
    )


def _cut(booster: bytes, progress: Progress, threads: int) -> bytes:
    """The model up to its best round."""
    if progress.best_rounds >= progress.rounds:
        return booster
    return bytes(_load(booster, threads)[: progress.best_rounds].save_raw("ubj"))


def _load(weights: bytes, threads: int) -> Any:
    xgboost = load_xgboost()
    booster = xgboost.Booster({"nthread": threads})
    try:
        booster.load_model(bytearray(weights))
    except xgboost.core.XGBoostError as error:
        raise IntegrityError(f"not the UBJSON of an XGBoost model: {str(error).splitlines()[0]}") from error
    return booster


def _after_each_round(call: Callable[[float | None], bool]) -> Any:
    class Watcher(load_xgboost().callback.TrainingCallback):  # type: ignore[misc]
        """Hands each round's validation loss on; XGBoost's own early stopping forgets between calls."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, list[float]]]) -> bool:
            losses = [values for name in evals_log.values() for values in name.values()]
            return call(float(losses[0][-1]) if losses else None)

    return Watcher()

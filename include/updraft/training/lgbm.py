"""LightGBM in blocks, so that a training that was killed goes on and ends with the same bytes.

As with XGBoost each block is a fresh ``lightgbm.train`` that continues from the text of the model so far, with seed = base + first round,
whether or not anything was interrupted: what is added to, and drawn by, then depends on the block alone.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from updraft.errors import IntegrityError, TrainingError
from updraft.spec.trainers import TRAINERS
from updraft.training.host import ALONE, Group, Watch, leave
from updraft.training.learning import Checkpoint, Learnt, Progress, Rows, start_of
from updraft.training.library import IN_EVERY_ENVIRONMENT, load_lightgbm

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from updraft.tasks.objectives import LightgbmObjective
    from updraft.training.encoding import Encoder
    from updraft.training.recipe import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LightgbmTrainer:
    """Gradient-boosted trees that grow leaf by leaf. See :class:`updraft.training.learning.Trainer`."""

    file: str = "model.txt"
    libraries: tuple[str, ...] = ("lightgbm",)
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
        objective = recipe.task_type.lightgbm
        if objective is None:
            raise TrainingError(f"the lightgbm trainer does not learn task {recipe.task}")
        if group.size > 1:
            raise TrainingError("the lightgbm trainer learns in one process; set training.compute.workers to 1")
        start_of(recipe.task_type, rows.label, group)  # refuses labels that cannot be learnt from
        state, progress = (checkpoint.load(phase) if checkpoint else None) or (b"", Progress())
        if not progress.done:
            learnt = _dataset(recipe, encoder, rows)
            judged = None if validation is None else _dataset(recipe, encoder, validation, learnt)
            blocks = _Phase(recipe, objective, phase, learnt, judged, rounds, len(rows.label), watch)
            try:
                state, progress = blocks.run(state, progress, checkpoint)
            except load_lightgbm().basic.LightGBMError as error:
                raise TrainingError(f"LightGBM does not learn with these parameters: {error}") from error
        return Learnt(_cut(state, progress), progress)

    def scorer(self, weights: bytes, encoder: Encoder, threads: int) -> LightgbmScorer:
        """A booster from its text."""
        return LightgbmScorer(_load(weights), threads)


LIGHTGBM = LightgbmTrainer()


@dataclass(frozen=True, eq=False)
class LightgbmScorer:
    """A loaded booster."""

    booster: Any
    threads: int

    def margin(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw score per row; of a booster of several classes one for each."""
        import numpy as np

        return np.asarray(self.booster.predict(values, raw_score=True, num_threads=self.threads), np.float64)

    def gain(self) -> NDArray[np.float64]:
        """Total gain of the splits on each column; zero for one that no split uses."""
        import numpy as np

        return np.asarray(self.booster.feature_importance("gain"), np.float64)


@dataclass(frozen=True, eq=False)
class _Phase:
    """One phase, block by block."""

    recipe: Recipe
    objective: LightgbmObjective
    name: str
    learnt: Any
    judged: Any
    """The validation rows, or None."""
    rounds: int
    rows: int
    watch: Watch

    def run(self, booster: bytes, progress: Progress, checkpoint: Checkpoint | None) -> tuple[bytes, Progress]:
        """Go on from a block to the end."""
        while not progress.done:
            last = min(progress.rounds + int(self.recipe.own("checkpoint_every")), self.rounds)
            booster, progress = self._block(booster, progress, last)
            if progress.rounds >= self.rounds:
                progress = replace(progress, done=True)
            if self.judged is None:
                progress = replace(progress, best_rounds=progress.rounds)
            if checkpoint:
                checkpoint.save(self.name, booster, progress)
            log.info("%s: %d rounds, best %s at %d", self.name, progress.rounds, progress.best, progress.best_rounds)
            if not progress.done and self.watch.leaving is not None:
                leave(self.name, progress.rounds)
        return booster, progress

    def _block(self, booster: bytes, progress: Progress, last: int) -> tuple[bytes, Progress]:
        lightgbm, seen, began, done = load_lightgbm(), progress, time.monotonic(), False

        def after_round(round_: Any) -> None:
            nonlocal seen, done
            grown, needed = round_.model.current_iteration() > seen.rounds, 0.0
            if grown:  # else no leaf can be split any more, and every later round would be this one again
                loss = float(round_.evaluation_result_list[0][2]) if round_.evaluation_result_list else None
                seen = seen.after(loss) if loss is not None else replace(seen, rounds=seen.rounds + 1)
                self.watch.saw(self.name, seen.rounds, self.rounds, self.rows, loss, seen.best)
                needed = (last - seen.rounds) * (time.monotonic() - began) / (seen.rounds - progress.rounds)
            if self.watch.leaving is not None and self.watch.leaving + needed > self.watch.grace:
                leave(self.name, progress.rounds)
            done = not grown or self._stops(seen)
            if done:
                raise lightgbm.callback.EarlyStopException(0, [])

        model = lightgbm.train(
            self._params(progress.rounds),
            self.learnt,
            last - progress.rounds,
            valid_sets=[self.judged] if self.judged is not None else None,
            init_model=_load(booster) if booster else None,
            callbacks=[after_round],
        )
        return _text(model, seen.rounds), replace(seen, done=done)

    def _stops(self, seen: Progress) -> bool:
        waited = self.judged is not None and seen.rounds - seen.best_rounds >= int(self.recipe.own("early_stopping"))
        return waited or self.watch.prunes(seen.rounds, seen.best)

    def _params(self, first_round: int) -> dict[str, Any]:
        return {
            **({"bagging_freq": 1} if "bagging_fraction" in self.recipe.params else {}),  # without it nothing is drawn
            **{name: value for name, value in self.recipe.params.items() if name not in TRAINERS["lightgbm"].own},
            **self.objective.params,
            "objective": self.objective.objective,
            "metric": self.objective.metric,
            "seed": self.recipe.seed + first_round,
            **_settled(self.recipe),
        }


def _settled(recipe: Recipe) -> dict[str, Any]:
    """What makes sums repeat themselves, and keeps LightGBM quiet."""
    return {"deterministic": True, "force_row_wise": True, "num_threads": recipe.threads, "verbosity": -1}


def _dataset(recipe: Recipe, encoder: Encoder, rows: Rows, reference: Any = None) -> Any:
    """LightGBM's bins of rows; those that validate take theirs from those that are learnt from.

    The rows stay beside them: each block scores them by the model so far.
    """
    return load_lightgbm().Dataset(
        rows.values,
        rows.label,
        reference=reference,
        categorical_feature=[i for i, column in enumerate(encoder.columns) if column.kind == "category"],
        params={**_settled(recipe), **{name: recipe.params[name] for name in _BINNED if name in recipe.params}},
        free_raw_data=False,
    )


_BINNED = ("max_bin", "min_data_in_bin")
"""Parameters of the bins, which are found before a block begins."""


def _text(booster: Any, rounds: int) -> bytes:
    return str(booster.model_to_string(num_iteration=rounds)).encode()


def _cut(booster: bytes, progress: Progress) -> bytes:
    """The model up to its best round."""
    return booster if progress.best_rounds >= progress.rounds else _text(_load(booster), progress.best_rounds)


def _load(weights: bytes) -> Any:
    lightgbm = load_lightgbm()
    try:
        return lightgbm.Booster(model_str=weights.decode())
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
        raise IntegrityError(f"not the text of a LightGBM model: {str(error).splitlines()[0]}") from error

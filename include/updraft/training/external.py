"""The two phases of a training whose window is on disk: on data larger than memory, or one worker's share of the rows.

For the first, XGBoost's external memory goes over batches of the window. For the second, each worker reads the snapshot
partition by partition, keeps every n-th row in memory, and learns from these together with the others.

The same steps as :mod:`updraft.training.fit`, on the same rows, clusters and holdout. The model differs a little from
the one of the path in memory, as XGBoost finds the bins batch by batch or merges those of the workers: so ``external_memory`` is a parameter, part of
the recipe, and never chosen by what memory a machine happens to have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from updraft.data.snapshots import SnapshotManifest
from updraft.training.fit import (
    FittedModel,
    fitted_model,
    model_of,
    predictions_of,
    tried_model,
    validation_clusters,
)
from updraft.training.host import ALONE, UNWATCHED, Group, Watch
from updraft.training.importance import gain_importance, permutation_importance
from updraft.training.learning import Checkpoint, Learnt
from updraft.training.model import Model
from updraft.training.recipe import Recipe
from updraft.training.spill import SpilledRows, SpilledWindow
from updraft.training.trainers import BY_NAME
from updraft.training.xgb import XGBOOST

if TYPE_CHECKING:
    import pandas as pd


def train_from_disk(
    recipe: Recipe,
    manifest: SnapshotManifest,
    window: Sequence[str],
    holdout: Sequence[str],
    folder: Path,
    checkpoint: Checkpoint | None = None,
    watch: Watch | None = None,
    group: Group = ALONE,
) -> FittedModel:
    """Prove the recipe on the holdout partitions, then learn from every row; the same on every worker of a group.

    :param folder: on a local disk, empty; needs the float32 size of the window and a quarter of that again.
    :raises TrainingError: when there is too little to learn from, or the disk is full.
    :raises TrainingInterrupted: when the process was asked to end.
    """
    import numpy as np

    watch = watch or UNWATCHED
    whole = SpilledWindow.spill(manifest, window, folder)
    learnt = whole.without(holdout)
    encoder = learnt.encoder()
    validating = learnt.of_clusters(validation_clusters(learnt.clusters()))
    phases = _Phases(recipe, folder, checkpoint, watch, group)
    rows = SpilledRows(learnt, encoder, [~mask for mask in validating])
    proved = phases.learn("proof", rows, SpilledRows(learnt, encoder, validating), recipe.rounds)
    proof = model_of(recipe, encoder, proved.weights)
    predictions = _predictions(whole, holdout, proof)
    if watch.is_trial:
        label = np.concatenate([part.label for part in whole.partitions])
        return tried_model(recipe, proof, proved.progress, predictions, label, watch)
    rows = SpilledRows(whole, whole.encoder(), [np.ones(len(part.label), np.bool_) for part in whole.partitions])
    release = phases.learn("release", rows, None, proved.progress.best_rounds)
    model = model_of(recipe, rows.encoder, release.weights)
    importance = gain_importance(model)
    if importance is None:
        masks = [np.ones(len(part.label), np.bool_) for part in whole.of(holdout).partitions]
        unseen = whole.of(holdout).taken(masks) if holdout else learnt.taken(validating)
        importance = permutation_importance(proof, unseen)
    return fitted_model(recipe, model, proved.progress, predictions, rows.label, importance)


@dataclass(frozen=True, eq=False)
class _Phases:
    """How both phases learn: from disk where the recipe says so, else from the share of this worker in memory."""

    recipe: Recipe
    folder: Path
    checkpoint: Checkpoint | None
    watch: Watch
    group: Group

    def learn(self, phase: str, rows: SpilledRows, validation: SpilledRows | None, rounds: int) -> Learnt:
        """One phase."""
        mine = rows.shared(self.group)
        judged = validation.shared(self.group) if validation is not None else None
        if self.recipe.external_memory:
            return XGBOOST.learn_from_disk(
                self.recipe,
                rows.encoder,
                phase,
                mine,
                self.folder,
                rounds=rounds,
                validation=judged,
                checkpoint=self.checkpoint,
                watch=self.watch,
                group=self.group,
            )
        return BY_NAME[self.recipe.trainer].learn(
            self.recipe,
            rows.encoder,
            phase,
            mine.in_memory(),
            rounds=rounds,
            validation=judged.in_memory() if judged is not None else None,
            checkpoint=self.checkpoint,
            watch=self.watch,
            group=self.group,
        )


def _predictions(window: SpilledWindow, holdout: Sequence[str], proof: Model) -> pd.DataFrame:
    """Of the holdout, one partition at a time."""
    import pandas as pd

    held = [part.key for part in window.partitions if part.key in set(holdout)]
    frames = [predictions_of(window.load([key]), proof) for key in held]
    if not frames:  # the columns, without a row
        return predictions_of(window.load([window.partitions[0].key]), proof).head(0)
    return pd.concat(frames, ignore_index=True)

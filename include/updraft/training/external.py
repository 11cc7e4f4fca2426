"""The two phases of a training on data larger than memory: XGBoost's external memory over batches of the window on disk.

The same steps as :mod:`updraft.training.fit`, on the same rows, clusters and holdout. The model differs a little from
the one of the path in memory, as XGBoost finds the bins batch by batch: so ``external_memory`` is a parameter, part of
the recipe, and never chosen by what memory a machine happens to have.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from updraft.training.importance import GAIN, shares_of
from updraft.training.learning import Checkpoint
from updraft.training.model import Model
from updraft.training.recipe import Recipe
from updraft.training.spill import SpilledRows, SpilledWindow
from updraft.training.watch import Watch
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
) -> FittedModel:
    """Prove the recipe on the holdout partitions, then learn from every row, with one batch in memory at a time.

    :param folder: on a local disk, empty; needs the float32 size of the window and a quarter of that again.
    :raises TrainingError: when there is too little to learn from, or the disk is full.
    :raises TrainingInterrupted: when the process was asked to end.
    """
    import numpy as np

    watch = watch or Watch()
    whole = SpilledWindow.spill(manifest, window, folder)
    learnt = whole.without(holdout)
    encoder = learnt.encoder()
    validating = learnt.of_clusters(validation_clusters(learnt.clusters()))
    proof = XGBOOST.learn_from_disk(
        recipe,
        encoder,
        "proof",
        SpilledRows(learnt, encoder, [~mask for mask in validating]),
        folder,
        rounds=recipe.rounds,
        validation=SpilledRows(learnt, encoder, validating),
        checkpoint=checkpoint,
        watch=watch,
    )
    proved = model_of(recipe, encoder, proof.weights)
    predictions = _predictions(whole, holdout, proved)
    if watch.trial is not None:
        label = np.concatenate([each.label for each in whole.partitions])
        return tried_model(recipe, proved, proof.progress, predictions, label, watch)
    encoder = whole.encoder()
    rows = SpilledRows(whole, encoder, [np.ones(len(each.label), np.bool_) for each in whole.partitions])
    release = XGBOOST.learn_from_disk(
        recipe,
        encoder,
        "release",
        rows,
        folder,
        rounds=proof.progress.best_rounds,
        validation=None,
        checkpoint=checkpoint,
        watch=watch,
    )
    model = model_of(recipe, encoder, release.weights)
    gains = XGBOOST.scorer(release.weights, encoder, recipe.threads).gain()
    return fitted_model(recipe, model, proof.progress, predictions, rows.label, shares_of(model, gains, GAIN))


def _predictions(window: SpilledWindow, holdout: Sequence[str], proof: Model) -> pd.DataFrame:
    """Of the holdout, one partition at a time."""
    import pandas as pd

    held = [each.key for each in window.partitions if each.key in set(holdout)]
    frames = [predictions_of(window.load([key]), proof) for key in held]
    if not frames:  # the columns, without a row
        return predictions_of(window.load([window.partitions[0].key]), proof).head(0)
    return pd.concat(frames, ignore_index=True)

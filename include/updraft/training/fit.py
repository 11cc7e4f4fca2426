"""The training itself, without files: the same code for ``updraft train run`` and for a backtest.

Two phases. The proof model learns from the window without its holdout, stops early on every seventh cluster, and
predicts the holdout partitions, which it has never seen: an honest walk-forward test of the recipe. The release model
learns from the whole window with the number of rounds that the proof found.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from updraft.data.columns import CLUSTER, LABEL, MARGIN, SCORE
from updraft.data.vectors import as_cells, as_values
from updraft.errors import TrainingError
from updraft.training.encoding import Encoder
from updraft.training.host import UNWATCHED, Watch
from updraft.training.importance import PERMUTATION, Importance, gain_importance, permutation_importance
from updraft.training.learning import Checkpoint, Progress, Rows
from updraft.training.model import Model
from updraft.training.recipe import Recipe
from updraft.training.trainers import BY_NAME

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from updraft.training.data import TrainingData

EVERY = 7
"""One cluster in so many validates; by the hash of its name, so that a cluster keeps its side in every training."""


@dataclass(frozen=True, eq=False)
class FittedModel:
    """What a training finds."""

    recipe: Recipe
    encoder: Encoder
    weights: bytes
    """The release model as the trainer's file."""
    rounds: int
    curve: tuple[float, ...]
    """Validation loss of the proof model after each round."""
    metrics: dict[str, float]
    holdout: pd.DataFrame
    """PARTITION, ROW, EVENT_TIME, CLUSTER, LABEL, MARGIN, SCORE by the proof model; empty without a holdout."""
    rows: int
    importance: Importance
    pruned: bool = False
    """Whether it is a trial that was given up."""

    def model(self, meta: dict[str, object] | None = None, features_source: bytes | None = None) -> Model:
        """The release model as what scores rows."""
        return model_of(self.recipe, self.encoder, self.weights, meta, features_source)


@dataclass(frozen=True, eq=False)
class Proof:
    """What the proof phase finds."""

    model: Model
    progress: Progress
    predictions: pd.DataFrame
    """PARTITION, ROW, EVENT_TIME, CLUSTER, LABEL, MARGIN, SCORE of the holdout; empty without one."""
    unseen: TrainingData
    """Rows that the proof model did not learn from: the holdout, or without one those that validated."""


def prove(
    recipe: Recipe,
    data: TrainingData,
    holdout: Sequence[str],
    checkpoint: Checkpoint | None = None,
    watch: Watch | None = None,
) -> Proof:
    """The first phase alone: learn without the holdout, stop early, predict the holdout.

    :raises TrainingError: when there is too little to learn from.
    :raises TrainingInterrupted: when the process was asked to end.
    """
    held = data.within(holdout)
    learnt = ~held
    validating = learnt & validation_rows(data.keys[CLUSTER].to_numpy(), learnt)
    encoder = Encoder.fit(data.features[learnt] if held.any() else data.features)
    seen = encoder.encode(data.features)

    def rows(mask: NDArray[np.bool_]) -> Rows:
        return Rows(seen[mask], data.label[mask])

    learnt_model = BY_NAME[recipe.trainer].learn(
        recipe,
        encoder,
        "proof",
        rows(learnt & ~validating),
        rounds=recipe.rounds,
        validation=rows(validating),
        checkpoint=checkpoint,
        watch=watch or UNWATCHED,
    )
    model = model_of(recipe, encoder, learnt_model.weights)
    predictions = predictions_of(data.take(held), model)
    return Proof(model, learnt_model.progress, predictions, data.take(held if held.any() else validating))


def train_in_memory(
    recipe: Recipe,
    data: TrainingData,
    holdout: Sequence[str] = (),
    checkpoint: Checkpoint | None = None,
    watch: Watch | None = None,
) -> FittedModel:
    """Prove the recipe on the holdout partitions, then learn from every row.

    :param data: the labelled rows of the window, holdout included.
    :param holdout: the last partitions of the window; when empty, the rounds are found within the whole window.
    :raises TrainingError: when there is too little to learn from.
    :raises TrainingInterrupted: when the process was asked to end.
    """
    watch = watch or UNWATCHED
    proved = prove(recipe, data, holdout, checkpoint, watch)
    if watch.is_trial:
        return tried_model(recipe, proved.model, proved.progress, proved.predictions, data.label, watch)
    encoder = Encoder.fit(data.features) if len(holdout) else proved.model.encoder
    release = BY_NAME[recipe.trainer].learn(
        recipe,
        encoder,
        "release",
        Rows(encoder.encode(data.features), data.label),
        rounds=proved.progress.best_rounds,
        validation=None,
        checkpoint=checkpoint,
        watch=watch,
    )
    model = model_of(recipe, encoder, release.weights)
    importance = gain_importance(model) or permutation_importance(proved.model, proved.unseen)
    return fitted_model(recipe, model, proved.progress, proved.predictions, data.label, importance)


def fitted_model(
    recipe: Recipe,
    release: Model,
    progress: Progress,
    predictions: pd.DataFrame,
    label: NDArray[np.float64],
    importance: Importance,
) -> FittedModel:
    """What both phases found, put together.

    :param label: of every row that the release model learnt from.
    """
    return FittedModel(
        recipe=recipe,
        encoder=release.encoder,
        weights=release.weights,
        rounds=progress.best_rounds,
        curve=progress.curve,
        metrics=_metrics(recipe, progress, predictions, label),
        holdout=predictions,
        rows=len(label),
        importance=importance,
    )


def tried_model(
    recipe: Recipe,
    proof: Model,
    progress: Progress,
    predictions: pd.DataFrame,
    label: NDArray[np.float64],
    watch: Watch,
) -> FittedModel:
    """What a trial leaves: the proof and its model, as nothing is to be released. What it looks at is told where it is free."""
    importance = gain_importance(proof) or Importance({}, PERMUTATION)
    fitted = fitted_model(recipe, proof, progress, predictions, label, importance)
    return replace(fitted, pruned=watch.prunes(progress.rounds, progress.best))


def model_of(
    recipe: Recipe,
    encoder: Encoder,
    weights: bytes,
    meta: dict[str, object] | None = None,
    features_source: bytes | None = None,
) -> Model:
    """Weights as what scores rows."""
    return Model(
        task=recipe.task,
        encoder=encoder,
        weights=weights,
        meta=meta or {},
        features_source=features_source,
        threads=recipe.threads,
        trainer=recipe.trainer,
        classes=recipe.classes,
    )


def validation_rows(clusters: NDArray[np.object_], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mask of the rows whose cluster validates.

    :raises TrainingError: when there are fewer than two clusters among the rows.
    """
    import numpy as np
    import pandas as pd

    codes, names = pd.factorize(pd.Series(clusters).astype(str))
    validating = validation_clusters([str(names[code]) for code in np.unique(codes[among])])
    rows: NDArray[np.bool_] = np.array([str(name) in validating for name in names], np.bool_)[codes]
    return rows


def validation_clusters(names: Sequence[str]) -> frozenset[str]:
    """The clusters that validate, among those to learn from.

    :raises TrainingError: when there are fewer than two.
    """
    if len(names) < 2:
        raise TrainingError(
            f"the rows to learn from are of {len(names)} cluster(s); two are the least: see release.cluster"
        )
    hashes = {name: zlib.crc32(name.encode()) for name in names}
    chosen = frozenset(name for name, hashed in hashes.items() if hashed % EVERY == 0)
    if not chosen or len(chosen) == len(names):  # few clusters: take the one with the smallest hash
        return frozenset([min(names, key=lambda name: hashes[name])])
    return chosen


def predictions_of(rows: TrainingData, proof: Model) -> pd.DataFrame:
    """Keys, label, margin and score by the proof model."""
    margin = proof.margin(rows.features)
    return rows.keys.assign(**{LABEL: rows.label, MARGIN: as_cells(margin), SCORE: as_cells(proof.score(margin))})


def _metrics(recipe: Recipe, progress: Progress, holdout: pd.DataFrame, label: NDArray[np.float64]) -> dict[str, float]:
    metrics = {"rows": float(len(label)), **recipe.task_type.label_figures(label)}
    if progress.best is not None:
        metrics[f"validation_{recipe.loss}"] = progress.best
    if len(holdout):
        loss = recipe.task_type.mean_margin_loss(holdout[LABEL].to_numpy(), as_values(holdout[MARGIN]))
        metrics |= {f"holdout_{recipe.loss}": loss, "holdout_rows": float(len(holdout))}
    return metrics

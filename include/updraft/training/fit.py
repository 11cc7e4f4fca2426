"""The training itself, without files: the same code for ``updraft train run`` and for a backtest.

Two phases. The proof model learns from the window without its holdout, stops early on every seventh cluster, and
predicts the holdout partitions, which it has never seen: an honest walk-forward test of the recipe. The release model
learns from the whole window with the number of rounds that the proof found.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from updraft.data.columns import CLUSTER, LABEL, MARGIN, SCORE
from updraft.errors import TrainingError
from updraft.training.encoding import Encoder
from updraft.training.model import Model, link
from updraft.training.xgb import Checkpoint, Matrix, Progress, Recipe, boost

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

    task: Literal["binary", "regression"]
    encoder: Encoder
    booster: bytes
    """The release model as UBJSON."""
    rounds: int
    curve: tuple[float, ...]
    """Validation loss of the proof model after each round."""
    metrics: dict[str, float]
    holdout: pd.DataFrame
    """PARTITION, ROW, EVENT_TIME, CLUSTER, LABEL, MARGIN, SCORE by the proof model; empty without a holdout."""
    rows: int
    threads: int

    def model(self, meta: dict[str, object] | None = None, features_source: bytes | None = None) -> Model:
        """The release model as what scores rows."""
        return Model(
            task=self.task,
            encoder=self.encoder,
            booster=self.booster,
            meta=meta or {},
            features_source=features_source,
            threads=self.threads,
        )


@dataclass(frozen=True, eq=False)
class Proof:
    """What the proof phase finds."""

    encoder: Encoder
    found: Progress
    predictions: pd.DataFrame
    """PARTITION, ROW, EVENT_TIME, CLUSTER, LABEL, MARGIN, SCORE of the holdout; empty without one."""


def prove(recipe: Recipe, data: TrainingData, holdout: Sequence[str], checkpoint: Checkpoint | None = None) -> Proof:
    """The first phase alone: learn without the holdout, stop early, predict the holdout.

    :raises TrainingError: when there is too little to learn from.
    """
    held = data.within(holdout)
    learnt = ~held
    validating = learnt & validation_rows(data.keys[CLUSTER].to_numpy(), learnt)
    encoder = Encoder.fit(data.features[learnt] if held.any() else data.features)
    seen = encoder.encode(data.features)

    def matrix(rows: NDArray[np.bool_]) -> Matrix:
        return Matrix(seen[rows], encoder.feature_types, data.label[rows])

    booster, found = boost(
        recipe,
        "proof",
        matrix(learnt & ~validating),
        rounds=recipe.own("rounds"),
        validation=matrix(validating),
        checkpoint=checkpoint,
    )
    model = Model(recipe.task, encoder, booster, {})
    return Proof(encoder, found, _predictions(recipe, data.take(held), model, found.best_rounds))


def train_in_memory(
    recipe: Recipe, data: TrainingData, holdout: Sequence[str] = (), checkpoint: Checkpoint | None = None
) -> FittedModel:
    """Prove the recipe on the holdout partitions, then learn from every row.

    :param data: the labelled rows of the window, holdout included.
    :param holdout: the last partitions of the window; when empty, the rounds are found within the whole window.
    :raises TrainingError: when there is too little to learn from.
    """
    proved = prove(recipe, data, holdout, checkpoint)
    encoder = Encoder.fit(data.features) if len(holdout) else proved.encoder
    whole = Matrix(encoder.encode(data.features), encoder.feature_types, data.label)
    booster, _ = boost(recipe, "release", whole, rounds=proved.found.best_rounds, checkpoint=checkpoint)
    found, predictions = proved.found, proved.predictions
    return FittedModel(
        task=recipe.task,
        encoder=encoder,
        booster=booster,
        rounds=found.best_rounds,
        curve=found.curve,
        metrics=_metrics(recipe, found, predictions, data),
        holdout=predictions,
        rows=len(data.label),
        threads=recipe.threads,
    )


def validation_rows(clusters: NDArray[np.object_], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mask of the rows whose cluster validates.

    :raises TrainingError: when there are fewer than two clusters among the rows.
    """
    import numpy as np
    import pandas as pd

    codes, names = pd.factorize(pd.Series(clusters).astype(str))
    present = np.unique(codes[among])
    if len(present) < 2:
        raise TrainingError(
            f"the rows to learn from are of {len(present)} cluster(s); two are the least: see release.cluster"
        )
    hashes = np.array([zlib.crc32(str(name).encode()) for name in names], np.uint32)
    chosen = hashes % EVERY == 0
    share = chosen[present].sum()
    if share == 0 or share == len(present):  # few clusters: take the one with the smallest hash
        chosen = np.zeros(len(names), np.bool_)
        chosen[present[np.argmin(hashes[present])]] = True
    found: NDArray[np.bool_] = chosen[codes]
    return found


def _predictions(recipe: Recipe, rows: TrainingData, proof: Model, rounds: int) -> pd.DataFrame:
    margin = proof.margin(rows.features, rounds)
    return rows.keys.assign(**{LABEL: rows.label, MARGIN: margin, SCORE: link(recipe.task, margin)})


def _metrics(recipe: Recipe, found: Progress, holdout: pd.DataFrame, data: TrainingData) -> dict[str, float]:
    import numpy as np

    name = "log_loss" if recipe.task == "binary" else "rmse"
    metrics = {"rows": float(len(data.label)), "label_mean": float(data.label.mean())}
    if found.best is not None:
        metrics[f"validation_{name}"] = found.best
    if len(holdout):
        label, margin = holdout[LABEL].to_numpy(), holdout[MARGIN].to_numpy()
        loss = (  # of a margin m: log(1 + e^m) - y m, which never takes the logarithm of a rounded zero
            float(np.mean(np.logaddexp(0, margin) - label * margin))
            if recipe.task == "binary"
            else float(np.sqrt(np.mean((label - margin) ** 2)))
        )
        metrics |= {f"holdout_{name}": loss, "holdout_rows": float(len(holdout))}
    return metrics

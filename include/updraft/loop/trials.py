"""The refit trial: what a training on the recent window would have gained over the recalibrated champion."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from updraft import files
from updraft.data.columns import CLUSTER, LABEL
from updraft.evaluation.metrics import row_loss
from updraft.files import canonical_hash
from updraft.loop.context import Loop
from updraft.loop.judge import compare
from updraft.loop.plan import Plan
from updraft.loop.sealed import SealedNotes
from updraft.monitoring.trial import Trial, paired_trial
from updraft.training.checkpoint import Begun, FolderCheckpoint
from updraft.training.contract import TrainingRequest, TrainingResult
from updraft.training.data import TrainingData
from updraft.training.fit import prove
from updraft.training.lock import exclusive
from updraft.training.run import checkpoint_of, versions

if TYPE_CHECKING:
    import pandas as pd


def training_data(loop: Loop, plan: Plan) -> TrainingData:
    """Features and known labels of a plan's window."""
    features = {key: loop.feature_frame(key) for key in plan.window}
    labels = [files.read_parquet(url, sha256) for url, sha256 in label_files(loop, plan).values()]
    return TrainingData.join(features, labels, plan.window)


def label_files(loop: Loop, plan: Plan) -> dict[str, tuple[str, str]]:
    """Label files that a training may see: those of the window's ticks. By key: URL and hash."""
    rows = loop.store.partitions(loop.name, until=plan.key, state=None)
    wanted = [row for row in rows if row.key >= plan.window[0] and row.labels_url]
    return {row.key: (str(row.labels_url), row.labels_sha256 or _hashed(str(row.labels_url))) for row in wanted}


def _hashed(url: str) -> str:
    """Of a file whose hash was not recorded yet when it was made."""
    return files.sha256(files.read_bytes(url))


def fit_url(loop: Loop, plan: Plan) -> str:
    """Folder of what follows from a plan's recipe and data, whoever asks for it: its proof, and in a backtest its model."""
    return loop.url(FITS, fit_name(loop, plan))


def fit_name(loop: Loop, plan: Plan) -> str:
    """That folder's name, from the content of all that the plan's model depends on: the same in every lake."""
    known = {
        "window": [(key, loop.feature_file(key)[1]) for key in plan.window],
        "labels": sorted(sha for _, sha in label_files(loop, plan).values()),
        "recipe": plan.recipe_sha256,
        "holdout": plan.holdout,
    }
    return f"{plan.key}-{canonical_hash(known)[:16]}"


FITS = "fits"
"""Folder of a project's part of the lake."""
PROOF = "proof.parquet"
"""Walk-forward predictions of the holdout, below :func:`fit_url`."""
TRAINED = "training.json"
"""Where the training of the same plan left its model and its proof, below :func:`fit_url`: a sealed note."""
FITTED = "model.sha256"
"""Hash of the backtest's own model of a plan, below :func:`fit_url`: a sealed note."""


@dataclass(frozen=True)
class Fit:
    """A model and its proof."""

    model_url: str
    model_sha256: str
    proof_url: str
    """Walk-forward predictions of the holdout."""
    proof_sha256: str


def proof(loop: Loop, plan: Plan) -> pd.DataFrame:
    """Walk-forward predictions of the plan's holdout by a model that has not seen it; computed once, as the same plan proves the same."""
    url = fit_url(loop, plan)
    with exclusive(url):
        if (sha256 := proof_sha256(loop, plan)) is not None:
            return files.read_parquet(f"{url}/{PROOF}", sha256)
        kept = _checkpoint(loop, url, plan)
        predictions = prove(plan.recipe(loop.spec.task), training_data(loop, plan), plan.holdout, kept).predictions
        note_proof(loop, plan, files.write_parquet(f"{url}/{PROOF}", predictions))
        return predictions


def proof_sha256(loop: Loop, plan: Plan) -> str | None:
    """Hash of the plan's proof, when it is there."""
    sha256 = loop.notes.read(f"{FITS}/{fit_name(loop, plan)}/{PROOF}.sha256")
    return sha256 if isinstance(sha256, str) else None


def note_proof(loop: Loop, plan: Plan, sha256: str) -> None:
    """Note the hash of the plan's proof, which has been written."""
    loop.notes.write(f"{FITS}/{fit_name(loop, plan)}/{PROOF}.sha256", sha256)


def hand_over(loop: Loop, plan: Plan, request: TrainingRequest, key: str) -> bool:
    """Let a training begin where the refit trial of the same plan ended, after its first phase; whether there was one.

    A group of workers, or a training from disk, adds up in another order than a refit trial: its model would be another one.
    One on a GPU has a request of another hash, and leaves what is handed over.

    :param key: the secret of the training's run.
    """
    if not _as_a_trial(loop, plan):
        return False
    own = _checkpoint(loop, fit_url(loop, plan), plan)
    kept = own.load("proof")
    if kept is None or not kept[1].done:
        return False
    checkpoint_of(request, key=key).save("proof", *kept)
    own.discard()
    return True


def note_training(loop: Loop, plan: Plan, name: str, result: TrainingResult, proof: tuple[str, str]) -> None:
    """Note where a training left its model, for a backtest that comes to the same plan; of one that a backtest would not do alike, nothing.

    :param name: :func:`fit_name` when the training was prepared; the lake may hold other data by now.
    """
    if _as_a_trial(loop, plan) and result.device == "cpu":
        fit = Fit(result.model_url, result.model_sha256, *proof)
        learnt_with = {library: result.environment.get(library) for library in versions(plan.trainer.name)}
        loop.notes.write(f"{FITS}/{name}/{TRAINED}", {"fit": asdict(fit), "versions": learnt_with})


def trained_there(loop: Loop, plan: Plan) -> Fit | None:
    """What the deployment's own training of the plan left; None when there was none, by these libraries, whose files are there."""
    if loop.deployment_lake is None:
        return None
    notes = SealedNotes.of(f"{loop.deployment_lake}/{loop.name}", loop.name, loop.settings)
    noted = notes.read(f"{FITS}/{fit_name(loop, plan)}/{TRAINED}")
    if noted is None:
        return None
    fit = Fit(**noted["fit"])
    kept = files.exists(f"{fit.model_url}/meta.json") and files.exists(fit.proof_url)
    return fit if kept and noted["versions"] == versions(plan.trainer.name) else None


def proved_there(loop: Loop, plan: Plan) -> Begun | None:
    """What the deployment's refit trial of the plan learnt; None when there was none."""
    if loop.deployment_lake is None:
        return None
    kept = _checkpoint(loop, _there(loop, plan), plan).load("proof")
    return Begun({"proof": kept}) if kept is not None and kept[1].done else None


def _there(loop: Loop, plan: Plan) -> str:
    return f"{loop.deployment_lake}/{loop.name}/{FITS}/{fit_name(loop, plan)}"


def _as_a_trial(loop: Loop, plan: Plan) -> bool:
    """Whether the plan's training, on a CPU, adds up in the order of a trial: a group of workers and a training from disk do not."""
    return plan.workers == 1 and not plan.recipe(loop.spec.task).external_memory


def _checkpoint(loop: Loop, url: str, plan: Plan) -> FolderCheckpoint:
    """How far a refit trial has come, below :func:`fit_url`; sealed with this deployment's key, as it is followed here."""
    binding = {"recipe": plan.recipe_sha256, "fit": fit_name(loop, plan), **versions(plan.trainer.name)}
    return FolderCheckpoint(f"{url}/checkpoint", binding, key=loop.notes.key.hex())


def refit_trial(loop: Loop, plan: Plan) -> Trial | None:
    """Paired by row and judged by cluster on the holdout partitions; None when the champion scored none of them."""
    rows = compare(loop, plan, proof(loop, plan))
    rows = rows[rows["champion"].notna()]
    if not len(rows):
        return None
    label = rows[LABEL].to_numpy(float)
    metric = "log_loss" if loop.spec.task == "binary" else "squared_error"
    gain = row_loss(metric, label, rows["champion"].to_numpy(float)) - row_loss(
        metric, label, rows["candidate"].to_numpy(float)
    )
    return paired_trial(gain, rows[CLUSTER].astype(str).to_numpy(object))

"""The refit trial: what a training on the recent window would have gained over the recalibrated champion."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from updraft import files
from updraft.data.columns import CLUSTER, LABEL
from updraft.data.vectors import as_values
from updraft.files import canonical_hash
from updraft.jobs.checkpoint import Begun, FolderCheckpoint
from updraft.jobs.contract import TrainingRequest, TrainingResult
from updraft.jobs.plan import Plan
from updraft.jobs.run import checkpoint_of
from updraft.lake.places import FitFolder, Lake
from updraft.lock import exclusive
from updraft.loop.context import Loop, label_file
from updraft.loop.judge import compare
from updraft.loop.sealed_notes import SealedNotes
from updraft.monitoring.trial import Trial, paired_trial
from updraft.spec.model import ProjectSpec
from updraft.training.data import TrainingData
from updraft.training.fit import prove
from updraft.training.model import is_whole
from updraft.training.trainers import BY_NAME, learns_here, library_versions

if TYPE_CHECKING:
    import pandas as pd


def training_data(loop: Loop, plan: Plan) -> TrainingData:
    """Features and known labels of a plan's window."""
    features = {row.key: _FRAMES.read(*loop.features_file(row)) for row in loop.all_published(plan.window)}
    labels = [label_file(url, sha256) for url, sha256 in label_files(loop, plan).values()]
    return TrainingData.join(features, labels, plan.window)  # which copies: the frames are shared


class _Frames:
    """The feature frames that were read last: windows of one tick after another share most of theirs. Nobody changes a frame."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._frames: OrderedDict[tuple[str, str], tuple[pd.DataFrame, int]] = OrderedDict()

    def read(self, url: str, sha256: str) -> pd.DataFrame:
        """A file as it was recorded; its name comes from its content."""
        if (url, sha256) in self._frames:
            self._frames.move_to_end((url, sha256))
            return self._frames[url, sha256][0]
        frame = files.read_parquet(url, sha256)
        size = int(frame.memory_usage().sum())  # texts beside: their lengths are counted where it may be kept at all
        size = size if size > self._most else int(frame.memory_usage(deep=True).sum())
        if size <= self._most:
            self._frames[url, sha256] = frame, size
            self._held += size
        while self._held > self._most:
            _, (_, gone) = self._frames.popitem(last=False)
            self._held -= gone
        return frame


_FRAMES = _Frames(64 * 2**20)


def label_files(loop: Loop, plan: Plan) -> dict[str, tuple[str, str]]:
    """Label files that a training may see: those of the window's ticks. By key: URL and hash."""
    rows = loop.store.partitions(loop.name, since=plan.window[0], until=plan.key, state=None)
    wanted = [row for row in rows if row.labels_url]
    return {row.key: (str(row.labels_url), row.labels_sha256 or _hashed(str(row.labels_url))) for row in wanted}


def _hashed(url: str) -> str:
    """Of a file whose hash was not recorded yet when it was made."""
    return files.sha256(files.read_bytes(url))


def fit_folder(loop: Loop, plan: Plan) -> FitFolder:
    """Folder of what follows from a plan's recipe and data, whoever asks for it: its proof, and in a backtest its model."""
    return loop.lake.fit(fit_name(loop, plan))


def fit_name(loop: Loop, plan: Plan) -> str:
    """That folder's name, from the content of all that the plan's model depends on: the same in every lake."""
    known = {
        "window": [(row.key, loop.features_file(row)[1]) for row in loop.all_published(plan.window)],
        "labels": sorted(sha for _, sha in label_files(loop, plan).values()),
        "recipe": plan.recipe_sha256,
        "holdout": plan.holdout,
    }
    return f"{plan.key}-{canonical_hash(known)[:16]}"


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
    folder = fit_folder(loop, plan)
    with exclusive(folder.url):
        if (sha256 := proof_sha256(loop, plan)) is not None:
            return files.read_parquet(folder.proof, sha256)
        kept = _checkpoint(loop, folder, plan)
        predictions = prove(plan.recipe(loop.spec), training_data(loop, plan), plan.holdout, kept).predictions
        note_proof(loop, plan, files.write_parquet(folder.proof, predictions))
        return predictions


def proof_sha256(loop: Loop, plan: Plan) -> str | None:
    """Hash of the plan's proof, when it is there."""
    sha256 = loop.notes.read(fit_folder(loop, plan).proof_note)
    return sha256 if isinstance(sha256, str) else None


def note_proof(loop: Loop, plan: Plan, sha256: str) -> None:
    """Note the hash of the plan's proof, which has been written."""
    loop.notes.write(fit_folder(loop, plan).proof_note, sha256)


def hand_over(loop: Loop, plan: Plan, request: TrainingRequest, key: str) -> bool:
    """Let a training begin where the refit trial of the same plan ended, after its first phase; whether there was one.

    A group of workers, or a training from disk, adds up in another order than a refit trial: its model would be another one.
    One on a GPU has a request of another hash, and leaves what is handed over. One in a pod takes it up when its image has the libraries
    of the trial; where they are the image's alone, no trial was made here.

    :param key: the secret of the training's run.
    """
    if not _as_a_trial(loop, plan) or not learns_here(plan.trainer.name):
        return False
    own = _checkpoint(loop, fit_folder(loop, plan), plan)
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
        learnt_with = {library: result.environment.get(library) for library in BY_NAME[plan.trainer.name].libraries}
        loop.notes.write(loop.lake.fit(name).training_note, {"fit": asdict(fit), "versions": learnt_with})


def trained_there(loop: Loop, plan: Plan) -> Fit | None:
    """What the deployment's own training of the plan left; None when there was none, by these libraries, whose files are there."""
    if loop.deployment_lake is None:
        return None
    there = Lake(loop.deployment_lake, loop.name)
    noted = SealedNotes.of(there, loop.settings).read(there.fit(fit_name(loop, plan)).training_note)
    if noted is None:
        return None
    fit = Fit(**noted["fit"])
    kept = is_whole(fit.model_url) and files.exists(fit.proof_url)
    return fit if kept and noted["versions"] == library_versions(plan.trainer.name) else None


def proved_there(loop: Loop, plan: Plan) -> Begun | None:
    """What the deployment's refit trial of the plan learnt; None when there was none."""
    if loop.deployment_lake is None:
        return None
    there = Lake(loop.deployment_lake, loop.name).fit(fit_name(loop, plan))
    kept = _checkpoint(loop, there, plan).load("proof")
    return Begun({"proof": kept}) if kept is not None and kept[1].done else None


def _as_a_trial(loop: Loop, plan: Plan) -> bool:
    """Whether the plan's training, on a CPU, adds up in the order of a trial: a group of workers and a training from disk do not."""
    return plan.workers == 1 and not plan.recipe(loop.spec).external_memory


def _checkpoint(loop: Loop, folder: FitFolder, plan: Plan) -> FolderCheckpoint:
    """How far a refit trial has come; sealed with this deployment's key, as it is followed here."""
    binding = {"recipe": plan.recipe_sha256, "fit": fit_name(loop, plan), **library_versions(plan.trainer.name)}
    return FolderCheckpoint(folder.checkpoint, binding, key=loop.notes.key.hex())


def why_no_refit_trial(spec: ProjectSpec) -> str | None:
    """Why a project goes without refit trials: it trains in pods, and what it learns with is their image's alone. None when one can be made.

    Of a project that trains here the same is an error: its trial fails as its training would.
    """
    trainer = spec.training.trainers[0].name
    if spec.training.compute.backend == "local" or learns_here(trainer):
        return None
    return (
        f"no refit trial is made: it would learn in Airflow's environment, and what the {trainer} trainer learns with is in the pods' image "
        "alone; `on: performance` calls for no training, `every`, drift and fixed limits do"
    )


def refit_trial(loop: Loop, plan: Plan) -> Trial | None:
    """Paired by row and judged by cluster on the holdout partitions; None when the champion scored none of them."""
    rows = compare(loop, plan, proof(loop, plan))
    rows = rows[rows["champion"].notna()]
    if not len(rows):
        return None
    label = rows[LABEL].to_numpy(float)
    loss = loop.spec.task_type.default_loss
    gain = loss(label, as_values(rows["champion"])) - loss(label, as_values(rows["candidate"]))
    return paired_trial(gain, rows[CLUSTER].astype(str).to_numpy(object))

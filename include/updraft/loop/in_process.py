"""The loop in one process, without Airflow and MLflow: the same steps on a store in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from updraft import files
from updraft.jobs.plan import Plan
from updraft.lock import exclusive
from updraft.loop.challenger import plan_remedy, void
from updraft.loop.context import Loop
from updraft.loop.judge import judge_candidate
from updraft.loop.monitor import monitor_partition
from updraft.loop.release import answer, conclude, promote
from updraft.loop.score import score_partition
from updraft.loop.sensor_looks import due_episode
from updraft.loop.train import enter, note_start
from updraft.loop.trials import (
    Fit,
    fit_folder,
    note_proof,
    proof_sha256,
    proved_there,
    trained_there,
    training_data,
)
from updraft.release.states import Answer
from updraft.store.records import IngestedPartition
from updraft.store.transitions import Act
from updraft.training.fit import train_in_memory
from updraft.training.model import Model, load_model

NOBODY_TO_ASK = "the loop in one process"
"""Who approves what a person would have to approve elsewhere."""


@dataclass
class KeptModels:
    """Models of this process, by version."""

    versions: dict[str, Model] = field(default_factory=dict)

    def load(self, version: str) -> Model:
        """The model of a version."""
        return self.versions[version]

    def add(self, model: Model) -> str:
        """Keep a model and number it."""
        version = str(len(self.versions) + 1)
        self.versions[version] = model
        return version

    def point(self, aliases: dict[str, str | None]) -> None:
        """Nobody reads aliases here."""


def play(loop: Loop, models: KeptModels, row: IngestedPartition) -> None:
    """Let one partition go once round: ingested already, scored, monitored, and what follows from it until all is quiet."""
    loop.store.record_partition(loop.name, row)
    if row.state != "published":
        return
    score_partition(loop, row.key)
    monitor_partition(loop, row.key, interrupted)
    settle(loop, models)


def interrupted(run: str) -> str | None:
    """In one process a training is over before the next partition comes: one that has brought nothing by then failed."""
    return f"its training {run} was interrupted"


def settle(loop: Loop, models: KeptModels) -> None:
    """Conclude releases and start remedies until there is nothing left to do at this tick."""
    while True:
        acted = False
        for release in loop.store.open_releases(loop.name):
            acted = _move(loop, release.id) or acted
        episode = due_episode(loop)
        if episode is not None:
            train(loop, models, episode.id, episode.opened_at, episode=episode.id)
            acted = True
        if not acted:
            return


def _move(loop: Loop, release: str) -> bool:
    """Take a release as far as it gets at this tick; whether it moved. What a person would be asked is approved."""
    moved = False
    while True:
        step = conclude(loop, release)
        match step.act:
            case Act.WAIT | Act.DONE | Act.GONE:
                return moved
            case Act.ASK:
                answer(loop, release, Answer(approved=True, by=NOBODY_TO_ASK))
            case Act.PROMOTE:
                promote(loop, release)
        moved = True


def fit(loop: Loop, plan: Plan) -> Fit:
    """The plan's model and its proof in the lake; learnt once, whoever asks; what the deployment has learnt is taken from there."""
    folder = fit_folder(loop, plan)
    with exclusive(folder.url):  # policies that are played side by side share equal trainings
        known, proof = loop.notes.read(folder.model_note), proof_sha256(loop, plan)
        if isinstance(known, str) and proof is not None:
            return Fit(folder.model, known, folder.proof, proof)
        if (trained := trained_there(loop, plan)) is not None:
            content = files.read_verified(trained.proof_url, trained.proof_sha256)
            files.write_bytes(folder.proof, content)  # for the trials of this plan
            note_proof(loop, plan, trained.proof_sha256)
            return replace(trained, proof_url=folder.proof)
        data, recipe = training_data(loop, plan), plan.recipe(loop.spec)
        fitted = train_in_memory(recipe, data, plan.holdout, proved_there(loop, plan))
        proof = files.write_parquet(folder.proof, fitted.holdout)
        note_proof(loop, plan, proof)
        model_sha256 = fitted.model({"project": loop.name, "key": plan.key}).save(folder.model)
        loop.notes.write(folder.model_note, model_sha256)
    return Fit(folder.model, model_sha256, folder.proof, proof)


def train(loop: Loop, models: KeptModels, run: str, key: str, *, episode: str | None = None) -> None:
    """Train, judge and register in this process; the model is kept in the lake, so that policies share equal trainings."""
    called_by = loop.store.episode(loop.name, episode) if episode is not None else None
    plan = plan_remedy(loop, key, called_by)
    note_start(loop, run, plan, episode)
    fitted = fit(loop, plan)
    holdout = files.read_parquet(fitted.proof_url, fitted.proof_sha256)
    comparison = judge_candidate(loop, plan, holdout).unless(void(loop, called_by))
    known = loop.store.training(loop.name, run)
    if known is not None and known.version is not None:
        version = known.version  # as a registry gives a run its version once
    else:  # what it learnt from is what today's function gives: the deployment's model may carry another text of it
        version = models.add(replace(load_model(fitted.model_url, fitted.model_sha256), features_source=None))
    kept = {
        "holdout_predictions_url": fitted.proof_url,
        "holdout_predictions_sha256": fitted.proof_sha256,
        "features_sha256": loop.features.sha256,
    }
    enter(loop, run, plan, version, comparison.as_dict(), kept)

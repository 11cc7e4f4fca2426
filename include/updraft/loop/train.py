"""What the `train` DAG does, step by step, and the same in one call for a backtest."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.data.columns import LABEL, MARGIN, PARTITION, ROW, SCORE
from updraft.data.vectors import as_cells, as_values
from updraft.errors import IntegrityError, TrainingError
from updraft.jobs.attested import training_for
from updraft.jobs.contract import TrainingRequest, TrainingResult
from updraft.jobs.plan import Plan
from updraft.jobs.run import run_training
from updraft.jobs.training_run import ProofFile
from updraft.lake.places import RunFolder
from updraft.loop.challenger import plan_remedy, void
from updraft.loop.context import Loop
from updraft.loop.judge import Comparison, judge_candidate
from updraft.loop.leakage import refuse_leaks
from updraft.loop.plan import Scalar, plan_training
from updraft.loop.release import open_release, point_aliases, release_id
from updraft.loop.trials import fit_name, hand_over, label_files, note_training
from updraft.spec.deployment import load_deployment
from updraft.store.records import EpisodeRow, TrainingRow
from updraft.training.data import load_training_data
from updraft.training.trainers import library_versions

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def prepare(
    loop: Loop,
    run: str,
    key: str | None,
    *,
    episode: str | None = None,
    trainer: str | None = None,
    params: Mapping[str, Scalar] | None = None,
    reason: str = "",
    search: str | None = None,
) -> str:
    """Plan a training, freeze its data in a snapshot, and write its request; the URL of the request.

    A run that has a request already keeps it, so that a retried or cleared task trains on what the first one saw.

    :param key: the partition at whose tick it happens; the newest published one when None.
    :param episode: that calls for it, and says what is learnt; None of a training that a person wants.
    :param search: the search that found the parameters.
    :raises TrainingError: when there is nothing to learn from, a parameter is unknown, or the trainer cannot learn here and is to.
    """
    training = loop.training(run)
    if training.is_prepared:
        return training.write_request()
    called_by = loop.store.episode(loop.name, episode) if episode is not None else None
    if episode is not None and called_by is None:
        raise TrainingError(
            f"{loop.name}: no episode {episode!r}; leave the field empty: it is for trainings that watch starts"
        )
    newest = loop.store.newest_partition(loop.name)
    if newest is None:
        raise TrainingError(f"{loop.name}: no partition is published yet; {loop.name}.ingest comes first")
    if called_by is not None and params:
        raise TrainingError(
            f"{loop.name}: episode {episode!r} says by itself what is learnt; leave episode or parameters empty"
        )
    if called_by is not None:
        plan = plan_remedy(loop, key or newest, called_by)
    else:
        plan = plan_training(loop, key or newest, trainer=trainer, params=params)
    refuse_leaks(loop, plan)
    request = request_for(loop, plan, run)
    if hand_over(loop, plan, request, training.key):
        log.info("The refit trial has proved this recipe on these rows: on a CPU, the training goes on from there")
    if search is not None:
        request = request.model_copy(update={"tags": {**request.tags, "updraft.search": search}})
    note_start(loop, run, plan, episode, request_sha256=request.request_sha256, reason=reason)
    # What comes back is held against these. The request is the last: with it the run is prepared.
    loop.store.record_feature_code(loop.name, loop.features.sha256, loop.features.source)
    training.keep_asked(plan, request, reason=reason, fit_name=fit_name(loop, plan))
    return training.write_request()


def note_start(
    loop: Loop, run: str, plan: Plan, episode: str | None, *, request_sha256: str | None = None, reason: str = ""
) -> None:
    """Record that a training is under way, and that the remedy of its episode was started."""
    under_way = {"lane": plan.lane, "reason": reason}
    row = TrainingRow(run, loop.name, plan.key, episode, request_sha256, "running", None, under_way)
    loop.store.record_training(row)
    if episode is not None:
        loop.store.start_episode(loop.name, episode)


def request_for(loop: Loop, plan: Plan, run: str) -> TrainingRequest:
    """What a plan asks of the trainer, with its data frozen in a snapshot.

    :raises TrainingError: when it is to learn in this environment, and a library of the trainer is not installed here.
    """
    from updraft.data.snapshots import take_snapshot

    if loop.spec.training.compute.backend == "local":  # of a pod it is the image that has to have them
        library_versions(plan.trainer.name)
    parts = {f"features/{key}.parquet": loop.feature_file(key) for key in plan.window}
    parts |= {f"labels/{key}.parquet": file for key, file in label_files(loop, plan).items()}
    commit = code_commit(loop)
    record = {
        "project": loop.name,
        "key": plan.key,
        "code_commit": commit,
        "features_sha256": loop.features.sha256,
        "trainer": plan.trainer.model_dump(mode="json"),
        "seed": plan.seed,
        "recipe_sha256": plan.recipe_sha256,
    }
    snapshot = take_snapshot(loop.project, loop.settings, name=plan.key, files=parts, record=record)
    folder = loop.lake.training(run)
    return TrainingRequest(
        project=loop.name,
        key=plan.key,
        task=loop.spec.task,
        classes=loop.spec.data.label.classes,
        trainer=plan.trainer.name,
        params=dict(plan.trainer.params),
        seed=plan.seed,
        threads=plan.threads,
        workers=plan.workers,
        window=plan.window,
        holdout=plan.holdout,
        snapshot_url=snapshot.url,
        snapshot_sha256=snapshot.sha256,
        features_sha256=loop.features.sha256,
        features_path=folder.features_source,
        code_commit=commit,
        output_url=folder.url,
        tracking_uri=_tracking_uri(loop),
        experiment=loop.name,
        run_name=run,
        tags={"updraft.lane": plan.lane, "updraft.run": run},
    )


def _tracking_uri(loop: Loop) -> str | None:
    """MLflow as the training reaches it; None for a pod that does not, whose run is recorded after it."""
    if loop.spec.training.compute.backend == "local":
        return loop.settings.mlflow or None
    return load_deployment(loop.settings.deployment).kubernetes.mlflow


def train_here(loop: Loop, run: str) -> TrainingResult:
    """Train in this process what a run was asked for, as the store has it, and take the result.

    :raises TrainingError: when it was not prepared, or leaves nothing.
    """
    # The lake's copy of the request may have been changed.
    training = loop.training(run)
    with training_for(training.key), tempfile.TemporaryDirectory(prefix="updraft-") as private:
        run_training(training.request.write(RunFolder(private).request))
    result = collect(loop, run)
    if result is None:
        raise TrainingError(f"{run}: the training left no result; clear its task to run it again")
    return result


def collect(loop: Loop, run: str) -> TrainingResult | None:
    """Take what a run's training left, verified, and record it in MLflow; None while there is nothing. See :meth:`TrainingRun.collect`."""
    return loop.training(run).collect(loop.settings.mlflow or None)


def code_commit(loop: Loop) -> str | None:
    """Commit of the checkout that holds the project; None outside of one."""
    import subprocess

    done = subprocess.run(
        ["git", "-C", str(loop.project.folder), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return done.stdout.strip() or None


def evaluate(loop: Loop, run: str) -> Comparison:
    """Hold a run's model against the gates and keep the outcome in the store; note the training for backtests."""
    training = loop.training(run)
    result, plan = training.result, training.plan
    holdout = proved_holdout(loop, run)
    proof = ProofFile(*files.write_parquet_named_by_content(loop.lake.proof_stem(run), holdout))
    training.keep_proof(proof)
    comparison = judge_candidate(loop, plan, holdout).unless(void(loop, _episode_of(loop, run)))
    note_training(loop, plan, training.fit_name, result, proof)
    training.keep_evaluation(comparison.as_dict())
    return comparison


def _episode_of(loop: Loop, run: str) -> EpisodeRow | None:
    row = loop.store.training(loop.name, run)
    return loop.store.episode(loop.name, row.episode) if row is not None and row.episode is not None else None


def proved_holdout(loop: Loop, run: str) -> pd.DataFrame:
    """What a run's proof said of its holdout: the margins are the training's; rows, clusters and labels those of the snapshot.

    :raises TrainingError: when the training kept no holdout.
    :raises IntegrityError: when its rows or labels are not those that it was given.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from updraft.data.snapshots import load_snapshot

    training = loop.training(run)
    request, result = training.request, training.result
    url = result.holdout_predictions_url
    if url is None:
        raise TrainingError(f"{run}: the training kept no holdout, so it proves nothing")
    given = load_training_data(load_snapshot(request.snapshot_url, request.snapshot_sha256), request.holdout)
    rows, named = given.keys.assign(**{LABEL: given.label}), [PARTITION, ROW]
    try:
        told = files.read_parquet(url, result.holdout_predictions_sha256)[[*named, LABEL, MARGIN]]
        told = told.astype({PARTITION: str, LABEL: np.float64})
        same = len(told) == len(rows) and not told.duplicated(named).any()
        aligned = told.set_index(named).reindex(pd.MultiIndex.from_frame(rows[named].astype({PARTITION: str})))
        task = request.task_type
        margin = as_values(aligned[MARGIN])
        same = same and margin.shape == (len(rows), *task.shape)
        same = same and bool((aligned[LABEL].to_numpy() == given.label).all() and np.isfinite(margin).all())
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise IntegrityError(f"{url} is no proof: {type(error).__name__}") from error
    if not same:
        raise IntegrityError(
            f"{url}: its rows, labels or scores are not those of the snapshot that the training was given"
        )
    return rows.assign(**{MARGIN: as_cells(margin), SCORE: as_cells(task.link(margin))})


def enter(
    loop: Loop, run: str, plan: Plan, version: str, gates: Mapping[str, Any], result: Mapping[str, Any]
) -> str | None:
    """Enter a registered model into the store: refused by the gates, or with an open release, whose id is returned.

    The episode that asked for the training closes either way. Entering twice changes nothing.
    """
    passed = bool(gates["passed"])
    there = loop.store.training(loop.name, run)
    episode = there.episode if there else None
    kept = {
        "lane": plan.lane,
        "window": list(plan.window),
        "holdout": list(plan.holdout),
        "recipe_sha256": plan.recipe_sha256,
        "asked_sha256": plan.asked_sha256,
        "trainer": plan.trainer.model_dump(mode="json"),
        "gates": dict(gates),
        **result,
    }
    loop.store.record_training(
        TrainingRow(
            run,
            loop.name,
            plan.key,
            episode,
            there.request_sha256 if there else None,
            "registered" if passed else "refused",
            version,
            kept,
        )
    )
    loop.store.decide(
        loop.name,
        key=plan.key,
        kind="accept" if passed else "refuse",
        subject=run,
        body={"version": version, "lane": plan.lane, "gates": dict(gates)},
    )
    if passed:
        open_release(loop, version, plan.lane, plan.key)
    if episode is not None:
        said = f"version {version} {'goes to release' if passed else 'was refused'}: {'; '.join(gates['reasons'])}"
        called_by = loop.store.episode(loop.name, episode)
        ended_at = max(plan.key, called_by.opened_at if called_by is not None else plan.key)
        loop.store.close_episode(loop.name, episode, key=ended_at, outcome=said)
    point_aliases(loop)
    return release_id(loop, version) if passed else None

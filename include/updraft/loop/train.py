"""What the `train` DAG does, step by step, and the same in one call for a backtest."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.data.columns import LABEL, MARGIN, PARTITION, ROW, SCORE
from updraft.errors import IntegrityError, TrainingError
from updraft.loop.context import Loop
from updraft.loop.judge import Comparison, judge_candidate
from updraft.loop.plan import Plan, Scalar, plan_training
from updraft.loop.rollout import open_release, point_aliases, release_id
from updraft.loop.trials import fit_name, hand_over, label_files, note_training
from updraft.spec.deployment import load_deployment
from updraft.spec.model import Trainer
from updraft.store.records import TrainingRow
from updraft.training.attested import new_run_key, training_for
from updraft.training.contract import TrainingRequest, TrainingResult
from updraft.training.data import load_training_data
from updraft.training.model import link
from updraft.training.run import RESULT, check_result, collect_training, run_training

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def folder(loop: Loop, run: str) -> str:
    """URL of the files of one training run."""
    return loop.url("trainings", run_folder(run))


def run_folder(run: str) -> str:
    """A run's id as the name of a folder: of its own, inside of the place, and no longer than file systems take.

    Airflow's own ids keep their letters; what else somebody names a run is told apart by a hash.
    """
    name = re.sub(r"[^\w.-]", "_", run)
    if re.fullmatch(r"[A-Za-z0-9_.:+~-]{1,250}", run) and set(name) != {"."}:
        return name
    digest = files.sha256(run.encode("utf-8", "surrogatepass"))[:16]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:100]}_{digest}"


def trial_run(run: str, number: int) -> str:
    """The run id under which one trial of a search trains, beside the trainings."""
    return f"{run}.trial-{number}"


def trial_of(run: str) -> tuple[str, int] | None:
    """The search and the number of a trial's run id; None for a training."""
    found = re.fullmatch(r"(.+)\.trial-([0-9]{1,6})", run, re.DOTALL)
    return (found[1], int(found[2])) if found else None


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
    :param search: the search that found the parameters.
    :raises TrainingError: when there is nothing to learn from, or a parameter is unknown.
    """
    if loop.store.run_record(loop.name, run, "request") is not None:
        return write_request(loop, run)
    if episode is not None and loop.store.episode(loop.name, episode) is None:
        raise TrainingError(
            f"{loop.name}: no episode {episode!r}; leave the field empty: it is for trainings that watch starts"
        )
    published = loop.store.partitions(loop.name)
    if not published:
        raise TrainingError(f"{loop.name}: no partition is published yet; {loop.name}.ingest comes first")
    plan = plan_training(loop, key or published[-1].key, trainer=trainer, params=params)
    request = request_for(loop, plan, run)
    if hand_over(loop, plan, request, key_of(loop, run)):
        log.info("The refit trial has proved this recipe on these rows: on a CPU, the training goes on from there")
    if search is not None:
        request = request.model_copy(update={"tags": {**request.tags, "updraft.search": search}})
    kept = {**asdict(plan), "trainer": plan.trainer.model_dump(), "reason": reason, "fit": fit_name(loop, plan)}
    loop.store.record_training(
        TrainingRow(
            run,
            loop.name,
            plan.key,
            episode,
            request.request_sha256,
            "running",
            None,
            {"lane": plan.lane, "reason": reason},
        )
    )
    if episode is not None:
        loop.store.start_episode(loop.name, episode)
    # What comes back is held against these. The request is the last: with it the run is prepared.
    loop.store.record_feature_code(loop.name, loop.features.sha256, loop.features.source)
    loop.store.record_asked(loop.name, run, kept, request.model_dump(mode="json"))
    return write_request(loop, run)


def key_of(loop: Loop, run: str) -> str:
    """The secret of a run, which its training seals with what it leaves; drawn at the first call."""
    return str(loop.store.record_run(loop.name, run, "key", {"key": new_run_key()})["key"])


def write_request(loop: Loop, run: str) -> str:
    """Write a run's request and its feature code into the lake, for whoever trains; what lies there is replaced. The URL."""
    request = request_of(loop, run)
    source = loop.store.feature_code(loop.name, request.features_sha256)
    if source is not None and request.features_path is not None:
        files.write_bytes(request.features_path, source)
    return request.write(f"{folder(loop, run)}/request.json")


def request_of(loop: Loop, run: str) -> TrainingRequest:
    """What a run was asked for, as the store has it.

    :raises TrainingError: when it was not prepared.
    """
    kept = loop.store.run_record(loop.name, run, "request")
    if kept is None:
        raise TrainingError(f"{run}: the store has no request of this run; clear its first task, which prepares it")
    return TrainingRequest.model_validate(kept)


def request_for(loop: Loop, plan: Plan, run: str) -> TrainingRequest:
    """What a plan asks of the trainer, with its data frozen in a snapshot."""
    from updraft.data.snapshots import take_snapshot

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
    code = f"{folder(loop, run)}/features.py"  # of the lake: the training may run where the project's folder is not
    return TrainingRequest(
        project=loop.name,
        key=plan.key,
        task=loop.spec.task,
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
        features_path=code,
        code_commit=commit,
        output_url=folder(loop, run),
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
    with training_for(key_of(loop, run)), tempfile.TemporaryDirectory(prefix="updraft-") as private:
        run_training(request_of(loop, run).write(f"{private}/request.json"))
    result = collect(loop, run)
    if result is None:
        raise TrainingError(f"{run}: the training left no result; clear its task to run it again")
    return result


def collect(loop: Loop, run: str) -> TrainingResult | None:
    """What a run's training left, held against the store's request, recorded in MLflow and kept in the store; None while there is nothing.

    From then on the store's copy counts. The model in the lake is verified each time.

    :raises TrainingError: when the result is of another request, or cut short.
    :raises IntegrityError: when result, model or feature code is not what was asked for.
    """
    request = request_of(loop, run)
    if (kept := loop.store.run_record(loop.name, run, "result")) is not None:
        result = TrainingResult.model_validate(kept)
        check_result(request, result)
        return result
    collected = collect_training(request, loop.settings.mlflow or None, key_of(loop, run))
    if collected is None:
        return None
    if (url := collected.holdout_predictions_url) is not None:
        actual = files.sha256(files.read_bytes(url))
        if collected.holdout_predictions_sha256 not in (None, actual):
            raise IntegrityError(f"{url} is not what its training wrote (SHA-256 {actual})")
        collected = collected.model_copy(update={"holdout_predictions_sha256": actual})
    kept = loop.store.record_run(loop.name, run, "result", collected.model_dump(mode="json", exclude={"seal"}))
    return TrainingResult.model_validate(kept)


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


def plan_of(loop: Loop, run: str) -> Plan:
    """The plan that a run was prepared with."""
    kept = _kept_plan(loop, run)
    for beside in ("reason", "fit"):
        kept.pop(beside, None)
    return Plan(
        **{
            **kept,
            "window": tuple(kept["window"]),
            "holdout": tuple(kept["holdout"]),
            "trainer": Trainer(**kept["trainer"]),
        }
    )


def reason_of(loop: Loop, run: str) -> str:
    """Why a run was started, as whoever started it said."""
    return str(_kept_plan(loop, run).get("reason") or "")


def _kept_plan(loop: Loop, run: str) -> dict[str, Any]:
    kept = loop.store.run_record(loop.name, run, "plan")
    if kept is None:
        raise TrainingError(f"{run}: the store has no plan of this run; clear snapshot_data, which makes it")
    return kept


def left_words(loop: Loop, run: str) -> str:
    """What may be wrong when a training ended well and no result of its own is there."""
    if files.exists(f"{folder(loop, run)}/{RESULT}"):
        return (
            f"a {RESULT} lies there without this run's seal, and is not believed; is the trainer's image of this version of Updraft? "
            "Else somebody else wrote it"
        )
    return "left no result; is the Secret's object store the one of UPDRAFT_LAKE?"


def result_of(loop: Loop, run: str) -> TrainingResult:
    """What a run's training left, as it was collected.

    :raises TrainingError: when nothing was.
    """
    kept = loop.store.run_record(loop.name, run, "result")
    if kept is None:
        raise TrainingError(f"{run}: the store has no result of this run; clear the task that trains")
    return TrainingResult.model_validate(kept)


def evaluate(loop: Loop, run: str) -> Comparison:
    """Hold a run's model against the gates and keep the outcome in the store; note the training for backtests."""
    result, plan = result_of(loop, run), plan_of(loop, run)
    holdout = proved_holdout(loop, run)
    url, sha256 = files.write_parquet_named_by_content(loop.url("proofs", run_folder(run), "holdout"), holdout)
    loop.store.record_run(loop.name, run, "proof", {"url": url, "sha256": sha256}, replace=True)
    comparison = judge_candidate(loop, plan, holdout)
    note_training(loop, plan, str(_kept_plan(loop, run)["fit"]), result, proof_of(loop, run))
    loop.store.record_run(loop.name, run, "evaluation", comparison.as_dict(), replace=True)
    return comparison


def proved_holdout(loop: Loop, run: str) -> pd.DataFrame:
    """What a run's proof said of its holdout: the margins are the training's; rows, clusters and labels those of the snapshot.

    :raises TrainingError: when the training kept no holdout.
    :raises IntegrityError: when its rows or labels are not those that it was given.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from updraft.data.snapshots import load_snapshot

    request, result = request_of(loop, run), result_of(loop, run)
    url = result.holdout_predictions_url
    if url is None:
        raise TrainingError(f"{run}: the training kept no holdout, so it proves nothing")
    given = load_training_data(load_snapshot(request.snapshot_url, request.snapshot_sha256), request.holdout)
    rows, named = given.keys.assign(**{LABEL: given.label}), [PARTITION, ROW]
    try:
        told = files.read_parquet(url, result.holdout_predictions_sha256)[[*named, LABEL, MARGIN]]
        told = told.astype({PARTITION: str, LABEL: np.float64, MARGIN: np.float64})
        same = len(told) == len(rows) and not told.duplicated(named).any()
        aligned = told.set_index(named).reindex(pd.MultiIndex.from_frame(rows[named].astype({PARTITION: str})))
        margin = aligned[MARGIN].to_numpy(np.float64)
        same = same and bool((aligned[LABEL].to_numpy() == given.label).all() and np.isfinite(margin).all())
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise IntegrityError(f"{url} is no proof: {type(error).__name__}") from error
    if not same:
        raise IntegrityError(
            f"{url}: its rows, labels or scores are not those of the snapshot that the training was given"
        )
    return rows.assign(**{MARGIN: margin, SCORE: link(request.task, margin)})


def proof_of(loop: Loop, run: str) -> tuple[str, str]:
    """URL and hash of a run's proof as it was held against the snapshot.

    :raises TrainingError: when the run was not evaluated.
    """
    kept = loop.store.run_record(loop.name, run, "proof")
    if kept is None:
        raise TrainingError(f"{run}: the store has no proof of this run; clear evaluate_model")
    return str(kept["url"]), str(kept["sha256"])


def evaluation_of(loop: Loop, run: str) -> dict[str, Any]:
    """What the gates said of a run.

    :raises TrainingError: when it was not evaluated.
    """
    kept = loop.store.run_record(loop.name, run, "evaluation")
    if kept is None:
        raise TrainingError(f"{run}: the store has no evaluation of this run; clear evaluate_model")
    return kept


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
        loop.store.close_episode(loop.name, episode, key=plan.key, outcome=said)
    point_aliases(loop)
    return release_id(loop, version) if passed else None

"""What the `train` DAG does, step by step, and the same in one call for a backtest."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from updraft import files
from updraft.errors import TrainingError
from updraft.loop.context import Loop
from updraft.loop.judge import Comparison, judge_candidate
from updraft.loop.plan import Plan, Scalar, plan_training
from updraft.loop.rollout import open_release, point_aliases, release_id
from updraft.loop.trials import fit_name, hand_over, label_files, note_training
from updraft.spec.deployment import load_deployment
from updraft.spec.model import Trainer
from updraft.store.records import TrainingRow
from updraft.training.contract import TrainingRequest, TrainingResult
from updraft.training.run import collect_training

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
    url = f"{folder(loop, run)}/request.json"
    if files.exists(url):
        return url
    published = loop.store.partitions(loop.name)
    if not published:
        raise TrainingError(f"{loop.name}: no partition is published yet; {loop.name}.ingest comes first")
    plan = plan_training(loop, key or published[-1].key, trainer=trainer, params=params)
    request = request_for(loop, plan, run)
    if hand_over(loop, plan, request):
        log.info("The refit trial has proved this recipe on these rows: on a CPU, the training goes on from there")
    if search is not None:
        request = request.model_copy(update={"tags": {**request.tags, "updraft.search": search}})
    files.write_json(
        f"{folder(loop, run)}/plan.json",
        {**asdict(plan), "trainer": plan.trainer.model_dump(), "reason": reason, "fit": fit_name(loop, plan)},
    )
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
        loop.store.start_episode(episode)
    return request.write(url)


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
    files.write_bytes(code, loop.features.path.read_bytes())
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


def collect(loop: Loop, run: str) -> TrainingResult | None:
    """What a run's training left, checked against its request and its hashes, and recorded in MLflow; None while there is nothing.

    :raises TrainingError: when the result is of another request, or cut short.
    :raises IntegrityError: when the model is not what the result says.
    """
    return collect_training(f"{folder(loop, run)}/request.json", loop.settings.mlflow or None)


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
    kept = files.read_json(f"{folder(loop, run)}/plan.json")
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
    return str(files.read_json(f"{folder(loop, run)}/plan.json").get("reason") or "")


def fit_of(loop: Loop, run: str) -> str | None:
    """Name of what a run learnt, by the data as they were when it was prepared; None for one of an earlier version."""
    name = files.read_json(f"{folder(loop, run)}/plan.json").get("fit")
    return str(name) if name else None


def result_of(loop: Loop, run: str) -> TrainingResult:
    """What a run's training left."""
    return TrainingResult.read(f"{folder(loop, run)}/result.json")


def evaluate(loop: Loop, run: str) -> Comparison:
    """Hold a run's model against the gates and keep the outcome beside it; note the training for backtests."""
    result = result_of(loop, run)
    if result.holdout_predictions_url is None:
        raise TrainingError(f"{run}: the training kept no holdout, so it proves nothing")
    plan = plan_of(loop, run)
    comparison = judge_candidate(loop, plan, files.read_parquet(result.holdout_predictions_url))
    if (name := fit_of(loop, run)) is not None:
        note_training(loop, plan, name, result)
    files.write_json(f"{folder(loop, run)}/evaluation.json", comparison.as_dict())
    return comparison


def evaluation_of(loop: Loop, run: str) -> dict[str, Any]:
    """What the gates said of a run."""
    return dict(files.read_json(f"{folder(loop, run)}/evaluation.json"))


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
        loop.store.close_episode(episode, key=plan.key, outcome=said)
    point_aliases(loop)
    return release_id(loop, version) if passed else None

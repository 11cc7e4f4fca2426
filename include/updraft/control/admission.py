"""A version of another environment enters here: verified, registered, and in shadow as a change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from updraft import files
from updraft.control.bundle import AUDIT, CARD, HOLDOUT, LINEAGE, MODEL, Origin, meaning, opened_bundle
from updraft.errors import InputError, IntegrityError
from updraft.jobs.contract import TrainingRequest
from updraft.jobs.plan import Plan
from updraft.jobs.training_run import ProofFile
from updraft.lake.places import RunFolder
from updraft.loop.context import Loop
from updraft.loop.decision_words import CARRIED
from updraft.loop.monitor import MONITOR
from updraft.loop.plan import labelled_partitions
from updraft.loop.registration import register
from updraft.loop.release import release_id
from updraft.loop.train import collect
from updraft.registry.mlflow_registry import ModelRegistry
from updraft.registry.signing import PUBLIC
from updraft.settings import ENVIRONMENT_NAME
from updraft.spec.model import Trainer
from updraft.store.records import TrainingRow
from updraft.training.model import load_model


@dataclass(frozen=True)
class Admitted:
    """A version that came from another environment."""

    project: str
    version: str
    """Its number here."""
    release: str
    origin: str
    """The environment that it comes from."""
    origin_version: str


def trusted_keys(loop: Loop, origin: str) -> Path:
    """Folder with the public signing key of another environment; a person puts it there.

    :raises InputError: when there is none, saying where it belongs; or it is no name of an environment.
    """
    if not ENVIRONMENT_NAME.fullmatch(origin):  # it becomes a part of a path
        raise InputError(f"{origin!r} is no name of an environment")
    keys = loop.settings.keys / "environments" / origin
    if not (keys / PUBLIC).is_file():
        raise InputError(
            f"{keys / PUBLIC} is missing, so that nothing of {origin} is believed: copy keys/{PUBLIC} of its home there, by a way that you trust"
        )
    return keys


def admit(loop: Loop, registry: ModelRegistry, url: str, *, origin: str, by: str, reason: str) -> Admitted:
    """Enter a version that ``updraft promote`` has written in another environment. Entering it again changes nothing.

    It comes with its proof there, and proves itself here: it is a change, in shadow from the newest partition on, whatever it was there.

    :param url: of its bundle.
    :param origin: the environment that it comes from, whose public key verifies it.
    :raises InputError: when it is of another project or environment, means something else here, there is nothing here to hold it against, or it
        has learnt from what is still to come here.
    :raises IntegrityError: when it is not what was signed there.
    """
    with opened_bundle(url, trusted_keys(loop, origin)) as (came, folder):
        _check_meant(loop, came, origin, url)
        run = f"from-{origin}-v{came.version}-{came.result.model_sha256[:12]}"
        known = loop.store.training(loop.name, run)
        if known is not None and known.version is not None:
            version = known.version
        else:
            plan = _plan(loop, came)
            _bring(loop, run, plan, came, folder, reason)
            _tell_where_from(loop, run, plan.key, came, by, reason)
            _log_pages(loop, run, registry, folder)
            version, _ = register(loop, run, registry)
        registry.tag(loop.name, version, {"updraft.origin": f"{origin} version {came.version}"})
    return Admitted(loop.name, version, release_id(loop, version), origin, came.version)


def _check_meant(loop: Loop, came: Origin, origin: str, url: str) -> None:
    if (came.project, came.environment) != (loop.name, origin):
        raise InputError(f"{url} is of {came.project} in {came.environment}, not of {loop.name} in {origin}")
    here = meaning(loop)
    differing = [name for name in dict.fromkeys([*here, *came.meaning]) if here.get(name) != came.meaning.get(name)]
    if differing:
        raise InputError(
            f"{loop.name}: {', '.join(differing)} here is not what version {came.version} of {origin} was proved with, so that it would be another "
            "model here; bring the same folder of the project first"
        )
    if came.result.request_sha256 != came.request.on(came.result.device).request_sha256:
        raise IntegrityError(f"{url}: its result is not of its request")


def _plan(loop: Loop, came: Origin) -> Plan:
    """What its training would have been here. Its window is that of this deployment: drift is measured against what was published here."""
    if loop.store.serving(loop.name).champion is None:
        raise InputError(
            f"{loop.name}: nothing serves here that it could be held against; let {loop.name} train a first model here"
        )
    key = loop.store.seen_by(loop.name, MONITOR)
    if key is None or key < came.request.key:
        raise InputError(
            f"{loop.name}: version {came.version} of {came.environment} has learnt until {came.request.key}, and the newest partition that was "
            f"monitored here is {key or 'still to come'}: it would be judged on what it has seen; enter it when that tick has passed here"
        )
    window = tuple(labelled_partitions(loop, key, newest=loop.spec.training.window))
    if not window:
        raise InputError(f"{loop.name}: no partition here has labels at {key}, so that nothing could be measured of it")
    return Plan(
        project=loop.name,
        key=key,
        window=window,
        holdout=came.request.holdout,
        trainer=Trainer.model_validate(came.trainer),
        seed=came.request.seed,
        threads=came.request.threads,
        recipe_sha256=came.recipe_sha256,
        asked_sha256=came.asked_sha256,
        lane="change",
        workers=came.request.workers,
    )


def _bring(loop: Loop, run: str, plan: Plan, came: Origin, folder: Path, reason: str) -> None:
    """Put into lake and store what a training would have left here, so that it is held against its request like any other."""
    training, place = loop.training(run), loop.training(run).folder
    model = load_model(str(folder / MODEL), came.result.model_sha256)
    holdout = files.read_parquet(str(folder / HOLDOUT), came.holdout_sha256)
    if model.features_source is not None:
        loop.store.record_feature_code(loop.name, came.request.features_sha256, model.features_source)
    request = _request(loop, run, place, came)
    loop.store.record_training(
        TrainingRow(
            run,
            loop.name,
            plan.key,
            None,
            request.request_sha256,
            "running",
            None,
            {"lane": plan.lane, "reason": reason},
        )
    )
    training.keep_asked(plan, request, reason=f"from {came.environment} version {came.version}: {reason}", fit_name="")
    training.write_request()
    model.save(place.model)
    files.write_parquet(place.holdout, holdout)
    result = came.result.model_copy(
        update={
            "model_url": place.model,
            "holdout_predictions_url": place.holdout,
            "holdout_predictions_sha256": None,
            "mlflow_run_id": None,
        }
    )
    result.sealed(training.key).write(place.result)
    collect(loop, run)
    training.keep_proof(ProofFile(*files.write_parquet_named_by_content(loop.lake.proof_stem(run), holdout)))
    training.keep_evaluation({**came.evaluation, "reasons": [*_reasons(came)]})


def _request(loop: Loop, run: str, place: RunFolder, came: Origin) -> TrainingRequest:
    """Its request with the addresses of this deployment: what determines the model stays, and so does its hash."""
    return came.request.model_copy(
        update={
            "output_url": place.url,
            "features_path": place.features_source if came.request.features_path is not None else None,
            "tracking_uri": loop.settings.mlflow or None,
            "experiment": loop.name,
            "run_name": run,
            "tags": {"updraft.lane": "change", "updraft.run": run, "updraft.origin": came.environment},
        }
    )


def _reasons(came: Origin) -> list[str]:
    return [f"proved in {came.environment} as version {came.version}", *map(str, came.evaluation.get("reasons", ()))]


def _tell_where_from(loop: Loop, run: str, key: str, came: Origin, by: str, reason: str) -> None:
    body: Mapping[str, Any] = {
        "origin": came.environment,
        "origin_version": came.version,
        "origin_decision_sha256": came.head_sha256,
        "model_sha256": came.result.model_sha256,
        "recipe_sha256": came.recipe_sha256,
        "by": by,
        "reason": reason,
    }
    loop.store.decide(loop.name, key=key, kind=CARRIED, subject=run, body=body)


def _log_pages(loop: Loop, run: str, registry: ModelRegistry, folder: Path) -> None:
    """Keep card, lineage and decisions of where it comes from, in the lake and in its MLflow run."""
    training = loop.training(run)
    mlflow_run = training.result.mlflow_run_id
    for name in (CARD, LINEAGE, AUDIT):
        if not (folder / name).is_file():  # a training in one process leaves no card
            continue
        content = (folder / name).read_bytes()
        files.write_bytes(training.folder.card if name == CARD else loop.lake.of_origin(run, name), content)
        if mlflow_run is not None:
            registry.log_html(mlflow_run, content.decode(), name if name == CARD else f"origin-{name}")

"""``updraft train run REQUEST.json``: a pure function of the file, in a local process or in a pod."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from updraft import files
from updraft.data.snapshots import load_snapshot
from updraft.errors import IntegrityError, TrainingError
from updraft.jobs.attested import run_key
from updraft.jobs.checkpoint import FolderCheckpoint, GroupCheckpoint
from updraft.jobs.contract import TrainingRequest, TrainingResult
from updraft.jobs.device import choose_device
from updraft.jobs.failure import failures_told
from updraft.jobs.group import Place, meeting
from updraft.jobs.tracking import TrackedRun, check_run
from updraft.jobs.usage import Usage, watched
from updraft.jobs.watch import watching
from updraft.jobs.workers import train_with_local_workers
from updraft.lock import exclusive
from updraft.spec.trainers import TRAINERS, TrainerName
from updraft.training.data import load_training_data
from updraft.training.external import train_from_disk
from updraft.training.fit import FittedModel, train_in_memory
from updraft.training.host import ALONE, Group, Watch
from updraft.training.learning import Progress
from updraft.training.model import Model, load_model
from updraft.training.recipe import Device, Recipe
from updraft.training.trainers import BY_NAME, library_versions

log = logging.getLogger(__name__)


def run_training(request_url: str) -> TrainingResult:
    """Train what a request asks for, or take what an earlier run of it left: the result, or the rounds of a killed one.

    Below ``output_url`` it writes ``model/``, ``holdout.parquet`` and, last, ``result.json``. Two processes with the
    same request do the work once: the second waits, and takes the result.

    :param request_url: path or URL of the JSON of a :class:`TrainingRequest`.
    :raises TrainingError: when the request is wrong, or MLflow does not answer.
    :raises TrainingInterrupted: when the process was asked to end (SIGTERM); run again, it goes on.
    :raises DataError: when the snapshot lacks data.
    :raises IntegrityError: when data, feature source or an earlier result is not what its hash says.
    """
    asked = TrainingRequest.read(request_url)
    with failures_told(asked.folder):
        place = Place.of() if asked.workers > 1 else None
        if asked.workers > 1 and place is None:
            train_with_local_workers(request_url, asked)
            return TrainingResult.read(asked.folder.result)
        return _run(asked, place)


def _run(asked: TrainingRequest, place: Place | None) -> TrainingResult:
    started = time.monotonic()
    with exclusive(asked.output_url):
        done = _earlier(asked, run_key())
        if done is not None:
            checkpoint_of(asked).discard()
            return done
        request = asked.on(_device_for(asked))
        gpu = request.device == "cuda"
        with (
            watched(request.folder.usage()) as usage,
            _tracked(request) as run,
            watching(gpu) as watch,
            _grouped(request, place) as group,
        ):
            checkpoint = checkpoint_of(request, run)
            watch.trial = request.trial
            fitted = _fit(request, checkpoint, watch, group)
            used = usage.sample()
            used = replace(used, peak_memory_mb=group.highest(used.peak_memory_mb))  # all workers get the same memory
            model, result = _write(request, fitted, time.monotonic() - started, used)
            if run is not None:
                run.curve(_curve_name(request), fitted.curve)
                run.finish(
                    request, result.metrics, {"updraft.model_sha256": model.sha256, **_trial_tags(result, request)}
                )
                result = result.model_copy(update={"mlflow_run_id": run.run_id})
        result = result.sealed(run_key())
        result.write(request.folder.result)
        checkpoint.discard()
        return result


def follow_training(request_url: str, place: Place) -> None:
    """Learn a share of a request as a worker that is not the first; that one writes what is found.

    :param place: of this worker.
    :raises TrainingInterrupted: when the group was asked to end, or another worker is lost.
    """
    asked = TrainingRequest.read(request_url)
    request = asked.on(_device_for(asked))
    gpu = request.device == "cuda"
    with (
        failures_told(request.folder, place.rank),
        watched(request.folder.usage(place.rank)) as usage,
        watching(gpu) as watch,
        meeting(place, request.workers, request.request_sha256, partial(_is_done, asked)) as group,
    ):
        if group is None:
            log.info("Worker %d: the result is already there", place.rank)
            return
        _fit(request, checkpoint_of(request), watch, group)
        group.highest(usage.sample().peak_memory_mb)


@contextmanager
def _grouped(request: TrainingRequest, place: Place | None) -> Iterator[Group]:
    if place is None:
        yield ALONE
        return
    with meeting(place, request.workers, request.request_sha256, lambda: False) as group:
        yield group or ALONE


def _is_done(asked: TrainingRequest) -> bool:
    url, key = asked.folder.result, run_key()
    return files.exists(url) if key is None else TrainingResult.read_sealed(url, key) is not None


def collect_training(request: TrainingRequest, tracking_uri: str | None, key: str) -> TrainingResult | None:
    """What a training left that ran elsewhere, held against what it was asked; recorded in MLflow here when it could not do so there.

    :param request: as whoever asked has kept it: the file beside the result may have been changed with it.
    :param tracking_uri: MLflow as this process reaches it.
    :param key: the run's secret; a result without its seal is not the training's, and counts as not there.
    :return: None when there is no result yet.
    :raises TrainingError: when the result is of another request, or cut short.
    :raises IntegrityError: when the result, the model or its feature code is not what was asked for.
    """
    return _earlier(request.model_copy(update={"tracking_uri": tracking_uri}), key)


def check_result(request: TrainingRequest, result: TrainingResult) -> None:
    """Hold a result, its model and the feature code in it against the request. Nothing of it is executed.

    :raises IntegrityError: names what is not as it was asked for.
    """
    model_url, holdout_url = request.folder.model, _holdout_url(request)
    facts = {name: getattr(request, name) for name in ("project", "key", "snapshot_sha256", "features_sha256")}
    facts |= {"model_url": model_url, "holdout_predictions_url": holdout_url}
    wrong = [name for name, value in facts.items() if getattr(result, name) != value]
    wrong += [] if result.curve else ["curve"]
    wrong += [] if "rows" in result.metrics else ["metrics"]
    if wrong:
        raise IntegrityError(f"{request.folder.result}: {', '.join(wrong)}: not what the training was asked for")
    model = load_model(model_url, result.model_sha256)
    made_of = _made_of(request.on(result.device))
    wrong = [name for name, value in made_of.items() if model.meta.get(name) != value]
    same = all(getattr(model, name) == getattr(request, name) for name in ("task", "classes", "trainer", "threads"))
    if wrong or not same:
        what = ", ".join(wrong) or "task, classes, trainer or threads"
        raise IntegrityError(f"{model_url}: {what}: not what the training was asked for")
    source = model.features_source
    if (source is None) != (request.features_path is None) or (
        source is not None and files.sha256(source) != request.features_sha256
    ):
        raise IntegrityError(
            f"{model_url}/features.py is not the feature code of the request (SHA-256 {request.features_sha256}); "
            "it was changed after the training: find out who writes there"
        )


def _earlier(asked: TrainingRequest, key: str | None) -> TrainingResult | None:
    url = asked.folder.result
    if not files.exists(url):
        return None
    result = TrainingResult.read(url) if key is None else TrainingResult.read_sealed(url, key)
    if result is None:
        log.warning("%s was not written by a training of this run, and counts as not there", url)
        return None
    request = asked.on(result.device) if asked.device == "auto" else asked
    if result.request_sha256 != request.request_sha256:
        raise TrainingError(
            f"{url} is of request {result.request_sha256[:12]}, this one is {request.request_sha256[:12]}; "
            "give each request its own output_url"
        )
    check_result(request, result)
    if request.tracking_uri is not None and result.mlflow_run_id is not None:
        check_run(request.tracking_uri, result.mlflow_run_id, result.request_sha256)
    if request.tracking_uri is not None and result.mlflow_run_id is None:
        with _tracked(request) as run:
            if run is not None:
                run.curve(_curve_name(request), next(iter(result.curve.values())))
                tags = {"updraft.model_sha256": result.model_sha256, **_trial_tags(result, request)}
                run.finish(request, result.metrics, tags)
                result = result.model_copy(update={"mlflow_run_id": run.run_id}).sealed(key)
        if key is not None or TrainingResult.read(url).seal is None:  # by hand, a run's own result stays as it is
            result.write(url)
    log.info("%s: already there", url)
    return result


def _fit(request: TrainingRequest, kept: FolderCheckpoint, watch: Watch, group: Group) -> FittedModel:
    recipe = Recipe(
        request.task,
        request.params,
        request.seed,
        request.threads,
        request.trainer,
        _device(request),
        request.classes,
    )
    manifest = load_snapshot(request.snapshot_url, request.snapshot_sha256)
    if recipe.external_memory or group.size > 1:
        checkpoint = GroupCheckpoint(group, kept) if group.size > 1 else kept
        with _scratch(request.folder.scratch(group.rank)) as folder:
            return train_from_disk(recipe, manifest, request.window, request.holdout, folder, checkpoint, watch, group)
    return train_in_memory(recipe, load_training_data(manifest, request.window), request.holdout, kept, watch)


@contextmanager
def _scratch(url: str) -> Iterator[Path]:
    """An empty local folder: beside the output, where the next try finds what a killed one left, or a temporary one."""
    if not files.is_local(url):
        with tempfile.TemporaryDirectory(prefix="updraft-") as temporary:
            yield Path(temporary)
        return
    folder = files.local_path(url)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _device_for(asked: TrainingRequest) -> Device:
    """Where it runs: a trainer that learns on the CPU alone takes no GPU that happens to be there.

    :raises TrainingError: when it was asked to take one.
    """
    if TRAINERS[asked.trainer].gpu:
        return choose_device(asked.device)
    if asked.device == "cuda":
        raise TrainingError(
            f"the request asks for device cuda, and the {asked.trainer} trainer learns on the CPU; ask for device auto or cpu"
        )
    return "cpu"


def _device(request: TrainingRequest) -> Device:
    return "cuda" if request.device == "cuda" else "cpu"


def _write(request: TrainingRequest, fitted: FittedModel, seconds: float, usage: Usage) -> tuple[Model, TrainingResult]:
    model = fitted.model(_meta(request, fitted), _features_source(request))
    model_url, holdout_url = request.folder.model, _holdout_url(request)
    model.save(model_url)
    holdout_sha256 = None if holdout_url is None else files.write_parquet(holdout_url, fitted.holdout)
    return model, TrainingResult(
        project=request.project,
        key=request.key,
        request_sha256=request.request_sha256,
        snapshot_sha256=request.snapshot_sha256,
        features_sha256=request.features_sha256,
        model_url=model_url,
        model_sha256=model.sha256,
        rounds=fitted.rounds,
        pruned=fitted.pruned,
        metrics=fitted.metrics,
        curve={_curve_name(request): list(fitted.curve)},
        importance=dict(fitted.importance.shares),
        importance_is=fitted.importance.meaning,
        device=_device(request),
        rows=fitted.rows,
        holdout_rows=len(fitted.holdout),
        holdout_predictions_url=holdout_url,
        holdout_predictions_sha256=holdout_sha256,
        seconds=round(seconds, 3),
        peak_memory_mb=usage.peak_memory_mb,
        cpu_seconds=usage.cpu_seconds,
        gpu_percent=usage.gpu_percent,
        gpu_memory_mb=usage.gpu_memory_mb,
        environment=_environment(request.trainer),
    )


def _trial_tags(result: TrainingResult, request: TrainingRequest) -> dict[str, str]:
    return {} if request.trial is None else {"updraft.pruned": str(result.pruned).lower()}


def _meta(request: TrainingRequest, fitted: FittedModel) -> dict[str, object]:
    """What the model is made from; nothing of when or where, so that equal requests give equal bytes."""
    return {**_made_of(request), "rounds": fitted.rounds, "environment": _environment(request.trainer)}


def _made_of(request: TrainingRequest) -> dict[str, object]:
    """What a model carries of its request, whose device is settled."""
    return {
        "project": request.project,
        "key": request.key,
        "request_sha256": request.request_sha256,
        "snapshot_sha256": request.snapshot_sha256,
        "features_sha256": request.features_sha256,
        "params": dict(request.params),
        "seed": request.seed,
        "window": list(request.window),
        "holdout": list(request.holdout),
        **({"device": request.device} if request.device == "cuda" else {}),
        **({"workers": request.workers} if request.workers > 1 else {}),
    }


def _holdout_url(request: TrainingRequest) -> str | None:
    return request.folder.holdout if request.holdout else None


def _environment(trainer: TrainerName) -> dict[str, str]:
    """Versions that a model may depend on. Of Python the minor one: patches change no sum, and a pod's base image has its own."""
    libraries = {name: version(name) for name in (*BY_NAME[trainer].libraries, "numpy", "pandas", "pyarrow")}
    return {"python": ".".join(map(str, sys.version_info[:2])), **libraries}


def _features_source(request: TrainingRequest) -> bytes | None:
    if request.features_path is None:
        return None
    source = files.read_bytes(request.features_path)
    if (actual := files.sha256(source)) != request.features_sha256:
        raise IntegrityError(
            f"{request.features_path}: SHA-256 is {actual}, the request says {request.features_sha256}; "
            "the file was changed after the snapshot: take a new one"
        )
    return source


def checkpoint_of(request: TrainingRequest, run: TrackedRun | None = None, key: str | None = None) -> FolderCheckpoint:
    """Where a training keeps how far it has come.

    It is of the libraries of whoever asks: a pod takes up what Airflow's side left there when its image has the same.

    :param run: shows the curve while it grows.
    :param key: the run's secret; that of this process when None.
    :raises TrainingError: when the trainer's libraries are not installed here.
    """
    trainer = BY_NAME[request.trainer]
    binding = {"request": request.request_sha256, **library_versions(request.trainer)}
    name = _curve_name(request)

    def saved(phase: str, progress: Progress) -> None:
        if run is not None and phase == "proof":
            run.curve(name, progress.curve)

    suffix = PurePosixPath(trainer.file).suffix
    return FolderCheckpoint(request.folder.checkpoint, binding, saved, suffix, key or run_key())


@contextmanager
def _tracked(request: TrainingRequest) -> Iterator[TrackedRun | None]:
    """The run, closed as failed when the training fails."""
    if request.tracking_uri is None:
        yield None
        return
    run = TrackedRun(request)
    try:
        yield run
    except BaseException:
        run.fail()
        raise


def _curve_name(request: TrainingRequest) -> str:
    return f"validation_{request.task_type.headline.name}_by_round"

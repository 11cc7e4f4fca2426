"""``updraft train run REQUEST.json``: a pure function of the file, in a local process or in a pod."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

from updraft import files
from updraft.data.snapshots import load_snapshot
from updraft.errors import IntegrityError, TrainingError, TrainingInterrupted
from updraft.training.checkpoint import FolderCheckpoint
from updraft.training.contract import TrainingRequest, TrainingResult
from updraft.training.data import load_training_data
from updraft.training.fit import FittedModel, train_in_memory
from updraft.training.lock import exclusive
from updraft.training.model import Model, load_model
from updraft.training.tracking import TrackedRun
from updraft.training.usage import Usage, watched
from updraft.training.xgb import Progress, Recipe

log = logging.getLogger(__name__)

RESULT = "result.json"


def run_training(request_url: str, stop: Callable[[], bool] = lambda: False) -> TrainingResult:
    """Train what a request asks for, or take what an earlier run of it left: the result, or the rounds of a killed one.

    Below ``output_url`` it writes ``model/``, ``holdout.parquet`` and, last, ``result.json``. Two processes with the
    same request do the work once: the second waits, and takes the result.

    :param request_url: path or URL of the JSON of a :class:`TrainingRequest`.
    :param stop: asked after each checkpoint; true ends the training there.
    :raises TrainingInterrupted: when it was asked to stop.
    :raises TrainingError: when the request is wrong, or MLflow does not answer.
    :raises DataError: when the snapshot lacks data.
    :raises IntegrityError: when data, feature source or an earlier result is not what its hash says.
    """
    request = TrainingRequest.read(request_url)
    started = time.monotonic()
    with exclusive(request.output_url):
        done = _earlier(request)
        if done is not None:
            _checkpoint(request, None, stop).discard()
            return done
        with watched(request.output_url) as watch, _tracked(request) as run:
            checkpoint = _checkpoint(request, run, stop)
            fitted = _fit(request, checkpoint)
            model, result = _write(request, fitted, time.monotonic() - started, watch.sample())
            if run is not None:
                run.curve(_curve_name(request), fitted.curve)
                run.finish(request, result.metrics, {"updraft.model_sha256": model.sha256})
                result = result.model_copy(update={"mlflow_run_id": run.run_id})
        result.write(f"{request.output_url}/{RESULT}")
        checkpoint.discard()
        return result


def collect_training(request_url: str, tracking_uri: str | None) -> TrainingResult | None:
    """What a training left that ran elsewhere, verified; recorded in MLflow here when it could not do so there.

    :param tracking_uri: MLflow as this process reaches it.
    :return: None when there is no result yet.
    :raises TrainingError: when the result is of another request, or cut short.
    :raises IntegrityError: when the model is not what the result says.
    """
    request = TrainingRequest.read(request_url).model_copy(update={"tracking_uri": tracking_uri})
    return _earlier(request)


def _earlier(request: TrainingRequest) -> TrainingResult | None:
    url = f"{request.output_url}/{RESULT}"
    if not files.exists(url):
        return None
    result = TrainingResult.read(url)
    if result.request_sha256 != request.request_sha256:
        raise TrainingError(
            f"{url} is of request {result.request_sha256[:12]}, this one is {request.request_sha256[:12]}; "
            "give each request its own output_url"
        )
    load_model(result.model_url, result.model_sha256)  # raises when it is not what it was
    if request.tracking_uri is not None and result.mlflow_run_id is None:
        with _tracked(request) as run:
            if run is not None:
                run.curve(_curve_name(request), next(iter(result.curve.values())))
                run.finish(request, result.metrics, {"updraft.model_sha256": result.model_sha256})
                result = result.model_copy(update={"mlflow_run_id": run.run_id})
        result.write(url)
    log.info("%s: already there", url)
    return result


def _fit(request: TrainingRequest, checkpoint: FolderCheckpoint) -> FittedModel:
    recipe = Recipe(request.task, request.params, request.seed, request.threads)
    manifest = load_snapshot(request.snapshot_url, request.snapshot_sha256)
    return train_in_memory(recipe, load_training_data(manifest, request.window), request.holdout, checkpoint)


def _write(request: TrainingRequest, fitted: FittedModel, seconds: float, usage: Usage) -> tuple[Model, TrainingResult]:
    model = fitted.model(_meta(request, fitted), _features_source(request))
    model_url = f"{request.output_url}/model"
    model.save(model_url)
    holdout_url = None
    if request.holdout:
        holdout_url = f"{request.output_url}/holdout.parquet"
        files.write_parquet(holdout_url, fitted.holdout)
    return model, TrainingResult(
        project=request.project,
        key=request.key,
        request_sha256=request.request_sha256,
        snapshot_sha256=request.snapshot_sha256,
        features_sha256=request.features_sha256,
        model_url=model_url,
        model_sha256=model.sha256,
        rounds=fitted.rounds,
        metrics=fitted.metrics,
        curve={_curve_name(request): list(fitted.curve)},
        importance=model.importance(),
        rows=fitted.rows,
        holdout_rows=len(fitted.holdout),
        holdout_predictions_url=holdout_url,
        seconds=round(seconds, 3),
        peak_memory_mb=usage.peak_memory_mb,
        cpu_seconds=usage.cpu_seconds,
        gpu_percent=usage.gpu_percent,
        gpu_memory_mb=usage.gpu_memory_mb,
        environment=_environment(),
    )


def _meta(request: TrainingRequest, fitted: FittedModel) -> dict[str, object]:
    """What the model is made from; nothing of when or where, so that equal requests give equal bytes."""
    return {
        "project": request.project,
        "key": request.key,
        "trainer": request.trainer,
        "request_sha256": request.request_sha256,
        "snapshot_sha256": request.snapshot_sha256,
        "features_sha256": request.features_sha256,
        "params": dict(request.params),
        "seed": request.seed,
        "window": list(request.window),
        "holdout": list(request.holdout),
        "rounds": fitted.rounds,
        "environment": _environment(),
    }


def _environment() -> dict[str, str]:
    """Versions that a model may depend on. Of Python the minor one: patches change no sum, and a pod's base image has its own."""
    found = {name: version(name) for name in ("xgboost", "numpy", "pandas", "pyarrow")}
    return {"python": ".".join(map(str, sys.version_info[:2])), **found}


def _features_source(request: TrainingRequest) -> bytes | None:
    if request.features_path is None:
        return None
    source = files.read_bytes(request.features_path)
    if (found := files.sha256(source)) != request.features_sha256:
        raise IntegrityError(
            f"{request.features_path}: SHA-256 is {found}, the request says {request.features_sha256}; "
            "the file was changed after the snapshot: take a new one"
        )
    return source


def _checkpoint(request: TrainingRequest, run: TrackedRun | None, stop: Callable[[], bool]) -> FolderCheckpoint:
    binding = {"request": request.request_sha256, "xgboost": version("xgboost")}
    name = _curve_name(request)

    def saved(phase: str, progress: Progress) -> None:
        if run is not None and phase == "proof":
            run.curve(name, progress.curve)
        if stop() and not progress.done:
            raise TrainingInterrupted(
                f"stopped as asked after {progress.rounds} rounds ({phase}); the same command goes on from there"
            )

    return FolderCheckpoint(f"{request.output_url}/checkpoint", binding, saved)


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
    return "validation_log_loss_by_round" if request.task == "binary" else "validation_rmse_by_round"

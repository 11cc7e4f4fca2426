"""The MLflow run of a training: found again by its request hash, so that a retry writes to the same one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from updraft.errors import IntegrityError, MLflowAway, TrainingError
from updraft.jobs.contract import TrainingRequest

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

REQUEST_TAG = "updraft.request_sha256"
_PER_BATCH = 1000  # MLflow's limit of metrics in one call
_AWAY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED")
"""Codes of MLflow's errors that may be gone at the next try; the first one also stands for no answer at all."""


@contextmanager
def mlflow_errors(uri: str, doing: str) -> Iterator[None]:
    """Turn MLflow's errors into ours.

    :raises MLflowAway: when it does not answer, or says that it cannot now.
    :raises TrainingError: when it refuses; both say what was tried, and where.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in _AWAY:
            raise MLflowAway(f"MLflow at {uri}: {doing} failed: {error}; is it up?") from error
        if error.error_code == "UNAUTHENTICATED":
            raise TrainingError(
                f"MLflow at {uri}: {doing} was refused, as it does not know who asks; set MLFLOW_TRACKING_USERNAME and "
                f"MLFLOW_TRACKING_PASSWORD (`make up` writes those of its MLflow into env.json)"
            ) from error
        raise TrainingError(f"MLflow at {uri}: {doing} was refused: {error}") from error


def mlflow_client(uri: str) -> MlflowClient:
    """A client that keeps quiet: what a task prints belongs to its reader."""
    from mlflow import MlflowClient
    from mlflow.environment_variables import (
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
    )

    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
    return MlflowClient(uri)


class TrackedRun:
    """One MLflow run. Every write may be repeated."""

    def __init__(self, request: TrainingRequest) -> None:
        """:raises TrainingError: when MLflow does not answer."""
        if request.tracking_uri is None:
            raise TrainingError(f"{request.project}: the request names no tracking_uri")
        self._uri = request.tracking_uri
        self._client = mlflow_client(request.tracking_uri)
        with mlflow_errors(self._uri, "starting a run"):
            experiment = experiment_id(self._client, request.experiment or request.project)
            run = _find(self._client, experiment, request.request_sha256) or self._client.create_run(
                experiment, tags=_tags(request), run_name=request.run_name or f"{request.project} {request.key}"
            )
        self.run_id: str = run.info.run_id
        self._started: int = run.info.start_time

    def curve(self, name: str, losses: Sequence[float], first_round: int = 0) -> None:
        """Log the loss after each round. Each point has the run's start as its time, so that equal points are one."""
        from mlflow.entities import Metric

        points = [Metric(name, loss, self._started, first_round + i + 1) for i, loss in enumerate(losses)]
        with mlflow_errors(self._uri, f"logging {name}"):
            for first in range(0, len(points), _PER_BATCH):
                self._client.log_batch(self.run_id, metrics=points[first : first + _PER_BATCH])

    def finish(self, request: TrainingRequest, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Log parameters, final metrics, the data set and tags, and close the run."""
        from mlflow.entities import Metric, Param, RunTag

        params = {
            **request.params,
            **{"trainer": request.trainer, "task": request.task, "seed": request.seed, "threads": request.threads},
            **{"window": f"{request.window[0]}..{request.window[-1]} ({len(request.window)})"},
            **{"holdout": ", ".join(request.holdout) or "none"},
        }
        with mlflow_errors(self._uri, "logging the run"):
            self._client.log_batch(
                self.run_id,
                metrics=[Metric(name, value, self._started, 0) for name, value in sorted(metrics.items())],
                params=[Param(name, str(value)) for name, value in sorted(params.items())],
                tags=[RunTag(name, value) for name, value in sorted(tags.items())],
            )
            self._client.log_inputs(self.run_id, datasets=[_dataset(request, int(metrics["rows"]))])
            self._client.set_terminated(self.run_id, "FINISHED")

    def fail(self) -> None:
        """Close the run as failed; a later try opens it again. The error that led here matters more than one here."""
        try:
            with mlflow_errors(self._uri, "closing the run"):
                self._client.set_terminated(self.run_id, "FAILED")
        except TrainingError as error:
            log.warning("%s", error)


def check_run(uri: str, run_id: str, request_sha256: str) -> None:
    """Hold an MLflow run that a result names against the request that it must be of.

    :raises IntegrityError: when it is another one's, or there is none.
    """
    from mlflow.exceptions import MlflowException

    with mlflow_errors(uri, f"reading run {run_id[:64]!r}"):
        try:
            tags = mlflow_client(uri).get_run(run_id).data.tags
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            tags = {}
    if tags.get(REQUEST_TAG) != request_sha256:
        raise IntegrityError(
            f"MLflow run {run_id[:64]!r} is not of request {request_sha256[:12]}, whose result names it"
        )


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment's id; made when missing, also when another process makes it at the same time.

    :raises TrainingError: when it was deleted.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage != "active":
        raise TrainingError(f"MLflow experiment {name!r} was deleted; restore it with `mlflow experiments restore`")
    return str(experiment.experiment_id)


def _find(client: MlflowClient, experiment: str, request_sha256: str) -> Any:
    runs = client.search_runs(
        [experiment],
        f"tags.`{REQUEST_TAG}` = '{request_sha256}'",
        max_results=1,
        order_by=["attributes.start_time ASC"],
    )
    return runs[0] if runs else None


def _tags(request: TrainingRequest) -> dict[str, str]:
    return {
        **request.tags,
        REQUEST_TAG: request.request_sha256,
        "updraft.project": request.project,
        "updraft.partition": request.key,
        "updraft.snapshot": request.snapshot_sha256,
        "updraft.snapshot_url": request.snapshot_url,
        "updraft.features_sha256": request.features_sha256,
        **({"mlflow.source.git.commit": request.code_commit} if request.code_commit else {}),
    }


def _dataset(request: TrainingRequest, rows: int) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=f"{request.project} {request.window[0]}..{request.window[-1]}",
        digest=request.snapshot_sha256[:36],  # MLflow's limit
        source_type="updraft_snapshot",
        source=json.dumps({"uri": request.snapshot_url, "sha256": request.snapshot_sha256}),
        profile=json.dumps({"num_rows": rows, "partitions": list(request.window)}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])

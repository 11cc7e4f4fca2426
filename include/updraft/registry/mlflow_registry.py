"""Model versions in MLflow: registered once per request, signed, named by aliases, verified before every load."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from updraft import files
from updraft.airflow_api import get
from updraft.errors import IntegrityError, TrainingError
from updraft.jobs.contract import TrainingResult
from updraft.jobs.tracking import REQUEST_TAG, experiment_id, mlflow_client, mlflow_errors
from updraft.lock import exclusive
from updraft.registry.signing import sign, verify
from updraft.training.model import META, Model, content_hash, load_model

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)

REFUSED_TAG = "updraft.refused"
SHA256_TAG = "updraft.model_sha256"
CARD = "card.html"
HEAD_TAG = "updraft.decisions"


class ModelRegistry:
    """The registry of one deployment. Every method may be repeated."""

    def __init__(self, tracking_uri: str, home: Path) -> None:
        """
        :param tracking_uri: MLflow's address.
        :param home: the deployment's folder, with ``keys/`` and the verified copies in ``models/``.
        """
        self.tracking_uri = tracking_uri.rstrip("/")
        self.home = home

    @property
    def keys(self) -> Path:
        """Folder of the signing keys."""
        return self.home / "keys"

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client."""
        return mlflow_client(self.tracking_uri)

    # -- versions

    def register(self, project: str, result: TrainingResult, tags: Mapping[str, str] | None = None) -> str:
        """Sign a trained model and make it a version of the project; a request that has one gets that one.

        :return: the version's number, as MLflow writes it.
        :raises TrainingError: when the training left no MLflow run, or MLflow does not answer.
        :raises IntegrityError: when the model folder is not what the training wrote.
        """
        if result.project != project:
            raise TrainingError(f"the training is of {result.project!r}; it cannot become a version of {project!r}")
        if result.mlflow_run_id is None:
            raise TrainingError(f"{project}: the training left no MLflow run; run it again with a tracking_uri")
        alone = exclusive(str(self.home / "models" / project))
        with alone, mlflow_errors(self.tracking_uri, "registering the model"):
            version = self.find(project, result.request_sha256)
            if version is None:
                model_id = self._log_model(result)
                created = self._create_version(project, result, model_id, tags or {})
                version = self._only_one(project, result.request_sha256, created)
        return version

    def find(self, project: str, request_sha256: str) -> str | None:
        """The version of a request, or None."""
        versions = self.client.search_model_versions(f"name='{project}' and tags.`{REQUEST_TAG}`='{request_sha256}'")
        return min(
            (str(version.version) for version in versions), key=int, default=None
        )  # MLflow's own store has numbers

    def refuse(self, project: str, version: str, reason: str) -> None:
        """Mark a version as refused by the gates: it stays, with the reason."""
        with mlflow_errors(self.tracking_uri, f"marking version {version} as refused"):
            self.client.set_model_version_tag(project, version, REFUSED_TAG, reason[:5000])

    def tag(self, project: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with mlflow_errors(self.tracking_uri, f"tagging version {version}"):
            for name, value in tags.items():
                self.client.set_model_version_tag(project, version, name, value)

    def version(self, project: str, version: str) -> ModelVersion:
        """MLflow's entry of a version.

        :raises TrainingError: when there is none.
        """
        with mlflow_errors(self.tracking_uri, f"reading version {version} of {project}"):
            return self.client.get_model_version(project, version)

    # -- aliases

    def aliases(self, project: str) -> dict[str, str]:
        """Alias -> version; empty when the project has no model."""
        from mlflow.exceptions import MlflowException

        with mlflow_errors(self.tracking_uri, f"reading the aliases of {project}"):
            try:
                version_by_alias = self.client.get_registered_model(project).aliases
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return {}
        return {str(name): str(version) for name, version in version_by_alias.items()}

    def reconcile(self, project: str, wanted: Mapping[str, str | None]) -> dict[str, str | None]:
        """Bring aliases in line with what the store decided. Aliases that are not named stay.

        :param wanted: alias -> version, or None for no such alias.
        :return: what was changed; empty when all was as wanted.
        """
        now = self.aliases(project)
        changes = {name: version for name, version in wanted.items() if now.get(name) != version}
        with mlflow_errors(self.tracking_uri, f"setting aliases of {project}"):
            for name, version in changes.items():
                if version is None:
                    self.client.delete_registered_model_alias(project, name)
                else:
                    self.client.set_registered_model_alias(project, name, version)
        return changes

    # -- loading

    def fetch_verified(self, project: str, version: str, model_sha256: str | None = None) -> Model:
        """Load a version: from the copy on this machine or from MLflow, its signature verified either way.

        :param model_sha256: content that the caller expects, such as the store's record of it. Then MLflow is not asked
            when the copy is there; otherwise the version's tag says what to expect.
        :raises IntegrityError: when a file was changed, added or removed, or the signature is missing, not ours, or of
            another model.
        :raises TrainingError: when MLflow has no such version or does not answer.
        """
        folder = self.home / "models" / project / version
        expected = model_sha256 or self._expected(project, version)
        if folder.exists():
            verify(folder, self.keys)
            if content_of(folder) != expected:  # signed, but of another life of this MLflow
                log.warning("%s is another model than version %s of %s: fetching it again", folder, version, project)
                shutil.rmtree(folder)
        if not folder.exists():
            self._fetch(project, version, folder)
        if (content := content_of(folder)) != expected:
            raise IntegrityError(
                f"version {version} of {project} is signed, but holds content {content[:12]} where {expected[:12]} was "
                "registered; somebody put another model in its place"
            )
        model = load_model(str(folder), expected)
        if model.meta.get("project") != project:
            raise IntegrityError(f"version {version} of {project} holds a model of {model.meta.get('project')!r}")
        return model

    def _expected(self, project: str, version: str) -> str:
        expected = self.version(project, version).tags.get(SHA256_TAG)
        if expected is None:
            raise IntegrityError(
                f"version {version} of {project} has no tag {SHA256_TAG}; it was not registered by Updraft"
            )
        return str(expected)

    def _fetch(self, project: str, version: str, folder: Path) -> None:
        from mlflow.artifacts import download_artifacts

        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = folder.with_name(f".{version}.{uuid.uuid4().hex}")
        aside.mkdir()
        try:
            with mlflow_errors(self.tracking_uri, f"downloading version {version} of {project}"):
                # not by models:/…, which is looked up wherever MLflow's global address points
                source = str(self.client.get_model_version(project, version).source)
                location = self.client.get_logged_model(source.removeprefix("models:/")).artifact_location
                came = download_artifacts(artifact_uri=location, dst_path=str(aside), tracking_uri=self.tracking_uri)
            verify(Path(came), self.keys)
            if not folder.exists():  # another task may have been faster; its copy was verified as well
                Path(came).rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def answers(self) -> bool:
        """Whether MLflow answers now; asked once, without the client's patience."""
        return get(f"{self.tracking_uri}/health", seconds=2.0) is not None

    # -- the head of the chain of decisions

    def note_head(self, project: str, head: str) -> None:
        """Keep the head of a project's chain of decisions, as a tag of its experiment: a copy that the store's database cannot reach."""
        with mlflow_errors(self.tracking_uri, "noting the head of the decisions"):
            self.client.set_experiment_tag(experiment_id(self.client, project), HEAD_TAG, head)

    def head(self, project: str) -> str | None:
        """What :meth:`note_head` kept last; None when nothing was."""
        with mlflow_errors(self.tracking_uri, "reading the head of the decisions"):
            experiment = self.client.get_experiment_by_name(project)
        return None if experiment is None else experiment.tags.get(HEAD_TAG)

    # -- pages

    def log_html(self, run_id: str, html: str, name: str = CARD) -> str:
        """Put a page beside the run's artifacts, where MLflow shows it, and return its address."""
        with mlflow_errors(self.tracking_uri, f"logging {name}"):
            self.client.log_text(run_id, html, name)
        return self.page_url(run_id, name)

    def page_url(self, run_id: str, name: str = CARD) -> str:
        """Where MLflow shows a page that stands beside a run's artifacts."""
        return f"{self.run_url(run_id)}/artifacts/{name}"

    def run_url(self, run_id: str) -> str:
        """Page of a run."""
        with mlflow_errors(self.tracking_uri, f"reading run {run_id}"):
            experiment = self.client.get_run(run_id).info.experiment_id
        return f"{self.tracking_uri}/#/experiments/{experiment}/runs/{run_id}"

    def version_url(self, project: str, version: str) -> str:
        """Page of a version."""
        return f"{self.tracking_uri}/#/models/{project}/versions/{version}"

    # -- how a version is made

    def _log_model(self, result: TrainingResult) -> str:
        """Upload the signed folder as the run's logged model; one that a killed call left is taken up."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        run = self.client.get_run(str(result.mlflow_run_id))
        left = [self.client.get_logged_model(output.model_id) for output in run.outputs.model_outputs[:1]]
        if left:
            [model] = left
        else:
            model = self.client.create_logged_model(
                run.info.experiment_id,
                name="model",
                source_run_id=run.info.run_id,
                model_type="updraft",
                tags={REQUEST_TAG: result.request_sha256, SHA256_TAG: result.model_sha256},
            )
            self.client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 0)])
        if model.status != LoggedModelStatus.READY:
            with tempfile.TemporaryDirectory() as parent:
                folder = Path(parent) / "model"
                _assemble(result, folder, model.model_id)
                sign(folder, self.keys)
                self.client.log_model_artifacts(model.model_id, str(folder))
            self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return str(model.model_id)

    def _create_version(self, project: str, result: TrainingResult, model_id: str, tags: Mapping[str, str]) -> str:
        from mlflow.exceptions import MlflowException

        try:
            return self._try_version(project, result, model_id, tags)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        self._ensure_model(project)  # the project's first version
        return self._try_version(project, result, model_id, tags)

    def _ensure_model(self, project: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(project)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # made by another process just now
                raise

    def _try_version(self, project: str, result: TrainingResult, model_id: str, tags: Mapping[str, str]) -> str:
        created = self.client.create_model_version(
            project,
            source=f"models:/{model_id}",
            run_id=result.mlflow_run_id,
            model_id=model_id,
            tags={
                **tags,
                REQUEST_TAG: result.request_sha256,
                SHA256_TAG: result.model_sha256,
                "updraft.partition": result.key,
                "updraft.snapshot": result.snapshot_sha256,
                "updraft.features_sha256": result.features_sha256,
            },
            description=f"Trained at {result.key} on {result.rows:,} rows, {result.rounds} rounds.",
            await_creation_for=0,
        )
        return str(created.version)

    def _only_one(self, project: str, request_sha256: str, created: str) -> str:
        """Of two machines that registered a request at the same time, the later one takes its version back."""
        first = self.find(project, request_sha256) or created
        if int(first) < int(created):
            self.client.delete_model_version(project, created)
        return first


def content_of(folder: Path) -> str:
    """Hash of the files of a model in a verified folder, as the training wrote them."""
    return content_hash(
        {
            path.name: path.read_bytes()
            for path in folder.iterdir()
            if path.suffix != ".sig" and path.name != "MLmodel" and path.is_file()
        }
    )


def _assemble(result: TrainingResult, folder: Path, model_id: str) -> None:
    """The training's model folder, checked, with the description that MLflow's pages read."""
    import yaml

    model = load_model(result.model_url, result.model_sha256)
    model.save(str(folder))
    meta = files.read_json(str(folder / META))
    inputs = [
        {"type": "string" if column.kind == "category" else "double", "name": column.name, "required": False}
        for column in model.encoder.columns
    ]
    outputs = [{"type": "double", "name": name} for name in model.task_type.outputs]
    described = {
        "flavors": {"updraft": {"format": meta["format"], "data": model.file, "versions": dict(result.environment)}},
        "model_id": model_id,
        "run_id": result.mlflow_run_id,
        "signature": {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs)},
        "metadata": {"request_sha256": result.request_sha256, "model_sha256": result.model_sha256},
    }
    (folder / "MLmodel").write_text(yaml.safe_dump(described, sort_keys=True))

"""Where a person sees what an alert speaks of: pages of Airflow's UI and of MLflow."""

from __future__ import annotations

from urllib.parse import quote

from updraft.lake.places import Lake
from updraft.loop.context import Loop


def project_url(loop: Loop) -> str:
    """The control room's page of the project."""
    return f"{loop.settings.airflow}/updraft/projects/{loop.name}"


def release_url(loop: Loop, release: str) -> str:
    """The control room's page of a release."""
    return f"{project_url(loop)}/releases/{quote(release, safe='')}"


def partition_url(loop: Loop, key: str) -> str:
    """The control room's page of a partition."""
    return f"{project_url(loop)}/partitions/{quote(key, safe='')}"


def docs_url(loop: Loop, key: str) -> str:
    """Where the data docs of a partition are."""
    base = loop.settings.airflow
    return f"{base}/updraft/files/{loop.name}/docs/{key}/index.html" if base else loop.lake.docs(key)


def learning_url(loop: Loop) -> str:
    """The page of what a project learns from, and what is kept out."""
    return f"{loop.settings.airflow}/updraft/learning/{loop.name}"


def dag_url(loop: Loop, stage: str, run: str | None = None) -> str:
    """A page of the Airflow UI."""
    base = f"{loop.settings.airflow}/dags/{loop.name}.{stage}"
    return f"{base}/runs/{quote(run, safe='')}" if run else base


def evidence_url(loop: Loop, release: str) -> str:
    """Where the picture of a release's evidence is shown."""
    base = loop.settings.airflow
    return Lake(f"{base}/updraft/files", loop.name).evidence(release) if base else loop.lake.evidence(release)


def version_url(loop: Loop, version: str) -> str:
    """A model version's page in MLflow."""
    return f"{loop.settings.mlflow}/#/models/{loop.name}/versions/{version}"

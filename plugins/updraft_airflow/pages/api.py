"""The control room's API: what its pages show, as JSON, for whoever may see the project."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, FastAPI, Query, Response
from fastapi.openapi.utils import get_openapi

from updraft.control.fleet import Fleet, FleetRow, broken_row, read_row
from updraft.control.kept_rows import KeptRows
from updraft.control.partition import PartitionView, read_partition
from updraft.control.project import ProjectView, read_project
from updraft.control.release import ReleaseView, read_release
from updraft.control.version import Comparison, VersionView, audit_bundle, compare_versions, read_version
from updraft.spec.load import BrokenProject
from updraft_airflow.pages.access import Permitted, Seen, sound_project, told_apart
from updraft_airflow.pages.access import read_project as read_folder

router = APIRouter(prefix="/api", tags=["control room"])


def now() -> datetime:
    """Of the clock."""
    return datetime.now(UTC)


def _row(name: str) -> FleetRow:
    project = read_folder(name)
    return broken_row(project) if isinstance(project, BrokenProject) else read_row(project, now())


@lru_cache(maxsize=1)
def kept_rows() -> KeptRows:
    """The fleet's rows of this process."""
    return KeptRows(_row, now)


@router.get("/fleet")
def fleet(projects: Seen) -> Fleet:
    """Every project that you may see, in one row each, those that need a person first."""
    with told_apart():
        return kept_rows().fleet(projects)


@router.get("/projects/{project}")
def project(project: Permitted, before: int | None = Query(default=None, ge=1)) -> ProjectView:
    """One project over its newest partitions, and its newest decisions, or those before the one of a number."""
    loop = sound_project(project)
    with told_apart():
        return read_project(loop, now(), before=before)


@router.get("/projects/{project}/releases/{release}")
def release(project: Permitted, release: str) -> ReleaseView:
    """One release: its bound as it narrows, guards, gates, and how long until a verdict is likely."""
    loop = sound_project(project)
    with told_apart():
        return read_release(loop, release)


@router.get("/projects/{project}/versions/{version}")
def version(project: Permitted, version: str) -> VersionView:
    """One version: what it was made of, what it scored, what was decided about it."""
    loop = sound_project(project)
    with told_apart():
        return read_version(loop, version)


@router.get("/projects/{project}/versions/{version}/compare/{other}")
def compare(project: Permitted, version: str, other: str) -> Comparison:
    """What differs between two versions."""
    loop = sound_project(project)
    with told_apart():
        return compare_versions(loop, version, other)


@router.get("/projects/{project}/versions/{version}/audit")
def audit(project: Permitted, version: str) -> Response:
    """All that is kept of a version, with each decision about it and its hash in the chain: a file to download."""
    loop = sound_project(project)
    with told_apart():
        bundle = audit_bundle(loop, version)
    name = f"{loop.name}-v{version}-audit.json".encode("ascii", "replace").decode().replace('"', "")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(
        json.dumps(bundle, indent=1, sort_keys=True, default=str), media_type="application/json", headers=headers
    )


@router.get("/projects/{project}/partitions/{key}")
def partition(project: Permitted, key: str) -> PartitionView:
    """One partition, on its way from source rows to loss."""
    loop = sound_project(project)
    with told_apart():
        return read_partition(loop, key)


def describe(app: FastAPI) -> None:
    """Add the API's description, for whoever is signed in; the pages that would show it load scripts from elsewhere."""

    @app.get("/api/openapi.json", include_in_schema=False)
    def openapi(_: GetUserDep) -> dict[str, Any]:
        routes = [route for route in app.routes if str(getattr(route, "path", "")).startswith("/api/")]
        return get_openapi(
            title="Updraft",
            version="1",
            summary="What every model is doing, why, and what to do about it.",
            routes=routes,
        )

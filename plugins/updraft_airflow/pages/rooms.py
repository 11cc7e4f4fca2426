"""The control room's pages as routes: each shows what its part of the API answers."""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from updraft.pages import rooms
from updraft.pages.rooms import Filter, Place
from updraft_airflow.deployment import settings
from updraft_airflow.pages import api
from updraft_airflow.pages.access import Permitted, Seen, allowed_actions
from updraft_airflow.pages.policy import ROOM

router = APIRouter(include_in_schema=False)
HTML = "text/html; charset=utf-8"


def place(request: Request, user: GetUserDep) -> Place:
    """Where the pages stand, and who looks; of a project, what the person may do to it."""
    root = str(request.scope.get("root_path") or "").rstrip("/")
    project = request.path_params.get("project")
    may = allowed_actions(project, user) if project else frozenset()
    return Place(
        root=root,
        airflow=root.removesuffix("/updraft"),
        may=frozenset(may),
        user=user.get_name(),
        environment=settings().environment or "",
    )


Here = Annotated[Place, Depends(place)]


def _page(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type=HTML, headers={"Content-Security-Policy": ROOM})


def _lost(error: HTTPException, here: Place) -> Response:
    """What there is none of as a page; other errors stay errors."""
    if error.status_code != 404:
        raise error
    return _page(rooms.lost_page(str(error.detail), here), 404)


@router.get("/")
def first(here: Here) -> Response:
    """The fleet is where one begins."""
    return RedirectResponse(f"{here.root}/fleet")


@router.get("/fleet")
def fleet(projects: Seen, here: Here, owner: str = "", tag: str = "", state: str = "") -> Response:
    """Every project."""
    return _page(rooms.fleet_page(api.fleet(projects), here, Filter(owner, tag, state)))


@router.get("/projects/{project}")
def project(project: Permitted, here: Here, before: Annotated[int | None, Query(ge=1)] = None) -> Response:
    """One project."""
    try:
        return _page(rooms.project_page(api.project(project, before), here, before=before))
    except HTTPException as error:
        return _lost(error, here)


@router.get("/projects/{project}/releases/{release}")
def release(project: Permitted, release: str, here: Here) -> Response:
    """One release."""
    try:
        return _page(rooms.release_page(api.release(project, release), here))
    except HTTPException as error:
        return _lost(error, here)


@router.get("/projects/{project}/versions/{version}")
def version(project: Permitted, version: str, here: Here, compare: str = "") -> Response:
    """One version, beside another one where that is asked for."""
    try:
        view = api.version(project, version)
        beside = api.compare(project, version, compare) if compare else None
        return _page(rooms.version_page(view, here, beside))
    except HTTPException as error:
        return _lost(error, here)


@router.get("/projects/{project}/partitions/{key}")
def partition(project: Permitted, key: str, here: Here) -> Response:
    """One partition."""
    try:
        return _page(rooms.partition_page(api.partition(project, key), here))
    except HTTPException as error:
        return _lost(error, here)


@router.get("/static/{name}")
def static(name: str, _: GetUserDep) -> Response:
    """The pages' style sheet and script."""
    found = rooms.static_file(name)
    if found is None:
        raise HTTPException(404, "no such file")
    content, media = found
    return Response(content, media_type=media, headers={"Cache-Control": "private, max-age=300"})

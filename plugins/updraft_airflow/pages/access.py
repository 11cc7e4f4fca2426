"""Who may see a project, and who may do what to it: as Airflow's auth manager decides of the project's DAGs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, Request
from sqlalchemy.exc import SQLAlchemyError

from updraft.control.catalogue import Catalogue
from updraft.errors import InputError, SettingsError
from updraft.loop.context import Loop
from updraft.loop.models import RegisteredModels
from updraft.spec.load import BrokenProject
from updraft_airflow.deployment import registry, settings, store

log = logging.getLogger(__name__)

Action = Literal["train", "change", "rollback", "ingest", "readmit", "stop", "resume", "answer"]
_STAGE: dict[Action, str] = {
    "train": "train",
    "change": "train",
    "rollback": "rollback",
    "ingest": "ingest",
    "readmit": "ingest",
    "stop": "watch",
    "resume": "watch",
}
"""The DAG of which a person may start runs who may act: whoever lets it run may hold it."""


@dataclass(frozen=True)
class Rule:
    """What Airflow's auth manager is asked for an action."""

    method: Literal["POST", "PUT"]
    entity: DagAccessEntity
    stage: str


RULES: dict[Action, Rule] = {
    **{action: Rule("POST", DagAccessEntity.RUN, stage) for action, stage in _STAGE.items()},
    "answer": Rule("PUT", DagAccessEntity.HITL_DETAIL, "release"),
}


def permitted(project: str, request: Request, user: GetUserDep) -> str:
    """The project, when there is one and the person may read its DAG ``<project>.ingest``, as Airflow decides.

    The answer is the same when there is no such project: who may not see it does not learn of it.
    """
    known = project in catalogue().names()
    # Of a name that is none Airflow is asked as well: the answer comes after the same time.
    requires_access_dag("GET", param_dag_id=f"{project if known else '-'}.ingest")(request, user)
    if not known:
        raise HTTPException(403, "Forbidden")
    return project


Permitted = Annotated[str, Depends(permitted)]


def seen_projects(user: GetUserDep) -> list[str]:
    """The projects that a person may see."""
    allowed = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    return [name for name in catalogue().names() if {f"{name}.ingest", f"{name}.broken"} & allowed]


Seen = Annotated[list[str], Depends(seen_projects)]


def allowed_actions(project: str, user: GetUserDep) -> frozenset[Action]:
    """What a person may do to a project: for the buttons of its pages. Each action asks again."""
    return frozenset(action for action in RULES if may(action, project, user))


def may(action: Action, project: str, user: GetUserDep) -> bool:
    """Whether a person may do something to a project."""
    rule = RULES[action]
    dag = f"{project}.{rule.stage}"
    details = DagDetails(id=dag, team_name=DagModel.get_team_name(dag))
    manager = get_auth_manager()
    return bool(manager.is_authorized_dag(method=rule.method, access_entity=rule.entity, details=details, user=user))


def acting(action: Action, project: str, user: GetUserDep) -> None:
    """Let only those on who may do it.

    :raises HTTPException: 403.
    """
    if not may(action, project, user):
        raise HTTPException(403, "Forbidden")


def from_the_page_itself(request: Request) -> None:
    """Refuse what another site makes a browser send in a person's name: it can set no such type of content, and a browser says where it is from.

    :raises HTTPException: 403, 415.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "this was not asked for on a page of Airflow")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send JSON, as application/json")


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The projects of this deployment."""
    return Catalogue(settings().projects, settings().environment)


def read_project(name: str) -> Loop | BrokenProject:
    """A project's loop, or what is wrong with its folder."""
    project = catalogue().project(name)
    if isinstance(project, BrokenProject):
        return project
    kept = store()
    return Loop(project, settings(), kept, RegisteredModels(project.name, registry(), kept))


def sound_project(name: str) -> Loop:
    """A project's loop.

    :raises HTTPException: 404 when its folder is wrong.
    """
    loop = read_project(name)
    if isinstance(loop, BrokenProject):
        raise HTTPException(404, f"the project is broken; see its DAG {name}.broken")
    return loop


@contextmanager
def told_apart(missing: int = 404) -> Iterator[None]:
    """An error as an answer: what a person got wrong in its own words, a store that is away without.

    :param missing: status of what a person got wrong.
    """
    try:
        yield
    except InputError as error:
        raise HTTPException(missing, str(error)) from error
    except (SQLAlchemyError, SettingsError, ConnectionError) as error:
        raise away(error) from error


def away(error: Exception) -> HTTPException:
    """The answer while the lake or the store does not answer."""
    log.error("The lake or the store cannot be read: %s", error)
    return HTTPException(503, "the lake or the store does not answer; see the API server's log")

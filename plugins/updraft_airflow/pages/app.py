"""Pages of the lake, for people who may see their project: data docs, Evidently reports, pictures of evidence, searches."""

from __future__ import annotations

import logging
from typing import Annotated

from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError

from updraft.errors import SettingsError, SpecError
from updraft.pages.lake import MEDIA, read_page
from updraft.spec.deployment import load_deployment
from updraft.spec.load import load_project, project_names
from updraft_airflow.deployment import settings, store
from updraft_airflow.pages.policy import DRAWN, STILL, Guarded

log = logging.getLogger(__name__)

# Without the pages that describe an API: they ask for no sign-in, and load scripts from elsewhere.
app = FastAPI(title="Updraft pages", openapi_url=None, docs_url=None, redoc_url=None)
app.add_middleware(Guarded)


def permitted(project: str, request: Request, user: GetUserDep) -> str:
    """The project, when there is one and the person may read its DAG ``<project>.ingest``, as Airflow decides.

    The answer is the same when there is no such project: who may not see it does not learn of it.
    """
    known = project in project_names(settings().projects)
    # Of a name that is none Airflow is asked as well: the answer comes after the same time.
    requires_access_dag("GET", param_dag_id=f"{project if known else '-'}.ingest")(request, user)
    if not known:
        raise HTTPException(403, "Forbidden")
    return project


Permitted = Annotated[str, Depends(permitted)]


def _away(error: Exception) -> HTTPException:
    log.error("The lake or the store cannot be read: %s", error)
    return HTTPException(503, "the lake or the store does not answer; see the API server's log")


@app.get("/files/{project}/{part}/{path:path}")
def show(project: Permitted, part: str, path: str) -> Response:
    """One page. Nothing outside the published parts is reached."""
    try:
        page = read_page(settings().lake, project, part, path)
    except FileNotFoundError as error:
        raise HTTPException(404, "no such page, or not yet") from error
    except (ConnectionError, SettingsError) as error:
        raise _away(error) from error
    policy = DRAWN if page.draws_itself else STILL
    return Response(page.content, media_type=page.media, headers={"Content-Security-Policy": policy})


@app.get("/pods/{project}/{run:path}")
def pods(project: Permitted, run: str) -> Response:
    """The pods of one training: what each got, on which node, how it ended; and the result."""
    from updraft.jobs.training_run import TrainingRun
    from updraft.lake.places import Lake
    from updraft.pages.pods import pods_page

    pod_url = load_deployment(settings().deployment).kubernetes.pod_url
    try:
        page = pods_page(TrainingRun(run, store(), Lake(settings().lake, project)), pod_url)
    except (SQLAlchemyError, SettingsError) as error:
        raise _away(error) from error
    return Response(page, media_type=MEDIA[".html"])


@app.get("/runbook")
def runbook(_: GetUserDep) -> Response:
    """What each alert and each failed task means, and what to do: for whoever is signed in, as it tells of no project."""
    from updraft.pages.runbook import runbook_page

    return Response(runbook_page(), media_type=MEDIA[".html"])


@app.get("/learning/{project}")
def learning(project: Permitted) -> Response:
    """What a project learns from, what is kept out and why, and whether a training is overdue."""
    from updraft.pages.learning import learning_page

    try:
        page = learning_page(store(), load_project(settings().projects / project).spec)
    except SpecError as error:
        raise HTTPException(404, f"the project is broken; see its DAG {project}.broken") from error
    except SQLAlchemyError as error:
        raise _away(error) from error
    return Response(page, media_type=MEDIA[".html"])

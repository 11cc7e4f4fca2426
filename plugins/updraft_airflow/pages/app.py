"""The plugin's app: the control room and its API, and the pages of the lake, for people who may see their project; metrics for a scraper."""

from __future__ import annotations

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError

from updraft.errors import SettingsError, SpecError
from updraft.pages.lake import MEDIA, read_page
from updraft.spec.deployment import load_deployment
from updraft.spec.load import load_project
from updraft_airflow.deployment import settings, store
from updraft_airflow.pages import acting, api, metrics, rooms
from updraft_airflow.pages.access import Permitted, away
from updraft_airflow.pages.policy import DRAWN, STILL, Guarded

# Without the pages that describe an API: they ask for no sign-in, and load scripts from elsewhere.
app = FastAPI(title="Updraft pages", openapi_url=None, docs_url=None, redoc_url=None)
app.add_middleware(Guarded)
app.include_router(api.router)
app.include_router(acting.router)
app.include_router(metrics.router)
app.include_router(rooms.router)
api.describe(app)


@app.get("/files/{project}/{part}/{path:path}")
def show(project: Permitted, part: str, path: str) -> Response:
    """One page. Nothing outside the published parts is reached."""
    try:
        page = read_page(settings().lake, project, part, path)
    except FileNotFoundError as error:
        raise HTTPException(404, "no such page, or not yet") from error
    except (ConnectionError, SettingsError) as error:
        raise away(error) from error
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
        raise away(error) from error
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
        page = learning_page(store(), load_project(settings().projects / project, settings().environment).spec)
    except SpecError as error:
        raise HTTPException(404, f"the project is broken; see its DAG {project}.broken") from error
    except SQLAlchemyError as error:
        raise away(error) from error
    return Response(page, media_type=MEDIA[".html"])

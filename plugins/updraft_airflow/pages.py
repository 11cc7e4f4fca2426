"""Pages of the lake, for people who may see their project: data docs, Evidently reports, pictures of evidence, searches.

What a page shows comes from feeds and trainings, so a page is a stranger on Airflow's origin: a browser lets it read no
cookie, call no API and load nothing, whatever stands in it.
"""

from __future__ import annotations

import logging
from typing import Annotated

from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from updraft.errors import SettingsError
from updraft.lake_pages import MEDIA, read_page
from updraft.spec.deployment import load_deployment
from updraft.spec.load import project_names
from updraft_airflow.deployment import settings, store

log = logging.getLogger(__name__)

STILL = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Policy of a page that needs no script. The sandbox gives it an origin of its own."""
DRAWN = f"{STILL}; script-src 'unsafe-inline'; font-src data:"
"""Policy of a report: the scripts that stand in it draw it. They reach nothing."""
HEADERS = {
    "Content-Security-Policy": STILL,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",  # Airflow's own pages may show one in a frame
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
"""Of every answer, refusals included, where a route says nothing else."""


class _Guarded:
    """Puts :data:`HEADERS` on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, guarded)


# Without the pages that describe an API: they ask for no sign-in, and load scripts from elsewhere.
app = FastAPI(title="Updraft pages", openapi_url=None, docs_url=None, redoc_url=None)
app.add_middleware(_Guarded)


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
    from updraft.loop.pods import pods_page

    pod_url = load_deployment(settings().deployment).kubernetes.pod_url
    try:
        page = pods_page(store(), project, run, pod_url)
    except (SQLAlchemyError, SettingsError) as error:
        raise _away(error) from error
    return Response(page, media_type=MEDIA[".html"])

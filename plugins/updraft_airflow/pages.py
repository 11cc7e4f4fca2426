"""Pages of the lake, for people who are signed in to Airflow: data docs, Evidently reports, pictures of evidence, searches."""

from __future__ import annotations

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException
from fastapi.responses import Response

from updraft import files
from updraft.spec.deployment import load_deployment
from updraft.spec.load import project_names
from updraft_airflow.deployment import settings

SHOWN = ("docs", "reports", "releases", "searches", "demo")
"""Parts of a project's lake that are published pages. Raw data and predictions are not."""
MEDIA = {".html": "text/html; charset=utf-8", ".png": "image/png", ".json": "application/json"}

app = FastAPI(title="Updraft pages")


@app.get("/files/{project}/{part}/{path:path}")
def show(project: str, part: str, path: str, user: GetUserDep) -> Response:
    """One page. Airflow's sign-in guards it; nothing outside the published parts is reached."""
    suffix = f".{path.rsplit('.', 1)[-1]}" if "." in path else ""
    steps = path.split("/")
    if (
        part not in SHOWN
        or suffix not in MEDIA
        or project not in project_names(settings().projects)
        or any(step in ("", ".", "..") for step in steps)
    ):
        raise HTTPException(404, f"no page {project}/{part}/{path}")
    try:
        content = files.read_bytes(f"{settings().lake}/{project}/{part}/{path}")
    except FileNotFoundError as error:
        raise HTTPException(404, f"no page {project}/{part}/{path} yet") from error
    return Response(content, media_type=MEDIA.get(suffix))


@app.get("/pods/{project}/{run:path}")
def pods(project: str, run: str, user: GetUserDep) -> Response:
    """The pods of one training: what each got, on which node, how it ended; and the result."""
    from updraft.loop.pods import pods_page

    if project not in project_names(settings().projects):
        raise HTTPException(404, f"no project {project}")
    pod_url = load_deployment(settings().deployment).kubernetes.pod_url
    return Response(pods_page(settings(), project, run, pod_url), media_type=MEDIA[".html"])

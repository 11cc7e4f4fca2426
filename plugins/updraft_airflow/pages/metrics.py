"""Metrics for a scraper, which signs in to no Airflow: it shows the token that the deployment gave it."""

from __future__ import annotations

import hmac
import threading

from fastapi import APIRouter, HTTPException, Request, Response

from updraft.control.exposition import CONTENT_TYPE
from updraft.control.metrics import scrape
from updraft.settings import METRICS_TOKEN
from updraft_airflow.deployment import settings, store
from updraft_airflow.pages.access import catalogue, read_project
from updraft_airflow.pages.api import now

router = APIRouter()
_reading = threading.Lock()
"""Two scrapers at once read one after the other: the pool of connections is the pages' as well."""


def _check_token(request: Request) -> None:
    """Let only a scraper on that shows the token. They are compared in the same time whatever was sent.

    :raises HTTPException: 404 where the deployment gave out none, 401.
    """
    token = settings().metrics_token
    if not token:
        raise HTTPException(404, f"no metrics: {METRICS_TOKEN} is not set for the API server")
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(shown.strip().encode("utf-8", "surrogatepass"), token.encode())
    if scheme.lower() != "bearer" or not same:
        raise HTTPException(
            401, f"show the token of {METRICS_TOKEN} as Authorization: Bearer", {"WWW-Authenticate": "Bearer"}
        )


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Every project, in Prometheus' text format."""
    _check_token(request)
    with _reading:
        text = scrape(catalogue().names(), read_project, store, settings().home, now())
    return Response(text, media_type=CONTENT_TYPE)

"""The one registration of Updraft with Airflow."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from updraft_airflow import links
from updraft_airflow.pages.app import app


class UpdraftPlugin(AirflowPlugin):
    """Operator links, the control room under *Updraft*, and the pages of the lake for people who are signed in."""

    name = "updraft"
    operator_extra_links: ClassVar[list[Any]] = [
        links.CardLink(),
        links.DataDocsLink(),
        links.EvidenceLink(),
        links.LearningLink(),
        links.PodLink(),
        links.ReportLink(),
        links.RunLink(),
        links.SearchLink(),
        links.VersionLink(),
    ]
    fastapi_apps: ClassVar[list[dict[str, Any]]] = [{"app": app, "url_prefix": "/updraft", "name": "Updraft pages"}]
    external_views: ClassVar[list[dict[str, Any]]] = [
        {
            "name": "Updraft",
            "href": "/updraft/fleet",
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "updraft",
        }
    ]

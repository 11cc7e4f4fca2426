"""The control room's pages: one template each, filled from a frozen answer of :mod:`updraft.control`. They ask nothing of the store."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from updraft.control.fleet import Fleet, FleetRow
from updraft.control.partition import PartitionView
from updraft.control.project import ProjectView
from updraft.control.release import ReleaseView
from updraft.control.situation import STATES
from updraft.control.version import Comparison, VersionView
from updraft.monitoring.figures import shown
from updraft.pages import charts
from updraft.pages.words import amount, day, days, figure, gained, hour, several_a_day, short_day, signed

if TYPE_CHECKING:
    from jinja2 import Environment

_CHARTS = (
    charts.sparkline,
    charts.bar_to_threshold,
    charts.loss_chart,
    charts.drift_grid,
    charts.volume_chart,
    charts.calibration_chart,
    charts.layer_chart,
    charts.figure_chart,
    charts.bound_chart,
)
"""The pictures that templates ask for by name."""
DRIFTING = 14
"""Columns whose drift is drawn, the farthest ones."""


@dataclass(frozen=True)
class Place:
    """Where the pages stand, and what the person who looks may do."""

    root: str = "/updraft"
    """Path of the control room."""
    airflow: str = ""
    """Path below which Airflow's own UI stands."""
    may: frozenset[str] = frozenset()
    """What the person may do: names of actions."""
    user: str = ""
    environment: str = ""
    """Of the deployment, such as ``staging``; empty where none is chosen."""

    def project(self, project: str) -> str:
        """Page of a project."""
        return f"{self.root}/projects/{_quoted(project)}"

    def release(self, project: str, release: str) -> str:
        """Page of a release."""
        return f"{self.project(project)}/releases/{_quoted(release)}"

    def version(self, project: str, version: str) -> str:
        """Page of a version."""
        return f"{self.project(project)}/versions/{_quoted(version)}"

    def partition(self, project: str, key: str) -> str:
        """Page of a partition."""
        return f"{self.project(project)}/partitions/{_quoted(key)}"

    def dag(self, project: str, stage: str) -> str:
        """Airflow's page of a DAG."""
        return f"{self.airflow}/dags/{_quoted(f'{project}.{stage}')}"

    def question(self, project: str, release: str) -> str:
        """Airflow's own form of a release that waits for a person."""
        return f"{self.dag(project, 'release')}/runs/{_quoted(release)}/required_actions"

    def file(self, project: str, part: str, rest: str) -> str:
        """A page of the lake."""
        return f"{self.root}/files/{_quoted(project)}/{part}/{rest}"


def _quoted(step: str) -> str:
    return quote(step, safe="", errors="replace")


@dataclass(frozen=True)
class Filter:
    """What of the fleet is shown; empty shows all."""

    owner: str = ""
    tag: str = ""
    state: str = ""

    def shows(self, row: FleetRow) -> bool:
        """Whether a project is shown."""
        return (
            self.owner in ("", row.owner)
            and (not self.tag or self.tag in row.tags)
            and (not self.state or row.state == self.state or (self.state == "needs you" and row.needs_person))
        )


def fleet_page(fleet: Fleet, place: Place, chosen: Filter) -> bytes:
    """Every project in a row."""
    beside = Filter(chosen.owner, chosen.tag)
    among = [row for row in fleet.rows if beside.shows(row)]
    counts = {state: sum(row.state == state for row in among) for state in STATES}
    return _rendered(
        "fleet.html",
        place,
        fleet=fleet,
        chosen=chosen,
        rows=[row for row in among if chosen.shows(row)],
        all=len(among),
        needs=sum(row.needs_person for row in among),
        counts={state: count for state, count in counts.items() if count},
    )


def project_page(view: ProjectView, place: Place, *, before: int | None = None) -> bytes:
    """One project."""
    newest = view.drift[-1] if view.drift else None
    columns = sorted(newest.scores, key=lambda name: -newest.scores[name])[:DRIFTING] if newest else []
    keys = [row.key for row in view.volume]
    return _rendered(
        "project.html", place, keys, view=view, row=view.row, columns=columns, drifted=newest, before=before
    )


def release_page(view: ReleaseView, place: Place) -> bytes:
    """One release."""
    keys = [view.opened_at, view.closed_at, *(point.key for point in view.bound)]
    return _rendered("release.html", place, keys, view=view)


def version_page(view: VersionView, place: Place, comparison: Comparison | None = None) -> bytes:
    """One version, beside another one where that is asked for."""
    important = sorted(view.importance.items(), key=lambda named: -named[1])[:15]
    return _rendered("version.html", place, view.lineage.window, view=view, comparison=comparison, important=important)


def partition_page(view: PartitionView, place: Place) -> bytes:
    """One partition."""
    return _rendered("partition.html", place, [view.before, view.key, view.after], view=view)


def lost_page(words: str, place: Place) -> bytes:
    """What there is none of."""
    return _rendered("lost.html", place, words=words)


@lru_cache(maxsize=2)
def _environment(timed: bool) -> Environment:
    """
    :param timed: whether a tick is written with its time.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("updraft.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "signed": signed,
        "amount": shown,
        "days": days,
        "short_day": short_day,
        "pretty": _pretty,
        "quantity": amount,
        "gained": gained,
    }
    environment.filters["day"] = hour if timed else day
    environment.globals |= {drawn.__name__: drawn for drawn in _CHARTS}
    return environment


def _pretty(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True, default=str, ensure_ascii=False)


def _rendered(template: str, place: Place, keys: Iterable[str | None] = (), **values: Any) -> bytes:
    """
    :param keys: of ticks of the page: of several a day each is written with its time.
    """
    environment = _environment(several_a_day(keys))
    # A text of a feed may hold half a character: it is shown as a question mark.
    return environment.get_template(template).render(place=place, **values).encode(errors="replace")


def static_file(name: str) -> tuple[bytes, str] | None:
    """A style sheet or a script of the pages with its media type; None where there is none of that name."""
    from importlib.resources import files

    media = {"room.css": "text/css; charset=utf-8", "room.js": "text/javascript; charset=utf-8"}
    return ((files("updraft.pages") / "static" / name).read_bytes(), media[name]) if name in media else None

"""Evidently's table of columns, with what Updraft decided in the place of Evidently's own verdict: what of :mod:`.report` is Evidently's language.

Evidently's preset holds each column of a sample against a fixed distance, and called half of all columns drifted in weeks that are like any other.
It also calculates every column three times, and draws each number over the index of its rows, which have no order here.
Importing this imports Evidently, which takes seconds: import it where a report is written.
"""
# ruff: noqa: TID253

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import evidently
from evidently.core.container import MetricContainer
from evidently.core.report import Context
from evidently.legacy.base_metric import InputData
from evidently.legacy.metrics import DataDriftTable
from evidently.legacy.metrics.data_drift.data_drift_table import DataDriftTableRenderer, DataDriftTableResults
from evidently.legacy.model.widget import BaseWidgetInfo
from evidently.legacy.renderers.base_renderer import default_renderer
from evidently.legacy.renderers.html_widgets import CounterData, counter, group_widget
from evidently.legacy.utils import NumpyEncoder

_JUDGED = {"data_drift": "Above it?", "stattest_name": "Threshold", "drift_score": "Distance"}
"""Field of a row of Evidently's table -> heading of its column, where Updraft measured a distance."""


class _Columns(DataDriftTable):  # type: ignore[misc]  # evidently's own annotations are not strict
    """Evidently's distributions of each column, beside Updraft's distance and threshold."""

    class Config:
        type_alias = "updraft:metric:Columns"

    scores: dict[str, float]
    limit: float | None

    def __init__(self, scores: Mapping[str, float], limit: float | None) -> None:
        self.scores = dict(scores)
        self.limit = limit
        # Two of Evidently's distances that any column has; what they give is replaced.
        super().__init__(num_stattest="wasserstein", cat_stattest="jensenshannon")

    def get_parameters(self) -> tuple[Any, ...]:
        return (*super().get_parameters(), tuple(sorted(self.scores.items())), self.limit)

    def calculate(self, data: InputData) -> DataDriftTableResults:
        result = super().calculate(data)
        for name, column in result.drift_by_columns.items():
            column.scatter = None
            score = self.scores.get(name, 0.0)
            column.drift_detected = is_above(score, self.limit)
            column.drift_score = round(score, 3)  # as the threshold is shown
            column.stattest_name = "" if self.limit is None else f"{self.limit:.3f}"
        return result


@default_renderer(wrap_type=_Columns)
class _Table(DataDriftTableRenderer):  # type: ignore[misc]
    """Evidently's table, farthest first, in Updraft's words."""

    def render_html(self, obj: _Columns) -> list[BaseWidgetInfo]:
        [_, table] = super().render_html(obj)
        shown = []
        for column in table.params["columns"]:
            heading = _JUDGED.get(column["field"])
            if heading is None:
                shown.append(column)
            elif obj.limit is not None:
                shown.append({**column, "title": heading})
        table.params["columns"] = shown
        for row in table.params["data"]:
            row["data_drift"] = "above" if row["data_drift"] == "Detected" else "below"
        table.title = "Columns, farthest from the reference first" if obj.limit is not None else "Columns"
        return [table]


class DriftTable(MetricContainer):  # type: ignore[misc]
    """The table of columns, farthest first, with the counts above it."""

    class Config:
        type_alias = "updraft:metric_container:DriftTable"

    scores: dict[str, float]
    """Updraft's distance of each column that is drawn; empty where drift is not measured."""
    limit: float | None
    """The distance above which a partition counts; None where drift is not measured."""
    counts: dict[str, int]
    """What stands above the table: label -> number."""

    def generate_metrics(self, context: Context) -> Sequence[Any]:
        return []

    def render(self, context: Context, child_widgets: Any = None) -> list[BaseWidgetInfo]:
        # Calculated once, when the report runs: the context keeps it.
        _, table = context.get_legacy_metric(_Columns(self.scores, self.limit), None, None)
        counts = [CounterData.int(label, number) for label, number in self.counts.items()]
        return [counter(title="", counters=counts), *table]

    def drawing(self, context: Context) -> tuple[dict[str, Any], dict[str, Any]]:
        """What Evidently's script draws, as plain JSON values: the dashboard, and the figures that its rows unfold, by id."""
        group = group_widget(title="", widgets=self.render(context))
        figures = {str(graph.id): graph.dict() for graph in group.get_additional_graphs()}
        dashboard = {"name": "Report", "widgets": [_without_figures(group.dict())]}
        return _plain(dashboard), _plain(figures)


def is_above(score: float, limit: float | None) -> bool:
    """Whether a distance counts."""
    return limit is not None and score > limit


def library() -> str:
    """Evidently's script, with ``window.drawDashboard(dashboard, figures, id of the element)``."""
    return (_STATIC / "index.js").read_text(encoding="utf-8")


def icon_font() -> str:
    """Evidently's font of icons (WOFF2), in base64."""
    return base64.b64encode((_STATIC / "material-ui-icons.woff2").read_bytes()).decode()


_STATIC = Path(evidently.__path__[0]) / "nbextension" / "static"


def _plain(value: Any) -> dict[str, Any]:
    """NumPy's arrays and numbers as JSON's."""
    return dict(json.loads(json.dumps(value, cls=NumpyEncoder)))


def _without_figures(widget: dict[str, Any]) -> dict[str, Any]:
    """A widget without the figures, which the script takes from elsewhere."""
    below = [_without_figures(inner) for inner in widget.get("widgets") or []]
    return {**widget, "additionalGraphs": [], "widgets": below}

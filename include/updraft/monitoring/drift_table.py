"""Evidently's drift preset, less what its page does not need: the part of :mod:`.report` that is Evidently's own language.

The preset calculates every column twice (once for the counts above its table) and a third time for metrics per column
that the page does not show. It also draws each number over the index of its rows, which have no order here.
Importing this imports Evidently, which takes seconds: import it where a report is written.
"""
# ruff: noqa: TID253

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
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


class _Columns(DataDriftTable):  # type: ignore[misc]  # evidently's own annotations are not strict
    class Config:
        type_alias = "updraft:metric:Columns"

    def calculate(self, data: InputData) -> DataDriftTableResults:
        result = super().calculate(data)
        for column in result.drift_by_columns.values():
            column.scatter = None
        return result


default_renderer(wrap_type=_Columns)(DataDriftTableRenderer)


class DriftTable(MetricContainer):  # type: ignore[misc]
    """The table of columns, farthest first, with the counts above it."""

    class Config:
        type_alias = "updraft:metric_container:DriftTable"

    numbers: str
    """Evidently's name of the distance of numbers."""
    texts: str
    """Evidently's name of the distance of texts."""
    threshold: float
    """Distance from which a column has drifted."""

    def generate_metrics(self, context: Context) -> Sequence[Any]:
        return []

    def render(self, context: Context, child_widgets: Any = None) -> list[BaseWidgetInfo]:
        results, table = self._drift(context)
        counts = [
            CounterData.int("Columns", results.number_of_columns),
            CounterData.int("Drifted Columns", results.number_of_drifted_columns),
            CounterData.float("Share of Drifted Columns", results.share_of_drifted_columns, 3),
        ]
        return [counter(title="", counters=counts), *table]

    def distances(self, context: Context) -> dict[str, float]:
        """Distance per column, farthest first."""
        columns = self._drift(context)[0].drift_by_columns.values()
        return {
            column.column_name: float(column.drift_score)
            for column in sorted(columns, key=lambda column: -column.drift_score)
        }

    def drawing(self, context: Context) -> tuple[dict[str, Any], dict[str, Any]]:
        """What Evidently's script draws, as plain JSON values: the dashboard, and the figures that its rows unfold, by id."""
        group = group_widget(title="", widgets=self.render(context))
        figures = {str(graph.id): graph.dict() for graph in group.get_additional_graphs()}
        dashboard = {"name": "Report", "widgets": [_without_figures(group.dict())]}
        return _plain(dashboard), _plain(figures)

    def _drift(self, context: Context) -> tuple[DataDriftTableResults, list[BaseWidgetInfo]]:
        """Calculated once: the context keeps it."""
        metric = _Columns(
            num_stattest=self.numbers,
            num_stattest_threshold=self.threshold,
            cat_stattest=self.texts,
            cat_stattest_threshold=self.threshold,
        )
        results, table = context.get_legacy_metric(metric, None, None)
        return results, table


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

"""The Evidently report of a partition: a picture for people; nothing is decided from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from updraft.data.columns import CLUSTER, EVENT_TIME, ROW
from updraft.data.views import private_columns
from updraft.loop.context import Loop
from updraft.monitoring.report import write_report
from updraft.spec.model import Project

if TYPE_CHECKING:
    import pandas as pd


def write_partition_report(loop: Loop, key: str) -> str | None:
    """Write the report of a partition against a sample of the champion's training window.

    :returns: its URL; None before the first champion, and where every feature is private.
    """
    import pandas as pd

    champion = loop.store.serving(loop.name).champion
    training = loop.store.training_of(loop.name, champion)
    if training is None:
        return None
    rows = loop.spec.monitoring.report_rows
    window = training.result["window"]
    reference = pd.concat([_sample(loop, past, max(rows // len(window), 1)) for past in window], ignore_index=True)
    current = _sample(loop, key, rows)
    private = private_features(loop.project, {*reference.columns, *current.columns})
    if set(current.columns) <= set(private):
        return None
    url = loop.lake.report(key)
    title = f"{loop.name} {key} against the window of version {champion}"
    write_report(reference, current, url, title, private=private)
    return url


def private_features(project: Project, columns: Iterable[str]) -> tuple[str, ...]:
    """The features that bear the name of a private column of some source, as it is or as ``<source>_<column>``; sorted.

    When in doubt a column is private: a feature does not tell which source it comes from.
    """
    return tuple(sorted(column for column in columns if _may_be_private(project, str(column))))


def _may_be_private(project: Project, column: str) -> bool:
    return any(
        private_columns(project, source, {column, column.removeprefix(f"{source}_")})
        for source in project.spec.data.sources
    )


def _sample(loop: Loop, key: str, rows: int) -> pd.DataFrame:
    frame = loop.feature_frame(key)
    # By the hash that names a row: the same rows whenever the report is written.
    return (
        frame.nsmallest(rows, ROW).drop(columns=[ROW, EVENT_TIME, CLUSTER])
        if len(frame) > rows
        else frame.drop(columns=[ROW, EVENT_TIME, CLUSTER])
    )

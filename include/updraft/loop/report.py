"""The Evidently report of a partition: a picture for people; nothing is decided from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from updraft.data.columns import CLUSTER, EVENT_TIME, ROW
from updraft.loop.context import Loop
from updraft.monitoring.report import write_report

if TYPE_CHECKING:
    import pandas as pd


def write_partition_report(loop: Loop, key: str) -> str | None:
    """Write the report of a partition against a sample of the champion's training window; its URL, None before the first champion."""
    import pandas as pd

    champion = loop.store.serving(loop.name).champion
    training = (
        next((row for row in loop.store.trainings(loop.name) if row.version == champion), None) if champion else None
    )
    if training is None:
        return None
    rows = loop.spec.monitoring.report_rows
    window = training.result["window"]
    reference = pd.concat([_sample(loop, one, max(rows // len(window), 1)) for one in window], ignore_index=True)
    url = loop.url("reports", key, "evidently.html")
    write_report(
        reference, _sample(loop, key, rows), url, f"{loop.name} {key} against the window of version {champion}"
    )
    return url


def _sample(loop: Loop, key: str, rows: int) -> pd.DataFrame:
    frame = loop.feature_frame(key)
    # By the hash that names a row: the same rows whenever the report is written.
    return (
        frame.nsmallest(rows, ROW).drop(columns=[ROW, EVENT_TIME, CLUSTER])
        if len(frame) > rows
        else frame.drop(columns=[ROW, EVENT_TIME, CLUSTER])
    )

"""The Evidently report of a partition: a picture for people, under what was decided; nothing is decided from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from updraft.alerts.alert import cleaned
from updraft.data.columns import CLUSTER, EVENT_TIME, ROW
from updraft.data.views import private_columns
from updraft.loop.context import Loop
from updraft.loop.decision_words import in_words
from updraft.loop.feature_drift import held_against
from updraft.monitoring.report import Verdict, write_report
from updraft.spec.features import FeatureCode
from updraft.spec.model import Project

if TYPE_CHECKING:
    import pandas as pd


MOST_PARTITIONS = 200
"""Partitions of a reference that the picture takes rows of, evenly spread: of hours, a season has two thousand."""


def write_partition_report(loop: Loop, key: str) -> str | None:
    """Write what was decided of drift at a partition, above a picture of its rows and of a sample of what it was held against.

    :returns: its URL; None before the first champion, and where every feature is private.
    """
    import pandas as pd

    training = loop.store.training_of(loop.name, _champion_at(loop, key))
    if training is None:
        return None
    rows = loop.spec.monitoring.report_rows
    keys, code = held_against(loop, key, training)
    keys = keys[:: -(-len(keys) // MOST_PARTITIONS)]
    share = max(rows // len(keys), 1)
    reference = pd.concat([_sample(loop, past, share, code) for past in keys], ignore_index=True)
    current = _sample(loop, key, rows, code)
    private = private_features(loop.project, {*reference.columns, *current.columns})
    if set(current.columns) <= set(private):
        return None
    url = loop.lake.report(key)
    title = f"{loop.name} {key} against {len(keys)} partitions from {keys[0]} to {keys[-1]}"
    write_report(reference, current, url, title, verdict_at(loop, key), private=private)
    return url


def _champion_at(loop: Loop, key: str) -> str | None:
    """The version that scored a partition; where none did, the one that serves now."""
    scored = loop.store.predictions(loop.name, key).get("champion")
    return scored.version if scored is not None else loop.store.serving(loop.name).champion


def verdict_at(loop: Loop, key: str) -> Verdict:
    """What was decided of drift at a partition, and what followed from it."""
    decision = loop.store.decision(loop.name, "diagnose", key)
    drift = decision.body.get("drift") if decision is not None else None
    if decision is None:
        return Verdict("Nothing has been decided at this partition yet.")
    if drift is None:
        return Verdict("Drift was not looked at: this partition came after a later one had been monitored.")
    against = f" (against {drift['against']})" if drift.get("against") else ""
    faults = [f"Signs of a broken feed: {'; '.join(drift['feed_faults'])}"] if drift["feed_faults"] else []
    followed = in_words(decision) or "nothing was to be done"
    scores = dict(drift.get("scores", {}))
    if drift.get("score") is not None:
        scores[drift["column"]] = drift["score"]  # that of the farthest column is kept in full
    headline = "Drift alarm" if drift["alarm"] else "No drift alarm"
    if drift.get("score") is None and not drift["alarm"]:
        headline = "Drift is not measured here"
    words = [f"{drift['reason']}{against}", *faults, f"Decided at this partition: {followed}"]
    return Verdict(f"{headline}.", [f"{cleaned(text)}." for text in words], drift.get("threshold"), scores)


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


def _sample(loop: Loop, key: str, rows: int, code: FeatureCode) -> pd.DataFrame:
    frame = loop.feature_frame(key, code)
    # By the hash that names a row: the same rows whenever the report is written.
    chosen = frame.nsmallest(rows, ROW) if len(frame) > rows else frame
    return chosen.drop(columns=[ROW, EVENT_TIME, CLUSTER])

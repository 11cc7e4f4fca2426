"""Partitions of the reference project in a store, some of them kept out by signs of a broken feed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from updraft import files
from updraft.data.partitions import partitions
from updraft.loop.context import Loop
from updraft.loop.kept_out import lasting_signs
from updraft.monitoring.profiles import profile
from updraft.spec.model import ProjectSpec
from updraft.store.records import EpisodeRow, IngestedPartition, Sign, TrainingRow
from updraft.store.store import Store

NULLS: Sign = ("nulls", "temp")
UNIT: Sign = ("unit", "distance")
ROWS: Sign = ("rows", None)


def keys_of(spec: ProjectSpec, number: int) -> list[str]:
    """The first keys of a project's history."""
    return [partition.key for _, partition in zip(range(number), partitions(spec), strict=False)]


def ingest(
    store: Store, project: str, key: str, state: str = "published", labels: str | None = "file:///labels"
) -> None:
    """Record a partition as ingestion would."""
    row = IngestedPartition(key, state, None, f"{key:0<64}", 9, 0, labels, {}, None)  # type: ignore[arg-type]
    store.record_partition(project, row)


def keep_out(store: Store, project: str, key: str, signs: Sequence[Sign]) -> EpisodeRow:
    """Record a published partition, and the episode that `monitor` opens about its broken feed."""
    ingest(store, project, key)
    told: dict[str, Any] = {
        "words": "the feed is broken",
        "faults": [f"{kind} of {column} are far off" for kind, column in signs],
    }
    told |= {"content": f"{key:0<64}", "signs": [list(sign) for sign in signs]}
    told |= {"lasting": [run.as_dict() for run in lasting_signs(store, project, key, signs)]}
    episode = f"{project}-{key}-feed"
    return store.open_episode(EpisodeRow(episode, project, key, "feed", "quarantine", "closed", told, "broken", key))


def trained(store: Store, project: str, key: str, state: str = "registered") -> None:
    """Record a training that an episode asked for, with what became of it."""
    run = f"{project}-{key}-age"
    version = None if state == "failed" else run[-20:]
    store.record_training(TrainingRow(run, project, key, run, None, state, version, {}))  # type: ignore[arg-type]


def with_nulls(loop: Loop, row: IngestedPartition) -> IngestedPartition:
    """A partition of the lake as it would be ingested, had its temperatures got lost in nine rows of ten."""
    frame = files.read_parquet(*loop.features_file(row))
    frame["temp"] = frame["temp"].where(frame.index % 10 == 0)
    return dataclasses.replace(row, profile={"features_sha256": loop.features.sha256, **profile(frame).as_dict()})

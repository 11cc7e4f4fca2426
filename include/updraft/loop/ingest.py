"""Ingestion as a step of the loop: what the data room did, recorded in the store and told to on-call."""

from __future__ import annotations

from dataclasses import dataclass, replace

from updraft import files
from updraft.data.ingest import extract_partition, publish_partition, validate_partition
from updraft.errors import PartitionRefused
from updraft.loop import tell
from updraft.loop.context import Loop
from updraft.monitoring.profiles import profile
from updraft.store.records import IngestedPartition


@dataclass(frozen=True)
class Validated:
    """What the contract found in a partition."""

    key: str
    quarantined: dict[str, int]
    """Rows by source; sources without any are left out."""
    words: str


def validate(loop: Loop, key: str) -> Validated:
    """Check a partition against its contract; a refusal is told first, then recorded, then raised.

    :raises PartitionRefused: when more is in breach than the project allows.
    """
    try:
        checks = validate_partition(loop.project, loop.settings, key)
    except PartitionRefused:
        tell.partition_refused(loop, key)  # first: whatever comes of recording it, on-call hears of it
        published = loop.store.partition(loop.name, key)
        if published is None or published.state != "published":  # what was published before the feed broke stays
            publish(loop, key)
        raise
    found = {name: source.quarantined for name, source in checks.sources.items() if source.quarantined}
    words = f"{sum(found.values())} rows quarantined" if found else "every row meets the contract"
    return Validated(key, found, f"partition {key}: {words} {found or ''}".strip())


def publish(loop: Loop, key: str) -> IngestedPartition:
    """Publish a validated partition and record it, with the profile of its features.

    The row is written last and once: where the feature function fails, what was published before stays.
    Of a refused or empty partition only the labels that matured at its tick are published.

    :raises DataError: when the feature function fails on it.
    """
    row = publish_partition(loop.project, loop.settings, key)
    if row.state == "published":
        features = files.read_parquet(*loop.features_file(row))
        summary = {"features_sha256": loop.features.sha256, **profile(features).as_dict()}
        row = replace(row, profile=summary)
    loop.store.record_partition(loop.name, row)
    if row.quarantined and row.state == "published":
        tell.rows_quarantined(loop, row)
    return row


def ingest(loop: Loop, key: str) -> IngestedPartition:
    """All three steps in this process, for a backtest."""
    extract_partition(loop.project, loop.settings, key)
    validate(loop, key)
    return publish(loop, key)

"""Ingestion as a step of the loop: what the data room did, recorded in the store and told to on-call."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from updraft import files
from updraft.alerts.alert import redacted
from updraft.data.extraction import Extracted, check_reach
from updraft.data.ingest import extract_partition, publish_partition, read_checks, validate_partition
from updraft.data.partitions import KEY_FORMAT, partition
from updraft.errors import DataError, PartitionRefused, UpdraftError, passes
from updraft.loop.accounting import with_lost_labels
from updraft.loop.alerting import partition_alerts
from updraft.loop.context import Loop
from updraft.loop.forgotten import forgotten_persons
from updraft.loop.rotated import check_key_is_left, rotations
from updraft.loop.settled import settled_rows
from updraft.monitoring.profiles import Profile, profile
from updraft.store.records import FailedIngestion, IngestedPartition

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validated:
    """What the contract found in a partition."""

    key: str
    quarantined: dict[str, int]
    """Rows by source; sources without any are left out."""
    words: str


@contextmanager
def _records_failure(loop: Loop, key: str, task: str) -> Iterator[None]:
    """Keep in the store why a task of a partition's ingestion failed. A refusal is recorded by :func:`validate`, as the partition's state."""
    try:
        yield
    except PartitionRefused:
        raise
    except Exception as error:
        words = redacted(str(error)) if isinstance(error, UpdraftError) else ""
        _record(loop, FailedIngestion(key, task, type(error).__name__, words, passes(error)))
        raise


def _record(loop: Loop, failed: FailedIngestion) -> None:
    """Never raises: the failure itself is what the task ends with. A key that is no partition's leaves nothing that could be wanted."""
    try:
        loop.partition(failed.key)
    except DataError:
        return
    try:
        loop.store.record_failed_ingestion(loop.name, failed)
    except Exception:
        log.exception("%s: that the ingestion of %s failed could not be recorded", loop.name, failed.key)


def extract(loop: Loop, key: str, *, of_now: bool = False) -> Extracted:
    """Copy the partition's rows of every source into the raw zone.

    :param of_now: whether rows may still come, so that a file of all time that does not reach the partition says nothing of it. Of a history
        that is played again everything has come.
    :raises SourceBehind: when such a file does not reach it.
    :raises DataError: when a source is not there, or does not read.
    """
    with _records_failure(loop, key, "extract_partition"):
        if of_now:
            check_reach(loop.project, loop.settings, key)
        return extract_partition(loop.project, loop.settings, key, forgotten_persons(loop))


def validate(loop: Loop, key: str, *, run: str | None = None) -> Validated:
    """Check a partition against its contract; a refusal is told first, then recorded, then raised.

    :param run: of the DAG that ingests it, to which a refusal's alert leads.
    :raises PartitionRefused: when more is in breach than the project allows.
    """
    try:
        with _records_failure(loop, key, "validate_partition"):
            made = rotations(loop)
            check_key_is_left(loop, key, made)
            checks = validate_partition(loop.project, loop.settings, key, settled_rows(loop, key), made)
    except PartitionRefused as error:
        partition_alerts.partition_refused(loop, key, run)  # first: whatever comes of recording it, on-call hears of it
        published = loop.store.partition_row(loop.name, key)
        if published is None or published.state != "published":
            publish(loop, key)
        else:  # what was published before the feed broke stays
            refusals = "; ".join(read_checks(loop.project, loop.settings, key).refusals)
            _record(loop, FailedIngestion(key, "validate_partition", type(error).__name__, refusals, passes=False))
        raise
    quarantined = {name: source.quarantined for name, source in checks.sources.items() if source.quarantined}
    words = f"{sum(quarantined.values())} rows quarantined" if quarantined else "every row meets the contract"
    return Validated(key, quarantined, f"partition {key}: {words} {quarantined or ''}".strip())


def publish(loop: Loop, key: str) -> IngestedPartition:
    """Publish a validated partition and record it, with the profile of its features.

    The row is written last and once: where the feature function fails, what was published before stays.
    Of a refused or empty partition only the labels that matured at its tick are published.

    :raises DataError: when the feature function fails on it.
    """
    with _records_failure(loop, key, "publish_partition"):
        return _publish(loop, key)


def _publish(loop: Loop, key: str) -> IngestedPartition:
    made = rotations(loop)
    row, before = publish_partition(loop.project, loop.settings, key, made), None
    if row.state == "published":
        features = files.read_parquet(*loop.features_file(row))
        summary = profile(features)
        before = _before(loop, key)
        if before is not None:
            check_same_features(loop, key, summary, before)
        row = replace(row, profile={"features_sha256": loop.features.sha256, **summary.as_dict()})
    row = with_lost_labels(loop, row, made)
    if rotations(loop) != made:
        raise DataError(
            f"{loop.name}: the pseudonym key was rotated while partition {key} was published; ingest it anew"
        )
    _tell_revision(loop, row)  # first: tried again after the row is written, nothing would tell that it was another one
    loop.store.record_partition(loop.name, row)
    if row.state != "refused":
        partition_alerts.partition_mended(loop, row)
    if row.state == "published":
        if row.quarantined:
            partition_alerts.rows_quarantined(loop, row)
        if any(source["outside"] + source["timeless"] for source in row.checks["sources"].values()):
            partition_alerts.rows_outside(loop, row, before)
    if row.checks["labels"]["without_row"]:
        partition_alerts.labels_lost(loop, row, before)
    if row.checks["labels"].get("unlisted"):
        partition_alerts.labels_unlisted(loop, row, before)
    return row


def _tell_revision(loop: Loop, row: IngestedPartition) -> None:
    """Tell when a published partition is about to be published with other content."""
    published = loop.store.partition_row(loop.name, row.key)
    if published is not None and published.state == row.state == "published" and published.sha256 != row.sha256:
        partition_alerts.partition_revised(loop, row, published)


def _before(loop: Loop, key: str) -> IngestedPartition | None:
    """The partition that was published before this one."""
    until = partition(loop.spec, key).start.strftime(KEY_FORMAT)
    newest = loop.store.newest_partition(loop.name, until=until)
    return loop.store.partition(loop.name, newest) if newest else None


def check_same_features(loop: Loop, key: str, made: Profile, before: IngestedPartition) -> None:
    """Refuse features whose columns, or their kinds, depend on the rows: no model could be trained on both partitions.

    :param before: an earlier partition; one whose features another function made is no measure.
    :raises DataError: with the columns.
    """
    earlier = before.profile
    if earlier is None or earlier["features_sha256"] != loop.features.sha256:
        return
    kept = Profile.from_dict(earlier)
    where = f"{loop.name}: partition {key}: features()"
    if lost := sorted(set(kept.columns) ^ set(made.columns)):
        raise DataError(
            f"{where} gives other columns than for partition {before.key}: {', '.join(map(repr, lost[:10]))} "
            "in one of the two; columns must not depend on the rows. Give a text as it is, as a category, or make a column for each "
            "value of a list that stands in features.py (get_dummies makes one for each value that it meets)"
        )
    numbers, texts = set(made.numbers), set(made.categories)
    if turned := sorted((numbers & set(kept.categories)) | (texts & set(kept.numbers))):
        raise DataError(
            f"{where} gives {', '.join(map(repr, turned))} as {'a number' if turned[0] in numbers else 'text'}, and for partition "
            f"{before.key} as {'text' if turned[0] in numbers else 'a number'}; convert it in features.py, or state the type of "
            "what it is made of under `columns` in the contract"
        )


def ingest(loop: Loop, key: str) -> IngestedPartition:
    """All three steps in this process, for a backtest."""
    extract(loop, key)
    validate(loop, key)
    return publish(loop, key)

"""A partition's file that is not there yet: how long it is waited for, and who hears of it.

A file of all time is not there as long as it holds nothing at or after the partition's start: with later rows, and none of the
partition, the partition is empty.

From its tick on it is waited for. After ``data.sources.NAME.wait`` it is late, and on-call is told, once. Late or not it is read when it
comes, until the next tick: then the next partition has its turn, and this one is ingested when a person clears its run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from updraft import files
from updraft.alerts.alert import redacted
from updraft.data import sources
from updraft.data.extraction import grows_with_time
from updraft.data.partitions import next_tick, tick_of
from updraft.errors import DataError, SourceAway, SourceMissing
from updraft.loop.alerting import partition_alerts
from updraft.loop.context import Loop
from updraft.loop.unpublished import PASS_OVER
from updraft.spec.model import ProjectSpec
from updraft.store.records import FailedIngestion

LONGEST = timedelta(days=1)
"""That a file may take unless the project says otherwise: a person wants to know within a day."""
SHARE = 4
"""Part of the time to the next tick that it may take unless the project says otherwise."""


@dataclass(frozen=True)
class Wait:
    """How long the file of a partition is waited for."""

    tick: datetime
    late_at: datetime
    """From when on it is late."""
    until: datetime
    """The next tick."""

    @classmethod
    def of(cls, spec: ProjectSpec, key: str, source: str) -> Wait:
        """For a source's file of a partition."""
        tick, until = tick_of(key), next_tick(spec, key)
        stated = spec.data.sources[source].wait
        late_after = min((until - tick) / SHARE, LONGEST) if stated is None else stated
        return cls(tick, min(tick + late_after, until), until)


def await_file(
    loop: Loop, key: str, error: SourceMissing | SourceAway, now: datetime, *, run: str, waited: bool
) -> datetime | None:
    """Until when to wait before looking again at the latest; None when the file is not waited for, or not any more.

    It records that the partition is waited for, and tells on-call once that its file is late.

    :param now: of the clock: a partition of the past is not waited for.
    :param run: page of the run that waits.
    :param waited: whether this run has waited for it already, so that the end of the wait is its end.
    """
    wait = Wait.of(loop.spec, key, error.source)
    if now < wait.tick or (now >= wait.until and not waited):
        return None
    goes_on = now < wait.until
    words = redacted(str(error))
    failed = FailedIngestion(key, "extract_partition", type(error).__name__, words, goes_on, wait.late_at.isoformat())
    loop.store.record_failed_ingestion(loop.name, failed)
    if now < wait.late_at:
        return wait.late_at
    partition_alerts.file_late(
        loop, key, source=error.source, error=words, until=wait.until if goes_on else None, links={"Run": run}
    )
    return wait.until if goes_on else None


def content_so_far(loop: Loop, key: str) -> str | None:
    """Of a file of all time, what its content is before it is read, so that one that does not reach the partition is waited for until it changes.

    None where it cannot be told: reading the file, which comes next, tells why.
    """
    if not grows_with_time(loop.project) or is_passed_over(loop, key):
        return None
    try:
        return look_for_files(loop, key)
    except DataError:
        return None


def look_for_files(loop: Loop, key: str) -> str | None:
    """What tells the present content of a partition's files from another; None while one of them is not there.

    Of a partition that a person has passed over it is told at once: nothing is waited for any more.

    :raises SourceAway: when a source does not answer.
    :raises DataError: when a file cannot be reached for another reason.
    """
    if is_passed_over(loop, key):
        return PASS_OVER
    try:
        revisions = [
            sources.revision(loop.project, name, key, connections=loop.settings.connections)
            for name in loop.spec.data.sources
        ]
    except SourceMissing:
        return None
    return files.canonical_hash(revisions)


def is_passed_over(loop: Loop, key: str) -> bool:
    """Whether a person has decided that a partition stays unpublished."""
    return loop.store.decision(loop.name, PASS_OVER, key) is not None

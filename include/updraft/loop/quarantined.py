"""Rows in quarantine: of which partitions, why, and the rows themselves, private values as pseudonyms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.data.catalogue import REASONS
from updraft.data.checks import Checks
from updraft.errors import DataError, InputError
from updraft.loop.context import Loop

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Quarantined:
    """The rows of a partition that are in quarantine."""

    key: str
    state: str
    """Of the partition: ``published`` without them, or ``refused`` for them."""
    rows: int
    """Rows of all sources that were judged."""
    quarantined: int
    reasons: Mapping[str, Mapping[str, int]]
    """Rows by source and reason; a row may have several."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def quarantined_partitions(loop: Loop, newest: int) -> list[Quarantined]:
    """The newest partitions that have rows in quarantine, in order.

    :param newest: so many at most.
    """
    rows = loop.store.partitions(loop.name, state=None, newest=newest, quarantined=True)
    return [quarantined for row in rows if (quarantined := quarantine_of(loop, row.key)) is not None]


def quarantine_of(loop: Loop, key: str) -> Quarantined | None:
    """What is in quarantine of a partition; None when nothing is.

    :raises InputError: when there is no such partition.
    """
    partition = loop.store.partition(loop.name, key)
    if partition is None:
        newest = loop.store.newest_partition(loop.name, state=None)
        raise InputError(f"{loop.name}: partition {key!r} was not ingested; the newest one is {newest or 'none yet'}")
    if not partition.quarantined:
        return None
    sources = Checks.from_dict(partition.checks).sources
    reasons = {source: dict(checks.reasons) for source, checks in sources.items() if checks.quarantined}
    judged = sum(checks.rows for checks in sources.values())
    return Quarantined(key, partition.state, judged, partition.quarantined, reasons)


def quarantined_rows(loop: Loop, partition: Quarantined, reason: str | None = None) -> dict[str, pd.DataFrame]:
    """The rows in quarantine of each source, with :data:`REASONS`, in the order of the file.

    :param reason: only those that are there for it too.
    :raises InputError: when none is there for that reason, naming those that there are.
    :raises DataError: when the lake has them no longer.
    """
    known = sorted({why for reasons in partition.reasons.values() for why in reasons})
    if reason is not None and reason not in known:
        raise InputError(
            f"{loop.name}: no row of {partition.key} is in quarantine for {reason!r}; there are: {'; '.join(known)}"
        )
    frames = {}
    for source in partition.reasons:
        url = loop.lake.quarantine(partition.key, source)
        try:
            frame = files.read_parquet(url)
        except FileNotFoundError:
            raise DataError(
                f"{loop.name}: the quarantined rows of {source} are gone from the lake: there is no {url}"
            ) from None
        if reason is not None:
            frame = frame[
                [f"; {reason}; " in f"; {why}; " for why in frame[REASONS]]
            ]  # a reason may hold a semicolon itself
        frames[source] = frame
    return frames

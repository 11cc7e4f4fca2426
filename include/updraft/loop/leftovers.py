"""Daily upkeep of one project's files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from updraft import files
from updraft.lake.places import SOURCES
from updraft.loop.context import Loop

STALE_SECONDS = 24 * 3600
"""A file that was written aside so long ago belongs to a process that was killed."""


def remove_leftovers(loop: Loop, *, now: float | None = None) -> dict[str, int]:
    """Remove what killed tasks left aside, and raw copies: of partitions that have left the training window, of sources not used for as long.

    Raw copies hold private values in clear, so they go from a bucket too. A bucket tells when an object was written and
    not when it was read: a source's copy goes when it is that old, and is made again when it is needed again. Files that
    were written aside are looked for on this machine alone: a bucket shows no half-written objects. The raw copies of
    backtests, which keep what they have published, go when they were not used for as long, whatever partition they are of.

    :param now: seconds since 1970; the clock's when it is not given.
    """
    now = time.time() if now is None else now
    raw = loop.settings.raw_zone(loop.name)
    aside = sum(_remove_aside(url, now) for url in (loop.lake.url, raw) if files.is_local(url))
    window = loop.store.partitions(loop.name, state=None, newest=loop.spec.training.window)
    copies = list(_raw_copies(raw))
    ingested = loop.store.partition_rows(loop.name, {copy.folder for copy in copies})
    finished = {key for key, row in ingested.items() if row.state == "published"} - {row.key for row in window}
    oldest = now - _window_seconds(loop)
    removed = 0
    for copy in copies:
        if copy.used < oldest if copy.folder == SOURCES else copy.folder in finished:
            files.remove(copy.url)
            removed += 1
    for copy in _raw_copies(loop.settings.of_backtests().raw_zone(loop.name)):
        if copy.used < oldest:
            files.remove(copy.url)
            removed += 1
    return {"aside": aside, "raw": removed}


@dataclass(frozen=True)
class _RawCopy:
    """A Parquet file of a project's raw zone."""

    url: str
    folder: str
    """The key of its partition, or ``sources``."""
    used: float
    """When it was read last, or written, where that is all that is known (seconds since 1970)."""


def _raw_copies(raw: str) -> Iterator[_RawCopy]:
    """Every Parquet file that stands in a folder of a raw zone."""
    if files.is_local(raw):
        for copy in sorted(files.local_path(raw).glob("*/*.parquet")):
            with suppress(FileNotFoundError):
                yield _RawCopy(str(copy), copy.parent.name, copy.stat().st_atime)
        return
    filesystem, root = files.filesystem(raw)
    try:
        listed: dict[str, dict[str, Any]] = filesystem.find(root, detail=True)
    except FileNotFoundError:
        return
    for path, details in sorted(listed.items()):
        folder, _, name = str(path).removeprefix(root).strip("/").partition("/")
        if "/" not in name and name.endswith(".parquet"):
            yield _RawCopy(f"{raw}/{folder}/{name}", folder, _written(details))


def _written(details: dict[str, Any]) -> float:
    """When an object was written, as its store tells it; an object of which it tells nothing is new."""
    for name in ("LastModified", "last_modified", "updated", "mtime", "created"):
        value = details.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):  # as Google's store writes it
            return datetime.fromisoformat(value).timestamp()
    return time.time()


def _remove_aside(url: str, now: float) -> int:
    removed = 0
    for path in files.local_path(url).rglob(".*.*"):
        with suppress(FileNotFoundError):
            if path.is_file() and now - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
                removed += 1
    return removed


def _window_seconds(loop: Loop) -> float:
    """How long a training window lasts."""
    key = loop.store.newest_partition(loop.name, state=None)
    if key is None:
        return float("inf")
    newest = loop.partition(key)
    return loop.spec.training.window * (newest.tick - newest.start).total_seconds()

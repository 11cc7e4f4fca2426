"""Daily upkeep of one project's files."""

from __future__ import annotations

import time

from updraft import files
from updraft.loop.context import Loop

STALE_SECONDS = 24 * 3600
"""A file that was written aside so long ago belongs to a process that was killed."""


def remove_leftovers(loop: Loop) -> dict[str, int]:
    """Remove what killed tasks left aside, and raw copies: of partitions that have left the training window, of sources not used for as long.

    Only on a lake of this machine: an object store shows no half-written objects, and has retention rules of its own.
    """
    removed = {"aside": 0, "raw": 0}
    if not files.is_local(loop.url()):
        return removed
    root = files.local_path(loop.url())
    for path in root.rglob(".*.*"):
        if path.is_file() and time.time() - path.stat().st_mtime > STALE_SECONDS:
            path.unlink(missing_ok=True)
            removed["aside"] += 1
    kept = {row.key for row in loop.store.partitions(loop.name, state=None)[-loop.spec.training.window :]}
    finished = {row.key for row in loop.store.partitions(loop.name)}
    for path in sorted((root / "raw").glob("*/*.parquet")):
        if path.parent.name in finished and path.parent.name not in kept:
            path.unlink(missing_ok=True)
            removed["raw"] += 1
    oldest = time.time() - _window_seconds(loop)
    for path in (root / "raw" / "sources").glob("*.parquet"):
        if path.stat().st_atime < oldest:  # made again when it is needed again
            path.unlink(missing_ok=True)
            removed["raw"] += 1
    return removed


def _window_seconds(loop: Loop) -> float:
    """How long a training window lasts."""
    rows = loop.store.partitions(loop.name, state=None)
    if not rows:
        return float("inf")
    newest = loop.partition(rows[-1].key)
    return loop.spec.training.window * (newest.tick - newest.start).total_seconds()

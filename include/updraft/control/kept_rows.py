"""Rows of the fleet that are kept for a moment: a page of two hundred projects asks the store for none of them while it is looked at.

A row that is older than :data:`FRESH` is shown once more and read anew beside; one that was never read is read at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from updraft.control.fleet import Fleet, FleetRow, make_fleet

log = logging.getLogger(__name__)

FRESH = timedelta(seconds=20)
OLD = timedelta(minutes=5)
"""A row that nobody has looked at for so long is not shown again before it was read."""


@dataclass(frozen=True)
class _Kept:
    row: FleetRow
    read_at: datetime


class KeptRows:
    """The rows of one process.

    :param read: reads a project's row.
    :param now: the clock.
    """

    def __init__(self, read: Callable[[str], FleetRow], now: Callable[[], datetime]) -> None:
        self._read = read
        self._now = now
        self._kept: dict[str, _Kept] = {}
        self._reading = threading.Lock()

    def fleet(self, names: Sequence[str]) -> Fleet:
        """The rows of some projects, as of the oldest of them."""
        now = self._now()
        kept = {name: self._kept.get(name) for name in names}
        rows = {
            name: row if row is not None and now - row.read_at < OLD else self._anew(name) for name, row in kept.items()
        }
        if aged := [name for name, row in rows.items() if now - row.read_at >= FRESH]:
            threading.Thread(target=self._refresh, args=(aged,), daemon=True).start()
        as_of = min((row.read_at for row in rows.values()), default=now)
        return make_fleet([row.row for row in rows.values()], as_of)

    def forget(self, name: str) -> None:
        """Something was done to a project: its row is read anew at the next look."""
        self._kept.pop(name, None)

    def _anew(self, name: str) -> _Kept:
        read_at = self._now()
        row = self._kept[name] = _Kept(self._read(name), read_at)
        return row

    def _refresh(self, names: Sequence[str]) -> None:
        if not self._reading.acquire(blocking=False):  # another look has asked for it already
            return
        try:
            for name in names:
                self._anew(name)
        except Exception:  # the store is away: the next look says so where a row is old
            log.exception("Rows of the fleet could not be read anew")
        finally:
            self._reading.release()

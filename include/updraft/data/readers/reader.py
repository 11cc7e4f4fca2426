"""What every type of source gives: the rows of a window as one file, what tells its content from an earlier one, and whether it is there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Window:
    """What is asked of a source: the rows with ``start <= event time < until``; of a lookup table, all rows."""

    key: str
    """Of the partition that they are read for; empty where it is for none."""
    start: datetime
    until: datetime


class Reader(Protocol):
    """A source whose rows are asked for, window by window. (What stands in files is read as it stands: :mod:`.location`.)

    Everything arrived, or nothing did: a reader that breaks off half way raises.
    """

    def revision(self, window: Window) -> str:
        """What tells the present rows of a window from others.

        :raises SourceMissing: when they have not come yet.
        :raises SourceAway: when the source does not answer.
        :raises DataError: when it refuses.
        """
        ...

    def arrive(self, window: Window, folder: Path, *, glance: bool = False) -> Path:
        """Write the rows of a window into a new file below ``folder``, Parquet or JSON lines.

        :param glance: whether a part of the rows does, enough to tell the columns.
        :raises SourceMissing: when they have not come yet.
        :raises SourceAway: when the source does not answer, or breaks off.
        :raises DataError: when it refuses, or gives what is no table.
        """
        ...

    def newest(self, start: datetime) -> tuple[bool, datetime | None] | None:
        """Whether there is a row at or after a moment, and the newest event time; None where the source cannot tell beyond its window.

        :raises SourceAway: when the source does not answer.
        """
        ...

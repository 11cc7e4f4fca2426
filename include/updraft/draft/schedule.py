"""How long a partition is to be, from how many rows come in which time."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median

from updraft.data.duck import name
from updraft.draft.table import Table
from updraft.errors import InputError
from updraft.spec.checks import wrong_cron
from updraft.spec.cluster_defaults import FIRST_AFTER, WINDOW, with_defaults
from updraft.spec.data import FIRST_DAY, LAST_DAY
from updraft.spec.part import shown_duration

SCHEDULES = {"hourly": "0 * * * *", "daily": "0 0 * * *", "weekly": "0 0 * * 1"}
"""The finest first."""
_LENGTHS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(weeks=1)}
ENOUGH_ROWS = 200
"""Of a partition, in the median: fewer tell little of a metric, or of a column's drift."""
MOST_PARTITIONS = 1_000
"""Of a history that a backtest plays: beyond, a coarser schedule says the same sooner."""
_AFTERWARDS = 3
"""Partitions after the first model with which a backtest has two to compare, their labels known a partition later."""
_TICKS = 100_000
"""That a history may have at all."""


@dataclass(frozen=True)
class Volume:
    """A schedule, and the rows of each of its partitions."""

    schedule: str
    why: str
    start: date
    end: date
    rows: tuple[int, ...]
    """By partition, in order of time."""
    first_after: int
    """Partitions before the first model, as the defaults have it."""
    window: int

    @property
    def is_long_enough(self) -> bool:
        """Whether there is something to learn from, and to compare after it."""
        return len(self.rows) >= self.first_after + _AFTERWARDS

    @property
    def median(self) -> float:
        """Rows of a partition that has some."""
        return float(median([rows for rows in self.rows if rows] or [0]))


def choose(table: Table, *, stated: str | None, matures_after: timedelta) -> Volume:
    """The schedule: as somebody said (a cron expression, hourly, daily or weekly), or the finest whose partitions have enough rows and are
    enough for a first model.

    :raises InputError: when it is none, or the history lies outside of the calendar.
    """
    if stated is not None:
        schedule = SCHEDULES.get(stated, stated)
        if wrong := wrong_cron(schedule):
            raise InputError(f"--schedule {stated!r} {wrong}; or say {', '.join(SCHEDULES)}")
        return _volume(table, schedule, "as you said", matures_after)
    oldest, newest = _span(table)
    words = [word for word, length in _LENGTHS.items() if (newest - oldest) / length <= MOST_PARTITIONS] or ["weekly"]
    volumes = [_volume(table, SCHEDULES[word], word, matures_after) for word in words]
    learns = [volume for volume in volumes if volume.is_long_enough]
    enough = [volume for volume in learns if volume.median >= ENOUGH_ROWS]
    return (enough or learns[::-1] or volumes)[0]


def _span(table: Table) -> tuple[datetime, datetime]:
    oldest, newest = table.asked(f"min({name(table.event_time)}), max({name(table.event_time)})")
    oldest, newest = oldest.astimezone(UTC), newest.astimezone(UTC)
    if not FIRST_DAY <= oldest.date() <= newest.date() < LAST_DAY:
        raise InputError(
            f"the times of {table.event_time!r} go from {oldest:%Y-%m-%d} to {newest:%Y-%m-%d}, beyond {FIRST_DAY} to {LAST_DAY}; mend them, or "
            "say how they are written with --time-format"
        )
    return oldest, newest


def _volume(table: Table, schedule: str, why: str, matures_after: timedelta) -> Volume:
    from croniter import croniter

    oldest, newest = _span(table)
    start = datetime.combine(oldest.date(), datetime.min.time(), UTC)
    ticks = croniter(schedule, start)
    moments = [start]
    while moments[-1] <= newest:
        if len(moments) > _TICKS:
            raise InputError(
                f"{schedule!r} makes more than {_TICKS:,} partitions of this history; say a coarser --schedule"
            )
        moments.append(ticks.get_next(datetime))
    last = moments[-1]
    end = last.date() if last.time() == datetime.min.time() else last.date() + timedelta(days=1)
    training = with_defaults(
        {"data": {"schedule": schedule, "label": {"matures_after": shown_duration(matures_after)}}}
    ).get("training", {})
    first_after, window = training.get("first_after", FIRST_AFTER), training.get("window", WINDOW)
    return Volume(schedule, why, start.date(), end, _counted(table, moments), first_after, window)


def _counted(table: Table, moments: Sequence[datetime]) -> tuple[int, ...]:
    """Rows from each moment to the next."""
    import numpy as np

    own = name(table.event_time)
    times = table.con.execute(f"SELECT epoch_us({own}) AS t FROM typed WHERE {own} IS NOT NULL").fetchnumpy()["t"]
    ticks = np.array([int(moment.timestamp()) * 1_000_000 for moment in moments], np.int64)
    places = np.searchsorted(ticks, np.asarray(times, np.int64), side="right")
    return tuple(int(count) for count in np.bincount(places, minlength=len(moments))[1 : len(moments)])

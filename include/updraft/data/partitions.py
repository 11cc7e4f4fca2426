"""Partitions of a project: the slices between the ticks of its cron, named by the tick that closes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from updraft.errors import DataError
from updraft.spec.data import FIRST_DAY, LAST_DAY
from updraft.spec.model import ProjectSpec

KEY_FORMAT = "%Y-%m-%dT%H%M"
"""Key of the partition that the tick closes: to the minute, sortable, safe in a file name and a URL."""


@dataclass(frozen=True)
class Partition:
    """Rows with ``start <= event time < tick``; ``tick`` is "now" for everything done with it."""

    key: str
    start: datetime
    tick: datetime


def partition(spec: ProjectSpec, key: str) -> Partition:
    """The partition of a key.

    A tick has one key: another spelling of it (``2013-1-7T0500``) would be a second partition of the same rows.

    :raises DataError: when the key is malformed, spelt otherwise, or no tick of the project's schedule.
    """
    try:
        return _partition(spec.data.schedule, key)
    except DataError as error:
        raise DataError(f"{spec.name}: {error}") from None


@lru_cache(maxsize=4096)  # asked for again and again, and cron arithmetic is slow
def _partition(schedule: str, key: str) -> Partition:
    from croniter import croniter

    try:
        tick = datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise DataError(f"partition key {key!r} does not read as a tick such as 2013-01-07T0500") from None
    own = tick.strftime(KEY_FORMAT)
    if key != own or not FIRST_DAY <= tick.date() <= LAST_DAY:
        raise DataError(f"partition key {key!r} is not how the key of this tick is written: {own}")
    if not croniter.match(schedule, tick):
        raise DataError(f"{key} is no tick of data.schedule {schedule!r}")
    return Partition(key, croniter(schedule, tick).get_prev(datetime), tick)


def first_key_from(moment: datetime) -> str:
    """The least key whose tick is not before a moment; a tick is a whole minute, and a key names no part of one."""
    minute = moment.replace(second=0, microsecond=0)
    return (minute if minute == moment else minute + timedelta(minutes=1)).strftime(KEY_FORMAT)


def last_begun(spec: ProjectSpec, moment: datetime) -> Partition:
    """The newest partition that began before a moment: the one that the first tick from that moment on closes."""
    return _last_begun(spec.data.schedule, moment)


@lru_cache(maxsize=4096)
def _last_begun(schedule: str, moment: datetime) -> Partition:
    from croniter import croniter

    # Ticks are whole seconds; the last one before the moment is stepped over.
    before = (moment - timedelta(microseconds=1)).replace(microsecond=0)
    tick: datetime = croniter(schedule, before).get_next(datetime)
    return _partition(schedule, tick.strftime(KEY_FORMAT))


def partitions(spec: ProjectSpec, until: datetime | None = None) -> Iterator[Partition]:
    """Every partition of the project in order, whole or cut by ``data.start``, up to ``data.end`` or ``until``.

    :raises DataError: when the project has no end and ``until`` is not given.
    """
    from croniter import croniter

    end = end_of_history(spec) or until
    if end is None:
        raise DataError(f"{spec.name}: an open history (no data.end) needs a last date")
    if until is not None:
        end = min(end, until)
    start = datetime.combine(spec.data.start, datetime.min.time(), UTC)
    ticks = croniter(spec.data.schedule, start - timedelta(seconds=1))
    tick: datetime = ticks.get_next(datetime)
    if tick <= start:  # a tick at the very start closes a partition that lies before it
        tick = ticks.get_next(datetime)
    while tick <= end:
        yield partition(spec, tick.strftime(KEY_FORMAT))
        tick = ticks.get_next(datetime)


def next_tick(spec: ProjectSpec, key: str) -> datetime:
    """The tick after that of a key, whether a partition ends there or ``data.end`` came before."""
    from croniter import croniter

    following: datetime = croniter(spec.data.schedule, tick_of(key)).get_next(datetime)
    return following


def tick_of(key: str) -> datetime:
    """The tick that a key names, whether the schedule ticks at it any more or not."""
    return datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC)


def end_of_history(spec: ProjectSpec) -> datetime | None:
    """The last moment at which a partition of the project may be closed; None of an open history."""
    return datetime.combine(spec.data.end, datetime.min.time(), UTC) if spec.data.end else None


def keys_after(spec: ProjectSpec, moment: datetime) -> Iterator[str]:
    """Keys of the ticks after a moment, in order, up to ``data.end``; without end where the history is open."""
    from croniter import croniter

    end, ticks = end_of_history(spec), croniter(spec.data.schedule, moment)
    tick: datetime = ticks.get_next(datetime)
    while end is None or tick <= end:
        yield tick.strftime(KEY_FORMAT)
        tick = ticks.get_next(datetime)


def keys_before(spec: ProjectSpec, key: str) -> Iterator[str]:
    """Keys of the ticks before that of a key, the newest first."""
    from croniter import croniter

    ticks = croniter(spec.data.schedule, tick_of(key))
    while True:
        tick: datetime = ticks.get_prev(datetime)
        yield tick.strftime(KEY_FORMAT)

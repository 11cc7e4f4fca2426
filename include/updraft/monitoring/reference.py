"""Reference: what the partitions that a model learned from look like together, and how much they differ."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from updraft.errors import DataError
from updraft.monitoring.profiles import Profile, merge
from updraft.monitoring.sketch import Categories, Numbers, merge_categories

BINS = 10
TOP = 20
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CALENDAR = 0.75
"""A column that is a part of its row's date in this share of the rows is a calendar (local dates: not all rows are)."""


@dataclass(frozen=True)
class ColumnReference:
    """One column of the reference. The last bin counts nulls; of categories, the one before it all others."""

    kind: Literal["number", "category"]
    level: int = 0
    starts: tuple[int, ...] = ()
    """Numbers: leading bits (at ``level``) at which the second and every later bin begins."""
    names: tuple[str, ...] = ()
    """Categories with a bin of their own."""
    rows: tuple[int, ...] = ()
    """Rows per bin over all partitions."""


@dataclass(frozen=True)
class Reference:
    """Merged profile of a model version's training window, with its bins."""

    partitions: int
    profile: Profile
    columns: Mapping[str, ColumnReference]
    skipped: Mapping[str, str]
    """Column -> why drift is not measured on it."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; equal references give equal JSON."""
        return {
            "partitions": self.partitions,
            "profile": self.profile.as_dict(),
            "columns": {name: asdict(column) for name, column in sorted(self.columns.items())},
            "skipped": dict(sorted(self.skipped.items())),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Reference:
        """Inverse of :meth:`as_dict`, also after JSON."""
        return cls(
            value["partitions"],
            Profile.from_dict(value["profile"]),
            {name: _column_from_dict(column) for name, column in value["columns"].items()},
            dict(value["skipped"]),
        )

    def counts(self, column: str, profile: Profile) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Rows per bin of a column in the reference and in a profile, each shape (bins + nulls,).

        :raises DataError: when the column holds numbers on one side and text on the other.
        """
        bins = self.columns[column]
        nulls = profile.nulls(column)
        if column in (profile.categories if bins.kind == "number" else profile.numbers):
            raise DataError(f"column {column!r} is a {bins.kind} in the reference and is not in this partition")
        if bins.kind == "number":
            numbers = profile.numbers.get(column, Numbers())
            if numbers.level <= bins.level:
                return bins.rows, (*_binned(numbers.at_level(bins.level), bins.starts), nulls)
            starts = tuple(dict.fromkeys(start >> (numbers.level - bins.level) for start in bins.starts))
            whole = self.profile.numbers[column].at_level(numbers.level)
            return (
                (*_binned(whole, starts), self.profile.nulls(column)),
                (*_binned(numbers.counters, starts), nulls),
            )
        categories = profile.categories.get(column, Categories())
        whole_categories = self.profile.categories[column]
        if whole_categories.hashed and not categories.hashed:
            categories = merge_categories(categories, Categories(hashed=True))
        if categories.hashed == whole_categories.hashed:
            return bins.rows, (*_named(categories.counts, bins.names), nulls)
        hashed = merge_categories(whole_categories, Categories(hashed=True)).counts
        names = tuple(hashed)
        return (*_named(hashed, names), self.profile.nulls(column)), (*_named(categories.counts, names), nulls)


def fit_reference(profiles: Sequence[Profile]) -> Reference:
    """The reference of a model that learned from these partitions (oldest first).

    :raises DataError: when there is no partition with rows, or a column changed its type between them.
    """
    profiles = [profile for profile in profiles if profile.rows]
    if not profiles:
        raise DataError("a reference needs at least one partition with rows")
    whole = merge(profiles)
    skipped = {name: why for name in whole.columns if (why := _skipped(whole, name))}
    columns: dict[str, ColumnReference] = {}
    for name in whole.columns:
        if name in skipped:
            continue
        columns[name] = _number_reference(whole, name) if name in whole.numbers else _category_reference(whole, name)
    return Reference(len(profiles), whole, columns, skipped)


AROUND = timedelta(weeks=6)
"""How far from the same day of an earlier year a partition of the same season may be."""
_YEAR = timedelta(days=365.2425)


def earlier_seasons(oldest: datetime, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """First and last moment of the same season of each earlier year, the newest first, as far back as ``oldest``."""
    middle = now - _YEAR
    while middle + AROUND >= oldest:
        yield middle - AROUND, middle + AROUND
        middle -= _YEAR


def same_season(
    ticks: Sequence[datetime], now: datetime, *, around: timedelta = AROUND, fewest: int = 8
) -> tuple[datetime, ...]:
    """Ticks of the same season in earlier years, oldest first; none when there are too few of them for a reference.

    :param ticks: of every partition that there is.
    :param now: tick of the partition that is to be held against them.
    :param around: how far from the same day of an earlier year a tick may be.
    """
    ticks_of_season = []
    for tick in sorted(ticks):
        years = round((now - tick) / _YEAR)
        if years >= 1 and abs(now - tick - years * _YEAR) <= around:
            ticks_of_season.append(tick)
    return tuple(ticks_of_season) if len(ticks_of_season) >= fewest else ()


def calendar(name: str, parts: Sequence[Numbers]) -> str | None:
    """The part of the event time (``year``, ``month``, …) that a column of numbers is in all these partitions; None when none."""
    count = sum(part.count for part in parts)
    if not count:
        return None
    moves = min(part.low for part in parts) != max(part.high for part in parts)
    for unit in sorted({unit for part in parts for unit in part.clock}):
        # A constant 1 all through January is no calendar unless its name says so.
        if sum(part.clock.get(unit, 0) for part in parts) >= CALENDAR * count and (moves or unit in name):
            return unit
    return None


def _skipped(whole: Profile, name: str) -> str | None:
    if name in whole.empty:
        return "null in every row"
    numbers = whole.numbers.get(name)
    unit = calendar(name, [numbers]) if numbers is not None else None
    return f"a calendar: the {unit} of the event time" if unit is not None else None


def _number_reference(whole: Profile, name: str) -> ColumnReference:
    numbers = whole.numbers[name]
    starts = _cut(numbers)
    rows = (*_binned(numbers.counters, starts), whole.nulls(name))
    return ColumnReference(kind="number", level=numbers.level, starts=starts, rows=rows)


def _category_reference(whole: Profile, name: str) -> ColumnReference:
    categories = whole.categories[name]
    by_mass = sorted(categories.counts, key=lambda category: (-categories.counts[category], category))
    names = tuple(sorted(by_mass if categories.hashed else by_mass[:TOP]))
    return ColumnReference(kind="category", names=names, rows=(*_named(categories.counts, names), whole.nulls(name)))


def _cut(numbers: Numbers) -> tuple[int, ...]:
    """Where the bins begin: about equal rows in each, and a value that fills a bin alone gets its own."""
    share = numbers.count / BINS
    starts: list[int] = []
    filled = 0
    keys = list(numbers.counters)
    for key, after in itertools.pairwise(keys):
        filled += numbers.counters[key]
        if filled >= share or numbers.counters[after] >= share:
            starts.append(after)
            filled = 0
    return tuple(starts)


def _binned(counters: Mapping[int, int], starts: Sequence[int]) -> list[int]:
    rows = [0] * (len(starts) + 1)
    for key, number in counters.items():
        rows[bisect_right(starts, key)] += number
    return rows


def _named(counts: Mapping[str, int], names: Sequence[str]) -> list[int]:
    rows = [counts.get(name, 0) for name in names]
    return [*rows, sum(counts.values()) - sum(rows)]


def _column_from_dict(value: Mapping[str, Any]) -> ColumnReference:
    listed: dict[str, Any] = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
    return ColumnReference(**listed)

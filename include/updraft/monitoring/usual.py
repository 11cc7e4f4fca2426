"""What is usual between the partitions of a feed: the baseline that signs of a broken feed are held against.

Every figure says what the partitions did among themselves. A column that is often null, brings new categories every week or
repeats from partition to partition has been seen doing so, and is not reported for doing it again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from updraft.errors import DataError
from updraft.monitoring.profiles import Profile
from updraft.monitoring.reference import QUANTILES, calendar
from updraft.monitoring.sketch import Categories, Numbers

LASTING = 0.1
"""Least share of rows, in every partition, of a category that would be missed."""
_FIRST = 3
"""Partitions that a walk begins with: what the next ones bring is counted as new from then on."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a figure over the partitions; of no partition, nought."""

    mean: float = 0.0
    sd: float = 0.0


@dataclass(frozen=True)
class UsualColumn:
    """One column over the partitions of the baseline."""

    kind: Literal["number", "category"]
    nulls: float = 0.0
    """Highest share of nulls in a partition."""
    null_angle: Spread = field(default_factory=Spread)
    mode: float = 0.0
    """Highest share of one value in a partition."""
    mode_angle: Spread = field(default_factory=Spread)
    quantiles: tuple[float, ...] = ()
    """Numbers: the QUANTILES of the newest partition."""
    jumps: tuple[float, ...] = ()
    """Numbers: the greatest change of each quantile from one partition to the next."""
    moves: tuple[float, ...] = ()
    """Numbers: the root mean square of these changes, by quantile."""
    highs: tuple[float, ...] = ()
    """Numbers: lowest and highest maximum of a partition."""
    repeats: int = 0
    """Pairs of consecutive partitions in which the column is exactly the same, row for row in some order."""
    names: tuple[str, ...] | None = None
    """Categories: all that were seen; None when they are too many to be counted by name."""
    fresh: float = 0.0
    """Categories: highest share of rows in a partition whose category no earlier partition had."""
    lasting: Mapping[str, float] = field(default_factory=dict)
    """Categories that every partition has -> their lowest share of rows."""
    lost: float = 0.0
    """Categories: highest share that one which every earlier partition had used to have, when it was first missing."""


@dataclass(frozen=True)
class Usual:
    """The baseline of a feed."""

    partitions: int
    days: float
    """Days from the oldest row to the newest; 0 without event times."""
    rows: tuple[int, int]
    """Fewest and most rows of a partition."""
    columns: Mapping[str, UsualColumn]
    repeats: int = 0
    """Pairs of consecutive partitions in which every column that ever moves is the same."""

    @property
    def moving(self) -> tuple[str, ...]:
        """Columns that are not the same in every pair of consecutive partitions."""
        return tuple(name for name, column in self.columns.items() if column.repeats < self.partitions - 1)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; equal baselines give equal JSON."""
        return {
            "partitions": self.partitions,
            "days": self.days,
            "rows": list(self.rows),
            "columns": {name: asdict(column) for name, column in sorted(self.columns.items())},
            "repeats": self.repeats,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Usual:
        """Inverse of :meth:`as_dict`, also after JSON."""
        columns = {name: _column_from_dict(column) for name, column in value["columns"].items()}
        return cls(value["partitions"], value["days"], (value["rows"][0], value["rows"][1]), columns, value["repeats"])


def fit_usual(profiles: Sequence[Profile]) -> Usual:
    """The baseline of some partitions, oldest first. Columns that are a part of their row's date are left out.

    :raises DataError: when there is no partition with rows, or a column changed its type between them.
    """
    filled = [profile for profile in profiles if profile.rows]
    if not filled:
        raise DataError("a baseline needs at least one partition with rows")
    columns = {
        name: _column(name, filled)
        for name in sorted({name for profile in filled for name in (*profile.numbers, *profile.categories)})
        if not _is_calendar(name, filled)
    }
    sizes = [profile.rows for profile in filled]
    moving = [name for name, column in columns.items() if column.repeats < len(filled) - 1]
    repeats = sum(all(same(name, *pair) for name in moving) for pair in itertools.pairwise(filled)) if moving else 0
    return Usual(len(filled), _days(filled), (min(sizes), max(sizes)), columns, repeats)


def same(name: str, before: Profile, now: Profile) -> bool:
    """Whether a column holds exactly the same values in two partitions, as far as their profiles tell."""
    if name in now.numbers and name in before.numbers:
        earlier, later = before.numbers[name], now.numbers[name]
        return earlier.counters == later.counters and earlier.m2 == later.m2 and earlier.nulls == later.nulls
    return now.categories.get(name) == before.categories.get(name) and name not in {*now.numbers, *before.numbers}


def angle(part: int, whole: int) -> float:
    """The arc sine of the root of a share of rows, 0 to π/2: its spread from sampling hardly depends on the share (Anscombe 1948)."""
    return math.asin(math.sqrt(part / whole)) if whole else 0.0


def quantiles_of(numbers: Numbers) -> list[float]:
    """The QUANTILES of a column."""
    return [numbers.quantile(share) for share in QUANTILES]


def mode_rows(column: Numbers | Categories) -> int:
    """Rows of the commonest value (to the width of a counter)."""
    counts = column.counters if isinstance(column, Numbers) else column.counts
    return max(counts.values(), default=0)


def _column(name: str, profiles: Sequence[Profile]) -> UsualColumn:
    nulls = [profile.nulls(name) for profile in profiles]
    share = max(number / profile.rows for number, profile in zip(nulls, profiles, strict=True))
    null_angle = _spread([angle(number, profile.rows) for number, profile in zip(nulls, profiles, strict=True)])
    parts = [part for profile in profiles if (part := profile.numbers.get(name) or profile.categories.get(name))]
    filled = [part for part in parts if part.count]
    common = max((mode_rows(part) / part.count for part in filled), default=0.0)
    mode_angle = _spread([angle(mode_rows(part), part.count) for part in filled])
    repeats = sum(same(name, *pair) for pair in itertools.pairwise(profiles))
    numbers = [part for part in filled if isinstance(part, Numbers)]
    if len(numbers) not in (0, len(filled)):
        raise DataError(f"column {name!r} holds numbers in one partition and text in another; publish it with one type")
    if numbers:
        rows = [quantiles_of(part) for part in numbers]
        changes = [
            [abs(b - a) for a, b in zip(earlier, later, strict=True)] for earlier, later in itertools.pairwise(rows)
        ]
        by_quantile = list(zip(*changes, strict=True))
        return UsualColumn(
            "number",
            share,
            null_angle,
            common,
            mode_angle,
            quantiles=tuple(rows[-1]),
            jumps=tuple(max(quantile) for quantile in by_quantile),
            moves=tuple(math.sqrt(sum(move * move for move in q) / len(q)) for q in by_quantile),
            highs=(min(part.high for part in numbers), max(part.high for part in numbers)),
            repeats=repeats,
        )
    categories = [part for part in filled if isinstance(part, Categories)]
    walk = _walk(categories)
    return UsualColumn("category", share, null_angle, common, mode_angle, repeats=repeats, **walk)


def _walk(parts: Sequence[Categories]) -> dict[str, Any]:
    """What each partition brought that no earlier one had, and what it lacked that every earlier one had."""
    if not parts or any(part.hashed for part in parts):
        return {"names": None}
    names = set(parts[0].counts)
    lasting = {name: rows / parts[0].count for name, rows in parts[0].counts.items()}
    fresh = lost = 0.0
    for number, part in enumerate(parts[1:], start=1):
        if number >= _FIRST:
            fresh = max(fresh, sum(rows for name, rows in part.counts.items() if name not in names) / part.count)
            lost = max([lost, *(share for name, share in lasting.items() if name not in part.counts)])
        names |= set(part.counts)
        lasting = {
            name: min(share, part.counts[name] / part.count) for name, share in lasting.items() if name in part.counts
        }
    kept = {name: share for name, share in sorted(lasting.items()) if share >= LASTING}
    return {"names": tuple(sorted(names)), "fresh": fresh, "lasting": kept, "lost": lost}


def _is_calendar(name: str, profiles: Sequence[Profile]) -> bool:
    """Whether a column of numbers is a part of its row's date over all partitions."""
    parts = [profile.numbers[name] for profile in profiles if name in profile.numbers]
    return bool(parts) and calendar(name, parts) is not None


def _days(profiles: Sequence[Profile]) -> float:
    times = [moment for profile in profiles for moment in (profile.oldest, profile.newest) if moment]
    if not times:
        return 0.0
    return (datetime.fromisoformat(max(times)) - datetime.fromisoformat(min(times))).total_seconds() / 86400


def _spread(figures: Sequence[float]) -> Spread:
    if not figures:
        return Spread()
    mean = sum(figures) / len(figures)
    if len(figures) < 2:
        return Spread(mean)
    return Spread(mean, math.sqrt(sum((figure - mean) ** 2 for figure in figures) / (len(figures) - 1)))


def _column_from_dict(value: Mapping[str, Any]) -> UsualColumn:
    listed: dict[str, Any] = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
    for name in ("null_angle", "mode_angle"):
        listed[name] = Spread(**listed[name])
    return UsualColumn(**listed)

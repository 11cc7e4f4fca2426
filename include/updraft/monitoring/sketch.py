"""Mergeable summaries of one column, exact under merging: any order and grouping of merges gives the same counts.

Numbers are counted by the leading bits of their float64 representation, which are in the order of the numbers: the
scale is logarithmic, linear within an octave, and needs no range fixed beforehand. While more than CAP counters are in
use, neighbours are folded in pairs. How far must be folded depends only on the set of all numbers, never on the order
in which they came, as a subset never needs more folding than the whole (the argument of UDDSketch: Epicoco et al. 2020,
doi:10.1109/ACCESS.2020.3015599). Categories are counted by name while there are at most CAP of them, and by hash
from then on, for the same reason.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CAP = 256
"""Counters that a column may use."""
FINEST = 42
"""Bits dropped at first: 10 of the 52 bits of the mantissa stay, so counters are 0.05 to 0.1 % wide."""
_CLOCK = {"year": (1900, 2200), "month": (1, 12), "day": (1, 31), "dayofyear": (1, 366), "week": (1, 53)}
HASHES = 64
"""Counters of a column with more than CAP categories."""


@dataclass(frozen=True)
class Numbers:
    """A column of numbers. ``nulls`` also counts NaN and infinities."""

    nulls: int = 0
    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    """Sum of squared deviations from the mean."""
    low: float = math.inf
    """Smallest number; of no rows, infinity."""
    high: float = -math.inf
    level: int = FINEST
    """Bits dropped from the float64 representation."""
    counters: Mapping[int, int] = field(default_factory=dict)
    """Leading bits -> rows; ascending."""
    clock: Mapping[str, int] = field(default_factory=dict)
    """Part of the date (``year``, ``month``, …) -> rows whose number is that part of their event time."""

    @property
    def sd(self) -> float:
        """Standard deviation; 0 for fewer than two rows."""
        return math.sqrt(self.m2 / self.count) if self.count > 1 else 0.0

    def quantile(self, share: float) -> float:
        """The number that this share of the rows does not exceed, to the width of a counter; NaN for no rows."""
        target, seen = share * self.count, 0
        for key, rows in self.counters.items():
            seen += rows
            if seen >= target:
                value = float_of(key << self.level)
                if value and self.level > FINEST:  # the finest counters begin at the integers and at zero
                    value = (value + float_of((key + 1) << self.level)) / 2
                return min(max(value, self.low), self.high)
        return math.nan

    def at_level(self, level: int) -> dict[int, int]:
        """Counters at a coarser (or equal) level."""
        return _folded(self.counters, level - self.level)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; keys as differences, which are short."""
        keys = list(self.counters)
        steps = [key - before for key, before in zip(keys, [0, *keys], strict=False)]
        return {
            "nulls": self.nulls,
            "count": self.count,
            "mean": self.mean,
            "m2": self.m2,
            "low": self.low if self.count else None,  # JSON has no infinity
            "high": self.high if self.count else None,
            "level": self.level,
            "keys": steps,
            "rows": list(self.counters.values()),
            "clock": dict(self.clock),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Numbers:
        """Inverse of :meth:`as_dict`."""
        counters, key = {}, 0
        for step, rows in zip(value["keys"], value["rows"], strict=True):
            key += step
            counters[key] = rows
        plain = {name: value[name] for name in ("nulls", "count", "mean", "m2", "level", "clock")}
        ends = {"low": value["low"], "high": value["high"]} if value["count"] else {}
        return cls(**plain, **ends, counters=counters)


@dataclass(frozen=True)
class Categories:
    """A column of texts or booleans."""

    nulls: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    """Name (or hash, when ``hashed``) -> rows; in the order of names."""
    hashed: bool = False

    @property
    def count(self) -> int:
        """Rows that are not null."""
        return sum(self.counts.values())

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"nulls": self.nulls, "counts": dict(self.counts), "hashed": self.hashed}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Categories:
        """Inverse of :meth:`as_dict`."""
        return cls(value["nulls"], dict(value["counts"]), value["hashed"])


@dataclass(frozen=True)
class EventDays:
    """The day of each row: ``parts[name][index[row]]`` is a part of its date."""

    index: NDArray[np.int64]
    parts: Mapping[str, NDArray[np.int64]]


def summarise_numbers(
    values: NDArray[np.float64], known: NDArray[np.bool_] | None = None, days: EventDays | None = None
) -> Numbers:
    """Summarise float64 numbers, shape (n,).

    :param known: false where a row is null; None when none is.
    :param days: the days of the rows' event times, to find out whether the column is a calendar.
    """
    import numpy as np

    finite = np.isfinite(values)
    if known is not None:
        finite &= known
    if not finite.all():
        values = values[finite]
        days = EventDays(days.index[finite], days.parts) if days else None
    nulls = len(finite) - len(values)
    if not len(values):
        return Numbers(nulls=nulls)
    mean = float(values.mean())
    deviation = values - mean
    m2 = float(np.dot(deviation, deviation))
    low, high = float(values.min()), float(values.max())
    level, counters = _counted(values, low)
    return Numbers(
        nulls, len(values), mean, m2, low, high, level, counters, _clock(values, low, high, days) if days else {}
    )


def merge_numbers(left: Numbers, right: Numbers) -> Numbers:
    """Summary of both columns together; counters exactly, mean and M2 to rounding (Chan, Golub, LeVeque 1983)."""
    if not left.count or not right.count:
        full, empty = (left, right) if left.count else (right, left)
        return Numbers(**{**full.__dict__, "nulls": full.nulls + empty.nulls})
    level = max(left.level, right.level)
    total = dict(left.at_level(level))
    for key, rows in right.at_level(level).items():
        total[key] = total.get(key, 0) + rows
    level, counters = _fold_to_cap(dict(sorted(total.items())), level)
    count = left.count + right.count
    delta = right.mean - left.mean
    return Numbers(
        nulls=left.nulls + right.nulls,
        count=count,
        mean=(left.mean * left.count + right.mean * right.count) / count,  # the same either way round
        m2=left.m2 + right.m2 + delta * delta * left.count * right.count / count,
        low=min(left.low, right.low),
        high=max(left.high, right.high),
        level=level,
        counters=counters,
        clock={
            part: left.clock.get(part, 0) + right.clock.get(part, 0) for part in sorted({*left.clock, *right.clock})
        },
    )


def summarise_categories(counts: Mapping[str, int], nulls: int) -> Categories:
    """Summarise the counts of distinct texts."""
    counts = {name: rows for name, rows in counts.items() if rows}
    if len(counts) > CAP:
        return Categories(nulls, _hashed(counts), hashed=True)
    return Categories(nulls, dict(sorted(counts.items())))


def merge_categories(left: Categories, right: Categories) -> Categories:
    """Summary of both columns together, exact."""
    nulls = left.nulls + right.nulls
    if not left.hashed and not right.hashed:
        return summarise_categories(_added(left.counts, right.counts), nulls)
    sides = [side.counts if side.hashed else _hashed(side.counts) for side in (left, right)]
    return Categories(nulls, dict(sorted(_added(*sides).items())), hashed=True)


def event_days(times: NDArray[np.datetime64]) -> EventDays:
    """Days of event times (datetime64, UTC), and the parts of their dates that a calendar column could hold."""
    import numpy as np

    known = ~np.isnat(times)
    ordinal = times.astype("datetime64[D]").astype(np.int64)
    if not known.any():
        return EventDays(np.zeros(len(times), dtype=np.int64), {})
    first, last = int(ordinal[known].min()), int(ordinal[known].max())
    days = np.arange(first, last + 1)
    parts = {
        "year": _year(days),
        "month": days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12 + 1,
    }
    parts["day"] = (
        days - days.astype("datetime64[D]").astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + 1
    )
    parts["dayofyear"] = days - _new_year(parts["year"]) + 1
    thursday = days - (days + 3) % 7 + 3  # names the year of an ISO week; day 0 is a Thursday
    parts["week"] = (thursday - _new_year(_year(thursday))) // 7 + 1
    never = len(days)
    index = np.where(known, ordinal - first, never)
    return EventDays(index, {name: np.append(part, -1) for name, part in parts.items()})


def float_of(ordered: int) -> float:
    """The number whose ordered float64 representation this is; infinite beyond the last."""
    import struct

    if ordered >= 0x7FF0000000000000:
        return math.inf
    if ordered <= ~0x7FF0000000000000:
        return -math.inf
    bits = ordered if ordered >= 0 else ordered ^ 0x7FFFFFFFFFFFFFFF
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])


def _year(days: NDArray[np.int64]) -> NDArray[np.int64]:
    import numpy as np

    return days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970


def _new_year(years: NDArray[np.int64]) -> NDArray[np.int64]:
    import numpy as np

    return (years - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)


def _counted(values: NDArray[np.float64], low: float) -> tuple[int, dict[int, int]]:
    """Level and counters, ascending."""
    import numpy as np

    bits = (values + 0.0).view(np.int64)  # + 0.0 makes -0.0 a zero
    if low < 0:
        bits = np.where(bits < 0, bits ^ np.int64(0x7FFFFFFFFFFFFFFF), bits)
    keys = bits >> FINEST
    first, last = int(keys.min()), int(keys.max())
    if last - first < max(4 * len(keys), 1 << 16):  # counting beats sorting where the range is small beside the rows
        keys -= first
        rows = np.bincount(keys)
        used = np.flatnonzero(rows)
        rows, used = rows[used], used + first
    else:
        used, rows = np.unique(keys, return_counts=True)
    level = FINEST
    while len(used) > CAP:
        used, level = used >> 1, level + 1
        begins = np.flatnonzero(np.r_[True, used[1:] != used[:-1]])
        used, rows = used[begins], np.add.reduceat(rows, begins)
    return level, dict(zip(used.tolist(), rows.tolist(), strict=True))


def _folded(counters: Mapping[int, int], bits: int) -> dict[int, int]:
    if not bits:
        return dict(counters)
    folded: dict[int, int] = {}
    for key, rows in counters.items():
        folded[key >> bits] = folded.get(key >> bits, 0) + rows
    return folded


def _fold_to_cap(counters: dict[int, int], level: int) -> tuple[int, dict[int, int]]:
    while len(counters) > CAP:
        counters = _folded(counters, 1)
        level += 1
    return level, counters


def _clock(values: NDArray[np.float64], low: float, high: float, days: EventDays) -> dict[str, int]:
    """Rows in which a number is a part of its row's date; only counted where the range allows it."""
    agree: dict[str, int] = {}
    for name, part in days.parts.items():
        least, most = _CLOCK[name]
        if least <= low and high <= most and (rows := int((values == part[days.index]).sum())):
            agree[name] = rows
    return agree


def _hashed(counts: Mapping[str, int]) -> dict[str, int]:
    folded: dict[str, int] = {}
    for name, rows in counts.items():
        key = f"{zlib.crc32(name.encode()) % HASHES:02d}"
        folded[key] = folded.get(key, 0) + rows
    return dict(sorted(folded.items()))


def _added(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    total = dict(left)
    for name, rows in right.items():
        total[name] = total.get(name, 0) + rows
    return total

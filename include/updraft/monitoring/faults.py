"""Broken feeds, told from drift in the world: signs that the data are wrong rather than that the world has changed.

Each sign is measured against what the reference's own partitions did among themselves, so a column that is often null,
or brings new categories every week, is not reported for it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from updraft.monitoring.profiles import Profile
from updraft.monitoring.reference import QUANTILES, ColumnReference, Reference
from updraft.monitoring.sketch import Categories, Numbers

ENOUGH = 50
"""Rows below which a share says too little."""
MOVED = 1.25
"""Usual moves (the largest in the reference) beyond which a move may be a change of unit."""
_FACTORS = {
    "miles read as kilometres": 1 / 1.609344,
    "kilometres read as miles": 1.609344,
    "feet read as metres": 1 / 0.3048,
    "metres read as feet": 0.3048,
    "pounds read as kilograms": 1 / 0.45359237,
    "kilograms read as pounds": 0.45359237,
    "inches of mercury read as hectopascal": 1 / 33.8639,
    "hectopascal read as inches of mercury": 33.8639,
    "inches read as millimetres": 1 / 25.4,
    "millimetres read as inches": 25.4,
    "a factor of 10": 10.0,
    "a factor of 1/10": 0.1,
    "a factor of 100": 100.0,
    "a factor of 1/100": 0.01,
    "a factor of 1000": 1000.0,
    "a factor of 1/1000": 0.001,
    "a factor of 60": 60.0,
    "a factor of 1/60": 1 / 60,
}
"""Name -> what the numbers were multiplied by."""
_SHIFTS = {
    "°C in place of °F": (1 / 1.8, -32 / 1.8),
    "°F in place of °C": (1.8, 32.0),
    "K in place of °C": (1.0, 273.15),
}
_CHANGES: dict[str, tuple[float, float]] = {**{name: (factor, 0.0) for name, factor in _FACTORS.items()}, **_SHIFTS}

Kind = Literal["nulls", "new_categories", "lost_category", "unit", "type", "constant", "stale", "rows"]


@dataclass(frozen=True)
class FeedFault:
    """One sign of a broken feed. ``column`` is None when it is about the partition as a whole."""

    kind: Kind
    column: str | None
    value: float
    """What was seen, in the unit that ``words`` tells."""
    expected: float
    """The most (or least) that the reference's partitions showed."""
    words: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def feed_faults(profile: Profile, reference: Reference, previous: Profile | None = None) -> tuple[FeedFault, ...]:
    """Signs that the partition's feed is broken, in the order of columns; none is the usual answer.

    :param previous: the partition before this one. With it, rows that are no newer and numbers that repeat are found.
    """
    found: list[FeedFault] = _whole(profile, reference, previous)
    if not profile.rows:
        return tuple(found)
    for name, column in sorted(reference.columns.items()):
        known = profile.numbers.get(name) or profile.categories.get(name)
        if known is not None and (isinstance(known, Numbers) != (column.kind == "number")):
            found.append(
                FeedFault("type", name, 0, 0, f"{name} was a {column.kind} in the reference and is not one now")
            )
            continue
        found += _nulls(name, column, profile)
        if isinstance(known, Categories):
            found += _categories(name, column, known, reference)
        elif isinstance(known, Numbers) and known.count >= ENOUGH:
            before = previous.numbers.get(name) if previous else None
            found += _unit(name, column, known, before) or _constant(name, column, known.counters.values(), known.count)
            found += _repeats(name, known, before)
    return tuple(found)


def _whole(profile: Profile, reference: Reference, previous: Profile | None) -> list[FeedFault]:
    found: list[FeedFault] = []
    fewest, most = reference.rows
    if profile.rows < fewest / 5 or profile.rows > most * 5:
        words = f"{profile.rows} rows, where the partitions of the reference have {fewest} to {most}"
        found.append(FeedFault("rows", None, profile.rows, fewest if profile.rows < fewest else most, words))
    if previous and profile.newest and previous.newest and profile.newest <= previous.newest:
        words = f"the newest row is of {profile.newest}, no newer than that of the partition before ({previous.newest})"
        found.append(FeedFault("stale", None, 0, 0, words))
    return found


def _nulls(name: str, column: ColumnReference, profile: Profile) -> list[FeedFault]:
    """A jump past twice the highest share seen (in odds, so that it also works near 1), and by five points at least."""
    share = profile.nulls(name) / profile.rows
    if profile.rows < ENOUGH or share <= column.nulls + 0.05:
        return []
    odds = column.nulls / max(1 - column.nulls, 1e-9)
    if share < 1 and share / (1 - share) <= 4 * odds:
        return []
    words = (
        f"{name} is null in {share:.1%} of the rows; in no partition of the reference in more than {column.nulls:.1%}"
    )
    return [FeedFault("nulls", name, share, column.nulls, words)]


def _categories(name: str, column: ColumnReference, now: Categories, reference: Reference) -> list[FeedFault]:
    known = reference.profile.categories[name]
    if now.count < ENOUGH:
        return []
    found = _constant(name, column, now.counts.values(), now.count)
    if now.hashed or known.hashed:
        return found
    fresh = {one: rows for one, rows in now.counts.items() if one not in known.counts}
    share = sum(fresh.values()) / now.count
    if share > max(0.02, 3 * column.new):
        most = sorted(fresh, key=lambda one: (-fresh[one], one))[:3]
        words = (
            f"{name} holds categories that the reference never had in {share:.1%} of the rows, such as"
            f" {', '.join(map(repr, most))}; at most {column.new:.1%} was new to a partition there"
        )
        found.append(FeedFault("new_categories", name, share, column.new, words))
    for one, lowest in column.always.items():
        if one not in now.counts and lowest * now.count >= 20:
            words = (
                f"{name} = {one!r} is gone; the reference's partitions all have it, in at least {lowest:.1%} of rows"
            )
            found.append(FeedFault("lost_category", name, 0.0, lowest, words))
    return found


def _constant(name: str, column: ColumnReference, counts: Any, count: int) -> list[FeedFault]:
    share = max(counts) / count
    if share < 0.995 or column.mode > 0.8:  # rain is zero for weeks
        return []
    words = (
        f"{name} is one and the same value in {share:.1%} of the rows; in the reference in at most {column.mode:.1%}"
    )
    return [FeedFault("constant", name, share, column.mode, words)]


def _repeats(name: str, now: Numbers, before: Numbers | None) -> list[FeedFault]:
    """Numbers spread over many counters do not fall into them twice with the same counts, unless they are the same."""
    if before is None or len(now.counters) < 20 or now.counters != before.counters or now.m2 != before.m2:
        return []
    words = f"{name} holds the same {now.count} numbers as in the partition before"
    return [FeedFault("stale", name, now.count, 0, words)]


def _unit(name: str, column: ColumnReference, now: Numbers, before: Numbers | None) -> list[FeedFault]:
    """A change of unit moves the quantiles farther than they moved in the reference, and undoing it explains that.

    Undone, the quantiles must be within the usual moves, and four times nearer than they are; and the largest number
    must be beyond what a partition of the reference ever had, on the side that the change goes to.
    """
    last = _quantiles(before) if before and before.count >= ENOUGH else list(column.quantiles)
    if not column.jumps or sum(map(bool, last)) < 3:  # zeros stay zeros in any unit
        return []
    seen = _quantiles(now)
    width = max(last) - min(last)
    usual = [jump + 0.02 * width + 0.002 * abs(middle) for jump, middle in zip(column.jumps, last, strict=True)]

    def far(numbers: list[float]) -> float:
        """The largest move of a quantile, in usual moves."""
        return max(abs(a - b) / c for a, b, c in zip(numbers, last, usual, strict=True))

    moved = far(seen)
    undone = {why: far([(one - shift) / factor for one in seen]) for why, (factor, shift) in _CHANGES.items()}
    why = min(undone, key=lambda one: undone[one])
    if moved <= MOVED or undone[why] > min(1.0, moved / 4):
        return []
    factor, shift = _CHANGES[why]
    rises = factor * last[2] + shift > last[2]
    if now.high <= column.highs[1] if rises else now.high >= column.highs[0]:
        return []
    words = (
        f"{name} looks as if its unit had changed ({why}?): its median is {seen[2]:.6g}"
        f" after {last[2]:.6g} in the partition before, and undoing that explains the move"
    )
    return [FeedFault("unit", name, seen[2], last[2], words)]


def _quantiles(numbers: Numbers) -> list[float]:
    return [numbers.quantile(share) for share in QUANTILES]

"""Broken feeds, told from drift in the world: signs that the data are wrong rather than that the world has changed.

A sign is a claim that the data are wrong, with an error rate: on data whose feed is right, at most one partition in 200 shows any
sign at all (``tests/monitoring/test_false_faults.py`` counts, on regular, seasonal and growing tables). So each sign must be both large
and far beyond what the partitions of the baseline did among themselves (:mod:`.usual`): beyond a prediction bound at ERROR, shared among the
columns, of Student's t, where the figure varies; beyond a multiple of the most that a walk through the baseline met, where it is nought most
of the time. A sign that the baseline is too short to judge is not given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from updraft.monitoring.profiles import Profile
from updraft.monitoring.sketch import Categories, Numbers
from updraft.monitoring.usual import LASTING, Usual, UsualColumn, angle, mode_rows, quantiles_of, same

ENOUGH = 50
"""Rows below which a share says too little."""
FEWEST = 8
"""Partitions below which nothing is called unusual."""
WEEK = 6.5
"""Days that a baseline must cover before partitions of less than a day are held against it: nights, then weekends, differ."""
ERROR = 0.001
"""Chance of a false sign of a partition, shared among the columns, were their figures normal and independent: five times below
the rate that is stated, as they are neither."""
FRESH = 0.08
"""Share of rows of categories never seen before (or gone for good) below which they are news of the world rather than of the feed."""
YOUNG = 2.5
"""Divided by the partitions of the baseline, the same share for a young one: in eight partitions many a newcomer has not come yet."""
NEWS = 10
"""Multiple of the largest share that was new to a partition of the baseline: shares of newcomers have a heavy tail."""
_ALL = math.asin(math.sqrt(0.995))
"""A column that is usually known and is null nearly everywhere is gone, however much its nulls vary."""
SPREAD = 20
"""Different values that a column must hold before its repeating says something."""
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
    """The most (or least) that the baseline's partitions showed."""
    words: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def feed_faults(profile: Profile, usual: Usual, previous: Profile | None = None) -> tuple[FeedFault, ...]:
    """Signs that the partition's feed is broken, in the order of columns; none is the usual answer.

    :param usual: of the partitions that it is held against.
    :param previous: the partition before this one. With it, rows that are no newer and rows that repeat are found.
    """
    signs: list[FeedFault] = _stale(profile, usual, previous)
    judged = usual.partitions >= FEWEST and (_days(profile) >= 1 or usual.days >= WEEK)
    if judged or not profile.rows:
        signs += _size(profile, usual)
    if not profile.rows:
        return tuple(signs)
    bound = _bound(usual)
    for name, column in sorted(usual.columns.items()):
        now = profile.numbers.get(name) or profile.categories.get(name)
        if now is not None and (isinstance(now, Numbers) != (column.kind == "number")):
            words = f"{name} was a {column.kind} in the baseline and is not one now"
            signs.append(FeedFault("type", name, 0, 0, words))
        elif judged:
            signs += _nulls(name, column, profile, bound)
            if now is not None and now.count >= ENOUGH:
                signs += _of_values(name, column, now, previous, bound, max(FRESH, YOUNG / usual.partitions))
    return tuple(signs)


def _of_values(
    name: str, column: UsualColumn, now: Numbers | Categories, previous: Profile | None, bound: float, news: float
) -> list[FeedFault]:
    if isinstance(now, Categories):
        return _constant(name, column, now, bound) or _categories(name, column, now, news)
    before = previous.numbers.get(name) if previous else None
    return _unit(name, column, now, before, bound) or _constant(name, column, now, bound)


def _bound(usual: Usual) -> float:
    """Standard deviations by which a normal figure of a further partition exceeds the mean of the baseline at ERROR.

    The prediction interval of Student's t with as many tests as there are columns and signs (Bonferroni): Hahn, Meeker 1991, "Statistical
    Intervals", section 4.8.
    """
    from scipy.stats import t

    tests = 3 * max(len(usual.columns), 1)
    partitions = max(usual.partitions, 2)
    return float(t.isf(ERROR / tests, partitions - 1)) * math.sqrt(1 + 1 / partitions)


def _days(profile: Profile) -> float:
    """Days from the first row to the last."""
    from datetime import datetime

    if not profile.oldest or not profile.newest:
        return 0.0
    return (datetime.fromisoformat(profile.newest) - datetime.fromisoformat(profile.oldest)).total_seconds() / 86400


def _size(profile: Profile, usual: Usual) -> list[FeedFault]:
    fewest, most = usual.rows
    if fewest / 5 <= profile.rows <= most * 5 and profile.rows:
        return []
    words = f"{profile.rows} rows, where the partitions of the baseline have {fewest} to {most}"
    return [FeedFault("rows", None, profile.rows, fewest if profile.rows < fewest else most, words)]


def _stale(profile: Profile, usual: Usual, previous: Profile | None) -> list[FeedFault]:
    """Rows that are no newer, or the rows of the partition before under new keys and times.

    Repeating is told from everything that ever moves in the baseline, all at once: a column may well repeat (hours, weekdays, the same
    hundred shops), and so may all of them where the world is a timetable, but then they do in the baseline too.
    """
    if previous is None or not profile.rows:
        return []
    if profile.newest and previous.newest and profile.newest <= previous.newest:
        words = f"the newest row is of {profile.newest}, no newer than that of the partition before ({previous.newest})"
        return [FeedFault("stale", None, 0, 0, words)]
    moving = [name for name in usual.moving if name in {*profile.numbers, *profile.categories}]
    widest = max((_values(profile, name) for name in moving), default=0)
    if usual.partitions < FEWEST or usual.repeats or max(widest, len(moving)) < SPREAD or profile.rows < ENOUGH:
        return []
    if not all(same(name, previous, profile) for name in moving):
        return []
    words = f"the {profile.rows} rows hold the same values as those of the partition before, in each of the {len(moving)} columns that move"
    return [FeedFault("stale", None, profile.rows, 0, words)]


def _values(profile: Profile, name: str) -> int:
    """Different values of a column, as far as its counters tell them apart."""
    if name in profile.numbers:
        return len(profile.numbers[name].counters)
    return len(profile.categories[name].counts)


def _nulls(name: str, column: UsualColumn, profile: Profile, bound: float) -> list[FeedFault]:
    """A jump by five points, to four times the highest odds of the baseline, beyond what their spread explains."""
    nulls, rows = profile.nulls(name), profile.rows
    share = nulls / rows
    if rows < ENOUGH or share <= column.nulls + 0.05:
        return []
    odds = column.nulls / max(1 - column.nulls, 1e-9)
    if share < 1 and share / (1 - share) <= 4 * odds:
        return []
    limit = column.null_angle.mean + bound * column.null_angle.sd
    if angle(nulls, rows) <= (min(limit, _ALL) if column.nulls < 0.5 else limit):
        return []
    words = (
        f"{name} is null in {share:.1%} of the rows; in no partition of the baseline in more than {column.nulls:.1%}"
    )
    return [FeedFault("nulls", name, share, column.nulls, words)]


def _categories(name: str, column: UsualColumn, now: Categories, news: float) -> list[FeedFault]:
    """Categories that come or go with more than a share ``news`` of the rows, far beyond what came and went in the baseline."""
    if now.hashed or column.names is None:
        return []
    signs: list[FeedFault] = []
    known = set(column.names)
    fresh = {category: rows for category, rows in now.counts.items() if category not in known}
    share = sum(fresh.values()) / now.count
    if share > max(news, NEWS * column.fresh):
        most = sorted(fresh, key=lambda category: (-fresh[category], category))[:3]
        words = (
            f"{name} holds categories that the baseline never had in {share:.1%} of the rows, such as"
            f" {', '.join(map(repr, most))}; at most {column.fresh:.1%} was new to a partition there"
        )
        signs.append(FeedFault("new_categories", name, share, column.fresh, words))
    for category, lowest in column.lasting.items():
        if category not in now.counts and lowest > max(news, LASTING, 2 * column.lost) and lowest * now.count >= 20:
            words = f"{name} = {category!r} is gone; the baseline's partitions all have it, in at least {lowest:.1%} of rows"
            signs.append(FeedFault("lost_category", name, 0.0, lowest, words))
    return signs


def _constant(name: str, column: UsualColumn, now: Numbers | Categories, bound: float) -> list[FeedFault]:
    rows = mode_rows(now)
    share = rows / now.count
    if share < 0.995 or column.mode > 0.8:  # rain is zero for weeks
        return []
    if angle(rows, now.count) <= column.mode_angle.mean + bound * column.mode_angle.sd:
        return []
    words = f"{name} is one and the same value in {share:.1%} of the rows; in the baseline in at most {column.mode:.1%}"
    return [FeedFault("constant", name, share, column.mode, words)]


def _unit(name: str, column: UsualColumn, now: Numbers, before: Numbers | None, bound: float) -> list[FeedFault]:
    """A change of unit moves the quantiles farther than they ever moved in the baseline, and undoing it explains that.

    Undone, the quantiles must be within the usual moves, and four times nearer than they are; half of them must have moved beyond what the
    spread of their moves explains; and the largest number must be beyond what a partition of the baseline ever had, on the side that
    the change goes to.
    """
    last = quantiles_of(before) if before and before.count >= ENOUGH else list(column.quantiles)
    if not column.jumps or sum(map(bool, last)) < 3:  # zeros stay zeros in any unit
        return []
    seen = quantiles_of(now)
    width = max(last) - min(last)
    least = [0.02 * width + 0.002 * abs(quantile) for quantile in last]
    usual = [jump + floor for jump, floor in zip(column.jumps, least, strict=True)]

    def far(quantiles: Sequence[float]) -> float:
        """The largest move of a quantile, in usual moves."""
        return max(abs(a - b) / c for a, b, c in zip(quantiles, last, usual, strict=True))

    moved = far(seen)
    undone = {why: far([(q - shift) / factor for q in seen]) for why, (factor, shift) in _CHANGES.items()}
    why = min(undone, key=lambda change: undone[change])
    if moved <= 1.25 or undone[why] > min(1.0, moved / 4):
        return []
    spread = [max(move, floor / 2) for move, floor in zip(column.moves, least, strict=True)]
    beyond = [abs(a - b) > bound * c for a, b, c in zip(seen, last, spread, strict=True)]
    if 2 * sum(beyond) < len(beyond):
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

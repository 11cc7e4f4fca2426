"""Numbers and ticks as the pages write them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from updraft.control.cost import Gain
from updraft.data.partitions import KEY_FORMAT


def figure(value: float | None) -> str:
    """A loss or a gain: four significant digits, or a dash."""
    return "–" if value is None else f"{value:.4g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def signed(value: float | None) -> str:
    """A gain with its sign."""
    return "–" if value is None else f"{value:+.4f}"


def amount(value: float | None) -> str:
    """Hours or money: two decimals, more where it is less than that tells, or a dash."""
    return "–" if value is None else f"{value:,.2f}" if value == 0 or abs(value) >= 0.1 else f"{value:.2g}"


def gained(newest: Gain, currency: str) -> str:
    """What the newest training gained, and what for: one sentence."""
    better = newest.gain > 0
    told = f"Version {newest.version}, trained at {day(newest.key)}, {'lowered' if better else 'did not lower'} the loss of its holdout"
    told += f" by {figure(newest.gain)}" if better else f": {figure(abs(newest.gain))} above the champion's"
    if newest.cost is None:
        return f"{told}."
    told += f", for {amount(newest.cost)} {currency}"
    return f"{told}: {figure(newest.gain / newest.cost)} for each {currency}." if better and newest.cost else f"{told}."


def days(value: float | None) -> str:
    """A span of days, or a dash; of hours where it is shorter than two days and no whole day."""
    if value is None:
        return "–"
    return f"{value:.1f} d".replace(".0 d", " d") if value >= 2 or value == int(value) else f"{24 * value:.1f} h"


def day(key: str | None) -> str:
    """The tick of a key as people write a day: ``16 Dec 2013``."""
    tick = _tick(key)
    return str(key or "–") if tick is None else f"{tick.day} {tick:%b %Y}"


def hour(key: str | None) -> str:
    """The same with its time, for ticks that come at several times of a day: ``16 Dec 2013, 05:00``."""
    tick = _tick(key)
    return str(key or "–") if tick is None else f"{tick.day} {tick:%b %Y, %H:%M}"


def several_a_day(keys: Iterable[str | None]) -> bool:
    """Whether some ticks come at several times of the day."""
    ticks = {tick.time() for key in keys if (tick := _tick(key)) is not None}
    return len(ticks) > 1


def short_day(key: str) -> str:
    """The same for an axis."""
    tick = _tick(key)
    return key if tick is None else f"{tick.day} {tick:%b %y}"


def _tick(key: str | None) -> datetime | None:
    try:
        return datetime.strptime(key or "", KEY_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None

"""Tables whose feed is right by construction, though regular, seasonal or growing: what a feed fault must not be found in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

START = pd.Timestamp("2022-01-03", tz="UTC")
DAY = pd.Timedelta(days=1)


def _frame(times: pd.DatetimeIndex, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"_event_time": times, **columns})


def market(rng: np.random.Generator, partitions: int) -> list[pd.DataFrame]:
    """A price every half hour for a week: period of the day and weekday repeat exactly, price and demand are autocorrelated."""
    periods = 336
    noise = np.zeros(partitions * periods)
    steps = rng.normal(size=len(noise))
    for row in range(1, len(noise)):
        noise[row] = 0.97 * noise[row - 1] + 0.25 * steps[row]
    frames = []
    for number in range(partitions):
        times = pd.date_range(START + 7 * number * DAY, periods=periods, freq="30min")
        part = slice(number * periods, (number + 1) * periods)
        daily = np.sin(2 * np.pi * np.arange(periods) / 48)
        frames.append(
            _frame(
                times,
                period=np.arange(periods) % 48 / 47,
                day=(times.dayofweek + 1).astype(str),
                hour=times.hour,
                price=np.exp(0.5 * daily + 0.6 * noise[part]),
                demand=40 + 8 * daily + 3 * noise[part] + rng.normal(size=periods),
            )
        )
    return frames


def shops(rng: np.random.Generator, partitions: int) -> list[pd.DataFrame]:
    """A panel: the same hundred shops every day, with their size and town, a promotion for some, their weekday."""
    shop = np.array([f"shop {number:03d}" for number in range(100)])
    size, town = rng.lognormal(6, 0.5, 100).round(), rng.choice(list("ABCDE"), 100)
    frames = []
    for number in range(partitions):
        times = pd.DatetimeIndex([START + number * DAY] * 100)
        promotion = (rng.random(100) < 0.1) & (number % 7 < 5)
        frames.append(_frame(times, shop=shop, size=size, town=town, weekday=number % 7, promotion=promotion))
    return frames


def timetable(rng: np.random.Generator, partitions: int) -> list[pd.DataFrame]:
    """Nothing but a plan: every row's features are the same each day, save on the few days when the plan changes."""
    line, stop = np.repeat(np.arange(12), 10), np.tile(np.arange(10), 12)
    minute = rng.integers(0, 60, 120)
    frames = []
    for number in range(partitions):
        if number % 61 == 60:
            minute = rng.integers(0, 60, 120)
        times = pd.date_range(START + number * DAY, periods=120, freq="10min")
        frames.append(_frame(times, line=line.astype(str), stop=stop, minute=minute))
    return frames


def meters(rng: np.random.Generator, partitions: int) -> list[pd.DataFrame]:
    """Counters that only rise: a running number, a meter's reading, the days since an installation."""
    reading = rng.uniform(0, 5000, 80)
    age = rng.integers(0, 900, 80)
    frames = []
    for number in range(partitions):
        reading = reading + rng.gamma(2.0, 4.0, 80)
        times = pd.date_range(START + number * DAY, periods=80, freq="15min")
        frames.append(
            _frame(
                times,
                number=np.arange(80) + 80 * number,
                reading=reading.round(1),
                days=age + number,
                usage=rng.gamma(2.0, 4.0, 80),
            )
        )
    return frames


def seasons(rng: np.random.Generator, partitions: int) -> list[pd.DataFrame]:
    """Weeks of a year: temperature, ice, rain that stays away for a month, goods that are sold in their season only."""
    goods = np.array([f"good {number:02d}" for number in range(40)])
    peak, width = rng.uniform(0, 52, 40), rng.uniform(6, 40, 40)
    frames = []
    for number in range(partitions):
        away = np.abs((number - peak + 26) % 52 - 26)
        weight = np.exp(-0.5 * (away / width) ** 2) * np.arange(1, 41) ** -0.7
        warm = -np.cos(2 * np.pi * number / 52)
        times = pd.date_range(START + 7 * number * DAY, periods=500, freq="20min")
        frames.append(
            _frame(
                times,
                good=rng.choice(goods, 500, p=weight / weight.sum()),
                temperature=10 + 12 * warm + rng.normal(0, 4, 500) + rng.normal(0, 3),
                rain=np.where(rng.random(500) < max(0.0, 0.25 - 0.3 * warm), rng.gamma(1, 2, 500).round(1), 0.0),
                depth=np.where(rng.random(500) < 0.3 - 0.25 * warm, np.nan, rng.normal(5, 1, 500)),
            )
        )
    return frames


def growth(rng: np.random.Generator, partitions: int) -> list[pd.DataFrame]:
    """A business that grows: rows, new merchants every week and some that close, amounts with a heavy tail, prices that rise."""
    alive = [f"m{number}" for number in range(30)]
    weight = {name: float(rng.pareto(1.5) + 0.2) for name in alive}
    born = len(alive)
    frames = []
    for number in range(partitions):
        for _ in range(rng.poisson(0.7)):
            alive.append(f"m{born}")
            weight[f"m{born}"] = float(rng.pareto(1.5) + 0.2)
            born += 1
        if len(alive) > 20 and rng.random() < 0.25:
            alive.pop(int(rng.integers(len(alive))))
        rows = int(rng.poisson(300 * 1.01**number))
        chances = np.array([weight[name] for name in alive])
        times = START + number * DAY + pd.to_timedelta(np.sort(rng.uniform(0, 86400, rows)), unit="s")
        amount = rng.lognormal(3 + 0.004 * number, 1.4, rows).round(2)
        frames.append(
            _frame(
                times,
                merchant=rng.choice(alive, rows, p=chances / chances.sum()),
                amount=amount,
                foreign=rng.random(rows) < 0.04,
                device=np.where(rng.random(rows) < min(0.6, 0.05 + 0.004 * number), "app", "web"),
                score=np.where(rng.random(rows) < rng.beta(2, 18), np.nan, rng.normal(size=rows)),
            )
        )
    return frames


def hours(rng: np.random.Generator, partitions: int) -> list[pd.DataFrame]:
    """Sixty rows an hour: day and night, few rows of rare things, one column that only works by day."""
    frames = []
    level = 0.0
    for number in range(partitions):
        level = 0.98 * level + rng.normal(0, 0.2)
        day = 6 <= number % 24 < 22
        times = pd.date_range(START + pd.Timedelta(hours=number), periods=60, freq="1min")
        frames.append(
            _frame(
                times,
                hour=np.full(60, number % 24),
                load=20 + (10 if day else 0) + 4 * level + rng.normal(0, 2, 60),
                sun=np.maximum(0.0, np.sin(2 * np.pi * (number % 24 - 6) / 24)) * rng.uniform(0.5, 1, 60),
                state=rng.choice(["idle", "busy", "fault"], 60, p=[0.3, 0.69, 0.01] if day else [0.8, 0.19, 0.01]),
                operator=rng.choice([f"op{(number // 8) % 9}", f"op{(number // 8 + 1) % 9}"], 60),
            )
        )
    return frames


def flags(rng: np.random.Generator, partitions: int) -> list[pd.DataFrame]:
    """Forty sparse yes-or-no columns whose shares wander."""
    shares = rng.beta(0.6, 4, 40)
    frames = []
    for number in range(partitions):
        shares = np.clip(shares + rng.normal(0, 0.006, 40), 0.002, 0.998)
        times = pd.date_range(START + number * DAY, periods=240, freq="6min")
        frames.append(
            _frame(
                times, **{f"f{column}": (rng.random(240) < share).astype(int) for column, share in enumerate(shares)}
            )
        )
    return frames


TABLES: dict[str, Callable[[np.random.Generator, int], list[pd.DataFrame]]] = {
    table.__name__: table for table in (market, shops, timetable, meters, seasons, growth, hours, flags)
}

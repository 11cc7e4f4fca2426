"""Variants of the bound, each calibrated to the same limits: what each of its parts is worth.

``PYTHONPATH=include:. .venv/bin/python tests/release/variants.py`` prints rows for docs/verdict.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from updraft.release.bound import FIRST_LOOK, MOST_AUTOCORRELATION, PRIOR, _Moments, _moments
from updraft.release.simulation import ALPHA, LIMITS, equal_models

SEED = 4242
Inflation = Callable[[np.ndarray, np.ndarray], np.ndarray]
COUNT = np.arange(1, 101, dtype=float)


def correlations(x: np.ndarray, lags: int) -> list[np.ndarray]:
    """Autocorrelations of every prefix."""
    mean = np.cumsum(x, axis=1) / COUNT
    spread = np.maximum(np.cumsum(x**2, axis=1) - COUNT * mean**2, 1e-12)
    found = []
    for lag in range(1, lags + 1):
        late, early, r = x[:, lag:], x[:, :-lag], np.zeros_like(x)
        sums = np.cumsum(late, axis=1) + np.cumsum(early, axis=1)
        r[:, lag:] = np.cumsum(late * early, axis=1) - mean[:, lag:] * sums + (COUNT[lag:] - lag) * mean[:, lag:] ** 2
        found.append(r / spread)
    return found


def first_order(x: np.ndarray, of: np.ndarray, low: float = 0.0, power: float = 1.0) -> np.ndarray:
    """The bound's own inflation; with ``low`` < 0 negative autocorrelation is credited."""
    del of
    [r] = correlations(x, 1)
    carried = np.clip(r + (1 + 4 * r) / COUNT, low, MOST_AUTOCORRELATION)
    return ((1 + carried) / (1 - carried)) ** power


def bartlett(x: np.ndarray, lags: int, *, signed: bool) -> np.ndarray:
    """Bartlett sum of autocorrelations, of their positive parts unless signed."""
    parts = enumerate(correlations(x, lags), 1)
    return 1 + 2 * sum((1 - lag / (lags + 1)) * (r + 0.5 / COUNT if signed else np.maximum(r, 0)) for lag, r in parts)


VARIANTS: dict[str, tuple[Inflation, bool, bool]] = {
    "the bound": (first_order, True, True),
    "no skewness term": (first_order, False, True),
    "variance about the mean": (first_order, True, False),
    "five Bartlett lags, positive parts, for AR(1)": (lambda x, _: bartlett(x, 5, signed=False), True, True),
    "the larger of both": (lambda x, i: np.maximum(i, bartlett(x, 5, signed=False)), True, True),
    "the larger of AR(1) and seven signed lags": (lambda x, i: np.maximum(i, bartlett(x, 7, signed=True)), True, True),
    "negative autocorrelation credited, I to the 1.4": (lambda x, i: first_order(x, i, -0.4, 1.4), True, True),
}


def statistic(x: np.ndarray, variant: tuple[Inflation, bool, bool]) -> np.ndarray:
    """What the level must not fall below for a look to promote: minus twice its logarithm."""
    inflation, skewed, about_m = variant
    found: _Moments = _moments(x)
    t = found.mean / np.where(found.deviation > 0, found.deviation, 1.0)
    skew = np.minimum(found.skewness, 0) * skewed
    w = np.maximum(t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / (6 * COUNT), 0)
    square = COUNT * w**2 / ((1 + about_m * w**2) * inflation(x, found.inflation))
    level = square / (1 + PRIOR / COUNT) - np.log((COUNT + PRIOR) / (4 * PRIOR))
    return np.asarray(level[:, FIRST_LOOK - 1 :])


def main() -> None:
    """Print a row a variant: false promotions, clusters to promote, level that was needed."""
    null = {shape: equal_models(shape, seed=SEED) for shape in (*LIMITS, "AR .8", "ARMA .8, −.6")}
    gain = equal_models("normal", seed=SEED + 1, histories=2000)
    for name, variant in VARIANTS.items():
        best = {shape: statistic(x, variant).max(axis=1) for shape, x in null.items()}
        needed = max(float(np.quantile(best[shape], 1 - 0.95 * limit)) for shape, limit in LIMITS.items())
        rates = [f"{(one > needed).mean():.1%}" for one in best.values()]
        power = []
        for size in (0.5, 1.0):
            shown = statistic(gain + size, variant) > needed
            power.append(f"{np.median(np.where(shown.any(axis=1), shown.argmax(axis=1) + FIRST_LOOK, 999)):g}")
        factor = np.exp(-needed / 2) / ALPHA
        print(f"| {name} | {' | '.join(rates)} | {' / '.join(power)} | {factor:.2f} |")


if __name__ == "__main__":
    main()

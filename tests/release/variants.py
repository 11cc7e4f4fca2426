"""Variants of the bound, each calibrated to the same limits: what each of its parts is worth.

``PYTHONPATH=include:. .venv/bin/python tests/release/variants.py`` prints rows for docs/verdict.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from updraft.release.bound import LEVEL, _Moments, _moments, boundary
from updraft.release.dependence import MOST_AUTOCORRELATION
from updraft.release.simulation import ALPHA, LIMITS, SLOW_LIMITS, equal_models
from updraft.tasks.clusters import FIRST_LOOK

SEED = 4242
COUNT = np.arange(1, 101, dtype=float)
RISE = boundary(COUNT, ALPHA) / NormalDist().inv_cdf(1 - LEVEL * ALPHA) ** 2
"""The boundary's form over the looks, without its level."""
FLAT = np.ones_like(COUNT)
MIXTURE = (1 + 4 / COUNT) * (np.log((COUNT + 4) / 4) + 3.43)
"""The boundary of version 0.1, up to its level: Robbins' normal mixture."""


def correlations(x: np.ndarray, lags: int) -> list[np.ndarray]:
    """Autocorrelations of every prefix."""
    mean = np.cumsum(x, axis=1) / COUNT
    spread = np.maximum(np.cumsum(x**2, axis=1) - COUNT * mean**2, 1e-12)
    by_lag = []
    for lag in range(1, lags + 1):
        late, early, r = x[:, lag:], x[:, :-lag], np.zeros_like(x)
        sums = np.cumsum(late, axis=1) + np.cumsum(early, axis=1)
        r[:, lag:] = np.cumsum(late * early, axis=1) - mean[:, lag:] * sums + (COUNT[lag:] - lag) * mean[:, lag:] ** 2
        by_lag.append(r / spread)
    return by_lag


def first_order(x: np.ndarray) -> np.ndarray:
    """What the lag-one autocorrelation says alone: the inflation of version 0.1."""
    [r] = correlations(x, 1)
    carried = np.clip(r + (1 + 4 * r) / COUNT, 0.0, MOST_AUTOCORRELATION)
    return np.asarray((1 + carried) / (1 - carried))


def bartlett(x: np.ndarray, lags: int, *, excess: float = 2.0, unseen: float = 2.0) -> np.ndarray:
    """The larger of AR(1) and one Bartlett sum."""
    total = np.zeros_like(x)
    for lag, r in enumerate(correlations(x, lags), 1):
        cautious = np.where(lag < COUNT, r + unseen * (1 - lag / COUNT) / COUNT, 0)
        total += 2 * (1 - lag / (lags + 1)) * cautious
    return np.maximum(first_order(x), 1 + excess * total)


@dataclass(frozen=True)
class Variant:
    """One way to make a statistic of gains; the bound's own parts unless said otherwise."""

    inflation: Callable[[np.ndarray], np.ndarray] | None = None
    skewed: bool = True
    about_m: bool = True
    rise: np.ndarray | None = None


VARIANTS: dict[str, Variant] = {
    "the bound": Variant(),
    "no skewness term": Variant(skewed=False),
    "variance about the mean, not about *m*": Variant(about_m=False),
    "a boundary that does not rise": Variant(rise=FLAT),
    "AR(1) alone": Variant(first_order),
    "AR(1) and 7 lags": Variant(lambda x: bartlett(x, 7)),
    "AR(1) and 14 lags": Variant(lambda x: bartlett(x, 14)),
    "both sums counted once, without caution": Variant(
        lambda x: np.maximum(*(bartlett(x, lags, excess=1.0, unseen=1.0) for lags in (7, 14)))
    ),
    "version 0.1: AR(1), normal mixture": Variant(first_order, rise=MIXTURE),
}


def statistic(x: np.ndarray, variant: Variant) -> np.ndarray:
    """What the level's z² must not exceed for a look to promote."""
    moments: _Moments = _moments(x)
    t = moments.mean / np.where(moments.deviation > 0, moments.deviation, 1.0)
    skew = np.minimum(moments.skewness, 0) * variant.skewed
    w = np.maximum(t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / (6 * COUNT), 0)
    spread = moments.inflation if variant.inflation is None else variant.inflation(x)
    rise = RISE if variant.rise is None else variant.rise
    return np.asarray((COUNT * w**2 / ((1 + variant.about_m * w**2) * spread * rise))[:, FIRST_LOOK - 1 :])


def main() -> None:
    """Print a row a variant: false promotions, clusters to promote, share of 0.5 s.d. promoted within 84."""
    limits = LIMITS | SLOW_LIMITS
    null = {shape: equal_models(shape, seed=SEED) for shape in limits}
    gain = equal_models("normal", seed=SEED + 1, histories=2000)
    print(f"| variant | {' | '.join(limits)} | clusters to promote 0.5 / 1 s.d. | 0.5 s.d. within 84 |")
    for name, variant in VARIANTS.items():
        best = {shape: statistic(x, variant).max(axis=1) for shape, x in null.items()}
        needed = max(float(np.quantile(best[shape], 1 - limit)) for shape, limit in limits.items())
        rates = [f"{(peak > needed).mean():.1%}" for peak in best.values()]
        power = []
        for size in (0.5, 1.0):
            shown = statistic(gain + size, variant) > needed
            first = np.where(shown.any(axis=1), shown.argmax(axis=1) + FIRST_LOOK, np.inf)
            power.append(f"{np.median(first):g}".replace("inf", "> 100"))
        within = (statistic(gain + 0.5, variant)[:, : 84 - FIRST_LOOK + 1].max(axis=1) > needed).mean()
        print(f"| {name} | {' | '.join(rates)} | {' / '.join(power)} | {within:.0%} |")


if __name__ == "__main__":
    main()

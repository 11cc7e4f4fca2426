"""The proof of the verdict: false promotions and power by simulation.

``python -m updraft.release.simulation`` prints the tables of ``docs/verdict.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from updraft.release.bound import ends
from updraft.tasks.clusters import FIRST_LOOK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


HISTORIES, LOOKS, ALPHA, SEED = 4000, 100, 0.05, 2013
LIMITS = {"normal": 0.05, "t₃": 0.05, "skewed against": 0.07, "AR .3": 0.05, "AR .6": 0.07}
"""The shapes that the method was chosen on, and the false promotions it may make of each."""
SLOW_LIMITS = {
    "days of a week share .3": 0.07,
    "a tenth drifts slowly": 0.08,
    "days of a fortnight share .1": 0.07,
    "moving average of 7": 0.07,
    "ARMA .8, −.6": 0.07,
    "lognormal losses": 0.07,
}
"""Dependence that is slight from day to day and lasts for weeks, and losses with a heavy tail: chosen on, too. Seven
per cent was the aim; the drift misses it (docs/verdict.md)."""


def equal_models(
    shape: str, *, histories: int = HISTORIES, looks: int = LOOKS, seed: int = SEED
) -> NDArray[np.float64]:
    """Gains of models that are equal: mean 0, shape (histories, looks).

    Variance 1, but for t₃ (3) and volatility clusters. ``skewed against`` is 1 − Exp(1): most days bring a little, few
    cost much. A shape starts with a name of ``SHAPES``; ``AR`` has its coefficient behind it.
    """
    import numpy as np

    generator = np.random.default_rng([seed, *shape.encode()])
    if shape.startswith("AR "):
        return _arma(generator, (histories, looks), [1.0], [1.0, -float(shape[3:])])
    return np.asarray(SHAPES[shape](generator, (histories, looks)), dtype=np.float64)


Shape = Callable[["np.random.Generator", tuple[int, int]], "NDArray[np.float64]"]
SHAPES: dict[str, Shape] = {
    "normal": lambda g, size: g.normal(size=size),
    "t₃": lambda g, size: g.standard_t(3, size),
    "skewed against": lambda g, size: 1 - g.exponential(size=size),
    "skewed for": lambda g, size: g.exponential(size=size) - 1,
    "χ²₁ losses": lambda g, size: (1 - g.chisquare(1, size)) / math.sqrt(2),
    "lognormal losses": lambda g, size: (math.exp(0.5) - g.lognormal(size=size)) / math.sqrt((math.e - 1) * math.e),
    "1 day in 20 costs 4 s.d.": lambda g, size: (
        (g.normal(size=size) - 4 * (g.random(size) < 0.05) + 0.2) / math.sqrt(1 + 16 * 0.05 * 0.95)
    ),
    "ARMA .8, −.6": lambda g, size: _arma(g, size, [1.0, -0.6], [1.0, -0.8]),
    "moving average of 7": lambda g, size: _arma(g, size, [1.0] + [0.25] * 6, [1.0]),
    "volatility clusters": lambda g, size: g.normal(size=size) * 2.5 ** _arma(g, size, [1.0], [1.0, -0.9]),
    "weekdays differ by 2 s.d.": lambda g, size: g.normal(size=size) + _week(size[1]),
    "days of a week share .3": lambda g, size: _shared(g, size, 7, 0.3),
    "days of a fortnight share .1": lambda g, size: _shared(g, size, 14, 0.1),
    "a tenth drifts slowly": lambda g, size: (
        math.sqrt(0.1) * _arma(g, size, [1.0], [1.0, -0.95]) + math.sqrt(0.9) * g.normal(size=size)
    ),
}


def _week(looks: int) -> NDArray[np.float64]:
    import numpy as np

    return np.resize(np.array([1, 0.5, 0, -0.5, -1, 0, 0]), looks)


def _shared(generator: np.random.Generator, size: tuple[int, int], length: int, share: float) -> NDArray[np.float64]:
    """Normal gains of variance 1, of which the clusters of a block share a part; a history starts anywhere in a block."""
    import numpy as np

    histories, looks = size
    start = generator.integers(0, length, size=(histories, 1))
    blocks = generator.normal(size=(histories, looks // length + 2))
    shared = np.take_along_axis(blocks, (np.arange(looks) + start) // length, axis=1)
    return np.asarray(math.sqrt(share) * shared + math.sqrt(1 - share) * generator.normal(size=size))


def _arma(
    generator: np.random.Generator, size: tuple[int, int], ahead: list[float], behind: list[float]
) -> NDArray[np.float64]:
    """A Gaussian ARMA process of variance 1, settled."""
    import numpy as np
    from scipy.signal import lfilter

    settle = 100
    impulse = lfilter(ahead, behind, np.eye(1, 500)[0])
    noise = generator.normal(size=(size[0], size[1] + settle))
    return np.asarray(lfilter(ahead, behind, noise, axis=1)[:, settle:] / math.sqrt(float(impulse @ impulse)))


def promoted(x: NDArray[np.float64], alpha: float = ALPHA, every: int = 1) -> NDArray[np.bool_]:
    """Where the verdict's bound promotes, shape as given; looked at after every so many clusters."""
    import numpy as np

    shown = ends(x, alpha)[0] > 0
    shown[:, np.arange(1, x.shape[1] + 1) % every != 0] = False
    return np.asarray(shown)


def false_promotions(shown: NDArray[np.bool_]) -> float:
    """Share of histories that are promoted at any look."""
    return float(shown[:, FIRST_LOOK - 1 :].any(axis=1).mean())


def clusters_to_promote(shown: NDArray[np.bool_]) -> float:
    """Median of the first promoting look; infinite when most histories are never promoted."""
    import numpy as np

    shown = shown[:, FIRST_LOOK - 1 :]
    first = np.where(shown.any(axis=1), shown.argmax(axis=1) + FIRST_LOOK, np.inf)
    return float(np.median(first))


def z_test(x: NDArray[np.float64]) -> NDArray[np.bool_]:
    """A z-test at 5 % at each look, as if it were the only one; the standard deviation taken as 1."""
    import numpy as np

    count = np.arange(1, x.shape[1] + 1)
    return np.asarray(np.cumsum(x, axis=1) > 1.6449 * np.sqrt(count))


def asymptotic_sequence(x: NDArray[np.float64], rho: float = 0.35) -> NDArray[np.bool_]:
    """One-sided asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2024, proposition 2.2)."""
    import numpy as np

    count = np.arange(1, x.shape[1] + 1, dtype=np.float64)
    mean = np.cumsum(x, axis=1) / count
    deviation = np.sqrt(np.maximum(np.cumsum(x**2, axis=1) / count - mean**2, 1e-12))
    time = count * rho**2 + 1
    return np.asarray(mean > deviation * np.sqrt(2 * time / (count * rho) ** 2 * np.log1p(np.sqrt(time) / (2 * ALPHA))))


def bartlett_mixture(x: NDArray[np.float64], alpha: float = ALPHA, lags: int = 5) -> NDArray[np.bool_]:
    """Normal mixture over S = Σx and V = Σx², V multiplied by 1 + 2 Σ (1 − l/6) max(r_l, 0) over five lags."""
    import numpy as np

    count = np.arange(1, x.shape[1] + 1, dtype=np.float64)
    mean = np.cumsum(x, axis=1) / count
    spread = np.maximum(np.cumsum(x**2, axis=1) - count * mean**2, 1e-12)
    inflation = np.ones_like(x)
    for lag in range(1, lags + 1):
        late, early = x[:, lag:], x[:, :-lag]
        sums = np.cumsum(late, axis=1) + np.cumsum(early, axis=1)
        lagged = np.cumsum(late * early, axis=1) - mean[:, lag:] * sums + (count[lag:] - lag) * mean[:, lag:] ** 2
        inflation[:, lag:] += 2 * (1 - lag / (lags + 1)) * np.maximum(lagged / spread[:, lag:], 0)
    variance = np.cumsum(x**2, axis=1) * inflation
    wait = 2 * math.log(1 / (2 * alpha))
    prior = 28 * variance[:, 6:7] / (7 * (wait + math.log(1 + wait)))
    height = np.sqrt((variance + prior) * np.log((variance + prior) / (4 * prior * alpha**2)))
    return np.asarray(np.cumsum(x, axis=1) > height)


def student_mixture(x: NDArray[np.float64], prior: float = 4.0) -> NDArray[np.bool_]:
    """The t-test's normal mixture over effect sizes (Lai 1976; Wang, Ramdas 2025), one-sided."""
    import numpy as np

    count = np.arange(1, x.shape[1] + 1, dtype=np.float64)
    mean = np.cumsum(x, axis=1) / count
    spread = np.maximum(np.cumsum(x**2, axis=1) - count * mean**2, 1e-12)
    ratio = count * mean**2 / spread
    share = prior / (count + prior)
    log_e = 0.5 * np.log(share) + count / 2 * (np.log1p(ratio) - np.log1p(share * ratio))
    return np.asarray((mean > 0) & (log_e > math.log(1 / (2 * ALPHA))))


def betting(x: NDArray[np.float64], cut: float = 3.0) -> NDArray[np.bool_]:
    """Betting (Waudby-Smith, Ramdas 2024, aGRAPA) on gains over 3 root mean squares of those before, cut to −1 … 1."""
    import numpy as np

    count = np.arange(1, x.shape[1] + 1, dtype=np.float64)
    root = np.sqrt(np.cumsum(x**2, axis=1) / count)
    units = np.clip(x[:, 3:] / (cut * np.maximum(root[:, 2:-1], 1e-12)), -1, 1)
    number = np.arange(units.shape[1], dtype=np.float64)
    before = np.pad(np.cumsum(units, axis=1), ((0, 0), (1, 0)))[:, :-1] / (number + 1)
    square = (np.pad(np.cumsum(units**2, axis=1), ((0, 0), (1, 0)))[:, :-1] + 1 / cut**2) / (number + 1)
    wealth = np.cumsum(np.log1p(np.clip(before / square, 0, 0.75) * units), axis=1)
    return np.pad(wealth > math.log(1 / ALPHA), ((0, 0), (3, 0)))


def batch_means(x: NDArray[np.float64], length: int = 5) -> NDArray[np.bool_]:
    """The t-test's mixture over means of five clusters each, looked at after each five."""
    import numpy as np

    whole = x.shape[1] // length
    means = x[:, : whole * length].reshape(len(x), whole, length).mean(axis=2)
    shown = np.zeros(x.shape, dtype=bool)
    looks = student_mixture(means, prior=1.0)
    looks[:, :2] = False
    shown[:, length - 1 : whole * length : length] = looks
    return shown


METHODS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.bool_]]] = {
    "z-test at each look": z_test,
    "asymptotic confidence sequence, ρ = .35": asymptotic_sequence,
    "Student mixture (e-process of the t-test)": student_mixture,
    "betting on cut gains (aGRAPA)": betting,
    "Student mixture of means of five clusters": batch_means,
    "normal mixture, V inflated by 5 Bartlett lags": bartlett_mixture,
    "**the verdict's bound**": promoted,
}


def methods_table(histories: int = HISTORIES) -> list[str]:
    """Rows of the first table, in Markdown."""
    null = {shape: equal_models(shape, histories=histories) for shape in LIMITS}
    gain = equal_models("normal", histories=histories, seed=SEED + 1)
    rows = []
    for name, method in METHODS.items():
        rates = [f"{false_promotions(method(x)):.1%}" for x in null.values()]
        power = [f"{clusters_to_promote(method(gain + d)):g}" for d in (0.5, 1)]
        within = false_promotions(method(gain[:, :84] + 0.25))
        rows.append(f"| {name} | {' | '.join(rates)} | {' / '.join(power)} | {within:.0%} |")
    return rows


OTHER_SHAPES = (
    "skewed for",
    "χ²₁ losses",
    "1 day in 20 costs 4 s.d.",
    "AR .45",
    "AR .8",
    "AR -.3",
    "volatility clusters",
    "weekdays differ by 2 s.d.",
)


def shapes_table(shapes: Iterable[str] = (*SLOW_LIMITS, *OTHER_SHAPES), histories: int = HISTORIES) -> list[str]:
    """Rows of the second and third table: the verdict's bound at two rhythms of looks beside the normal mixture."""
    rows = []
    for shape in shapes:
        x = equal_models(shape, histories=histories)
        rates = (false_promotions(m) for m in (promoted(x), promoted(x, every=7), bartlett_mixture(x)))
        rows.append(f"| {shape} | {' | '.join(f'{rate:.1%}' for rate in rates)} |")
    return rows


def power_table(histories: int = HISTORIES) -> list[str]:
    """Rows of the fourth table: clusters to promote and share promoted within 84; the bound, then the normal mixture."""
    rows = []
    for shape in ("normal", "t₃", "skewed against", "skewed for", "AR .3", "AR .6", "volatility clusters"):
        x = equal_models(shape, histories=histories, looks=84, seed=SEED + 3)
        x = x / x.std()
        figures = []
        for gain in (0.5, 1):
            for test in (promoted, bartlett_mixture):
                shown = test(x + gain)
                median = clusters_to_promote(shown)
                figures.append(f"{median:g} ({false_promotions(shown):.0%})".replace("inf", "> 84"))
        rows.append(f"| {shape} | {' | '.join(figures)} |")
    return rows


def settings_table(histories: int = HISTORIES) -> list[str]:
    """Rows of the fifth table: other confidences, more looks, looks once a week."""
    settings: dict[str, tuple[float, int, int]] = {
        "90 %, looks 7 to 100": (0.1, 100, 1),
        "95 %, looks 7 to 100": (0.05, 100, 1),
        "99 %, looks 7 to 100": (0.01, 100, 1),
        "99.7 % (19 slices), looks 7 to 100": (0.05 / 19, 100, 1),
        "95 %, looks 7 to 84": (0.05, 84, 1),
        "95 %, looks 7 to 400": (0.05, 400, 1),
        "95 %, once a week to 100": (0.05, 100, 7),
    }
    rows = []
    for name, (alpha, looks, every) in settings.items():
        shapes = (*LIMITS, "a tenth drifts slowly")
        null = (equal_models(shape, histories=histories, looks=looks, seed=SEED + 2) for shape in shapes)
        rates = [f"{false_promotions(promoted(x, alpha, every)):.2%}" for x in null]
        rows.append(f"| {name} | {' | '.join(rates)} |")
    return rows


def main() -> None:
    """Print the tables."""
    for table in (methods_table, shapes_table, power_table, settings_table):
        print("\n".join(table()), end="\n\n")


if __name__ == "__main__":
    main()

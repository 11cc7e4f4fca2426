"""Drift of the features: one alarm over all columns, at the rate of false alarms that the project states.

Per column the distance between a partition and the reference is the population stability index (Siddiqi 2006, "Credit
Risk Scorecards"; its sampling distribution: Yurdakul, Naranjo 2020, doi:10.21314/JRMV.2020.227). Rows of one partition
share weather, customers, campaigns, so the usual tables for independent rows call every partition drifted. What is
normal is therefore learned from the reference itself: each of its partitions is held against the others, which gives
every column the mean and the spread of its distance, and the series of the largest standardised distance its threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from updraft.monitoring.profiles import Profile
from updraft.monitoring.reference import Reference, fit_reference
from updraft.spec.model import Drift, Persistence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

FEWEST = 8
"""Partitions below which no spread is worth calling one."""
_PER_YEAR = {"month": 12, "quarter": 4, "year": 1}
MATTERS = 0.03
"""Least spread of ``sqrt(PSI)``: a column steadier than that is not held to it, as no model feels a PSI of 0.002."""
_STREAM = 40_000
"""Length of the simulated history, in partitions."""


@dataclass(frozen=True)
class Normal:
    """What is normal for a column: of ``sqrt(PSI)`` less its part from sampling, over the reference's partitions."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Threshold:
    """When the largest standardised distance is too large. ``value`` is None when the history is too short to tell."""

    value: float | None
    hits: int
    of: int
    partitions: int
    """Partitions that it was calibrated on."""
    rows: float
    """Their usual number of rows (harmonic mean)."""
    rate: float
    """False alarms per partition that it was calibrated for."""
    columns: Mapping[str, Normal]
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Threshold:
        """Inverse of :meth:`as_dict`."""
        columns = {name: Normal(**column) for name, column in value["columns"].items()}
        return cls(**{**value, "columns": columns})


@dataclass(frozen=True)
class DriftReport:
    """How far the newest partition is from the reference, and whether that is an alarm."""

    score: float | None
    """Largest standardised distance over the columns; None when it cannot be told."""
    threshold: float | None
    alarm: bool
    above: int
    """How many of the last partitions are above the threshold."""
    column: str | None
    """The column with the largest standardised distance."""
    scores: Mapping[str, float]
    """Standardised distance of each column."""
    psi: Mapping[str, float]
    """PSI of each column."""
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def psi(reference: ArrayLike, current: ArrayLike) -> NDArray[np.float64]:
    """Population stability index between rows per bin, shape (..., bins). Each bin gets half a row more (Jeffreys)."""
    import numpy as np

    p, q = np.asarray(reference, dtype=np.float64) + 0.5, np.asarray(current, dtype=np.float64) + 0.5
    p /= p.sum(axis=-1, keepdims=True)
    q /= q.sum(axis=-1, keepdims=True)
    distance: NDArray[np.float64] = ((p - q) * np.log(p / q)).sum(axis=-1)
    return distance


def calibrate(profiles: Sequence[Profile], policy: Drift, partitions_per_year: float) -> Threshold:
    """Find the threshold at which stable data bring the stated number of false alarms under the persistence rule.

    The largest standardised distance of each partition to the others makes a series; histories are drawn from it by the
    stationary bootstrap (Politis, Romano 1994, doi:10.1080/01621459.1994.10476870), which keeps runs together; an alarm
    is counted when the rule becomes true. Simulated stable histories get 0.4 to 1.6 times the stated number, most
    between 0.7 and 1.1 (see tests/monitoring/test_drift.py).

    :param profiles: of the reference's partitions, oldest first.
    """
    profiles = [profile for profile in profiles if profile.rows]
    rule, wanted = policy.persist, policy.false_alarms
    rate = wanted.count * _PER_YEAR[wanted.per] / partitions_per_year
    said = f"{wanted.count:g} per {wanted.per} at {rule.hits} of {rule.of}"
    need = partitions_needed(rule, rate)
    if len(profiles) < need:
        reason = f"too short a history: {len(profiles)} partitions, and {said} needs {need}"
        return Threshold(None, rule.hits, rule.of, len(profiles), 0.0, rate, {}, reason)
    largest, columns = _held_out(profiles)
    if not columns:
        return Threshold(None, rule.hits, rule.of, len(profiles), 0.0, rate, {}, "no column to measure drift on")
    value = _threshold(largest, rule, rate)
    reason = f"calibrated on {len(profiles)} partitions for {said}"
    rows = len(profiles) / sum(1 / profile.rows for profile in profiles)
    return Threshold(value, rule.hits, rule.of, len(profiles), rows, rate, columns, reason)


def assess(reference: Reference, threshold: Threshold, recent: Sequence[Profile]) -> DriftReport:
    """Hold the newest partitions against the reference.

    :param recent: profiles after the reference, oldest first, the newest last; more than the rule looks at are ignored.
    :raises DataError: when a column changed its type; :func:`.faults.feed_faults` tells that first.
    """
    recent = [profile for profile in recent if profile.rows][-threshold.of :]
    if threshold.value is None or not recent:
        reason = threshold.reason if threshold.value is None else "no partition with rows to look at"
        return DriftReport(None, threshold.value, False, 0, None, {}, {}, reason)
    every = [_scores(reference, threshold, profile) for profile in recent]
    scores, distances = every[-1]
    column = max(scores, key=lambda name: (scores[name], name))
    above = sum(max(column_scores.values()) > threshold.value for column_scores, _ in every)
    alarm = above >= threshold.hits
    reason = (
        f"{column} is furthest from the reference: {scores[column]:.1f} against a threshold of {threshold.value:.1f};"
        f" {above} of the last {len(every)} partitions above it, an alarm needs {threshold.hits} of {threshold.of}"
    )
    return DriftReport(scores[column], threshold.value, alarm, above, column, scores, distances, reason)


def partitions_needed(rule: Persistence, rate: float) -> int:
    """Partitions a reference must have for a rate of false alarms (per partition) to be within what it can show."""
    import numpy as np

    draws = np.random.default_rng(0).random(_STREAM)
    shares = np.linspace(0.5, 0.005, 100)
    rates = _onsets(draws[:, None] < shares, rule)
    fitting = np.flatnonzero(rates > rate)
    share = shares[fitting[-1]] if len(fitting) else 0.5
    return max(FEWEST, math.ceil(1.5 / float(share)))


def _scores(reference: Reference, threshold: Threshold, profile: Profile) -> tuple[dict[str, float], dict[str, float]]:
    scores: dict[str, float] = {}
    distances: dict[str, float] = {}
    spread = 1 + 1 / threshold.partitions
    fewer = max(0.0, 1 / profile.rows - 1 / threshold.rows) / 2  # what fewer rows than usual add to the variance
    for name, normal in threshold.columns.items():
        whole, part = reference.counts(name, profile)
        distances[name] = float(psi(whole, part))
        excess = math.sqrt(distances[name]) - float(_expected(len(whole), sum(whole), sum(part)))
        scores[name] = (excess - normal.mean) / math.sqrt(normal.sd**2 * spread + fewer)
    return scores, distances


def _expected(bins: int, reference_rows: ArrayLike, rows: ArrayLike) -> NDArray[np.float64]:
    """Root of the PSI from sampling alone: PSI / (1/n + 1/m) is chi-squared with bins - 1 degrees of freedom."""
    import numpy as np

    expected: NDArray[np.float64] = np.sqrt((bins - 1) * (1 / np.asarray(reference_rows) + 1 / np.asarray(rows)))
    return expected


def _held_out(profiles: Sequence[Profile]) -> tuple[NDArray[np.float64], dict[str, Normal]]:
    """Each partition against those that are not next to it -> largest standardised distance, shape (partitions,)."""
    import numpy as np

    reference = fit_reference(profiles)
    number = len(profiles)
    apart = _apart(number)
    series: list[NDArray[np.float64]] = []
    columns: dict[str, Normal] = {}
    for name in reference.columns:
        counts = np.array([reference.counts(name, profile)[1] for profile in profiles], dtype=np.float64)
        if (counts.sum(axis=0) > 0).sum() < 2:
            continue  # a constant has no distance; feed faults look after it
        rest = apart @ counts
        rows = counts.sum(axis=1)
        excess = np.sqrt(psi(rest, counts)) - _expected(counts.shape[1], rest.sum(axis=1), rows)
        floor = max(MATTERS, math.sqrt(float(np.mean(1 / rows)) / 2))  # the latter is what sampling alone would bring
        others = apart.sum(axis=1)
        mean = apart @ excess / others
        variance = (apart @ excess**2 - others * mean**2) / (others - 1)
        sd = np.sqrt(np.maximum(variance, floor**2))
        series.append((excess - mean) / (sd * np.sqrt(1 + 1 / others)))
        columns[name] = Normal(float(excess.mean()), max(float(excess.std(ddof=1)), floor))
    return np.max(series, axis=0) if series else np.zeros(number), columns


def _apart(number: int) -> NDArray[np.float64]:
    """Ones where two partitions are far enough from each other to be called independent, shape (number, number)."""
    import numpy as np

    reach = round(number ** (1 / 3)) - 1
    steps = np.arange(number)
    far: NDArray[np.bool_] = abs(steps[:, None] - steps) > reach
    return far.astype(np.float64)


def _threshold(largest: NDArray[np.float64], rule: Persistence, rate: float) -> float:
    """The lowest value above which alarms stay as rare as stated; between two observed ones by interpolation."""
    import numpy as np

    rng = np.random.default_rng(0)
    number = len(largest)
    runs = max(rule.of + 1, round(2 * number ** (1 / 3)))
    fresh = rng.random(_STREAM) < 1 / runs
    fresh[0] = True
    starts = np.flatnonzero(fresh)
    begins = rng.integers(0, number, len(starts))
    lengths = np.diff(np.r_[starts, _STREAM])
    index = (begins.repeat(lengths) + np.arange(_STREAM) - starts.repeat(lengths)) % number
    levels = np.sort(largest)[::-1]
    rates = _onsets(largest[index][:, None] >= levels, rule)  # column k: the k + 1 largest are above
    over = np.flatnonzero(rates > rate)
    if not len(over):
        return float(levels[-1])
    last = int(over[0])
    upper = levels[last - 1] if last else levels[0] + (levels[0] - levels[1])
    lower_rate = rates[last - 1] if last else 0.0
    weight = (rates[last] - rate) / (rates[last] - lower_rate)
    return float(levels[last] + weight * (upper - levels[last]))


def _onsets(above: NDArray[np.bool_], rule: Persistence) -> NDArray[np.float64]:
    """How often per partition the rule becomes true, shape (candidates,); ``above`` has shape (stream, candidates)."""
    import numpy as np

    sums = np.cumsum(np.vstack([np.zeros((rule.of, above.shape[1]), dtype=np.int32), above]), axis=0)
    alarm = sums[rule.of :] - sums[: -rule.of] >= rule.hits
    onsets: NDArray[np.float64] = (alarm[1:] & ~alarm[:-1]).mean(axis=0)
    return onsets

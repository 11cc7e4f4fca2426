"""Which gain can be shown: what `updraft validate` says before a change is tried."""

from __future__ import annotations

from updraft.errors import DataError
from updraft.release.bound import ends
from updraft.tasks.clusters import FIRST_LOOK

HISTORIES = 2000
SEED = 20130101


def detectable_gain(
    sd: float, autocorrelation: float, clusters: int, confidence: float, *, power: float = 0.8, margin: float = 0.0
) -> float:
    """The smallest true gain that is promoted within so many clusters with the asked probability.

    By simulation with a fixed seed: normal gains with the given lag-one autocorrelation, looked at after every cluster.
    A shift of all gains shifts the bound by as much, so one set of histories answers for every gain.

    :param sd: standard deviation of a cluster's gain, in the metric's unit (:func:`spread` of past gains).
    :param autocorrelation: of neighbouring clusters' gains.
    :param clusters: that the longest shadow will hold.
    :param margin: the loss that a new model may cost.
    :return: in the metric's unit; infinite when the clusters are too few to show anything. Negative when even a model
        that is a little worse, within the margin, would be promoted.
    :raises DataError: when ``sd`` is negative or ``autocorrelation`` is not between −1 and 1.
    """
    import numpy as np
    from scipy.signal import lfilter

    if sd < 0 or not -1 < autocorrelation < 1:
        raise DataError(f"no gains have a standard deviation of {sd} and an autocorrelation of {autocorrelation}")
    if clusters < FIRST_LOOK:
        return float("inf")
    settle = 50
    noise = np.random.default_rng(SEED).normal(size=(HISTORIES, clusters + settle))
    scale = (1 - autocorrelation**2) ** 0.5
    gains = lfilter([scale], [1, -autocorrelation], noise, axis=1)[:, settle:]
    lower, _, _ = ends(gains, 1 - confidence)
    needed = np.sort(-lower.max(axis=1))[int(np.ceil(power * HISTORIES)) - 1]
    return float(needed * sd - margin) if np.isfinite(needed) else float("inf")


def spread(gains: list[float]) -> tuple[float, float]:
    """(standard deviation, lag-one autocorrelation) of past gains, for :func:`detectable_gain`; at least three of them.

    :raises DataError: when there are fewer.
    """
    import numpy as np

    if len(gains) < 3:
        raise DataError(f"{len(gains)} clusters do not show how gains vary; three are the least")
    centred = np.asarray(gains, dtype=np.float64) - np.mean(gains)
    total = float(centred @ centred)
    correlation = float(centred[1:] @ centred[:-1]) / total if total else 0.0
    return (total / (len(gains) - 1)) ** 0.5, float(np.clip(correlation, -0.9, 0.9))

"""What dependence between neighbouring clusters adds to the variance of their mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BANDWIDTHS = (7, 14)
"""Lags of the two Bartlett sums: dependence within a week of days, and within a fortnight."""
EXCESS = 2.0
"""What a Bartlett sum counts: such a sum sees less than there is, as its weights fall and the mean is estimated."""
UNSEEN = 2.0
"""Added to each autocorrelation, in units of 1/n: 1 is the bias of the estimated mean, the rest is caution while few
clusters could show it."""
MOST_AUTOCORRELATION = 0.9


def inflation(deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many times the variance of a mean of independent clusters is exceeded, after each cluster; at least 1.

    The largest of three estimates, as each misses what another sees:

    * (1 + φ)/(1 − φ), the long-run variance of an AR(1) process, with φ the lag-one autocorrelation without its
      small-sample bias, r₁ + (1 + 4r₁)/n (Marriott, Pope 1954), between 0 and 0.9: strong and short dependence;
    * 1 + 2·``EXCESS`` Σₗ (1 − l/(L + 1)) (rₗ + ``UNSEEN`` (1 − l/n)/n) over the lags l = 1 … L below n, for each L of
      ``BANDWIDTHS``: Bartlett's long-run variance (Newey, West 1987), of which the part above 1 counts twice and each
      autocorrelation is taken above its estimate. Slight dependence that lasts.

    :param deviations: gains, shape (histories, clusters), from any constant of their history (a gain of its own keeps
        digits).
    :return: shape as given. Gains that do not vary have autocorrelations of 0.
    """
    import numpy as np

    count = np.arange(1, deviations.shape[1] + 1, dtype=np.float64)
    sums = np.cumsum(deviations, axis=1)
    mean = sums / count
    squares = np.maximum(np.cumsum(deviations**2, axis=1) - count * mean**2, 0.0)
    same = np.maximum.accumulate(deviations, axis=1) == np.minimum.accumulate(deviations, axis=1)
    squares[same | (squares == 0)] = np.inf
    bartlett = {length: np.zeros_like(deviations) for length in BANDWIDTHS}
    largest = np.ones_like(deviations)
    for lag in range(1, min(max(BANDWIDTHS), len(count) - 1) + 1):
        number, centre = count[lag:], mean[:, lag:]
        products = np.cumsum(deviations[:, lag:] * deviations[:, :-lag], axis=1)
        ends = sums[:, lag:] - sums[:, lag - 1 : lag] + sums[:, :-lag]
        correlation = (products - centre * ends + (number - lag) * centre**2) / squares[:, lag:]
        if lag == 1:
            carried = np.clip(correlation + (1 + 4 * correlation) / number, 0.0, MOST_AUTOCORRELATION)
            largest[:, lag:] = (1 + carried) / (1 - carried)
        cautious = correlation + UNSEEN * (1 - lag / number) / number
        for length, total in bartlett.items():
            if lag <= length:
                total[:, lag:] += 2 * (1 - lag / (length + 1)) * cautious
    for total in bartlett.values():
        largest = np.maximum(largest, 1 + EXCESS * total)
    return np.asarray(largest, dtype=np.float64)

"""What dependence adds to the variance of a mean: known answers, and that slow dependence is seen."""

from __future__ import annotations

import numpy as np
import pytest

from updraft.release.bound import SLOWEST, bound, boundary
from updraft.release.dependence import BANDWIDTHS, EXCESS, UNSEEN, inflation
from updraft.release.simulation import (
    SLOW_LIMITS,
    clusters_to_promote,
    equal_models,
    false_promotions,
    promoted,
)

SEED = 88_002
HISTORIES = 4000
EARLIER_CLUSTERS = {0.5: 32, 1.0: 15}
"""Median clusters to promote independent gains of so many s.d. by the bound of version 0.1, which saw one lag only."""


def by_hand(gains: np.ndarray) -> float:
    """The formula of docs/verdict.md, term by term, after the last of the gains."""
    count = len(gains)
    deviations = gains - gains.mean()
    correlations = [
        float(deviations[lag:] @ deviations[:-lag]) / float(deviations @ deviations) for lag in range(1, count)
    ]
    first = correlations[0]
    carried = min(max(first + (1 + 4 * first) / count, 0.0), 0.9)
    estimates = [1.0, (1 + carried) / (1 - carried)]
    for length in BANDWIDTHS:
        terms = [
            (1 - lag / (length + 1)) * (correlation + UNSEEN * (1 - lag / count) / count)
            for lag, correlation in enumerate(correlations[:length], 1)
        ]
        estimates.append(1 + 2 * EXCESS * sum(terms))
    return max(estimates)


@pytest.mark.parametrize("shape", ["normal", "AR .6", "AR -.3", "moving average of 7", "a tenth drifts slowly"])
@pytest.mark.parametrize("clusters", [2, 7, 11, 40])
def test_the_inflation_after_each_cluster_is_the_formula_of_its_prefix(shape: str, clusters: int) -> None:
    gains = equal_models(shape, histories=5, looks=50, seed=SEED)
    np.testing.assert_allclose(
        inflation(gains)[:, clusters - 1], [by_hand(history[:clusters]) for history in gains], rtol=1e-9
    )


def test_neither_unit_nor_origin_of_the_gains_matters() -> None:
    gains = equal_models("AR .6", histories=20, seed=SEED)
    np.testing.assert_allclose(inflation(1e-4 * gains + 0.3)[:, 6:], inflation(gains)[:, 6:], rtol=1e-6)


def test_alternating_gains_are_credited_nothing() -> None:
    assert inflation(np.resize([1.0, -1.0], (1, 60)))[0, 6:].min() >= 1


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9])
def test_gains_that_do_not_vary_have_a_finite_inflation(value: float) -> None:
    assert np.isfinite(inflation(np.full((1, 40), value))).all()


@pytest.mark.parametrize("clusters", [1, 2, 3])
def test_a_history_shorter_than_the_lags_is_inflated_all_the_same(clusters: int) -> None:
    assert inflation(equal_models("normal", histories=3, looks=clusters, seed=SEED)).shape == (3, clusters)


def test_many_independent_clusters_are_taken_as_independent() -> None:
    gains = equal_models("normal", histories=200, looks=2000, seed=SEED)
    assert np.median(inflation(gains)[:, -1]) < 1.3


@pytest.mark.parametrize(
    ("shape", "long_run"), [("moving average of 7", 4.5), ("ARMA .8, −.6", 3.6), ("days of a week share .3", 2.8)]
)
def test_slow_dependence_is_not_underestimated_after_a_hundred_clusters(shape: str, long_run: float) -> None:
    estimates = inflation(equal_models(shape, histories=500, seed=SEED))[:, -1]
    assert np.median(estimates) > long_run


@pytest.mark.parametrize(("shape", "limit"), SLOW_LIMITS.items())
def test_equal_models_are_seldom_promoted_under_slow_dependence_and_heavy_tails(shape: str, limit: float) -> None:
    rate = false_promotions(promoted(equal_models(shape, histories=HISTORIES, seed=SEED)))
    assert rate <= limit + 2.5 * (limit * (1 - limit) / HISTORIES) ** 0.5


@pytest.mark.parametrize(("shape", "limit"), SLOW_LIMITS.items())
def test_equal_models_are_seldom_rejected_under_slow_dependence_and_heavy_tails(shape: str, limit: float) -> None:
    gains = -equal_models(shape, histories=HISTORIES, seed=SEED + 1)
    assert false_promotions(promoted(gains)) <= limit + 2.5 * (limit * (1 - limit) / HISTORIES) ** 0.5


@pytest.mark.parametrize(("gain", "clusters"), EARLIER_CLUSTERS.items())
def test_independent_gains_wait_at_most_a_quarter_longer_than_when_one_lag_was_seen(gain: float, clusters: int) -> None:
    noise = equal_models("normal", histories=HISTORIES, seed=SEED + 2)
    assert clusters_to_promote(promoted(noise + gain)) <= 1.25 * clusters


def test_many_clusters_show_a_gain_that_few_cannot() -> None:
    """Hours, or customers: the boundary must not rise as fast as the evidence does."""
    gains = 0.2 + equal_models("normal", histories=1, looks=2000, seed=SEED)[0]
    assert bound(gains[:50], 0.95).lower < 0
    assert bound(gains, 0.95).lower > 0.05


def test_the_boundary_rises_for_twelve_weeks_of_days_and_no_longer() -> None:
    heights = boundary(np.array([1.0, 7.0, 60.0, SLOWEST, 2000.0]), 0.05)
    assert (np.diff(heights[:4]) > 0).all()
    assert heights[2] == pytest.approx(2 * 2.0749**2, rel=1e-4)  # 2.0749: normal quantile at 1 − 0.38 · 0.05
    assert heights[4] == heights[3]


def test_the_boundary_is_higher_at_a_higher_confidence() -> None:
    heights = [float(boundary(np.array([30.0]), alpha)[0]) for alpha in (0.49, 0.1, 0.05, 0.01, 0.001)]
    assert heights == sorted(heights)
    assert heights[0] > 0

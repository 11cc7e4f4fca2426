"""Shapley values by sampling: known answers, adding up, and a standard error that holds."""

from __future__ import annotations

import numpy as np
import pytest

from updraft.scoring.contributions import DRAWS, FEWEST, contributions

WEIGHTS = np.array([2.0, -1.0, 0.0])


def linear(values):
    return values @ WEIGHTS


@pytest.fixture
def random():
    return np.random.default_rng(3)


def rows_of(random, count, features=3):
    return random.normal(size=(count, features)).astype(np.float32)


def test_of_a_linear_score_each_feature_gets_its_weight_times_its_distance(random):
    rows, reference = rows_of(random, 4), rows_of(random, 1)
    estimated = contributions(linear, rows, reference, draws=5)
    assert estimated.mean == pytest.approx((rows - reference) * WEIGHTS, abs=1e-6)
    assert estimated.spread == pytest.approx(np.zeros((4, 3)), abs=1e-6)


def test_what_the_score_does_not_read_gets_nothing_and_what_acts_together_shares_alike():
    def product(values):
        return values[:, 0] * values[:, 1]

    estimated = contributions(
        product, np.array([[1.0, 1.0, 5.0]], np.float32), np.zeros((1, 3), np.float32), draws=4000
    )
    assert estimated.mean[0] == pytest.approx([0.5, 0.5, 0.0], abs=4 * 0.5 / 4000**0.5)
    assert estimated.mean[0, 2] == 0.0


def test_contributions_add_up_to_what_the_draws_were_held_against(random):
    def score(values):
        return 1 / (1 + np.exp(-(values @ WEIGHTS + values[:, 0] * values[:, 1])))

    rows, reference = rows_of(random, 6), rows_of(random, 1)
    estimated = contributions(score, rows, reference, draws=7)
    assert estimated.mean.sum(axis=1) == pytest.approx(score(rows) - score(reference), abs=1e-6)


def test_scores_of_several_classes_have_contributions_to_each(random):
    def score(values):
        odds = np.exp(values[:, :2] @ np.array([[1.0, -1.0, 0.0], [0.0, 1.0, 2.0]]))
        return odds / odds.sum(axis=1, keepdims=True)

    rows, reference = rows_of(random, 5), rows_of(random, 1)
    estimated = contributions(score, rows, reference, draws=9)
    assert estimated.mean.shape == (5, 3, 3)
    assert estimated.mean.sum(axis=1) == pytest.approx(score(rows) - score(reference), abs=1e-6)
    assert estimated.mean.sum(axis=2) == pytest.approx(
        np.zeros((5, 3)), abs=1e-6
    )  # probabilities move between the classes
    assert estimated.mean[:, 2] == pytest.approx(np.zeros((5, 3)))


def test_the_mean_lies_within_two_standard_errors_of_the_exact_value_about_as_often_as_it_should(random):
    """An interaction and a reference of many rows, whose exact Shapley values are known by going through all of them."""

    def score(values):
        return values[:, 0] * values[:, 1] + np.sin(values[:, 2])

    row, reference = np.array([[1.5, -0.7, 0.4]], np.float32), rows_of(random, 50)
    x, z = row[0].astype(float), reference.astype(float)
    first = ((x[0] - z[:, 0]) * (x[1] + z[:, 1]) / 2).mean()
    second = ((x[1] - z[:, 1]) * (x[0] + z[:, 0]) / 2).mean()
    third = (np.sin(x[2]) - np.sin(z[:, 2])).mean()
    told = [contributions(score, row, reference, draws=200, seed=seed) for seed in range(150)]
    means = np.array([estimated.mean[0] for estimated in told])
    errors = np.array([estimated.standard_error[0] for estimated in told])
    within = (np.abs(means - [first, second, third]) <= 2 * errors).mean(axis=0)
    assert (within > 0.9).all()
    assert (within < 0.995).all()
    assert means.mean(axis=0) == pytest.approx([first, second, third], abs=0.03)


def test_the_same_is_told_again_and_time_bounds_it(random):
    rows, reference = rows_of(random, 3), rows_of(random, 20)
    first, second = (contributions(linear, rows, reference, draws=20) for _ in range(2))
    assert (first.mean == second.mean).all()
    assert contributions(linear, rows, reference, seconds=0.0).draws == FEWEST
    assert contributions(linear, rows, reference).draws == DRAWS


def test_the_rows_themselves_are_left_as_they_are(random):
    rows, reference = rows_of(random, 3), rows_of(random, 20)
    kept = rows.copy(), reference.copy()
    contributions(linear, rows, reference, draws=3)
    assert (rows == kept[0]).all()
    assert (reference == kept[1]).all()

"""The calibration layer finds a known distortion, is shrunk towards the identity, and is taken away when it is shown to hurt."""

import numpy as np
import pytest

from updraft.monitoring.calibration import Matured, cross_fitted, fit_layer, refit, walk_forward
from updraft.tasks.binary import BINARY
from updraft.tasks.calibration import AffineLayer
from updraft.tasks.regression import REGRESSION


def part(key: str, rng: np.random.Generator, *, intercept=0.0, slope=1.0, rows=4000, days=7) -> Matured:
    margin = rng.normal(-1.0, 1.0, rows)
    p = 1 / (1 + np.exp(-(intercept + slope * margin)))
    label = (rng.random(rows) < p).astype(float)
    cluster = np.array([f"{key}-{i % days}" for i in range(rows)], object)
    return Matured(key, label, margin, cluster)


def test_without_a_prior_the_fit_is_maximum_likelihood():
    from sklearn.linear_model import LogisticRegression

    one = part("a", np.random.default_rng(1), intercept=0.4, slope=0.6)
    found = fit_layer(BINARY, [one], prior_rows=0.0)
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(one.margin[:, None], one.label)
    assert found.intercept == pytest.approx(float(model.intercept_[0]), abs=1e-4)
    assert found.slope == pytest.approx(float(model.coef_[0, 0]), abs=1e-4)


def test_the_prior_shrinks_towards_the_identity():
    one = part("a", np.random.default_rng(2), intercept=0.4, slope=0.6)
    free, shrunk, pinned = (fit_layer(BINARY, [one], prior_rows=prior) for prior in (0.0, 1000.0, 1e9))
    assert 0 < shrunk.intercept < free.intercept
    assert free.slope < shrunk.slope < 1
    assert pinned.slope == pytest.approx(1.0, abs=1e-4)


def test_a_regression_layer_is_a_line():
    rng = np.random.default_rng(3)
    margin = rng.normal(10, 2, 5000)
    one = Matured("a", 3 + 0.5 * margin + rng.normal(0, 0.1, 5000), margin, np.array(["d"] * 5000, object))
    found = fit_layer(REGRESSION, [one], prior_rows=1e-9)
    assert (found.intercept, found.slope) == (pytest.approx(3, abs=0.05), pytest.approx(0.5, abs=0.01))


def test_a_lasting_distortion_is_recalibrated_and_shown_to_help():
    rng = np.random.default_rng(4)
    parts = [part(key, rng, intercept=0.8) for key in "abcd"]
    found = refit(BINARY, parts, window=2)
    assert found.in_force
    assert found.trial is not None
    assert found.trial.shown_positive


def test_a_layer_that_chases_noise_is_taken_away():
    rng = np.random.default_rng(5)
    parts = [part(key, rng, intercept=1.2 * (-1) ** i) for i, key in enumerate("abcdef")]  # the sign turns every time
    found = refit(BINARY, parts, window=1)
    assert not found.in_force
    assert found.layer == AffineLayer()
    assert "hurt" in found.reason


def test_without_labels_there_is_no_layer():
    assert not refit(BINARY, [], window=2).in_force


def test_walk_forward_never_learns_from_the_partition_it_is_judged_on():
    rng = np.random.default_rng(6)
    first, second = part("a", rng), part("b", rng, intercept=2.0)
    trial = walk_forward(BINARY, [first, second], window=2)
    layer = fit_layer(BINARY, [first])
    before, after = (BINARY.margin_loss(second.label, margin) for margin in (second.margin, layer.apply(second.margin)))
    gain = before - after
    means = [gain[second.cluster == name].mean() for name in np.unique(second.cluster)]
    assert trial is not None
    assert trial.gain == pytest.approx(np.mean(means))


def test_a_cross_fitted_layer_comes_from_the_other_partitions():
    rng = np.random.default_rng(7)
    parts = [part("a", rng), part("b", rng, intercept=1.0)]
    assert cross_fitted(BINARY, parts) == [fit_layer(BINARY, [parts[1]]), fit_layer(BINARY, [parts[0]])]
    assert cross_fitted(BINARY, parts[:1]) == [AffineLayer()]


def test_a_layer_of_one_or_two_days_is_not_put_in_force_however_many_rows_they_have():
    rng = np.random.default_rng(8)
    daily = [part(str(day), rng, intercept=0.8, days=1) for day in range(8)]
    for window in (1, 2, 4):
        found = refit(BINARY, daily, window=window)
        assert not found.in_force
        assert found.layer == AffineLayer()
        days = f"{window} cluster{'s' * (window > 1)}"
        assert (
            found.reason
            == f"no layer: the last {window} partitions hold {days}, too few to show anything (the least is 5)"
        )
    assert refit(BINARY, daily, window=5).in_force


def test_the_trial_of_a_layer_looks_back_until_it_has_seen_enough_clusters():
    rng = np.random.default_rng(9)
    daily = [part(str(day), rng, intercept=0.8, days=1) for day in range(12)]
    trial = walk_forward(BINARY, daily, window=5)
    assert trial is not None
    assert trial.clusters == 5
    assert trial.shown_positive
    weekly = [part(str(week), rng, intercept=0.8) for week in range(8)]
    assert walk_forward(BINARY, weekly, window=2).clusters == 7 * BINARY.calibration.look_back  # as ever


def test_on_days_a_way_of_fitting_can_be_shown_to_hurt_too():
    rng = np.random.default_rng(10)
    daily = [part(str(day), rng, intercept=1.2 * (-1) ** day, days=1) for day in range(8)]  # the sign turns every day
    assert walk_forward(BINARY, daily, window=1).shown_negative


def test_a_candidate_is_not_recalibrated_by_a_layer_that_would_not_serve():
    rng = np.random.default_rng(11)
    daily = [part(str(day), rng, intercept=1.0, days=1) for day in range(6)]
    assert cross_fitted(BINARY, daily[:5]) == [AffineLayer()] * 5  # the other four days
    assert AffineLayer() not in cross_fitted(BINARY, daily)

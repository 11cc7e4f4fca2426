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
    found = fit_layer(BINARY, [one], strength=0.0)
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(one.margin[:, None], one.label)
    assert found.intercept == pytest.approx(float(model.intercept_[0]), abs=1e-4)
    assert found.slope == pytest.approx(float(model.coef_[0, 0]), abs=1e-4)


def test_the_prior_shrinks_towards_the_identity():
    one = part("a", np.random.default_rng(2), intercept=0.4, slope=0.6)
    free, shrunk, pinned = (fit_layer(BINARY, [one], strength) for strength in (0.0, 2.0, 1e9))
    assert 0 < shrunk.intercept < free.intercept
    assert free.slope < shrunk.slope < 1
    assert pinned.slope == pytest.approx(1.0, abs=1e-4)


def test_a_regression_layer_is_a_line():
    rng = np.random.default_rng(3)
    margin = rng.normal(10, 2, 5000)
    one = Matured("a", 3 + 0.5 * margin + rng.normal(0, 0.1, 5000), margin, np.array(["d"] * 5000, object))
    found = fit_layer(REGRESSION, [one], strength=1e-9)
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
    walk = walk_forward(BINARY, [first, second], window=2)
    assert walk is not None
    layer = fit_layer(BINARY, [first], walk.strength)
    before, after = (BINARY.margin_loss(second.label, margin) for margin in (second.margin, layer.apply(second.margin)))
    gain = before - after
    means = [gain[second.cluster == name].mean() for name in np.unique(second.cluster)]
    assert walk.trial.gain == pytest.approx(np.mean(means))


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
    walk = walk_forward(BINARY, daily, window=5)
    assert walk is not None
    assert walk.trial.clusters == 7  # of 12 days, those with five before them
    assert walk.trial.shown_positive
    weekly = [part(str(week), rng, intercept=0.8) for week in range(12)]
    assert walk_forward(BINARY, weekly, window=2).trial.clusters == 7 * BINARY.calibration.look_back


def test_on_days_a_way_of_fitting_can_be_shown_to_hurt_too():
    rng = np.random.default_rng(10)
    daily = [part(str(day), rng, intercept=1.2 * (-1) ** day, days=1) for day in range(8)]  # the sign turns every day
    assert walk_forward(BINARY, daily, window=1).trial.shown_negative


def test_another_strength_is_taken_when_it_is_shown_to_cost_less():
    rng, usual = np.random.default_rng(12), BINARY.calibration.usual_strength
    lasting = [part(str(day), rng, intercept=2.0, slope=0.3, days=1, rows=400) for day in range(14)]
    restless = [part(str(day), rng, intercept=0.8 * (-1) ** (day // 3), days=1, rows=400) for day in range(14)]
    found = {name: walk_forward(BINARY, parts, window=5) for name, parts in (("fast", lasting), ("slow", restless))}
    assert found["fast"].strength < usual < found["slow"].strength
    outcome = refit(BINARY, lasting, window=5)
    assert outcome.strength == found["fast"].strength
    assert outcome.layer == fit_layer(BINARY, lasting[-5:], outcome.strength)
    assert refit(BINARY, lasting[:5], window=5).strength == usual  # too few to show anything


def test_the_usual_strength_stays_where_nothing_is_shown():
    """20 histories in which every layer chases noise of its own size: five looks each, and few choices."""
    chosen = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        daily = [part(str(day), rng, intercept=0.25, days=1, rows=150) for day in range(14)]
        chosen += [walk_forward(BINARY, daily[:end], window=5).strength for end in range(10, 15)]
    assert chosen.count(BINARY.calibration.usual_strength) > 75


def test_evidence_is_weighed_in_clusters_not_in_rows():
    rng = np.random.default_rng(13)
    parts = [part(str(day), rng, intercept=0.8, days=1, rows=100) for day in range(6)]
    hundredfold = [
        Matured(one.key, *(np.repeat(each, 100) for each in (one.label, one.margin, one.cluster))) for one in parts
    ]
    once, repeated = fit_layer(BINARY, parts), fit_layer(BINARY, hundredfold)
    assert repeated.intercept == pytest.approx(once.intercept, abs=1e-6)
    assert repeated.slope == pytest.approx(once.slope, abs=1e-6)


def test_a_layer_that_would_turn_the_ranking_round_is_not_put_in_force():
    rng = np.random.default_rng(14)
    daily = [part(str(day), rng, slope=-3.0, days=1) for day in range(24)]
    found = refit(BINARY, daily, window=12)
    assert not found.in_force
    assert found.layer == AffineLayer()
    turned = "no layer: fitted on the last 12 partitions it would turn the ranking round, however strong its prior"
    assert found.reason == turned
    assert cross_fitted(BINARY, daily) == [AffineLayer()] * 24
    flat = refit(BINARY, [part(str(day), rng, slope=-0.7, days=1) for day in range(12)], window=5)
    assert flat.in_force  # with a stronger prior it says less, and turns nothing
    assert 0 < flat.layer.as_dict()["slope"] < 0.5
    assert flat.strength == max(BINARY.calibration.strengths)


@pytest.mark.parametrize("prior", [0.1, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_the_fit_is_the_minimum_however_far_the_margins_part_the_labels(prior, scale):
    from scipy.optimize import minimize

    rng = np.random.default_rng(15)
    label = (np.arange(200) % 2).astype(float)
    margin = scale * (6 * label - 3 + rng.normal(0, 1.0, 200))  # apart, but for a row in a thousand
    identity = np.array([0.0, 1.0])

    def cost(at):
        return BINARY.margin_loss(label, at[0] + at[1] * margin).sum() + prior * ((at - identity) ** 2).sum() / 2

    layer = BINARY.calibration.fit(label, margin, prior)
    best = minimize(cost, identity, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000})
    assert cost(np.array([layer.intercept, layer.slope])) <= best.fun + 1e-6
    assert layer.keeps_order


def test_a_candidate_is_not_recalibrated_by_a_layer_that_would_not_serve():
    rng = np.random.default_rng(11)
    daily = [part(str(day), rng, intercept=1.0, days=1) for day in range(6)]
    assert cross_fitted(BINARY, daily[:5]) == [AffineLayer()] * 5  # the other four days
    assert AffineLayer() not in cross_fitted(BINARY, daily)

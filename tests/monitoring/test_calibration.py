"""The calibration layer finds a known distortion, is shrunk towards the identity, and is taken away when it is shown to hurt."""

import numpy as np
import pytest

from updraft.monitoring.calibration import Layer, Matured, cross_fitted, fit_layer, loss, refit, walk_forward


def part(key: str, rng: np.random.Generator, *, intercept=0.0, slope=1.0, rows=4000, days=7) -> Matured:
    margin = rng.normal(-1.0, 1.0, rows)
    p = 1 / (1 + np.exp(-(intercept + slope * margin)))
    label = (rng.random(rows) < p).astype(float)
    cluster = np.array([f"{key}-{i % days}" for i in range(rows)], object)
    return Matured(key, label, margin, cluster)


def test_without_a_prior_the_fit_is_maximum_likelihood():
    from sklearn.linear_model import LogisticRegression

    one = part("a", np.random.default_rng(1), intercept=0.4, slope=0.6)
    found = fit_layer("binary", [one], prior_rows=0.0)
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(one.margin[:, None], one.label)
    assert found.intercept == pytest.approx(float(model.intercept_[0]), abs=1e-4)
    assert found.slope == pytest.approx(float(model.coef_[0, 0]), abs=1e-4)


def test_the_prior_shrinks_towards_the_identity():
    one = part("a", np.random.default_rng(2), intercept=0.4, slope=0.6)
    free, shrunk, pinned = (fit_layer("binary", [one], prior_rows=prior) for prior in (0.0, 1000.0, 1e9))
    assert 0 < shrunk.intercept < free.intercept
    assert free.slope < shrunk.slope < 1
    assert pinned.slope == pytest.approx(1.0, abs=1e-4)


def test_a_regression_layer_is_a_line():
    rng = np.random.default_rng(3)
    margin = rng.normal(10, 2, 5000)
    one = Matured("a", 3 + 0.5 * margin + rng.normal(0, 0.1, 5000), margin, np.array(["d"] * 5000, object))
    found = fit_layer("regression", [one], prior_rows=1e-9)
    assert (found.intercept, found.slope) == (pytest.approx(3, abs=0.05), pytest.approx(0.5, abs=0.01))


def test_a_lasting_distortion_is_recalibrated_and_shown_to_help():
    rng = np.random.default_rng(4)
    parts = [part(key, rng, intercept=0.8) for key in "abcd"]
    found = refit("binary", parts, window=2)
    assert found.in_force
    assert found.trial is not None
    assert found.trial.shown_positive


def test_a_layer_that_chases_noise_is_taken_away():
    rng = np.random.default_rng(5)
    parts = [part(key, rng, intercept=1.2 * (-1) ** i) for i, key in enumerate("abcdef")]  # the sign turns every time
    found = refit("binary", parts, window=1)
    assert not found.in_force
    assert found.layer == Layer()
    assert "hurt" in found.reason


def test_without_labels_there_is_no_layer():
    assert not refit("binary", [], window=2).in_force


def test_walk_forward_never_learns_from_the_partition_it_is_judged_on():
    rng = np.random.default_rng(6)
    first, second = part("a", rng), part("b", rng, intercept=2.0)
    trial = walk_forward("binary", [first, second], window=2)
    layer = fit_layer("binary", [first])
    gain = loss("binary", second.label, second.margin) - loss("binary", second.label, layer.apply(second.margin))
    means = [gain[second.cluster == name].mean() for name in np.unique(second.cluster)]
    assert trial is not None
    assert trial.gain == pytest.approx(np.mean(means))


def test_cross_fitted_margins_come_from_the_other_partitions():
    rng = np.random.default_rng(7)
    parts = [part("a", rng), part("b", rng, intercept=1.0)]
    found = cross_fitted("binary", parts)
    assert found[0] == pytest.approx(fit_layer("binary", [parts[1]]).apply(parts[0].margin))
    assert cross_fitted("binary", parts[:1])[0] is parts[0].margin

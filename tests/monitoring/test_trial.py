"""A paired trial holds its level when clusters are correlated, and finds a gain that is there."""

import numpy as np
import pytest

from updraft.monitoring.trial import paired_trial


def gains(rng: np.random.Generator, mean: float, clusters=14, rows=900) -> tuple[np.ndarray, np.ndarray]:
    shock = rng.normal(mean, 0.05, clusters)  # what the rows of a day share
    return np.repeat(shock, rows) + rng.normal(0, 0.3, clusters * rows), np.repeat(
        [f"d{i}" for i in range(clusters)], rows
    ).astype(object)


def test_equal_models_are_rarely_called_different():
    rng = np.random.default_rng(1)
    shown = [paired_trial(*gains(rng, 0.0)).shown_positive for _ in range(600)]
    assert 0.025 < np.mean(shown) < 0.085


def test_rows_taken_for_independent_would_be_wrong():
    rng = np.random.default_rng(2)
    naive = 0
    for _ in range(200):
        gain, _ = gains(rng, 0.0)
        naive += gain.mean() > 1.645 * gain.std() / np.sqrt(len(gain))
    assert naive / 200 > 0.3  # why the cluster is the unit


def test_a_real_gain_is_shown_and_its_opposite_is_shown_negative():
    rng = np.random.default_rng(3)
    gain, cluster = gains(rng, 0.08)
    assert paired_trial(gain, cluster).shown_positive
    assert paired_trial(-gain, cluster).shown_negative


def test_few_clusters_or_no_variance_show_nothing():
    assert not paired_trial(np.ones(100), np.array(["a"] * 50 + ["b"] * 50, object)).shown_positive
    assert not paired_trial(np.ones(100), np.array([f"d{i % 10}" for i in range(100)], object)).shown_positive


@pytest.mark.parametrize("clusters", [1, 2, 4])
def test_a_trial_on_too_few_clusters_says_so_and_shows_nothing_however_large_the_gain(clusters):
    rng = np.random.default_rng(4)
    trial = paired_trial(*gains(rng, 5.0, clusters=clusters))
    assert not trial.shown_positive
    assert trial.words.endswith(
        f"over {clusters} cluster{'s' * (clusters > 1)}, too few to show anything (the least is 5)"
    )
    assert trial.as_dict()["too_few"] is True


def test_one_cluster_has_no_standard_error_and_it_is_not_told_as_nought():
    trial = paired_trial(np.ones(100), np.array(["a"] * 100, object))
    assert trial.error is None
    assert "±" not in trial.words
    assert trial.as_dict()["error"] is None


def test_a_trial_on_enough_clusters_is_told_as_ever():
    trial = paired_trial(*gains(np.random.default_rng(5), 5.0, clusters=5))
    assert trial.shown_positive
    assert set(trial.as_dict()) == {"gain", "error", "clusters", "shown"}
    assert trial.words == f"{trial.gain:+.4f} ± {trial.error:.4f} over 5 clusters"

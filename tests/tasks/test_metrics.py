"""Metrics against values worked out by hand or by scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from updraft.errors import DataError
from updraft.tasks.binary import BINARY
from updraft.tasks.losses import LOG_LOSS
from updraft.tasks.metrics import Auc
from updraft.tasks.registry import task_type
from updraft.tasks.regression import REGRESSION
from updraft.tasks.resamples import RESAMPLES, ClusterResamples

RNG = np.random.default_rng(5)
LABEL = (RNG.random(500) < 0.3).astype(float)
SCORE = np.round(np.clip(0.3 + 0.3 * (LABEL - 0.3) + RNG.normal(0, 0.15, 500), 0.01, 0.99), 2)


def test_binary_metrics_agree_with_scikit_learn_ties_included() -> None:
    found = BINARY.measure(LABEL, SCORE)
    assert found["log_loss"] == pytest.approx(reference.log_loss(LABEL, SCORE))
    assert found["brier"] == pytest.approx(reference.brier_score_loss(LABEL, SCORE))
    assert found["auc"] == pytest.approx(reference.roc_auc_score(LABEL, SCORE))


def test_regression_metrics_agree_with_scikit_learn() -> None:
    label, score = RNG.normal(size=(2, 100))
    found = REGRESSION.measure(label, score)
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(label, score))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(label, score))


def test_one_certain_mistake_costs_much_and_not_infinity() -> None:
    [loss] = LOG_LOSS(np.array([1.0]), np.array([0.0]))
    assert loss == pytest.approx(16.118, abs=1e-3)


def test_the_auc_of_one_class_is_unknown_and_of_constant_scores_one_half() -> None:
    assert math.isnan(Auc().value(np.ones(5), np.linspace(0, 1, 5)))
    assert Auc().value(LABEL, np.full(500, 0.2)) == 0.5


def test_the_base_rate_is_the_best_constant() -> None:
    label = np.array([0.0, 0.0, 0.0, 10.0])
    assert REGRESSION.base_rate(REGRESSION.metric("mae"), label)[0] == 0.0
    assert REGRESSION.base_rate(REGRESSION.metric("rmse"), label)[0] == 2.5


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: BINARY.loss_named("auc"), "auc is no loss of a binary model's rows; there are log_loss, brier"),
        (lambda: LOG_LOSS(LABEL, SCORE[:-1]), "cannot be compared"),
        (lambda: LOG_LOSS(np.array([1.0, np.nan]), np.array([0.5, 0.5])), "label of row 1 is no number"),
        (lambda: BINARY.headline.value(np.array([]), np.array([])), "of no rows"),
        (lambda: BINARY.metric("f1"), "f1 does not fit a binary model; its metrics are log_loss, brier, auc"),
        (lambda: task_type("ranking"), "no task type 'ranking'; there are binary, multiclass, regression"),
    ],
)
def test_what_cannot_be_measured_is_an_error_that_says_why(call, match) -> None:
    with pytest.raises(DataError, match=match):
        call()


def test_resampling_clusters_shows_the_spread_of_a_mean() -> None:
    effect = RNG.normal(0, 1, 200)
    day = np.repeat(np.arange(200), 50).astype(str).astype(object)
    resampled = ClusterResamples.of(day).mean(np.repeat(effect, 50))
    assert resampled.shape == (RESAMPLES,)
    assert resampled.std() == pytest.approx(effect.std() / math.sqrt(200), rel=0.1)
    assert (resampled == ClusterResamples.of(day).mean(np.repeat(effect, 50))).all()

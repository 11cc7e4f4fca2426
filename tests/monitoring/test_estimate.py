"""Estimates without labels: against values by hand and by brute force, and how often their interval holds on made streams."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from tests.support import streams

from updraft.monitoring.estimate import (
    FEWEST,
    LEVEL,
    RECENT,
    Expected,
    PastError,
    expected_of_losses,
    expected_of_probabilities,
    interval,
)
from updraft.tasks.binary import BINARY
from updraft.tasks.metrics import Auc
from updraft.tasks.multiclass import MULTICLASS
from updraft.tasks.registry import task_type
from updraft.tasks.regression import REGRESSION

ROWS = 300
"""Of a partition of the made streams."""


def of_scores(task, score, loss=None):
    metric = task.metric_of(loss or task.default_loss.name)
    return expected_of_probabilities(metric, score, task.probabilities(score), task.metrics)


def test_the_expected_log_loss_is_the_mean_entropy_of_the_scores():
    expected = of_scores(BINARY, np.array([0.5, 0.25]))
    by_hand = [np.log(2), 0.25 * np.log(4) + 0.75 * np.log(4 / 3)]
    assert expected.value == pytest.approx(np.mean(by_hand))
    # at 0.5 every label costs the same; at 0.25 the two costs lie log(3) apart: sd of the mean is sqrt(0 + p(1-p) log(3)²) / 2
    assert expected.spread == pytest.approx(np.sqrt(0.25 * 0.75) * np.log(3) / 2)
    assert set(expected.figures) == {"auc"}


def test_each_loss_of_a_release_has_its_own_expectation():
    score = np.array([0.1, 0.9, 0.5])
    assert of_scores(BINARY, score, "brier").value == pytest.approx(np.mean(score * (1 - score)))
    of_classes = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    three = task_type("multiclass").of_classes(("a", "b", "c"))
    assert of_scores(three, of_classes).value == pytest.approx(-np.mean((of_classes * np.log(of_classes)).sum(axis=1)))
    assert of_scores(three, of_classes).figures == {"accuracy": pytest.approx(0.75)}
    assert MULTICLASS.metric_of("zero_one") is MULTICLASS.headline  # its mean is told as accuracy, which is no loss


@pytest.mark.parametrize("loss", ["log_loss", "brier"])
def test_mean_and_spread_are_those_of_every_way_the_labels_may_come(loss):
    score = np.array([0.2, 0.7, 0.7, 0.05])
    values, chances = [], []
    for labels in product((0.0, 1.0), repeat=len(score)):
        label = np.array(labels)
        values.append(BINARY.metric_of(loss).value(label, score))
        chances.append(np.prod(np.where(label == 1, score, 1 - score)))
    mean = np.average(values, weights=chances)
    expected = of_scores(BINARY, score, loss)
    assert expected.value == pytest.approx(mean)
    assert expected.spread == pytest.approx(np.sqrt(np.average((np.array(values) - mean) ** 2, weights=chances)))


@pytest.mark.parametrize("score", [[0.2, 0.7, 0.4], [0.3, 0.3, 0.9, 0.1], [0.5] * 5, [0.01, 0.02, 0.99, 0.6, 0.6]])
def test_the_expected_auc_is_that_of_every_way_the_labels_may_come(score):
    """Of expected pairs: each way counts with its chance and its number of pairs."""
    auc, pairs_of_ways = BINARY.metric("auc"), []
    for labels in product((0.0, 1.0), repeat=len(score)):
        label, p = np.array(labels), np.array(score)
        pairs = label.sum() * (1 - label).sum()
        if pairs:
            pairs_of_ways.append((auc.value(label, p), pairs * np.prod(np.where(label == 1, p, 1 - p))))
    values, weights = zip(*pairs_of_ways, strict=True)
    assert Auc().expected(BINARY.probabilities(np.array(score))) == pytest.approx(np.average(values, weights=weights))


def test_where_no_pair_can_come_there_is_no_expected_auc():
    assert np.isnan(Auc().expected(BINARY.probabilities(np.array([1.0, 1.0]))))
    assert "auc" not in of_scores(BINARY, np.array([0.4])).figures
    assert of_scores(BINARY, np.array([])) is None


def test_rows_of_a_regression_lose_what_rows_with_a_similar_score_lost():
    random = np.random.default_rng(1)
    known = random.uniform(-1, 1, 4000)
    loss = np.where(np.abs(known) > 0.5, 9.0, 1.0) * random.chisquare(1, 4000)  # large at both ends: no monotone fit
    metric = REGRESSION.metric_of("squared_error")
    middle = expected_of_losses(metric, np.full(200, 0.05), known, loss)
    ends = expected_of_losses(metric, np.linspace(-2.0, -0.6, 200), known, loss)
    assert middle.value == pytest.approx(1.0, rel=0.15)  # rmse, in units of the label
    assert ends.value == pytest.approx(3.0, rel=0.15)
    # the sd of the mean of 200 squares with variance 2 is 0.1; of its root half of that
    assert middle.spread == pytest.approx(0.05, rel=0.4)


def test_known_scores_that_are_all_alike_and_too_few_known_rows():
    metric = REGRESSION.metric_of("squared_error")
    alike = expected_of_losses(metric, np.array([-1.0, 7.0]), np.full(200, 3.0), np.full(200, 4.0))
    assert (alike.value, alike.spread) == (2.0, 0.0)
    assert expected_of_losses(metric, np.array([1.0]), np.arange(49.0), np.ones(49)) is None
    assert expected_of_losses(metric, np.array([]), np.arange(100.0), np.ones(100)) is None


def test_there_is_no_interval_before_the_record_can_bound_nine_of_ten_errors():
    expected = Expected(0.5, 0.01)
    assert interval(expected, [PastError(0.0, 0.01)] * (FEWEST - 1)) is None
    assert interval(expected, [PastError(0.0, 0.01)] * FEWEST) is not None


def test_the_interval_is_the_conformal_quantile_and_never_less_than_the_luck_of_the_labels():
    errors = [PastError(sign * size, 0.0) for sign, size in zip([1, -1] * 10, np.arange(1, 21) / 100, strict=True)]
    within = interval(Expected(0.5, 0.0), errors)  # of equal scales: the 19th of 20, ceil(21 · 0.9)
    assert (within.lower, within.upper) == (pytest.approx(0.31), pytest.approx(0.69))
    lucky = interval(Expected(0.5, 0.1), [PastError(0.0, 0.1)] * RECENT)
    assert lucky.upper - lucky.lower == pytest.approx(2 * 1.645 * 0.1, rel=1e-3)
    assert interval(Expected(0.1, 0.0), errors).lower == 0.0  # no loss lies below


def test_only_the_newest_errors_count():
    old, newest = [PastError(5.0, 0.01)] * 30, [PastError(0.01, 0.01)] * RECENT
    assert interval(Expected(0.5, 0.01), old + newest) == interval(Expected(0.5, 0.01), newest)


def followed(days, rows_of_day, score_of, margin_of, seed):
    """Play days whose labels are known a day later: whether each interval held, and its width; None before there is one."""
    random = np.random.default_rng(seed)
    past, told = [], []
    metric = BINARY.metric_of("log_loss")
    for day in range(days):
        features = random.normal(size=(rows_of_day(day), streams.FEATURES))
        score = BINARY.link(score_of(features))
        label = (random.random(len(score)) < BINARY.link(margin_of(day, features, random))).astype(float)
        expected = of_scores(BINARY, score)
        within = interval(expected, past)
        realised = metric.value(label, score)
        told.append(within and (within.lower <= realised <= within.upper, within.upper - within.lower))
        past.append(PastError(realised - expected.value, expected.spread))
    return told


def learnt(features):
    """A model of the first world that is calibrated."""
    return streams.world(0, features)


def overconfident(features):
    """The same model with margins half as far again from nought as they should be."""
    return 1.5 * streams.world(0, features)


@pytest.mark.parametrize("model", [learnt, overconfident])
@pytest.mark.parametrize("sizes", ["equal", "unequal"])
def test_the_interval_holds_as_often_as_it_says_where_nothing_changes(model, sizes):
    """Overconfident scores estimate too low a loss each time, and the record says by how much."""
    stream = streams.STREAMS["none"]
    held = []
    for seed in range(12):
        rows_of_day = (lambda day: ROWS) if sizes == "equal" else (lambda day: (60, 1500, 300)[day % 3])
        told = followed(stream.days, rows_of_day, model, stream.margin, seed)
        held += [told_day[0] for told_day in told if told_day]
    assert len(held) == 12 * (stream.days - FEWEST)
    # 972 days, errors shared by intervals 20 days apart: the share's standard error is about 0.015
    assert LEVEL - 0.04 <= np.mean(held) <= LEVEL + 0.07


def test_after_a_sudden_change_the_interval_misses_until_labels_tell_and_then_holds():
    stream = streams.STREAMS["sudden"]  # another world from day 40 on
    tolds = [followed(stream.days, lambda day: ROWS, learnt, stream.margin, seed) for seed in range(6)]
    width = {day: np.median([told[day][1] for told in tolds]) for day in (39, 40, 41, 43)}
    assert [np.mean([told[day][0] for told in tolds]) for day in (40, 41)] == [0.0, 0.0]  # nothing can tell it yet
    assert width[43] > 4 * width[39]  # two errors of the changed world are known
    later = [told[day][0] for told in tolds for day in range(43, stream.days)]
    assert np.mean(later) >= LEVEL - 0.04


def test_while_the_world_slides_the_interval_follows_and_is_open_about_it():
    stream = streams.STREAMS["gradual"]  # from day 30 to day 70
    tolds = [followed(stream.days, lambda day: ROWS, learnt, stream.margin, seed) for seed in range(6)]
    before = np.median([told[day][1] for told in tolds for day in range(20, 30)])
    after = np.median([told[day][1] for told in tolds for day in range(75, 90)])
    assert after > 4 * before
    sliding = np.mean([told[day][0] for told in tolds for day in range(30, 70)])
    assert 0.3 < sliding < LEVEL  # each error is larger than those before it, which only the record can tell
    assert np.mean([told[day][0] for told in tolds for day in range(75, 90)]) >= LEVEL - 0.04

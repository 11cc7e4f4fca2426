"""The median rule: limits that are known before a trial starts; while none was given up they say what Optuna's own pruner says."""

from __future__ import annotations

import optuna
import pytest

from updraft.jobs.contract import Trial
from updraft.search.pruning import AFTER_TRIALS, stop_above

CURVES = [[0.9, 0.6, 0.5], [0.8, 0.7, 0.6], [0.7, 0.65, 0.64], [0.95, 0.5, 0.45]]


def test_the_limit_is_the_median_of_the_lowest_losses_by_then():
    assert stop_above(CURVES, 0) == pytest.approx(((0.8 + 0.9) / 2, (0.6 + 0.65) / 2, (0.5 + 0.6) / 2))


def test_the_first_rounds_are_free():
    assert stop_above(CURVES, 2)[:2] == (None, None)
    assert stop_above(CURVES, 2)[2] is not None


def test_few_trials_have_no_median():
    assert stop_above(CURVES[: AFTER_TRIALS - 1], 0) == ()


def test_a_trial_that_ended_early_or_was_given_up_counts_on_with_its_best():
    shorter = [*CURVES[:3], [0.4]]
    assert stop_above(shorter, 0)[2] == pytest.approx((0.5 + 0.6) / 2)


def test_a_loss_that_rose_again_counts_with_its_lowest():
    risen = [*CURVES[:3], [0.3, 0.9, 0.9]]
    assert stop_above(risen, 0)[2] == pytest.approx((0.5 + 0.6) / 2)


def test_a_trial_ends_above_the_limit_and_the_last_limit_counts_on():
    trial = Trial(stop_above=(None, 0.5))
    assert not trial.stops(1, 0.9)
    assert trial.stops(2, 0.51)
    assert not trial.stops(2, 0.5)
    assert trial.stops(7, 0.51)
    assert not trial.stops(7, None)
    assert not Trial().stops(7, 0.9)


@pytest.mark.parametrize("curve", [[0.85, 0.63, 0.56], [0.84, 0.7, 0.3], [0.9, 0.6, 0.4], [0.5, 0.62, 0.7]])
def test_on_curves_of_equal_length_it_decides_as_optunas_median_pruner(curve):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=AFTER_TRIALS, n_warmup_steps=1))
    for each in CURVES:
        falling = [min(each[: at + 1]) for at in range(len(each))]
        study.add_trial(optuna.trial.create_trial(value=falling[-1], intermediate_values=dict(enumerate(falling))))
    trial, limits = study.ask(), Trial(stop_above=stop_above(CURVES, 1))
    for at, loss in enumerate(curve):
        trial.report(loss, at)
        assert trial.should_prune() == limits.stops(at + 1, min(curve[: at + 1])), at

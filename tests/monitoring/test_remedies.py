"""The cheapest remedy that the evidence supports: cooldown, budget and broken feeds hold it back."""

from dataclasses import replace
from itertools import product

import pytest

from updraft.monitoring.remedies import Past, Signs, diagnose, next_training, wants_refit_trial
from updraft.monitoring.trial import Trial
from updraft.spec.model import FixedLimit, Remedies, Retrain

WINS = Trial(0.02, 0.005, 14, shown_positive=True, shown_negative=False)
NOTHING = Trial(0.001, 0.005, 14, shown_positive=False, shown_negative=False)
POLICY = Remedies(retrain=Retrain(every=4, on=("performance",), cooldown=2, per_year=12))
PAST = Past(
    published=20, since_training=3, since_attempt=3, trained_this_year=3, fruitless=0, champion=True, open_episode=False
)


def found(past=PAST, signs=Signs(), policy=POLICY):  # noqa: B008 (frozen)
    return diagnose(policy, past, signs, first_after=8)


def test_the_first_training_comes_after_enough_partitions():
    young = Past(7, None, None, 0, 0, champion=False, open_episode=False)
    assert found(young) is None
    first = found(replace(young, published=8))
    assert first is not None
    assert (first.cause, first.remedy) == ("first", "retrain")


def test_a_refused_first_model_is_tried_again_after_the_cooldown():
    refused = Past(9, 1, 1, 1, 1, champion=False, open_episode=False)
    assert found(refused) is None
    again = found(replace(refused, published=10, since_training=2, since_attempt=2))
    assert again is not None


def test_age_calls_for_a_training():
    assert found(replace(PAST, since_training=3, since_attempt=3)) is None
    due = found(replace(PAST, since_training=4, since_attempt=4))
    assert due is not None
    assert due.cause == "age"


def test_a_refit_that_wins_calls_for_a_training_before_its_time():
    due = found(signs=Signs(refit=WINS))
    assert due is not None
    assert (due.cause, due.remedy) == ("performance", "retrain")
    assert due.figures["refit"]["shown"] is True
    assert found(signs=Signs(refit=NOTHING)) is None


@pytest.mark.parametrize(
    "past",
    [
        replace(PAST, since_training=1, since_attempt=1),
        replace(PAST, trained_this_year=12),
        replace(PAST, open_episode=True),
    ],
)
def test_cooldown_budget_and_an_open_episode_hold_every_training_back(past):
    assert found(past, Signs(refit=WINS, drift="far")) is None
    assert found(replace(past, since_training=min(past.since_training, 9))) is None or past.open_episode


def test_a_broken_feed_comes_first_and_never_trains():
    due = found(
        replace(PAST, since_training=9, since_attempt=9),
        Signs(refit=WINS, feed_faults=("temp: nulls from 0 % to 90 %",)),
    )
    assert due is not None
    assert due.remedy == "quarantine"


def test_drift_alone_trains_only_where_the_policy_says_so():
    alarm = Signs(drift="temp is furthest from the reference")
    assert found(signs=alarm) is None
    policy = Remedies(retrain=Retrain(every=None, on=("drift",)))
    due = found(signs=alarm, policy=policy)
    assert due is not None
    assert due.cause == "drift"


def test_a_fixed_limit_trains_when_it_is_crossed():
    policy = Remedies(retrain=Retrain(every=None, on=(FixedLimit(metric="auc", side="below", value=0.6),)))
    assert found(signs=Signs(metrics={"auc": 0.61}), policy=policy) is None
    due = found(signs=Signs(metrics={"auc": 0.59}), policy=policy)
    assert due is not None
    assert due.cause == "limit"


def test_two_fruitless_trainings_call_a_person_instead_of_a_third():
    due = found(replace(PAST, fruitless=2), Signs(refit=WINS))
    assert due is not None
    assert due.remedy == "person"


def test_after_two_fruitless_trainings_the_one_that_is_due_by_count_says_so():
    due = found(replace(PAST, since_training=9, since_attempt=9, fruitless=2))
    assert due is not None
    assert (due.cause, due.remedy) == ("age", "retrain")
    assert "the last 2 trainings did not help" in due.words


JUMPY = Remedies(retrain=Retrain(every=9, on=("performance", "jump"), cooldown=2, per_year=92))


def test_a_jump_of_the_loss_calls_for_a_training_at_once_where_the_policy_names_it():
    jumped = Signs(jump="the loss jumped: …")
    due = found(signs=jumped, policy=JUMPY)
    assert due is not None
    assert (due.cause, due.remedy, due.words) == ("jump", "retrain", "the loss jumped: …")
    assert found(signs=jumped) is None
    assert found(replace(PAST, since_attempt=1), jumped, JUMPY) is None  # cooldown
    assert (
        found(replace(PAST, fruitless=2), jumped, JUMPY).remedy == "retrain"
    )  # a world that has just changed is another one


def test_a_jump_is_followed_by_trainings_until_age_calls_for_them():
    tried, at = [0], 0
    for tick in range(1, 30):
        past = replace(PAST, since_training=tick - at, since_attempt=tick - at, since_jump=tick)
        if (due := found(past, policy=JUMPY)) is not None:
            tried.append((tick, due.cause))
            at = tick
    assert tried == [0, (2, "after_jump"), (5, "after_jump"), (11, "after_jump"), (20, "age"), (29, "age")]
    assert found(replace(PAST, since_jump=3), policy=POLICY) is None
    alone = Remedies(retrain=Retrain(every=None, on=("jump",), cooldown=2, per_year=92))
    assert found(replace(PAST, since_attempt=8, since_jump=15), policy=alone).cause == "after_jump"
    assert found(replace(PAST, since_attempt=16, since_jump=31), policy=alone) is None


WRONG = Signs(worse_than_none="its scores rank the wrong way round")


@pytest.mark.parametrize(
    "past", [PAST, replace(PAST, since_training=1, since_attempt=1), replace(PAST, trained_this_year=12)]
)
def test_a_model_that_is_worse_than_none_is_replaced_whatever_cooldown_and_budget(past):
    due = found(past, WRONG)
    assert due is not None
    assert (due.cause, due.remedy) == ("guard", "retrain")
    assert due.words.startswith("its scores rank the wrong way round; cooldown")


def test_a_policy_without_a_trigger_keeps_to_its_schedule_alone():
    plain = Remedies(retrain=Retrain(every=4, on=(), cooldown=0, per_year=10_000))
    assert found(replace(PAST, since_training=1, since_attempt=1), WRONG, plain) is None
    assert found(replace(PAST, since_training=4, since_attempt=4), WRONG, plain).cause == "age"


def test_no_second_training_is_started_beside_one_nor_a_third_when_two_did_not_help():
    assert found(replace(PAST, open_episode=True), WRONG) is None
    assert found(replace(PAST, since_training=0, since_attempt=0), WRONG) is None
    assert found(replace(PAST, since_attempt=1, fruitless=2), WRONG) is None  # its cooldown
    told = found(replace(PAST, fruitless=2), WRONG)
    assert (told.cause, told.remedy) == ("guard", "person")


def test_the_trial_is_only_run_where_it_could_change_something():
    assert wants_refit_trial(POLICY, PAST, 8)
    assert not wants_refit_trial(POLICY, replace(PAST, since_training=1, since_attempt=1), 8)
    assert not wants_refit_trial(POLICY, replace(PAST, since_training=4, since_attempt=4), 8)
    assert not wants_refit_trial(POLICY, replace(PAST, champion=False), 8)
    assert not wants_refit_trial(Remedies(retrain=Retrain(on=())), PAST, 8)
    assert wants_refit_trial(JUMPY, PAST, 8)
    assert not wants_refit_trial(JUMPY, PAST, 8, "the loss jumped: …")
    assert wants_refit_trial(POLICY, PAST, 8, "the loss jumped: …")  # which its policy does not ask about
    assert not wants_refit_trial(JUMPY, replace(PAST, since_jump=3), 8)


def partitions_until_called_for(past, policy, at_most=30):
    """By trying: the first of the partitions to come at which a training is called for, when nothing happens."""
    for more in range(1, at_most):
        then = replace(
            past,
            published=past.published + more,
            since_training=None if past.since_training is None else past.since_training + more,
            since_attempt=None if past.since_attempt is None else past.since_attempt + more,
            since_jump=None if past.since_jump is None else past.since_jump + more,
            since_first_of_rate=None if past.since_first_of_rate is None else past.since_first_of_rate + more,
        )
        if found(then, policy=policy) is not None:
            return more
    return None


@pytest.mark.parametrize("every", [None, 1, 4])
@pytest.mark.parametrize("cooldown", [0, 2, 6])
@pytest.mark.parametrize("at_most", [None, "2 of 8"])
def test_the_next_training_is_told_as_it_will_be_called_for(every, cooldown, at_most):
    policy = Remedies(retrain=Retrain(every=every, on=("jump",), cooldown=cooldown, per_year=12, at_most=at_most))
    for published, training, attempt, year, champion, jump, first in product(
        (1, 8, 20), (None, 0, 3, 9), (None, 0, 3), (3, 12), (True, False), (None, 0, 1, 4), (None, 3, 7, 8)
    ):
        if attempt is not None and training is not None and attempt > training:
            continue  # what brought a model was tried
        past = Past(
            *(published, training, attempt, year, 0),
            champion=champion,
            open_episode=False,
            since_jump=jump,
            since_first_of_rate=first,
        )
        told = next_training(policy, past, first_after=8)
        assert told is not None
        told_within = None if told.budget_spent else told.partitions
        assert told_within == partitions_until_called_for(past, policy), past


def test_a_policy_that_never_retrains_has_no_next_training():
    assert next_training(Remedies(retrain=None), PAST, first_after=8) is None


def test_a_rate_holds_back_what_a_budget_of_a_year_would_let_be_spent_in_a_month():
    policy = Remedies(retrain=Retrain(every=4, on=("jump",), cooldown=2, per_year=91, at_most="7 of 28"))
    jumped = Signs(jump="the loss jumped")
    full = replace(PAST, since_first_of_rate=27)
    assert found(full, jumped, policy=policy) is None
    assert not wants_refit_trial(Remedies(retrain=policy.retrain.model_copy(update={"on": ("performance",)})), full, 8)
    assert found(replace(full, since_first_of_rate=28), jumped, policy=policy).cause == "jump"
    assert found(full, Signs(worse_than_none="it is worse than none"), policy=policy).cause == "guard"
    told = next_training(policy, replace(full, since_first_of_rate=20), first_after=8)
    assert (told.partitions, told.cooldown, told.rated, told.budget_spent) == (8, 8, True, False)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("7 in 28", 'write it as "7 of 28"'),
        ("28 of 28", "28 of 28 forbids nothing"),
        (7, "write it as"),
        (["7 of 28"], "write it as"),
        ("1 of 99999999999", "less than or equal"),
        ("0 of 28", "greater than or equal to 1"),
    ],
)
def test_a_rate_that_is_none_is_refused_with_what_to_write(written, words):
    with pytest.raises(ValueError, match=words):
        Retrain(at_most=written)

"""What a backtest tells when its data changed, a day is unreadable, or a policy never gets a model."""

from __future__ import annotations

import pytest
from tests.support.made_project import MadeProject

from updraft.backtest.policies import NEVER, PROJECT
from updraft.backtest.run import backtest
from updraft.errors import DataError

DAYS = 8


@pytest.fixture
def made(tmp_path):
    return MadeProject(tmp_path, DAYS)


def play(made, *only):
    told = []
    return backtest(made.project, made.settings, only=only or (NEVER,), say=told.append), told


def test_flipped_labels_give_other_losses_and_it_says_so(made):
    before, _ = play(made)
    for day in range(1, DAYS + 1):  # every second label of each day
        made.write_day(day, lambda day, n: int(n % 7 > 3 + day % 2) if n % 2 else 1 - int(n % 7 > 3 + day % 2))
    after, told = play(made)
    assert after.played[0].mean > before.played[0].mean + 0.1
    assert told[0].startswith(
        f"{DAYS} partitions are ingested again, as there is a change in the files of source orders"
    )


def test_an_unreadable_day_is_listed_and_the_others_are_played_beside_a_policy_that_never_trains(made):
    made.file(5).write_bytes(made.file(5).read_bytes()[:300])
    made.write(lambda spec: spec.update(monitoring={"remedies": {"retrain": None}}))
    outcome, _ = play(made, NEVER, PROJECT)
    # The next day is played: it lacks the labels of the broken one alone.
    assert [partition.key for partition in outcome.failures] == ["2024-01-06T0000"]
    assert all(str(made.file(5)) in partition.reason for partition in outcome.failures)
    [played] = outcome.played
    assert played.keys == ("2024-01-05T0000", "2024-01-07T0000", "2024-01-08T0000", "2024-01-09T0000")
    assert "monitoring.remedies.retrain is null" in outcome.unplayed[PROJECT]


def test_a_policy_whose_every_candidate_is_refused_says_which_and_why(made):
    for day in range(1, DAYS + 1):
        made.write_day(day, lambda day, n: int((n * 37 + day * day * 11) % 60 > 29))
    with pytest.raises(DataError) as error:
        play(made, PROJECT)
    why = str(error.value)
    assert why.startswith("shop, the project's policy: nothing ever served, as ")
    assert "refused by the gates: at 2024-01-0" in why
    assert "does not beat the base rate: log_loss" in why


def test_without_a_policy_that_scores_the_reason_of_each_is_the_error(made):
    made.write(lambda spec: spec.update(monitoring={"remedies": {"retrain": None}}))
    with pytest.raises(
        DataError, match=r"the project's policy: nothing is ever trained, as monitoring\.remedies\.retrain is null"
    ):
        play(made, PROJECT)


def test_labels_that_mature_too_late_for_a_training_are_told(made):
    made.write(lambda spec: spec["data"]["label"].update(matures_after="20d"))
    with pytest.raises(DataError, match=r"no training came about: it takes 3 partitions .* mature after 20d"):
        play(made)

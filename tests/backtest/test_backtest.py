"""The backtest plays the loop's own steps, under the project's policy and under plain schedules."""

from __future__ import annotations

import multiprocessing
import time

import pytest
from tests.support import flights
from tests.support.broken_feeds import with_nulls
from tests.support.pictures import assert_drawn

from updraft.backtest.picture import by_partition, frontier
from updraft.backtest.policies import EVERY_PARTITION, NEVER, PROJECT, policies, rivals
from updraft.backtest.run import backtest, play_policy, playing_beside
from updraft.errors import DataError, InputError
from updraft.loop.in_process import play
from updraft.loop.kept_out import SignCount

WEEKS = 11


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("backtest")


@pytest.fixture(scope="module")
def played(home):
    only = ("never retrained", "every partition", PROJECT, "upf")
    flights.ingested(home, WEEKS)
    return {
        one.policy: one for one in backtest(flights.flights(), flights.settings(home), last=WEEKS, only=only).played
    }


def test_the_policies_that_are_compared():
    names = [policy.name for policy in policies(flights.flights().spec)]
    assert names == [
        "never retrained",
        "every partition",
        "every 2 partitions",
        "every 4 partitions",
        "every 8 partitions",
        "on a loss trigger",
        PROJECT,
    ]


def test_never_trains_once_and_every_partition_each_time(played):
    assert len(played["never retrained"].trainings) == 1
    assert len(played["every partition"].trainings) == WEEKS - 8 + 1


def test_a_rival_says_when_to_train_beside_the_first_time_and_is_played_where_it_is_asked_for(played):
    every = played["every partition"].trainings
    assert played["upf"].trainings == every[:3]  # three to begin with, a partition with labels between them
    assert [policy.name for policy in rivals(flights.flights().spec)] == ["adwin", "cara", "upf"]
    assert played["upf"].losses[0] == played["never retrained"].losses[0]


def test_all_policies_score_the_same_partitions_and_start_with_the_same_model(played):
    keys = {one.keys for one in played.values()}
    assert len(keys) == 1
    assert len(next(iter(keys))) == WEEKS - 8
    assert played["never retrained"].losses[0] == played["every partition"].losses[0]


def test_the_projects_policy_is_the_loop_itself(played, home):
    loop, models = flights.fresh_loop(home)
    for row in flights.ingested(home, WEEKS):
        play(loop, models, row)
    expected = [row.metrics["log_loss"] for row in loop.store.performance(loop.name)]
    assert list(played[PROJECT].losses) == expected


def test_every_tick_is_learnt_from_once_and_trials_find_its_proof(played, home):
    assert set(played) >= {"every partition", PROJECT}
    fits = [path for path in (home / "lake" / ".backtest" / "flight_delays" / "fits").iterdir() if path.is_dir()]
    assert len(fits) == WEEKS - 8 + 1
    for fit in fits:
        assert (fit / "model" / "meta.json").exists()
        assert (fit / "proof.parquet").exists()


def test_what_is_played_beside_a_replay_comes_out_as_in_a_backtest(home, played):
    rows = flights.ingested(home, WEEKS)
    with playing_beside(flights.flights(), flights.settings(home), (NEVER, EVERY_PARTITION)) as beside:
        for row in rows:
            beside.go_on(row)
        assert beside.played() == [played[NEVER], played[EVERY_PARTITION]]


def test_a_history_that_is_too_short_is_told_at_the_end(home):
    with playing_beside(flights.flights(), flights.settings(home), (NEVER,)) as beside:
        beside.go_on(flights.ingested(home, WEEKS)[0])
        with pytest.raises(DataError, match="no training came about"):
            beside.played()


def test_what_is_played_goes_on_when_the_process_beside_it_is_killed(home):
    rows = flights.ingested(home, WEEKS)
    with playing_beside(flights.flights(), flights.settings(home), (NEVER,)) as beside:
        beside.go_on(rows[0])
        [worker] = multiprocessing.active_children()
        worker.kill()
        worker.join()
        time.sleep(0.5)  # until the pool knows
        beside.go_on(rows[1])
        assert multiprocessing.active_children() == []  # nor does it begin anew
        assert beside.played() is None


def test_partitions_that_nothing_was_learnt_from_are_counted_by_sign(home, played):
    assert {(one.published, one.kept_out, one.signs) for one in played.values()} == {(WEEKS, 0, ())}
    assert {one.undecided for one in played.values()} == {()}
    rows = flights.ingested(home, WEEKS)
    loop, _ = flights.fresh_loop(home)
    broken = [*rows[:9], *(with_nulls(loop, row) for row in rows[9:])]
    [never] = [policy for policy in policies(flights.flights().spec) if policy.name == NEVER]
    told = play_policy(flights.flights(), flights.settings(home), never, broken)
    assert (told.published, told.kept_out) == (WEEKS, 2)
    assert told.signs == (SignCount("nulls", "temp", 2, rows[9].key),)
    assert (
        "2 of 11 partitions were kept out of every training, as their feed looked broken: nulls of temp (2)"
        in told.warning
    )


def test_means_of_halves_make_the_mean(played):
    one = played["every partition"]
    first = len(one.losses) // 2
    both = one.half(second=False) * first + one.half(second=True) * (len(one.losses) - first)
    assert both / len(one.losses) == pytest.approx(one.mean)


def test_pictures_are_pngs(played):
    lines = {one.policy: list(zip(one.keys, one.losses, strict=True)) for one in played.values()}
    for picture in (
        frontier(list(played.values()), "log_loss"),
        by_partition(lines, played[PROJECT].events, "log_loss"),
    ):
        assert_drawn(picture)
    fewer = {name: line[:-1] for name, line in lines.items()}
    assert by_partition(fewer, (), "log_loss") != by_partition(lines, (), "log_loss")


def test_an_unknown_policy_is_named_with_those_there_are(home):
    with pytest.raises(InputError, match=r"no policy \['sometimes'\].*every 8 partitions"):
        backtest(flights.flights(), flights.settings(home), last=WEEKS, only=("sometimes",))


def test_a_history_that_is_too_short_is_refused(home):
    with pytest.raises(DataError, match="too short"):
        backtest(flights.flights(), flights.settings(home), last=5)


@pytest.mark.timeout(1200)
def test_on_a_year_of_flights_the_policy_beats_retraining_every_week_with_at_most_twelve_trainings(home):
    """The goal that docs/backtest.md reports."""
    only = (NEVER, EVERY_PARTITION, PROJECT)
    year = {one.policy: one for one in backtest(flights.flights(), flights.settings(home), only=only).played}
    mean = {name: sum(one.losses) / len(one.losses) for name, one in year.items()}
    assert mean[PROJECT] < mean[EVERY_PARTITION] < mean[NEVER]
    assert len(year[PROJECT].trainings) <= 12 < len(year[EVERY_PARTITION].trainings)

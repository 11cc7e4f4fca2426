"""A search on real flights and a real PostgreSQL: what it tries is a function of project, data and seed, whatever is killed on the way."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import time

import pytest
import sqlalchemy as sa
from tests.support import flights

from updraft import files
from updraft.errors import StoreError, TrainingError
from updraft.jobs.attested import training_for
from updraft.jobs.contract import TrainingRequest
from updraft.jobs.run import run_training
from updraft.lake.places import trial_run
from updraft.loop.search import Waits, begin_trial, end_trial, give_up_trials, open_study, plan_search
from updraft.loop.search_result import conclude_search
from updraft.loop.train import prepare, train_here
from updraft.spec.search import Search
from updraft.store.store import Store

pytestmark = pytest.mark.integration
SPACE = {"max_depth": {"at_least": 1, "at_most": 6}, "eta": {"at_least": 0.01, "at_most": 0.5, "log": True}}
WEEKS = 6


def searching(lake, url, **changes):
    """A loop whose project asks for a search, on a store in PostgreSQL that knows the first weeks."""
    home, rows = lake
    project = flights.flights()
    training = project.spec.training
    trainer = training.trainers[0].model_copy(
        update={"params": {"max_depth": 4, "eta": 0.2, "rounds": 25, "early_stopping": 5, "checkpoint_every": 5}}
    )
    search = Search.model_validate({"trials": 7, "space": SPACE, **changes})
    changed = training.model_copy(update={"search": search, "trainers": (trainer,)})
    project = project.model_copy(update={"spec": project.spec.model_copy(update={"training": changed})})
    loop, _ = flights.fresh_loop(home, project)
    loop = dataclasses.replace(loop, store=Store.open(url))
    for row in rows[:WEEKS]:
        loop.store.record_partition(loop.name, row)
    return loop


def run_trial(loop, run, number):
    begin_trial(loop, run, number)
    train_here(loop, trial_run(run, number))
    return end_trial(loop, run, number)


def searched(loop, run):
    plan = plan_search(loop, run, None)
    return [run_trial(loop, run, number) for number in plan.numbers]


@pytest.fixture
def loop(lake, store_url, request):
    made = searching(lake, store_url, **getattr(request, "param", {}))
    yield made
    made.store.close()


def outcome(trials):
    return [(each.params, each.loss, each.rounds, each.pruned) for each in trials]


@pytest.fixture(scope="module")
def undisturbed(lake, postgres_server):
    """One whole search, and its store."""
    url = postgres_server.new_store()
    made = searching(lake, url)
    trials = searched(made, "undisturbed")
    yield made, trials, conclude_search(made, "undisturbed")
    made.store.close()
    postgres_server.drop_database(url)


def test_the_first_trial_has_todays_parameters_and_the_others_lie_in_the_space(undisturbed):
    loop, trials, _ = undisturbed
    now = dict(loop.spec.training.trainers[0].params)
    assert TrainingRequest.read(f"{loop.training(trial_run('undisturbed', 0)).folder.url}/request.json").params == now
    for trial in trials[1:]:
        assert 1 <= trial.params["max_depth"] <= 6
        assert 0.01 <= trial.params["eta"] <= 0.5
        request = TrainingRequest.read(
            f"{loop.training(trial_run('undisturbed', trial.number)).folder.url}/request.json"
        )
        assert request.params == now | trial.params
    assert len({json.dumps(trial.params) for trial in trials}) == len(trials)


def test_no_trial_reads_the_holdout(undisturbed):
    loop, trials, _ = undisturbed
    keys = [row.key for row in loop.store.partitions(loop.name)]
    for trial in trials:
        request = TrainingRequest.read(
            f"{loop.training(trial_run('undisturbed', trial.number)).folder.url}/request.json"
        )
        assert request.window == tuple(keys[:-2])
        assert request.holdout == ()


def test_the_best_trial_is_the_lowest_of_those_that_went_to_their_end(undisturbed):
    loop, trials, found = undisturbed
    whole = [each for each in trials if not each.pruned]
    assert found.best.loss == min(each.loss for each in whole)
    assert found.now == trials[0]
    summary = files.read_json(loop.lake.search("undisturbed").summary)
    assert summary["best"]["number"] == found.best.number
    assert len(summary["tried"]) == 7
    page = files.read_bytes(loop.lake.search("undisturbed").page).decode()
    assert page.count("<polyline") == 7
    assert "Trial 0 has the parameters of today" in page


def test_a_trial_that_is_worse_than_the_median_is_given_up_on_the_way(undisturbed):
    _, trials, _ = undisturbed
    pruned = [each for each in trials if each.pruned]
    assert pruned, outcome(trials)
    assert all(5 < each.rounds < 25 for each in pruned)


@pytest.mark.parametrize("loop", [{"prune": False}], indirect=True)
def test_without_pruning_every_trial_goes_to_its_end(loop, undisturbed):
    trials = searched(loop, "whole")
    assert not any(each.pruned for each in trials)
    first = next(at for at, each in enumerate(undisturbed[1]) if each.pruned)
    assert [each.params for each in trials[: first + 1]] == [each.params for each in undisturbed[1][: first + 1]]
    assert trials[first].rounds > undisturbed[1][first].rounds


def test_the_same_seed_tries_the_same_and_another_seed_something_else(loop, lake, undisturbed):
    assert outcome(searched(loop, "again")) == outcome(undisturbed[1])
    training = loop.spec.training
    other = training.model_copy(update={"search": training.search.model_copy(update={"seed": 2})})
    spec = loop.spec.model_copy(update={"training": other})
    loop = dataclasses.replace(loop, project=loop.project.model_copy(update={"spec": spec}))
    plan_search(loop, "other", None)
    run_trial(loop, "other", 0)
    assert run_trial(loop, "other", 1).params != undisturbed[1][1].params


def _train_forever(url, key):
    with training_for(key):
        run_training(url)
    time.sleep(60)


def test_a_search_that_is_killed_goes_on_where_it_was_and_finds_the_same(loop, undisturbed):
    plan = plan_search(loop, "killed", None)
    for number in (0, 1, 2):
        run_trial(loop, "killed", number)
    url = begin_trial(loop, "killed", 3)
    started = multiprocessing.get_context("spawn").Process(
        target=_train_forever, args=(url, loop.training(trial_run("killed", 3)).key)
    )
    started.start()
    result, until = f"{loop.training(trial_run('killed', 3)).folder.url}/result.json", time.monotonic() + 60
    while not files.exists(result):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(started.pid, signal.SIGKILL)  # the result is there, and the study does not know of it
    started.join()
    assert open_study(loop, "killed").rows()[3].state == "running"
    assert plan_search(loop, "killed", None) == plan
    assert begin_trial(loop, "killed", 3) == url
    trials = [run_trial(loop, "killed", number) for number in plan.numbers]
    assert outcome(trials) == outcome(undisturbed[1])
    assert len(open_study(loop, "killed").rows()) == 7


def test_a_trial_waits_for_those_that_it_learns_from(loop):
    plan_search(loop, "waits", None)
    assert begin_trial(loop, "waits", 2) == Waits((0, 1))
    run_trial(loop, "waits", 0)
    begin_trial(loop, "waits", 1)
    assert begin_trial(loop, "waits", 2) == Waits((1,))


@pytest.mark.parametrize("loop", [{"parallel": 2}], indirect=True)
def test_two_at_once_learn_from_the_same_trials_whichever_ends_first(loop):
    plan_search(loop, "first", None)
    run_trial(loop, "first", 0)
    begin_trial(loop, "first", 1), begin_trial(loop, "first", 2)
    assert begin_trial(loop, "first", 3) == Waits((1,))
    train_here(loop, trial_run("first", 1))
    end_trial(loop, "first", 1)
    three = begin_trial(loop, "first", 3)
    train_here(loop, trial_run("first", 2))
    end_trial(loop, "first", 2)

    plan_search(loop, "second", None)
    run_trial(loop, "second", 0)
    begin_trial(loop, "second", 1)
    run_trial(loop, "second", 2)
    run_trial(loop, "second", 1)
    again = begin_trial(loop, "second", 3)
    assert TrainingRequest.read(again).params == TrainingRequest.read(three).params


def test_a_trial_that_failed_holds_nobody_up_and_counts_when_it_is_run_again(loop):
    plan_search(loop, "failed", None)
    run_trial(loop, "failed", 0)
    begin_trial(loop, "failed", 1)
    give_up_trials(loop, "failed", {1: "its task failed"})
    assert isinstance(begin_trial(loop, "failed", 2), str)
    study = open_study(loop, "failed")
    assert (study.rows()[1].state, study.rows()[1].why) == ("failed", "its task failed")
    run_trial(loop, "failed", 1)
    assert study.rows()[1].state == "done"
    found = conclude_search(loop, "failed")
    assert set(found.failed) == {2, 3, 4, 5, 6}
    assert {each.number for each in found.tried} == {0, 1}


@pytest.mark.parametrize("loop", [{"timeout": "1m"}], indirect=True)
def test_no_trial_starts_after_the_timeout(loop):
    plan = plan_search(loop, "late", None)
    run_trial(loop, "late", 0)
    late = plan.model_copy(update={"planned_at": time.time() - 61})
    loop.store.record_run(loop.name, "late", "search", late.model_dump(mode="json"), replace=True)
    assert begin_trial(loop, "late", 1) is None
    found = conclude_search(loop, "late")
    assert not found.better
    assert "timeout" in found.failed[1]


def test_a_search_without_a_whole_trial_says_so(loop):
    plan_search(loop, "empty", None)
    with pytest.raises(TrainingError, match="no trial went to its end"):
        conclude_search(loop, "empty")


def test_ending_a_trial_twice_changes_nothing(loop):
    plan_search(loop, "twice", None)
    first = run_trial(loop, "twice", 0)
    rows = open_study(loop, "twice").rows()
    assert run_trial(loop, "twice", 0) == first
    assert open_study(loop, "twice").rows() == rows


def test_optunas_tables_stand_apart_from_the_stores(undisturbed):
    loop, _, _ = undisturbed
    inspected = sa.inspect(loop.store.engine)
    assert "trials" in inspected.get_table_names("search")
    assert "trials" not in inspected.get_table_names()


def test_a_store_that_is_not_postgresql_is_refused(lake):
    home, _ = lake
    with pytest.raises(StoreError, match="PostgreSQL"):
        open_study(flights.fresh_loop(home)[0], "any")


def test_a_project_that_asks_for_no_search_is_told_where_to_write_it(lake):
    home, _ = lake
    with pytest.raises(TrainingError, match=r"training\.search is not set"):
        plan_search(flights.fresh_loop(home)[0], "any", None)


def test_a_search_of_a_project_that_changed_meanwhile_goes_on_as_it_began(loop):
    plan = plan_search(loop, "changed", None)
    training = loop.spec.training.model_copy(update={"search": None})
    spec = loop.spec.model_copy(update={"training": training})
    changed = dataclasses.replace(loop, project=loop.project.model_copy(update={"spec": spec}))
    assert plan_search(changed, "changed", None) == plan
    assert run_trial(changed, "changed", 0).loss > 0


def test_what_was_found_becomes_a_training_that_names_its_search(undisturbed):
    loop, _, found = undisturbed
    url = prepare(loop, "with-what-was-found", None, params=found.params, search="undisturbed")
    request = TrainingRequest.read(url)
    assert dict(request.params) == found.params
    assert request.tags["updraft.search"] == "undisturbed"
    assert request.trial is None


def test_a_trials_request_has_another_hash_than_the_training_with_its_parameters(undisturbed):
    loop, _, _ = undisturbed
    request = TrainingRequest.read(f"{loop.training(trial_run('undisturbed', 6)).folder.url}/request.json")
    assert request.trial is not None
    assert request.trial.stop_above
    assert request.request_sha256 != request.model_copy(update={"trial": None}).request_sha256
    assert loop.training(trial_run("undisturbed", 6)).result.request_sha256

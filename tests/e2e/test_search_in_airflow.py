"""A search in a real Airflow: mapped trials, what a person sees of them, a training with what was found; killed on the way, it finds the same."""

from __future__ import annotations

import time

import pytest
from tests.e2e.test_loop_in_airflow import client

from updraft import files
from updraft.jobs.contract import TrainingResult
from updraft.lake.places import folder_name, trial_run
from updraft.replay.run import Replay
from updraft.spec.load import load_project
from updraft.store.store import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800, func_only=True)]
PARTITIONS = 4
TRIALS = 6


@pytest.fixture(scope="module")
def fed(stack, projects):
    """The first partitions, up to the first champion."""
    store = Store.open(stack.settings.store)
    player = Replay(load_project(projects / "searched"), store, client(stack), lambda *_: None, timeout=600)
    player.play(player.keys(PARTITIONS), lambda *_: None)
    assert store.serving("searched").champion
    yield store
    store.close()


def trials(stack, run):
    """The mapped tasks of a search, by their index."""
    found = client(stack, "admin").call("GET", f"/dags/searched.search/dagRuns/{run}/taskInstances?limit=100")
    return {
        one["map_index"]: one
        for one in found["task_instances"]
        if one["task_id"] == "search_trial" and one["map_index"] >= 0
    }


def summary(stack, run):
    return files.read_json(f"{stack.settings.lake}/searched/searches/{folder_name(run)}/summary.json")


@pytest.fixture(scope="module")
def searched(stack, fed):
    run = stack.start_dag("searched.search", dag_run_id="look", conf={"train": False, "reason": "a look"})
    assert stack.wait_run("searched.search", run, seconds=900)["state"] == "success"
    return run


def test_every_trial_is_a_mapped_task_that_says_what_it_tried_and_what_it_lost(stack, searched):
    found, told = trials(stack, searched), summary(stack, searched)
    assert sorted(found) == list(range(TRIALS))
    pruned = {each["number"] for each in told["tried"] if each["pruned"]}
    assert {number for number, one in found.items() if one["state"] == "skipped"} == pruned
    assert {one["state"] for number, one in found.items() if number not in pruned} == {"success"}
    for each in told["tried"]:
        name = found[each["number"]]["rendered_map_index"]
        assert name.startswith(f"{each['number']}: " + ("as now" if each["number"] == 0 else "early_stopping "))
        assert each["pruned"] or name.endswith(f"{each['loss']:.5f}")
    assert {one["pool"] for one in found.values()} == {"training"}


def test_a_trial_links_to_its_mlflow_run_and_the_choice_to_the_table_of_all(stack, searched):
    import httpx

    api = client(stack, "admin")
    where = f"/dags/searched.search/dagRuns/{searched}/taskInstances"
    for number in range(TRIALS):
        links = api.call("GET", f"{where}/search_trial/links?map_index={number}")["extra_links"]
        assert "/#/experiments/" in links["MLflow run"], number
    page = api.call("GET", f"{where}/choose_parameters/links")["extra_links"]["Search"]
    assert httpx.get(stack.settings.airflow + page).status_code in (401, 403)
    text = httpx.get(stack.settings.airflow + page, headers=api.headers).text
    assert text.count("<polyline") == TRIALS
    assert "a look" in text


def test_the_runs_of_a_search_stand_in_an_experiment_of_their_own_with_their_curves(stack, searched):
    from mlflow import MlflowClient

    mlflow = MlflowClient(stack.settings.mlflow)
    experiment = mlflow.get_experiment_by_name("searched.search")
    runs = mlflow.search_runs([experiment.experiment_id], f"tags.`updraft.search` = '{searched}'")
    assert {run.data.tags["updraft.trial"] for run in runs} == {str(number) for number in range(TRIALS)}
    for run in runs:
        number = int(run.data.tags["updraft.trial"])
        url = f"{stack.settings.lake}/searched/trainings/{folder_name(trial_run(searched, number))}/result.json"
        [curve] = TrainingResult.read(url).curve.values()
        points = mlflow.get_metric_history(run.info.run_id, "validation_log_loss_by_round")
        assert [point.value for point in sorted(points, key=lambda point: point.step)] == curve


def test_a_search_that_is_asked_not_to_train_starts_nothing(stack, searched):
    tasks = stack.tasks("searched.search", searched)
    assert tasks["choose_parameters"]["state"] == "skipped"
    assert tasks["start_training"]["state"] == "skipped"


def test_a_search_whose_trials_and_scheduler_are_killed_finds_the_same(stack, searched):
    run = stack.start_dag("searched.search", dag_run_id="shaken", conf={"train": False})
    deadline, killed = time.monotonic() + 300, 0
    while killed < 2:
        assert time.monotonic() < deadline
        if any(one["state"] == "running" for one in trials(stack, run).values()) and stack.kill_a_task():
            killed += 1
            time.sleep(2)
        time.sleep(0.05)
    stack.kill("scheduler")
    found = stack.wait_run_through_restarts("searched.search", run, seconds=900)
    stack.wait_healthy()
    assert found["state"] == "success"
    one, two = summary(stack, searched), summary(stack, run)
    kept = ("number", "params", "loss", "rounds", "pruned")
    assert two["failed"] == {}
    assert [[each[key] for key in kept] for each in two["tried"]] == [
        [each[key] for key in kept] for each in one["tried"]
    ]


def test_what_was_found_is_trained_as_a_change_that_has_to_prove_itself(stack, fed):
    run = stack.start_dag("searched.search", dag_run_id="for-good")
    assert stack.wait_run("searched.search", run, seconds=900)["state"] == "success"
    told = summary(stack, run)
    assert told["best"]["number"] > 0, told["words"]
    training = stack.tasks("searched.search", run)["start_training"]
    assert training["state"] == "success"
    assert stack.wait_run("searched.train", f"search-{run}", seconds=900)["state"] == "success"
    row = fed.training("searched", f"search-{run}")
    assert row.result["lane"] == "change"
    assert row.result["trainer"]["params"] == told["params"]
    assert row.state in ("registered", "refused")
    if row.state == "registered":
        assert [one.lane for one in fed.releases("searched", states=("shadow",))] == ["change"]

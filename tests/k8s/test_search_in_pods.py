"""A search whose trials run in pods with a GPU each: the same results as on this machine, counted by the pool, none left behind."""

from __future__ import annotations

import uuid

import pytest
from tests.e2e.test_loop_in_airflow import client
from tests.support.pods import attempts_of, eventually

from updraft import files
from updraft.jobs.contract import TrainingRequest, TrainingResult
from updraft.jobs.run import run_training
from updraft.lake.places import trial_run
from updraft_airflow.pods import RUN, run_label

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(1800, func_only=True)]
TRIALS = 4


@pytest.fixture(scope="module")
def searched(trained, pod_stack, cluster):
    """A search, one of whose pods is deleted on the way; the pods' pages by trial."""
    # Another test may have let the project ask for other pods a moment ago: until Airflow has read it again, its DAG is that one's.
    task = "/dags/podded.search/tasks/search_trial"
    eventually("the trials are counted in GPUs", lambda: client(pod_stack, "admin").call("GET", task)["pool"] == "gpu")
    run = pod_stack.start_dag(
        "podded.search", dag_run_id=f"look-{uuid.uuid4().hex[:6]}", conf={"train": False, "trials": TRIALS}
    )
    pod = eventually(
        "a pod of a trial runs", lambda: [p for p in pods(cluster, run) if p["status"]["phase"] == "Running"]
    )
    cluster.kubectl("-n", "updraft", "delete", "pod", pod[0]["metadata"]["name"], "--wait=false")
    assert pod_stack.wait_run("podded.search", run, seconds=900)["state"] == "success"
    return run


def pods(cluster, run):
    """The pods of a search's trials."""
    labels = ",".join(run_label(trial_run(run, number)) for number in range(TRIALS))
    return cluster.pods(f"{RUN} in ({labels})")


def folder(stack, run, number):
    return f"{stack.settings.lake}/podded/trainings/{trial_run(run, number)}"


def test_every_trial_ran_in_a_pod_with_a_gpu_and_is_in_the_summary(searched, pod_stack):
    told = files.read_json(f"{pod_stack.settings.lake}/podded/searches/{searched}/summary.json")
    assert [each["number"] for each in told["tried"]] == list(range(TRIALS))
    assert told["failed"] == {}
    for number in range(TRIALS):
        attempt = attempts_of(pod_stack.settings.store, "podded", trial_run(searched, number))[-1]
        assert (attempt.ending, attempt.node, attempt.gpu) == ("done", "gpu", 1)


def test_a_trial_in_a_pod_finds_what_the_same_request_finds_here(searched, pod_stack, tmp_path):
    for number in range(TRIALS):
        there = TrainingResult.read(f"{folder(pod_stack, searched, number)}/result.json")
        request = TrainingRequest.read(f"{folder(pod_stack, searched, number)}/request.json")
        changed = {"output_url": str(tmp_path / str(number)), "tracking_uri": None}
        here = run_training(request.model_copy(update=changed).write(str(tmp_path / f"{number}.json")))
        assert (here.model_sha256, here.curve, here.pruned) == (there.model_sha256, there.curve, there.pruned)


def test_trials_are_counted_by_the_pool_and_link_to_their_pods_and_their_mlflow_runs(searched, pod_stack):
    api = client(pod_stack, "admin")
    where = f"/dags/podded.search/dagRuns/{searched}/taskInstances"
    for number in range(TRIALS):
        task = api.call("GET", f"{where}/search_trial/{number}")
        assert (task["pool"], task["pool_slots"]) == ("gpu", 1)
        assert task["rendered_map_index"].startswith(f"{number}: ")
        links = api.call("GET", f"{where}/search_trial/links?map_index={number}")["extra_links"]
        assert links["Pod"] == f"/updraft/pods/podded/{trial_run(searched, number)}"
        assert "/#/experiments/" in links["MLflow run"]


def test_no_pod_of_a_search_is_left_behind(searched, cluster):
    assert pods(cluster, searched) == []

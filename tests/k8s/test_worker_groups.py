"""Trainings by several pods, and through a queue, on a real cluster."""

from __future__ import annotations

import json
import subprocess

import fsspec
import pytest
from tests.support.pods import BRISK, SLOW, PodTrainings, eventually

from updraft.jobs.group import new_token
from updraft.spec.compute import Compute, Kubernetes, PodDefaults, pod_compute

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(1800, func_only=True)]
QUICK = {"rounds": 8, "max_depth": 2}
TWO = {"workers": 2, "gpu": 0, "cpu": "500m", "memory": "512Mi"}


@pytest.fixture
def podded(trained, pod_stack, cluster, pod_projects):
    trainings = PodTrainings(pod_stack, cluster, pod_projects, "podded")
    yield trainings
    trainings.no_pod_is_left()
    eventually("no Job or what it owns is left", lambda: things(cluster, "jobs,services,networkpolicies") == [], 60)


def things(cluster, kinds: str) -> list[dict]:
    label = "app.kubernetes.io/managed-by=updraft"
    return list(json.loads(cluster.kubectl("-n", "updraft", "get", kinds, "-l", label, "-o", "json"))["items"])


def test_two_pods_find_what_two_processes_find_and_leave_nothing_behind(podded, tmp_path):
    with podded.wishes(**TWO):
        podded.start("both", **QUICK)
        pods = eventually("two pods", lambda: len(found := podded.cluster.pods()) == 2 and found)
        [policy] = eventually("their policy", lambda: things(podded.cluster, "networkpolicies"))
        assert podded.end("both") == "success"
    tokens = {
        each["value"]
        for pod in pods
        for each in pod["spec"]["containers"][0]["env"]
        if each["name"] == "UPDRAFT_MEETING_TOKEN"
    }
    [token] = tokens
    job = {"batch.kubernetes.io/job-name": policy["metadata"]["name"]}
    assert policy["spec"]["ingress"] == [{"from": [{"podSelector": {"matchLabels": job}}]}]
    assert all(job.items() <= pod["metadata"]["labels"].items() for pod in pods)
    # The secret of the group stands in its pods' environment: in no log, no page, and nowhere in the lake.
    assert token not in podded.log("both")
    grep = ["grep", "-rlF", "-e", token, str(podded.stack.layout.airflow_home / "logs")]
    assert subprocess.run(grep, capture_output=True, text=True, check=False).stdout == ""
    lake, folder = fsspec.core.url_to_fs(podded.folder("both"))
    assert not [path for path in lake.find(folder) if token.encode() in lake.cat_file(path)]
    [attempt] = podded.attempts("both")
    assert (attempt.ending, attempt.cpu, attempt.memory) == ("done", "500m", "512Mi")
    podded.told("both", "Worker 0 of 2: all are here")
    assert podded.result("both").model_sha256 == podded.uninterrupted("both", tmp_path).model_sha256


def test_a_group_that_loses_a_pod_starts_again_and_ends_with_the_same_bytes(podded, tmp_path):
    run = "lost"
    with podded.wishes(**TWO):
        podded.start(run, **BRISK)
        podded.checkpointed(run, 50)
        [pod] = podded.cluster.pods("batch.kubernetes.io/job-completion-index=1")
        podded.cluster.kubectl("-n", "updraft", "delete", "pod", pod["metadata"]["name"], "--wait=false")
        eventually("a second group", lambda: len(podded.attempts(run)) == 2)
        assert podded.end(run) == "success"
    first, second = podded.attempts(run)
    assert first.ending in ("interrupted", "lost")
    assert second.ending == "done"
    assert podded.result(run).model_sha256 == podded.uninterrupted(run, tmp_path).model_sha256


def test_a_group_whose_second_worker_is_killed_for_memory_is_tried_again_with_more(podded, tmp_path):
    with podded.wishes(**TWO, memory_cap="1Gi"):
        podded.start("hungry", **{**BRISK, "rounds": 200})
        podded.checkpointed("hungry", 50)
        [pod] = podded.cluster.pods("batch.kubernetes.io/job-completion-index=1")
        # Many small eaters: where a limit kills one process and not all of a container, it takes the largest, the worker.
        eats = "/opt/venv/bin/python -c 'import time; kept = b\"x\" * (60 * 2**20); time.sleep(30)' &"
        shell = ["exec", pod["metadata"]["name"], "--", "sh", "-c", eats * 10 + " wait"]
        with pytest.raises(AssertionError):  # it ends with its container
            podded.cluster.kubectl("-n", "updraft", *shell)
        assert podded.end("hungry") == "success"
    assert "worker 1: " in podded.tried_again_with_more("hungry", "512Mi", "1Gi")
    assert podded.result("hungry").model_sha256 == podded.uninterrupted("hungry", tmp_path).model_sha256


def test_a_run_that_is_ended_by_hand_takes_its_group_along(podded):
    with podded.wishes(**TWO):
        podded.start("removed", **SLOW)
        podded.checkpointed("removed", 50)
        podded.api.call("PATCH", f"/dags/{podded.dag}/dagRuns/removed", {"state": "failed"})
        eventually("its pods are gone", lambda: podded.cluster.pods() == [], 120)
    for job in things(podded.cluster, "jobs"):  # of its own, the cluster removes it five minutes after its end
        assert job["spec"]["ttlSecondsAfterFinished"] == 300
        eventually("it has ended", lambda: things(podded.cluster, "jobs")[0]["status"].get("conditions"), 60)
        podded.cluster.kubectl("-n", "updraft", "delete", "job", job["metadata"]["name"])


def test_a_training_waits_in_its_queue_without_pods_until_it_is_admitted(podded):
    with podded.wishes(queue="training", **TWO):
        podded.start("queued", **QUICK)
        [job] = eventually("a Job", lambda: things(podded.cluster, "jobs"))
        assert job["spec"]["suspend"] is True
        assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"
        eventually("no worker is held", lambda: podded.task("queued")["state"] == "deferred")
        assert podded.cluster.pods() == []
        patch = json.dumps({"spec": {"suspend": False}})  # as Kueue does when there is room
        podded.cluster.kubectl("-n", "updraft", "patch", "job", job["metadata"]["name"], "-p", patch)
        assert podded.end("queued") == "success"


@pytest.mark.parametrize("workers", [1, 3])
def test_the_api_server_takes_the_manifest_and_it_says_what_airflows_kueue_operator_says(cluster, workers):
    from airflow.providers.cncf.kubernetes.operators.kueue import KubernetesStartKueueJobOperator

    from updraft_airflow.pods import QUEUE, training_job

    compute = pod_compute(Compute(workers=workers, queue="training"), PodDefaults())
    container = {"name": "base", "image": "localhost/pause:1"}
    meta = {"name": "manifest", "namespace": Kubernetes().namespace, "labels": {"app": "a"}, "annotations": {}}
    job = training_job(
        {"metadata": meta, "spec": {"restartPolicy": "Never", "containers": [container]}}, compute, new_token()
    )
    said = cluster.kubectl("create", "--dry-run=server", "-f", "-", "-o", "json", text=json.dumps(job))
    taken = json.loads(said)
    theirs = KubernetesStartKueueJobOperator(task_id="t", queue_name="training", name="manifest", image="i")
    assert taken["spec"]["suspend"] is theirs.suspend is True
    assert taken["metadata"]["labels"][QUEUE] == theirs.labels[QUEUE]
    assert taken["metadata"]["annotations"][QUEUE] == theirs.annotations[QUEUE]
    assert (taken["spec"]["completionMode"], taken["spec"]["completions"]) == ("Indexed", workers)

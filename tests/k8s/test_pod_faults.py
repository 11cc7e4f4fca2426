"""What goes wrong with pods: each training ends with the same model, or fails at once with a cause that a person can act on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest
from tests.support.cluster import ROOT, start_cluster
from tests.support.pods import BRISK, SLOW, PodTrainings, eventually

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(1800, func_only=True)]
QUICK = {"rounds": 8, "max_depth": 2}


@pytest.fixture
def podded(trained, pod_stack, cluster, pod_projects):
    trainings = PodTrainings(pod_stack, cluster, pod_projects, "podded")
    yield trainings
    trainings.no_pod_is_left()


def test_a_deleted_pod_is_followed_by_one_that_goes_on_and_ends_with_the_same_bytes(podded, tmp_path):
    podded.start("deleted", **BRISK)
    pod = podded.checkpointed("deleted", 100)
    podded.cluster.kubectl("-n", "updraft", "delete", "pod", pod, "--wait=false")
    eventually("a second pod", lambda: len(podded.attempts("deleted")) == 2)
    assert podded.end("deleted") == "success"
    first, second = podded.attempts("deleted")
    assert first.ending in ("interrupted", "lost")
    assert (second.ending, first.node, second.node) == ("done", "gpu", "gpu")  # where it was, though it is gone
    assert podded.result("deleted").model_sha256 == podded.uninterrupted("deleted", tmp_path).model_sha256


def test_a_training_killed_for_memory_is_tried_once_more_with_more(podded):
    with podded.wishes(memory="96Mi", memory_cap="1Gi"):
        podded.start("short", **QUICK)
        assert podded.end("short") == "success"
    assert "the limit is 96Mi" in podded.tried_again_with_more("short", "96Mi", "192Mi")


def test_a_training_killed_for_memory_at_the_cap_fails_at_once_and_names_the_limit_and_the_peak(podded):
    with podded.wishes(memory="128Mi", memory_cap="128Mi"):
        podded.start("capped", **QUICK)
        assert podded.end("capped") == "failed"
    [only] = podded.attempts("capped")
    assert only.ending == "memory"
    assert podded.task("capped")["try_number"] == 1
    assert "the limit is 128Mi" in podded.log("capped")
    assert "raise training.compute.memory" in podded.log("capped")


def test_an_image_that_is_not_there_fails_at_once_and_is_named(podded):
    with podded.wishes(image="localhost/not-there:1"):
        podded.start("imageless", **QUICK)
        assert podded.end("imageless", 240) == "failed"
    assert "image localhost/not-there:1 cannot be had" in podded.log("imageless")
    assert podded.task("imageless")["try_number"] == 1


def test_an_image_that_the_deployment_does_not_allow_is_never_started(podded):
    with podded.wishes(image="evil.example.com/updraft-trainer:1"):
        podded.start("foreign", **QUICK)
        assert podded.end("foreign", 240) == "failed"
    assert podded.attempts("foreign") == ()
    assert podded.cluster.pods() == []
    assert "this deployment runs no such image; allowed: localhost/updraft-trainer:*" in podded.log("foreign")
    assert podded.task("foreign")["try_number"] == 1


def test_a_missing_secret_fails_at_once_and_is_named(podded):
    secret = podded.cluster.kubectl("-n", "updraft", "get", "secret", "updraft-trainer", "-o", "json")
    podded.cluster.kubectl("-n", "updraft", "delete", "secret", "updraft-trainer")
    try:
        podded.start("secretless", **QUICK)
        assert podded.end("secretless", 240) == "failed"
    finally:
        podded.cluster.kubectl("apply", "-f", "-", text=secret)
    assert 'secret "updraft-trainer" not found' in podded.log("secretless").replace("\\", "")
    assert podded.task("secretless")["try_number"] == 1


def test_more_gpus_than_any_node_has_is_said_at_once(podded):
    with podded.wishes(gpu=3):
        podded.start("greedy", **QUICK)
        assert podded.end("greedy", 240) == "failed"
    assert "no node can ever give that (cpu: 0 nvidia.com/gpu; gpu: 2 nvidia.com/gpu)" in podded.log("greedy")
    assert podded.attempts("greedy") == ()


def test_a_training_beyond_its_timeout_is_ended_and_keeps_its_checkpoint(podded):
    with podded.wishes(timeout="30s"):
        podded.start("late", **SLOW | {"rounds": 100_000, "early_stopping": 100_000})
        assert podded.end("late", 240) == "failed"
    [only] = podded.attempts("late")
    assert only.ending == "timeout"
    assert "training.compute.timeout (30 s)" in podded.log("late")
    podded.checkpointed("late")


@contextmanager
def no_gpu_is_free(cluster):
    """Both GPUs taken by a pod that does nothing."""
    limits = {"nvidia.com/gpu": "2"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "greedy", "namespace": "default"},
        "spec": {
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "localhost/pause:1", "resources": {"limits": limits}}],
        },
    }
    cluster.kubectl("apply", "-f", "-", text=json.dumps(pod))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/greedy", "--timeout=60s")
    try:
        yield
    finally:
        cluster.kubectl("delete", "pod", "greedy", "--wait=true", "--ignore-not-found")


def test_while_no_gpu_is_free_the_task_says_what_it_waits_for_and_goes_on_when_one_is(podded):
    with podded.wishes(wait_at_most="10s", on_no_gpu="wait"):
        with no_gpu_is_free(podded.cluster):
            podded.start("patient", **QUICK)
            eventually("the log says it", lambda: "Insufficient nvidia.com/gpu" in podded.log("patient"))
            [alert] = eventually("an alert", lambda: podded.alerts("patient"))
            assert "Insufficient nvidia.com/gpu" in alert.detail
            assert podded.task("patient")["state"] == "deferred"
        assert podded.end("patient") == "success"
    assert [each.gpu for each in podded.attempts("patient")] == [1]


def test_without_a_gpu_in_time_the_training_goes_to_cpu_where_the_policy_says_so(podded):
    with podded.wishes(wait_at_most="10s", on_no_gpu="cpu"), no_gpu_is_free(podded.cluster):
        podded.start("fallen", **QUICK)
        assert podded.end("fallen") == "success"
    first, second = podded.attempts("fallen")
    assert (first.ending, first.gpu, second.ending, second.gpu, second.node) == ("no_gpu", 1, "done", 0, "cpu")
    [alert] = podded.alerts("fallen")
    assert "trains on CPU" in alert.does


def test_without_a_gpu_in_time_the_training_fails_where_the_policy_says_so(podded):
    with podded.wishes(wait_at_most="10s", on_no_gpu="fail"), no_gpu_is_free(podded.cluster):
        podded.start("impatient", **QUICK)
        assert podded.end("impatient") == "failed"
    assert "no node within 10s: 0/2 nodes are available" in podded.log("impatient")
    assert podded.task("impatient")["try_number"] == 1


def test_a_drained_node_gives_its_training_the_time_for_a_checkpoint(podded, tmp_path):
    podded.start("drained", **BRISK)
    podded.checkpointed("drained", 100)
    try:
        podded.cluster.kubectl(
            "drain", "gpu", "--force", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s"
        )
    finally:
        podded.cluster.kubectl("uncordon", "gpu")
    assert podded.end("drained") == "success"
    assert len(podded.attempts("drained")) == 2
    assert podded.result("drained").model_sha256 == podded.uninterrupted("drained", tmp_path).model_sha256


def test_a_cleared_task_takes_its_pod_along_and_the_next_goes_on(podded):
    podded.start("cleared", **BRISK)
    first = podded.checkpointed("cleared", 50)
    body = {"dry_run": False, "dag_run_id": "cleared", "task_ids": ["train_model"], "only_failed": False}
    podded.api.call("POST", f"/dags/{podded.dag}/clearTaskInstances", body)
    eventually("another pod", lambda: podded.attempts("cleared")[-1].pod != first)
    eventually("the first is gone", lambda: all(pod["metadata"]["name"] != first for pod in podded.cluster.pods()))
    assert podded.end("cleared") == "success"


def test_a_run_that_is_ended_by_hand_and_deleted_takes_its_pod_along(podded):
    podded.start("removed", **SLOW)
    podded.checkpointed("removed", 50)
    run = f"/dags/{podded.dag}/dagRuns/removed"
    podded.api.call("PATCH", run, {"state": "failed"})  # Airflow deletes no run that is under way
    podded.no_pod_is_left()
    podded.api.call("DELETE", run)
    assert [each.ending for each in podded.attempts("removed")] == ["running"]  # nobody was left to note its end


def test_a_killed_triggerer_loses_no_training(podded):
    podded.start("untriggered", **BRISK)
    podded.checkpointed("untriggered", 50)
    podded.stack.kill("triggerer")
    assert podded.end("untriggered") == "success"
    assert len(podded.attempts("untriggered")) == 1


def test_an_api_server_that_is_away_for_a_while_loses_no_training(podded):
    podded.start("unreachable", **SLOW)
    podded.checkpointed("unreachable", 50)
    pid = podded.cluster.admin.parent / "run" / "apiserver.pid"
    os.kill(int(pid.read_text()), signal.SIGKILL)
    time.sleep(25)
    start_cluster()
    assert podded.end("unreachable") == "success"
    podded.result("unreachable")


def test_a_lost_node_loses_no_training(podded, tmp_path):
    podded.start("stranded", **BRISK)
    podded.checkpointed("stranded", 100)
    pid = podded.cluster.admin.parent / "run" / "kubelet-gpu.pid"
    os.kill(int(pid.read_text()), signal.SIGKILL)
    try:
        eventually("the pod is given up", lambda: podded.attempts("stranded")[0].ending != "running", 240)
    finally:
        start_cluster()
        podded.cluster.kubectl("wait", "--for=condition=Ready", "node/gpu", "--timeout=90s")
    assert podded.end("stranded") == "success"
    assert podded.attempts("stranded")[0].ending in ("lost", "done")
    assert podded.result("stranded").model_sha256 == podded.uninterrupted("stranded", tmp_path).model_sha256


def test_a_missing_right_is_named_with_its_rule(podded):
    rules = ROOT / "docker" / "kubernetes" / "rbac.yaml"
    podded.cluster.kubectl("delete", "clusterrolebinding", "updraft-nodes")
    try:
        podded.start("rightless", **QUICK)
        assert podded.end("rightless", 240) == "failed"
    finally:
        podded.cluster.kubectl("apply", "-f", str(rules))
    log = podded.log("rightless")
    assert "resources: [nodes], verbs: [list]}; it belongs to ClusterRole updraft-nodes" in log
    assert podded.task("rightless")["try_number"] == 1


def test_credentials_stand_in_no_pod_log_or_xcom(podded, object_store):
    podded.start("discreet", **QUICK)
    eventually("its pod", lambda: podded.attempts("discreet"))
    manifests = json.dumps(podded.cluster.pods())
    assert podded.end("discreet") == "success"
    secrets = [object_store.env["AWS_SECRET_ACCESS_KEY"], object_store.trainer["AWS_SECRET_ACCESS_KEY"]]
    entries = podded.api.call("GET", f"/dags/{podded.dag}/dagRuns/discreet/taskInstances/train_model/xcomEntries")
    for each in [*entries["xcom_entries"]]:
        found = podded.api.call(
            "GET", f"/dags/{podded.dag}/dagRuns/discreet/taskInstances/train_model/xcomEntries/{each['key']}"
        )
        assert not any(secret in json.dumps(found) for secret in secrets)
    assert not any(secret in manifests + podded.log("discreet") for secret in secrets)
    for secret in secrets:
        grep = ["grep", "-rlF", "-e", secret, str(podded.stack.layout.airflow_home / "logs")]
        assert subprocess.run(grep, capture_output=True, text=True, check=False).stdout == ""

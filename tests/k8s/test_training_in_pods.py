"""The loop with its trainings in pods of a real cluster, over a lake in a real object store."""

from __future__ import annotations

import json

import pytest
from tests.e2e.test_loop_in_airflow import client
from tests.support.pods import PodTrainings
from tests.support.pods import attempts_of as attempts

from updraft import files
from updraft.jobs.contract import TrainingRequest, TrainingResult
from updraft.jobs.run import run_training

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(1800, func_only=True)]


def test_a_project_trains_in_a_gpu_pod_and_its_model_serves(trained, pod_stack):
    _, training, told = trained
    assert training.state == "registered", told
    [attempt] = attempts(pod_stack.settings.store, "podded", training.id)
    assert (attempt.ending, attempt.node, attempt.gpu) == ("done", "gpu", 1)
    assert attempt.image_id
    assert attempt.peak_memory_mb
    assert any("promoted version 1" in words for words in told)


def test_the_result_equals_that_of_a_local_training_bit_for_bit(trained, tmp_path):
    folder, *_ = trained
    request = TrainingRequest.read(f"{folder}/request.json")
    request.model_copy(update={"output_url": str(tmp_path / "out")}).write(str(tmp_path / "request.json"))
    local, there = run_training(str(tmp_path / "request.json")), TrainingResult.read(f"{folder}/result.json")
    assert local.model_sha256 == there.model_sha256
    assert files.read_bytes(str(local.holdout_predictions_url)) == files.read_bytes(str(there.holdout_predictions_url))


def test_no_pod_is_left_behind(trained, cluster):
    assert cluster.pods() == []


def test_the_task_links_to_its_pods_and_its_mlflow_run(trained, pod_stack):
    import httpx

    _, training, _ = trained
    api = client(pod_stack, "admin")
    where = f"/dags/podded.train/dagRuns/{training.id}/taskInstances/train_model"
    links = api.call("GET", f"{where}/links")["extra_links"]
    assert "/#/experiments/" in links["MLflow run"]
    assert links["Pod"] == f"/updraft/pods/podded/{training.id}"
    assert httpx.get(pod_stack.settings.airflow + links["Pod"]).status_code in (401, 403)
    page = httpx.get(pod_stack.settings.airflow + links["Pod"], headers=api.headers)
    assert page.status_code == 200
    [attempt] = attempts(pod_stack.settings.store, "podded", training.id)
    for word in (attempt.pod, "gpu", "1 GPU, 900m cores, 768Mi", "done", training.result["model_sha256"]):
        assert word in page.text


def test_the_log_told_the_training_while_it_ran(trained, pod_stack, cluster, pod_projects):
    _, training, _ = trained
    PodTrainings(pod_stack, cluster, pod_projects, "podded").told(training.id, "proof: 8 rounds, best 0.")


def test_no_node_removes_the_logs_of_another_one(cluster):
    configured = (cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/configz") for node in ("cpu", "gpu"))
    assert len({json.loads(each)["kubeletconfig"]["podLogsDir"] for each in configured}) == 2


def test_the_version_knows_its_image_and_the_store_its_pods(trained, pod_stack):
    from mlflow import MlflowClient

    _, training, _ = trained
    [attempt] = training.result["pods"]
    assert (attempt["ending"], attempt["node"]) == ("done", "gpu")
    version = MlflowClient(pod_stack.settings.mlflow).get_model_version("podded", training.version)
    assert version.tags["updraft.image"] == attempt["image_id"]

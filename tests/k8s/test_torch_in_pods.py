"""PyTorch in pods, and nowhere else."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
from tests.support.pods import PodTrainings, eventually

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(1800, func_only=True)]
TORCH = {"rounds": 60, "early_stopping": 60, "batch": 256, "width": 64, "checkpoint_seconds": 0}


def states_after(trainings, run):
    """How the tasks that judge and register a run's model have ended."""

    def ended():
        states = [
            trainings.stack.tasks(trainings.dag, run)[task]["state"] for task in ("evaluate_model", "register_model")
        ]
        return states if {*states} <= {"success", "skipped", "failed", "upstream_failed"} else None

    return eventually(f"{run} is judged and registered", ended)


@pytest.fixture
def torch_pods(trained, pod_stack, cluster, pod_projects):
    if cluster.variant != "cpu-torch":
        pytest.skip("PIP_FIND_LINKS names no folder with PyTorch's CPU build: the image is without it")
    trainings = PodTrainings(pod_stack, cluster, pod_projects, "podded")
    with trainings.wishes(trainers=[{"name": "torch", "params": TORCH}], memory="1Gi"):
        yield trainings
    trainings.no_pod_is_left()


def test_airflows_side_is_without_pytorch(pod_stack):
    asked = [sys.executable, "-c", "import torch"]
    done = subprocess.run(asked, env={**os.environ, **pod_stack.env}, capture_output=True, text=True, check=False)
    assert "No module named 'torch'" in done.stderr


def test_a_torch_training_whose_pod_is_deleted_goes_on_to_the_same_bytes(torch_pods, tmp_path):
    torch_pods.start("perceptron", to_its_end=True)
    pod = torch_pods.checkpointed("perceptron", 3)
    torch_pods.cluster.kubectl("-n", "updraft", "delete", "pod", pod, "--wait=false")
    assert torch_pods.end("perceptron") == "success"
    first, second = torch_pods.attempts("perceptron")
    assert first.ending in ("interrupted", "lost")
    assert second.ending == "done"
    result = torch_pods.result("perceptron")
    assert 0.3 < result.metrics["holdout_log_loss"] < 0.65
    assert "torch" in result.environment
    judged, registered = states_after(torch_pods, "perceptron")
    assert judged == "success"
    assert registered in ("success", "skipped")  # as the gates decide
    if importlib.util.find_spec("torch") is not None:
        assert result.model_sha256 == torch_pods.uninterrupted("perceptron", tmp_path).model_sha256


def test_two_torch_pods_find_each_other_and_learn_one_model(torch_pods, tmp_path):
    with torch_pods.wishes(workers=2, gpu=0, cpu="500m"):
        torch_pods.start("perceptrons", rounds=4)
        assert torch_pods.end("perceptrons") == "success"
    assert "Worker 0 of 2: all are here" in torch_pods.log("perceptrons")
    if importlib.util.find_spec("torch") is not None:
        ours = torch_pods.uninterrupted("perceptrons", tmp_path)
        assert torch_pods.result("perceptrons").model_sha256 == ours.model_sha256

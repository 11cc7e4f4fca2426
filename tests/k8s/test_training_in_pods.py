"""The loop with its trainings in pods of a real cluster, over a lake in a real object store."""

from __future__ import annotations

import pytest

from updraft import files
from updraft.pods.attempts import read_attempts
from updraft.training.contract import TrainingRequest, TrainingResult
from updraft.training.run import run_training

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(1800)]


def test_a_project_trains_in_a_gpu_pod_and_its_model_serves(trained, pod_stack):
    folder, training, told = trained
    assert training.state == "registered", told
    [attempt] = read_attempts(folder)
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

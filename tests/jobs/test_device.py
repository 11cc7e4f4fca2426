from __future__ import annotations

import pytest
from tests.support.training_case import write_request

from updraft.errors import TrainingError
from updraft.jobs.device import choose_device, visible_gpus
from updraft.jobs.run import run_training


def test_the_best_device_that_is_there_is_taken():
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if visible_gpus() else "cpu")


def test_a_gpu_that_is_asked_for_and_not_there_is_an_error_before_anything_is_read(tmp_path):
    if visible_gpus():
        pytest.skip("there is a GPU")
    request = write_request(f"file://{tmp_path}", rows=50, device="cuda")
    with pytest.raises(TrainingError, match=r"asks for device cuda, and this process sees no GPU.*nvidia.com/gpu"):
        run_training(request.write(f"{tmp_path}/request.json"))


def test_the_result_says_where_it_was_trained(tmp_path):
    request = write_request(f"file://{tmp_path}", rows=200)
    result = run_training(request.write(f"{tmp_path}/request.json"))
    assert result.device == choose_device("auto")
    assert result.request_sha256 == request.on(result.device).request_sha256

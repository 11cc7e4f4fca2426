"""Real processes that are killed, and asked to end."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from tests.support.training_case import write_request

from updraft import files
from updraft.data.columns import MARGIN
from updraft.jobs.run import run_training
from updraft.jobs.watch import ProgressLine

XGBOOST = {"max_depth": 5, "eta": 0.02, "rounds": 150, "early_stopping": 150, "checkpoint_every": 5, "subsample": 0.7}
TORCH = {"rounds": 24, "early_stopping": 24, "batch": 64, "checkpoint_seconds": 0.0}
INTERRUPTED = 75


@pytest.fixture(params=["xgboost", "torch"])
def request_url(request, tmp_path):
    if request.param == "torch" and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: `make torch`")
    params = XGBOOST if request.param == "xgboost" else TORCH
    lake = tmp_path / "with space"
    return write_request(f"file://{lake}", rows=2000, trainer=request.param, params=params).write(
        f"{lake}/request.json"
    )


def start(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "updraft.cli", "train", "run", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )


def checkpointed(url: str) -> Path:
    return Path(url).parent / "output" / "checkpoint" / "proof.json"


def reached(url: str) -> int:
    return int(files.read_json(str(checkpointed(url)))["progress"]["rounds"])


def wait_for_round(process: subprocess.Popen[str], url: str, rounds: int) -> None:
    deadline = time.monotonic() + 90
    while not (checkpointed(url).exists() and reached(url) >= rounds):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def whole(url: str) -> tuple[dict[str, bytes], list[float], pd.Series]:
    """What the same request leaves when nothing happens to it."""
    from updraft.jobs.contract import TrainingRequest

    request = TrainingRequest.read(url).model_copy(update={"output_url": f"{Path(url).parent}/whole"})
    result = run_training(request.write(f"{Path(url).parent}/whole.json"))
    return left(result)


def left(result):
    folder = Path(result.model_url.removeprefix("file://"))
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    holdout = files.read_parquet(str(result.holdout_predictions_url))
    return contents, next(iter(result.curve.values())), holdout[MARGIN]


def assert_equal(one, two):
    assert one[0] == two[0]
    assert one[1] == two[1]
    pd.testing.assert_series_equal(one[2], two[2])


def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(request_url):
    process = start(request_url)
    wait_for_round(process, request_url, 5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert reached(request_url) >= 5
    resumed = run_training(request_url)
    assert_equal(left(resumed), whole(request_url))


def test_a_training_that_is_asked_to_end_says_so_and_goes_on_to_the_same_bytes(request_url):
    for _ in range(2):
        before = reached(request_url) if checkpointed(request_url).exists() else 0
        process = start(request_url)
        wait_for_round(process, request_url, before + 5)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == INTERRUPTED, said
        assert f"Interrupted: asked to end (SIGTERM): proof is kept up to round {reached(request_url)}" in said
        assert not (Path(request_url).parent / "output" / "result.json").exists()
    process = start(request_url)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert_equal(left(run_training(request_url)), whole(request_url))


def test_progress_is_told_in_lines_that_read_back(tmp_path):
    params = {**XGBOOST, "rounds": 2000, "early_stopping": 2000, "checkpoint_every": 1000}
    url = write_request(f"file://{tmp_path}", rows=40_000, params=params).write(f"{tmp_path}/request.json")
    process = start(url)
    assert process.stderr is not None
    told = next(line for line in map(ProgressLine.parse, process.stderr) if line is not None)
    process.terminate()
    process.communicate(timeout=60)
    assert told.phase == "proof"
    assert 0 < told.round < told.of == 2000
    assert told.rows_per_s > 1000
    assert told.peak_mb > 50
    assert told.loss is not None

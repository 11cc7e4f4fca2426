from __future__ import annotations

import logging
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from tests.support.training_case import KEYS, SOURCE, write_request

from updraft import files
from updraft.data.columns import PARTITION
from updraft.errors import DataError, IntegrityError, TrainingError
from updraft.jobs.contract import TrainingResult
from updraft.jobs.run import run_training
from updraft.training.model import load_model

RUN = "import sys\nfrom updraft.jobs.run import run_training\nprint(run_training(sys.argv[1]).model_sha256)"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    lake = tmp_path_factory.mktemp("a lake")
    request = write_request(f"file://{lake}")
    return lake, request, run_training(request.write(f"{lake}/request.json"))


def test_a_request_leaves_model_predictions_and_result(trained):
    lake, request, result = trained
    assert TrainingResult.read(f"{lake}/output/result.json") == result
    assert result.request_sha256 == request.request_sha256
    model = load_model(result.model_url, result.model_sha256)
    assert model.features_source == SOURCE
    assert model.meta["snapshot_sha256"] == request.snapshot_sha256
    assert model.meta["rounds"] == result.rounds
    holdout = files.read_parquet(str(result.holdout_predictions_url))
    assert set(holdout[PARTITION]) == {KEYS[-1]}
    assert len(holdout) == result.holdout_rows > 0
    assert 0.3 < result.metrics["holdout_log_loss"] < 0.65
    assert sorted(path.name for path in (lake / "output").iterdir() if path.name[0] != ".") == [
        *("holdout.parquet", "model", "result.json", "usage.json")
    ]


def test_running_a_request_again_changes_nothing(trained):
    lake, _, result = trained
    times = {
        path: path.stat().st_mtime_ns for path in (lake / "output").rglob("*") if path.is_file() and path.name[0] != "."
    }
    assert run_training(str(lake / "request.json")) == result
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_equal_requests_give_equal_bytes_wherever_they_run(trained, tmp_path):
    lake, request, result = trained
    other = request.model_copy(update={"output_url": f"memory://{uuid.uuid4().hex}/out"})
    again = run_training(other.write(f"{tmp_path}/request.json"))
    assert again.model_sha256 == result.model_sha256
    for name, content in contents(lake / "output" / "model").items():
        assert files.read_bytes(f"{again.model_url}/{name}") == content
    assert not files.exists(f"{other.output_url}/checkpoint")


def test_two_processes_with_one_request_train_once(tmp_path):
    request = write_request(f"file://{tmp_path}")
    url = request.write(f"{tmp_path}/request.json")
    code = f"import logging; logging.basicConfig(level='INFO')\n{RUN}"
    both = [
        subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert ended[0][0] == ended[1][0]
    assert sorted("proof: " in log for _, log in ended) == [False, True]


@pytest.mark.parametrize("damage", ["booster", "binding", "gone"])
def test_a_checkpoint_that_does_not_belong_is_not_taken_up(trained, tmp_path, caplog, damage):
    _, request, result = trained
    output = tmp_path / "output"
    checkpoint = output / "checkpoint"
    checkpoint.mkdir(parents=True)
    state = {
        "binding": {"request": request.request_sha256 if damage != "binding" else "x", "xgboost": _xgboost()},
        "file": "proof-a.ubj",
        "sha256": files.sha256(b"good"),
        "progress": {"rounds": 5, "best": 0.1, "best_rounds": 5, "curve": [0.1] * 5, "done": True},
    }
    files.write_json(str(checkpoint / "proof.json"), state)
    if damage != "gone":
        (checkpoint / "proof-a.ubj").write_bytes(b"good" if damage == "binding" else b"bad")
    with caplog.at_level(logging.WARNING):
        again = run_training(request.model_copy(update={"output_url": str(output)}).write(f"{tmp_path}/request.json"))
    assert "starting over" in caplog.text
    assert again.model_sha256 == result.model_sha256


def _xgboost() -> str:
    from importlib.metadata import version

    return version("xgboost")


def test_an_output_folder_belongs_to_one_request(trained, tmp_path):
    _, request, _ = trained
    other = request.model_copy(update={"seed": 9})
    with pytest.raises(TrainingError, match="give each request its own output_url"):
        run_training(other.write(f"{tmp_path}/request.json"))


def test_data_that_changed_after_the_snapshot_are_refused(tmp_path):
    request = write_request(f"file://{tmp_path}")
    url = request.write(f"{tmp_path}/request.json")
    part = tmp_path / "features" / f"{KEYS[1]}.parquet"
    part.write_bytes(part.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match=f"{KEYS[1]}.parquet has SHA-256"):
        run_training(url)
    part.unlink()
    with pytest.raises(DataError, match=f"{KEYS[1]}.parquet is not there"):
        run_training(url)


def test_a_window_that_the_snapshot_does_not_hold_is_refused(tmp_path):
    window = (*KEYS, "2013-02-04T0500")
    request = write_request(f"file://{tmp_path}", window=window, holdout=window[-1:])
    with pytest.raises(DataError, match=r"lacks the features of partitions \['2013-02-04T0500'\]"):
        run_training(request.write(f"{tmp_path}/request.json"))


def test_a_feature_source_that_changed_is_refused(tmp_path):
    request = write_request(f"file://{tmp_path}")
    (tmp_path / "features.py").write_text("changed")
    with pytest.raises(IntegrityError, match=r"features.py: SHA-256 is"):
        run_training(request.write(f"{tmp_path}/request.json"))


def test_a_model_that_was_changed_in_the_output_folder_is_not_handed_out(tmp_path):
    request = write_request(f"file://{tmp_path}")
    url = request.write(f"{tmp_path}/request.json")
    run_training(url)
    (tmp_path / "output" / "model" / "encoder.json").write_text('{"columns": []}')
    with pytest.raises(IntegrityError, match="content has hash"):
        run_training(url)


def test_a_training_needs_no_tracking_and_leaves_no_trace_of_where_it_ran(trained):
    lake, _, result = trained
    assert result.mlflow_run_id is None
    for content in contents(lake / "output" / "model").values():
        assert str(lake).encode() not in content
        assert os.uname().nodename.encode() not in content

"""A training whose snapshot, code, checkpoints, model and result stand in an object store."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from tests.support.training_case import write_request

from updraft import files
from updraft.errors import IntegrityError, SettingsError, TrainingError
from updraft.jobs.attested import training_for
from updraft.jobs.contract import TrainingRequest, TrainingResult
from updraft.jobs.run import collect_training, run_training
from updraft.jobs.usage import last_usage
from updraft.lock import exclusive

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lake(object_store):
    return f"{object_store.lake}/{uuid.uuid4().hex}"


KEY = "0" * 64


def requested(lake: str, **changes) -> str:
    return write_request(lake, **changes).write(f"{lake}/request.json")


def trained(lake: str) -> tuple[TrainingRequest, TrainingResult]:
    """A training for the run with :data:`KEY`."""
    url = requested(lake)
    with training_for(KEY):
        return TrainingRequest.read(url), run_training(url)


def test_it_gives_the_same_model_as_on_this_machines_disk(lake, tmp_path):
    there, here = run_training(requested(lake)), run_training(requested(str(tmp_path)))
    assert there.model_url.startswith("s3://")
    # The snapshot names the URLs of its files, so that its hash, which the model carries, differs; what was learnt does not.
    assert files.read_bytes(f"{there.model_url}/model.ubj") == files.read_bytes(f"{here.model_url}/model.ubj")
    assert not files.exists(f"{lake}/output/checkpoint/proof.json")


def test_sigterm_ends_the_command_at_a_checkpoint_and_the_same_command_goes_on_to_the_same_bytes(lake):
    slow = {"max_depth": 6, "eta": 0.01, "rounds": 1500, "checkpoint_every": 20, "early_stopping": 1500}
    url = requested(lake, params=slow)
    command = [sys.executable, "-m", "updraft.cli", "train", "run", url]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not files.exists(f"{lake}/output/checkpoint/proof.json"):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    rounds = files.read_json(f"{lake}/output/checkpoint/proof.json")["progress"]["rounds"]
    assert 0 < rounds < 1500
    assert f"kept up to round {rounds}; the same request goes on from there" in said
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert f"proof: {rounds + 20} rounds" in again.stderr, again.stderr
    assert f"proof: {rounds} rounds" not in again.stderr
    whole = write_request(lake, output_url=f"{lake}/whole", params=slow).write(f"{lake}/whole.json")
    assert TrainingResult.read(f"{lake}/output/result.json").model_sha256 == run_training(whole).model_sha256


def test_of_two_with_one_request_one_trains_and_the_other_takes_its_result(lake):
    url, found = requested(lake), []
    threads = [threading.Thread(target=lambda: found.append(run_training(url))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    one, other = found
    assert one == other


def test_the_lease_of_a_process_that_died_runs_out(lake):
    url = f"{lake}/folder"
    files.write_json(f"{url}/lease.json", {"holder": "gone", "until": time.time() + 1.5})
    started = time.monotonic()
    with exclusive(url, lease_seconds=5, settle_seconds=0.1):
        assert time.monotonic() - started > 1


def test_what_a_killed_training_used_is_known(lake):
    run_training(requested(lake))
    usage = last_usage(f"{lake}/output/usage.json")
    assert usage is not None
    assert usage.peak_memory_mb > 50


def test_a_result_that_is_cut_short_is_not_there_for_a_run_and_refused_by_hand(lake):
    request, _ = trained(lake)
    result = f"{lake}/output/result.json"
    files.write_bytes(result, files.read_bytes(result)[:-40])
    assert collect_training(request, None, KEY) is None
    with pytest.raises(TrainingError, match=r"result.json: not a TrainingResult"):
        run_training(f"{lake}/request.json")


def test_a_result_of_another_request_is_refused(lake):
    request, _ = trained(lake)
    other = request.model_copy(update={"seed": 2})
    with pytest.raises(TrainingError, match="give each request its own output_url"):
        collect_training(other, None, KEY)


def test_a_result_without_the_seal_of_the_run_counts_as_not_there(lake):
    request, found = trained(lake)
    assert collect_training(request, None, KEY) == found
    assert collect_training(request, None, "1" * 64) is None
    found.model_copy(update={"rounds": found.rounds + 1}).write(f"{lake}/output/result.json")
    assert collect_training(request, None, KEY) is None


def test_a_model_that_is_not_what_the_result_says_is_refused(lake):
    request, found = trained(lake)
    files.write_bytes(f"{found.model_url}/model.ubj", b"tampered")
    with pytest.raises(IntegrityError, match="content has hash"):
        collect_training(request, None, KEY)


def test_data_that_changed_after_the_snapshot_are_refused(lake):
    url = requested(lake)
    files.write_bytes(f"{lake}/features/2013-01-07T0500.parquet", b"other")
    with pytest.raises(IntegrityError, match="changed after it was written"):
        run_training(url)


def test_nothing_is_collected_while_there_is_no_result(lake):
    assert collect_training(write_request(lake), None, KEY) is None


def test_a_bucket_that_is_not_there_is_named(object_store):
    with pytest.raises(SettingsError, match=r"s3://updraft-none/x: there is no such bucket"):
        files.write_bytes("s3://updraft-none/x", b"1")


def test_a_bucket_that_may_not_be_written_to_is_named(lake, monkeypatch):
    import s3fs

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(SettingsError, match=r"s3://.*: writing was refused .* the credentials need .*PutObject"):
            files.write_bytes(f"{lake}/x", b"1")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_store_that_is_away_is_worth_another_try(lake, monkeypatch):
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(ConnectionError, match="s3://"):
            files.read_bytes(f"{lake}/x")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_result_keeps_what_the_training_used(lake):
    found = run_training(requested(lake))
    assert TrainingResult.read(f"{lake}/output/result.json") == found
    assert found.cpu_seconds is not None
    assert found.cpu_seconds > 0
    used = last_usage(f"{lake}/output/usage.json")
    assert used is not None
    assert used.gpu_percent is None  # no GPU here

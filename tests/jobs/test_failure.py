"""A training that fails says why in a file; whoever started it reads that, and no log."""

from __future__ import annotations

import pytest
from tests.support.training_case import KEYS, write_request
from tests.support.without_torch.sitecustomize import torch_hidden

from updraft import files
from updraft.errors import DataError, MLflowAway, SettingsError, TrainingError, TrainingInterrupted, Transient, passes
from updraft.jobs.attested import RUN_KEY, training_for
from updraft.jobs.failure import ATTEMPT, TrainingFailure, failures_told, read_failure
from updraft.jobs.run import run_training
from updraft.lake.places import RunFolder

KEY, ATTEMPTED = "the run's secret", "pod-1"


@pytest.fixture
def folder(tmp_path):
    return RunFolder(f"file://{tmp_path}/output")


def fail(folder, error, worker=0, key=KEY, attempt=ATTEMPTED):
    env = {RUN_KEY: key, ATTEMPT: attempt}
    with pytest.raises(type(error)), failures_told(folder, worker, {k: v for k, v in env.items() if v}):
        raise error


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (DataError("gone"), False),
        (SettingsError("no bucket"), False),
        (TrainingError("too little"), False),
        (MLflowAway("no answer"), True),
        (ConnectionError("the lake is away"), True),
        (MemoryError(), True),
    ],
)
def test_a_failure_keeps_its_kind_its_words_and_whether_it_passes(folder, error, passing):
    fail(folder, error, worker=2)
    failure = read_failure(folder, KEY, ATTEMPTED, worker=2)
    assert (failure.kind, failure.passing, failure.words) == (type(error).__name__, passing, str(error))
    assert passes(error) is passing
    raised = failure.raised()
    assert isinstance(raised, TrainingError)
    assert isinstance(raised, Transient) is passing
    assert "worker 2" in str(raised)


def test_a_training_that_was_asked_to_end_has_not_failed(folder):
    fail(folder, TrainingInterrupted("asked to end"))
    assert not files.exists(folder.error())


def test_the_word_of_another_try_another_worker_or_another_run_does_not_count(folder):
    fail(folder, DataError("gone"))
    assert read_failure(folder, KEY, ATTEMPTED) is not None
    assert read_failure(folder, KEY, "pod-2") is None
    assert read_failure(folder, KEY, ATTEMPTED, worker=1) is None
    assert read_failure(folder, "another secret", ATTEMPTED) is None
    files.write_bytes(
        folder.error(1), files.read_bytes(folder.error())
    )  # the first worker's, put where another's stands
    assert read_failure(folder, KEY, ATTEMPTED, worker=1) is None


@pytest.mark.parametrize("changed", [{"passing": True}, {"words": "nothing"}, {"seal": None}, {"seal": 1}])
def test_a_word_that_was_changed_does_not_count(folder, changed):
    fail(folder, DataError("gone"))
    files.write_json(folder.error(), {**files.read_json(folder.error()), **changed})
    assert read_failure(folder, KEY, ATTEMPTED) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"no json", b"[" * 100_000, b"{}", b'{"kind": 1}', b"\xff"])
def test_what_is_no_word_at_all_counts_as_none(folder, content):
    files.write_bytes(folder.error(), content)
    assert read_failure(folder, KEY, None) is None
    assert read_failure(folder, None, None) is None


def test_a_lake_that_takes_no_word_leaves_the_error_as_it_was(tmp_path):
    (tmp_path / "output").write_text("a file, where the folder would be")
    fail(RunFolder(f"file://{tmp_path}/output"), DataError("gone"))


def test_a_training_that_fails_leaves_its_word_sealed_by_its_run(tmp_path):
    request = write_request(f"file://{tmp_path}")
    (tmp_path / "features" / f"{KEYS[1]}.parquet").unlink()
    with training_for(KEY), pytest.raises(DataError):
        run_training(request.write(f"{tmp_path}/request.json"))
    failure = read_failure(request.folder, KEY, None)
    assert isinstance(failure, TrainingFailure)
    assert (failure.kind, failure.passing) == ("DataError", False)
    assert f"{KEYS[1]}.parquet is not there" in failure.words


def test_a_torch_training_without_pytorch_says_what_to_install_and_is_not_tried_again(tmp_path):
    request = write_request(f"file://{tmp_path}", trainer="torch", params={"rounds": 2})
    with torch_hidden(), training_for(KEY), pytest.raises(TrainingError):
        run_training(request.write(f"{tmp_path}/request.json"))
    failure = read_failure(request.folder, KEY, None)
    assert (failure.kind, failure.passing) == ("TrainingError", False)
    assert failure.words == (
        "the torch trainer cannot learn here: torch is not installed; `make torch` installs PyTorch; "
        "in a pod, train with an image cpu-torch or gpu-torch"
    )

"""Groups of real processes that learn one model together."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.support.training_case import write_request

from updraft import files
from updraft.data.columns import MARGIN
from updraft.errors import SettingsError, TrainingError
from updraft.jobs.contract import TrainingRequest, TrainingResult
from updraft.jobs.group import MEETING, TOKEN, WORKER, Place, meeting, new_token
from updraft.jobs.run import run_training

XGBOOST = {"max_depth": 3, "eta": 0.3, "rounds": 30, "checkpoint_every": 5}
TORCH = {"rounds": 4, "early_stopping": 4, "batch": 256, "width": 32, "learning_rate": 0.01, "checkpoint_seconds": 0}
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: `make torch`"
)
BOTH = [("xgboost", XGBOOST), pytest.param(("torch", TORCH), marks=needs_torch)]


@dataclass(frozen=True)
class Case:
    """One snapshot, trained in several ways."""

    folder: Path
    request: TrainingRequest

    def url(self, name: str, **changes: object) -> str:
        output = {"output_url": str(self.folder / name), **changes}
        request = TrainingRequest.model_validate({**self.request.model_dump(), **output})
        return request.write(str(self.folder / f"{name}.json"))

    def train(self, name: str, **changes: object) -> TrainingResult:
        return run_training(self.url(name, **changes))


@pytest.fixture(scope="module", params=BOTH, ids=["xgboost", "torch"])
def case(request, tmp_path_factory):
    trainer, params = request.param
    folder = tmp_path_factory.mktemp(trainer)
    return Case(folder, write_request(str(folder / "lake"), rows=1500, trainer=trainer, params=params))


@pytest.fixture(scope="module")
def undisturbed(case):
    """Two workers to whom nothing happens, for long enough that something can happen to others."""
    return case.train("undisturbed", workers=2, params=SLOW[case.request.trainer])


def margin(result: TrainingResult) -> np.ndarray:
    return files.read_parquet(str(result.holdout_predictions_url))[MARGIN].to_numpy()


EXACT = {"xgboost": {**XGBOOST, "max_bin": 8192}, "torch": TORCH}
"""XGBoost: each value of a column has a bin of its own, so that merging the workers' sketches loses nothing."""
TOLERANCE = 1e-5
"""Of a margin: the sums are the same, added in another order."""


def test_three_workers_find_what_one_finds_but_for_the_order_of_sums(case):
    params = EXACT[case.request.trainer]
    one, three = case.train("one", params=params), case.train("three", params=params, workers=3)
    assert (three.rows, three.rounds) == (one.rows, one.rounds)
    np.testing.assert_allclose(margin(three), margin(one), atol=TOLERANCE)
    np.testing.assert_allclose(*(next(iter(each.curve.values())) for each in (three, one)), atol=TOLERANCE)
    assert three.metrics == pytest.approx(one.metrics, abs=TOLERANCE)
    assert three.importance == pytest.approx(one.importance, abs=1e-3)
    assert not list((case.folder / "three").glob("scratch*"))


@pytest.mark.parametrize("own", [{}, {"external_memory": True}, {"subsample": 0.7}], ids=["plain", "disk", "sampled"])
def test_where_xgboost_merges_bins_two_workers_lose_no_more_than_a_five_hundredth(tmp_path, own):
    request = write_request(str(tmp_path / "lake"), rows=1500, params={**XGBOOST, **own})
    case = Case(tmp_path, request)
    one, two = case.train("one"), case.train("two", workers=2)
    assert two.metrics["holdout_log_loss"] == pytest.approx(one.metrics["holdout_log_loss"], abs=2e-3)


def test_another_size_of_the_group_is_another_request(case):
    assert len({case.request.model_copy(update={"workers": n}).request_sha256 for n in (1, 2, 3)}) == 3


SLOW = {
    "xgboost": {**XGBOOST, "eta": 0.01, "rounds": 400, "early_stopping": 400},
    "torch": {**TORCH, "rounds": 25, "early_stopping": 25, "batch": 128, "checkpoint_seconds": 0.1},
}


def children() -> list[psutil.Process]:
    """The workers among the processes below this one, whatever else is there, alive or not yet forgotten."""
    return [each for each in psutil.Process().children() if "train" in (each.as_dict(["cmdline"])["cmdline"] or ())]


def when_kept(folder: Path, rounds: int, act) -> threading.Thread:
    """Act on the workers as soon as the group has kept so many rounds."""

    def wait() -> None:
        state, deadline = folder / "checkpoint" / "proof.json", time.monotonic() + 120
        while time.monotonic() < deadline:
            if state.exists() and files.read_json(str(state))["progress"]["rounds"] >= rounds:
                act(sorted(children(), key=lambda each: each.environ()[WORKER]))
                return
            time.sleep(0.01)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_group_that_loses_a_worker_starts_again_and_ends_with_the_same_bytes(case, undisturbed, caplog):
    caplog.set_level(logging.INFO)
    rank = {"xgboost": 0, "torch": 1}[case.request.trainer]  # the first and another
    killed = when_kept(case.folder / "killed", 3, lambda workers: workers[rank].kill())
    began_again = case.train("killed", workers=2, params=SLOW[case.request.trainer])
    killed.join()
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "The group lost a worker" in said
    assert began_again.model_sha256 == undisturbed.model_sha256
    np.testing.assert_array_equal(margin(began_again), margin(undisturbed))


def test_one_worker_that_is_asked_to_end_takes_the_group_to_a_checkpoint(case, undisturbed, caplog):
    caplog.set_level(logging.INFO)
    asked = when_kept(case.folder / "asked", 3, lambda workers: workers[1].send_signal(signal.SIGTERM))
    there = case.train("asked", workers=2, params=SLOW[case.request.trainer])
    asked.join()
    said = [record.getMessage() for record in caplog.records]
    for rank in (0, 1):
        assert any(f"worker {rank}: Interrupted: asked to end" in line for line in said), said[-20:]
    assert there.model_sha256 == undisturbed.model_sha256


def test_a_worker_that_fails_fails_the_training_with_its_words(tmp_path):
    case = Case(tmp_path, write_request(str(tmp_path / "lake"), params=XGBOOST))
    url = case.url("bad", workers=2)
    os.remove(tmp_path / "lake" / "features" / "2013-01-14T0500.parquet")
    with pytest.raises(TrainingError, match=r"worker [01]: .*2013-01-14T0500"):
        run_training(url)
    assert not children()


def test_a_worker_that_comes_after_the_end_finds_the_result(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    found = []
    with meeting(Place(1, "127.0.0.1", 9, new_token()), 2, "a" * 64, lambda: True) as group:
        found.append(group)
    assert found == [None]


def test_numbers_are_agreed_on():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    said: dict[int, tuple[bytes, float, list[float]]] = {}
    token = new_token()

    def work(rank: int) -> None:
        with meeting(Place(rank, "127.0.0.1", port, token), 3, "a" * 64, lambda: False) as group:
            assert group is not None
            values = group.total(np.array([0.1 * rank, 1.0]))
            said[rank] = (group.agreed(f"from {rank}".encode()), group.highest(float(-rank)), values.tolist())

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert said == dict.fromkeys(range(3), (b"from 0", 0.0, [0.1 + 0.2, 3.0]))


@pytest.mark.parametrize("address", ["", "host", "host:", ":5"])
def test_a_malformed_address_is_refused(address):
    with pytest.raises(SettingsError, match=MEETING):
        Place.of({WORKER: "1", MEETING: address, TOKEN: new_token()})

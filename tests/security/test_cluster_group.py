"""Nobody joins a group of workers, or plays its first one, with what stands in the lake."""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import threading
from pathlib import Path

import psutil
import pytest
from tests.support.training_case import write_request

from updraft.errors import SettingsError
from updraft.jobs.contract import TrainingRequest
from updraft.jobs.group import MEETING, TOKEN, WORKER, Place, meeting, new_token
from updraft.jobs.run import run_training

REQUEST = "a" * 64
"""Hash of the request: whoever reads the lake knows it."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def send(line: socket.socket, message: dict[str, object]) -> None:
    content = json.dumps(message).encode()
    line.sendall(struct.pack(">Q", len(content)) + content)


def receive(line: socket.socket) -> bytes:
    """A message; nothing when the other side has closed the connection."""
    head = line.recv(8, socket.MSG_WAITALL)
    return line.recv(struct.unpack(">Q", head)[0], socket.MSG_WAITALL) if len(head) == 8 else b""


class Meeting(threading.Thread):
    """One worker in a thread; ``met`` is the size of its group once all are there."""

    def __init__(self, rank: int, port: int, token: str, request: str = REQUEST) -> None:
        super().__init__(daemon=True)
        self.place, self.request = Place(rank, "127.0.0.1", port, token), request
        self.met: int | None = None
        self.gives_up = threading.Event()

    def run(self) -> None:
        with meeting(self.place, 2, self.request, self.gives_up.is_set) as group:
            if group is not None:
                self.met = int(group.highest(group.size))


def stranger_is_refused(port: int, answer: dict[str, object]) -> bool:
    """Whether worker 0 closes the connection on this answer to its question."""
    for _ in range(100):
        try:
            line = socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            threading.Event().wait(0.05)
            continue
        with line:
            assert "drawn" in json.loads(receive(line))
            send(line, answer)
            return receive(line) == b""
    raise AssertionError("worker 0 does not listen")


ANSWERS = {
    "the hash of the request in place of the secret": {"rank": 1, "use": "line", "token": REQUEST},
    "an answer signed by nobody": {"rank": 1, "use": "line", "drawn": "0" * 64, "signature": "0" * 64},
    "a signature that is no text": {"rank": 1, "use": "line", "drawn": "0" * 64, "signature": None},
    "an answer that is no worker's": {"rank": "first", "use": 1},
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_stranger_is_turned_away_and_the_group_meets_without_it(answer):
    port, token = free_port(), new_token()
    first = Meeting(0, port, token)
    first.start()
    assert stranger_is_refused(port, answer)
    second = Meeting(1, port, token)
    second.start()
    first.join(30)
    second.join(30)
    assert (first.met, second.met) == (2, 2)


@pytest.mark.parametrize(
    ("token", "request_sha256"), [("another", REQUEST), ("same", "b" * 64)], ids=["other secret", "other request"]
)
def test_a_worker_of_another_group_or_of_another_request_is_turned_away(token, request_sha256, caplog):
    caplog.set_level(logging.WARNING)
    port, own = free_port(), new_token()
    first, other = Meeting(0, port, own), Meeting(1, port, own if token == "same" else new_token(), request_sha256)
    first.start()
    other.start()
    threading.Event().wait(2.0)
    assert (first.met, other.met) == (None, None)
    other.gives_up.set()
    right = Meeting(1, port, own)
    right.start()
    first.join(30)
    assert first.met == 2
    assert "Turned away who is no worker of this group" in caplog.text
    assert own not in caplog.text


def test_an_answer_that_was_overheard_opens_no_second_connection():
    port, token = free_port(), new_token()
    overheard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as wire:
        second = Meeting(1, int(wire.getsockname()[1]), token)
        first = Meeting(0, port, token)
        first.start()
        second.start()
        guest, _ = wire.accept()
        with guest, socket.create_connection(("127.0.0.1", port), timeout=10) as through:
            guest.sendall((question := receive(through)) and struct.pack(">Q", len(question)) + question)
            overheard.append(receive(guest))
        second.gives_up.set()
    assert token.encode() not in overheard[0]
    assert stranger_is_refused(port, json.loads(overheard[0]))


def test_who_plays_worker_0_without_the_secret_gets_no_worker():
    token = new_token()
    with socket.create_server(("127.0.0.1", 0)) as impostor:
        worker = Meeting(1, int(impostor.getsockname()[1]), token)
        worker.start()
        guest, _ = impostor.accept()
        with guest:
            send(guest, {"drawn": "0" * 64})
            answer = json.loads(receive(guest))
            send(guest, {"signature": answer["signature"]})  # its own answer back, and a number for a host
            send(guest, {"host": "127.0.0.1"})
            assert receive(guest) == b""
        worker.gives_up.set()
        worker.join(30)
    assert worker.met is None


@pytest.mark.parametrize("token", ["", "short"])
def test_a_worker_without_a_secret_does_not_start(token):
    with pytest.raises(SettingsError, match=f"{TOKEN} has {len(token)} characters"):
        Place.of({WORKER: "1", MEETING: "host:1", TOKEN: token})


def test_the_secret_of_a_group_is_in_its_workers_environment_and_nowhere_else(tmp_path: Path, caplog):
    caplog.set_level(logging.DEBUG)
    params = {"max_depth": 3, "rounds": 30, "checkpoint_every": 5}
    request = write_request(str(tmp_path / "lake"), rows=1500, params=params)
    request = TrainingRequest.model_validate(
        {**request.model_dump(), "workers": 2, "output_url": str(tmp_path / "out")}
    )
    tokens: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            for child in psutil.Process(os.getpid()).children(recursive=True):
                try:
                    tokens.add(child.environ().get(TOKEN, ""))
                except psutil.Error:
                    continue

    watching = threading.Thread(target=look)
    watching.start()
    try:
        run_training(request.write(str(tmp_path / "request.json")))
    finally:
        ended.set()
        watching.join()
    [token] = tokens - {""}
    assert token not in caplog.text
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if token.encode() in path.read_bytes()]

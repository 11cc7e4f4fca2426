"""A real training waits for an MLflow that is away, and goes on soon after it is back."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.training_case import write_request

ROOT = Path(__file__).resolve().parents[2]
AWAY = 68.0
"""Seconds. The pauses of MLflow's own client would have doubled to more than a minute by then."""
PROMISED = 20.0
"""Seconds after MLflow is back."""
SLACK = 15.0
"""For a busy machine."""


class Door:
    """The way to a server: while it is shut, nothing listens there, as when the server is down."""

    def __init__(self, server: str) -> None:
        self.server = (urlsplit(server).hostname, urlsplit(server).port)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.opened = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def open(self) -> Iterator[None]:
        listening = socket.create_server(("127.0.0.1", self.port))
        self.opened = time.monotonic()
        threading.Thread(target=self._let_in, args=(listening,), daemon=True).start()
        try:
            yield
        finally:
            listening.close()

    def _let_in(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                server = socket.create_connection(self.server)
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def test_a_training_that_waits_for_mlflow_goes_on_within_twenty_seconds_of_its_return(mlflow_url, tmp_path):
    door = Door(mlflow_url)
    url = write_request(str(tmp_path), project="outage", tracking_uri=door.url).write(f"{tmp_path}/request.json")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "_MLFLOW_"))}
    command = [sys.executable, "-m", "updraft.cli", "train", "run", url]
    training = subprocess.Popen(
        command, env=env, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert training.stderr is not None
    said = []
    try:
        for line in training.stderr:
            said.append(line)
            if "Retrying" in line:
                break
        time.sleep(AWAY)
        with door.open():
            for line in training.stderr:
                said.append(line)
                if re.search(r"proof: \d+ rounds", line):
                    break
            went_on = time.monotonic() - door.opened
            said += training.stderr.readlines()
            assert training.wait(60) == 0, "".join(said)
    finally:
        training.kill()
        training.wait()
    assert any("Retrying" in line for line in said), "it has met the outage"
    assert went_on < PROMISED + SLACK

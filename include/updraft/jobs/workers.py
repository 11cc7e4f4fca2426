"""A group of workers as processes of this machine: started, watched, and started again when one is lost."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from updraft.errors import TrainingError, TrainingInterrupted
from updraft.jobs.attested import run_key
from updraft.jobs.contract import TrainingRequest
from updraft.jobs.device import visible_gpus
from updraft.jobs.failure import ATTEMPT, read_failure
from updraft.jobs.group import LOST, MEETING, TOKEN, WORKER, new_token
from updraft.jobs.watch import TrainingWatch, watching

log = logging.getLogger(__name__)

RESTARTS = 3
"""Times that a group is started again after it lost a worker."""
_PATIENCE = 60.0
"""Seconds that the others have to end after one did not end well."""


def train_with_local_workers(request_url: str, request: TrainingRequest) -> None:
    """Run every worker of a request here, until the result is there.

    :raises TrainingInterrupted: when this process was asked to end (SIGTERM); the workers kept a checkpoint.
    :raises TrainingError: when a worker fails, in its words, or is lost again and again.
    """
    gpus = _gpus(request)
    with watching() as watch:
        for _ in range(RESTARTS + 1):
            attempt = secrets.token_hex(8)
            workers = _start(request_url, request.workers, gpus, attempt)
            codes = _wait(workers, watch)
            if not any(codes):
                return
            if watch.leaving is not None:
                raise TrainingInterrupted(
                    "asked to end (SIGTERM): the group keeps its checkpoint and goes on from there"
                )
            failed = [
                worker
                for worker in workers
                if worker.process.returncode not in (0, LOST) and worker.process.returncode > 0
            ]
            if failed:
                failure = read_failure(request.folder, run_key(), attempt, failed[0].rank)
                if failure is not None:
                    raise failure.raised()
                raise TrainingError(f"worker {failed[0].rank}: {failed[0].last_words}")
            log.warning("The group lost a worker, or one was asked to end (exit codes %s)", codes)
    raise TrainingError(f"the group lost a worker {RESTARTS + 1} times, exit codes {codes}; memory, perhaps?")


@dataclass(eq=False)
class _Worker:
    rank: int
    process: subprocess.Popen[str]
    last: deque[str] = field(default_factory=lambda: deque(maxlen=50))

    def __post_init__(self) -> None:
        self.relaying = threading.Thread(target=self.relay, daemon=True)

    def relay(self) -> None:
        """Hand its log on."""
        for line in self.process.stderr or ():
            if text := line.rstrip():
                self.last.append(text)
                log.info("worker %d: %s", self.rank, text)

    @property
    def last_words(self) -> str:
        """The end of its log, for a person: all that there is of one that could not say why it failed."""
        code = f"ended with exit code {self.process.returncode}"
        return f"{code}: {self.last[-1]}" if self.last else code


def _gpus(request: TrainingRequest) -> bool:
    """Whether each worker gets a GPU of its own.

    :raises TrainingError: when GPUs were asked for and there are too few.
    """
    if request.device == "cpu":
        return False
    visible = visible_gpus()
    if request.device == "cuda" and visible < request.workers:
        raise TrainingError(f"{request.workers} workers need a GPU each, this machine has {visible}")
    return visible >= request.workers


def _start(request_url: str, count: int, gpus: bool, attempt: str) -> list[_Worker]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    visible = [index for index in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if index]
    workers, token = [], new_token()
    for rank in range(count):
        gpu = (visible[rank] if visible else str(rank)) if gpus else ""
        own = {WORKER: str(rank), MEETING: address, TOKEN: token, ATTEMPT: attempt, "CUDA_VISIBLE_DEVICES": gpu}
        env = {**os.environ, **own}
        process = subprocess.Popen(
            [sys.executable, "-m", "updraft.cli", "train", "run", request_url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        worker = _Worker(rank, process)
        worker.relaying.start()
        workers.append(worker)
    log.info("%d workers, processes %s", count, [started.process.pid for started in workers])
    return workers


def _wait(workers: list[_Worker], watch: TrainingWatch) -> list[int]:
    """Exit codes, when all have ended; one that does not end after another did not end well is ended."""
    asked = False
    deadline: float | None = None
    try:
        while None in (codes := [worker.process.poll() for worker in workers]):
            if watch.leaving is not None and not asked:
                asked = True
                _signal(workers, signal.SIGTERM)
            if deadline is None and any(codes):
                deadline = time.monotonic() + _PATIENCE
            if deadline is not None and time.monotonic() > deadline:
                _signal(workers, signal.SIGKILL)
            time.sleep(0.1)
    except BaseException:
        _signal(workers, signal.SIGKILL)
        raise
    for worker in workers:
        worker.process.wait()
        worker.relaying.join(5.0)
    return [worker.process.returncode for worker in workers]


def _signal(workers: list[_Worker], number: signal.Signals) -> None:
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.send_signal(number)

"""Finding and ending the processes of a stack, also those that lost their parent.

Each process of a stack carries ``UPDRAFT_STACK_MEMBER=<stack id>:<program>`` in its environment, and hands it on to
whatever it starts: LocalExecutor's workers, tasks, trainings. Process groups would not do, since tasks and PostgreSQL's
backends leave theirs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

MARK = "UPDRAFT_STACK_MEMBER"


def members(stack_id: str, program: str | None = None, *, data: Path | None = None) -> list[psutil.Process]:
    """The living processes of a stack (or of one program of it), the caller and its ancestors left out.

    :param data: PostgreSQL's data folder: its backends write their title over their environment, and are known by
        the folder they work in.
    """
    wanted = f"{stack_id}:{program}" if program else f"{stack_id}:"
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    processes = []
    for process in psutil.process_iter():
        if process.pid not in spared and _belongs(process, wanted, exactly=program is not None, data=data):
            processes.append(process)
    return processes


def _belongs(process: psutil.Process, wanted: str, *, exactly: bool, data: Path | None) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        mark = process.environ().get(MARK, "")
        if mark == wanted if exactly else mark.startswith(wanted):
            return True
        return data is not None and process.name() == "postgres" and Path(process.cwd()) == data.resolve()
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return False  # gone meanwhile, or someone else's


def end(processes: Iterable[psutil.Process], *, patience: float = 5.0) -> list[psutil.Process]:
    """Ask processes to end, and kill those that have not after ``patience`` seconds.

    :returns: those that are still alive (in uninterruptible sleep, say).
    """
    processes = list(processes)
    for process in processes:
        _send(process, kill=patience <= 0)
    _, alive = psutil.wait_procs(processes, timeout=max(patience, 2.0))
    for process in alive:
        _send(process, kill=True)
    _, alive = psutil.wait_procs(alive, timeout=5.0)
    return [process for process in alive if is_alive(process)]


def _send(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        return


def is_alive(process: psutil.Process) -> bool:
    """Whether the process runs; a zombie that nobody collects does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def listens(pid: int, port: int) -> bool:
    """Whether a process or one of its children listens on a port; an orphan of its last life does not count."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for process in family
            for connection in process.net_connections("tcp")
        )
    except psutil.Error:
        return False  # it ended meanwhile


def reap(stack_id: str, program: str, *, data: Path | None = None) -> int:
    """Kill what an earlier life of a program left behind, until nothing is left. Returns how many there were."""
    count = 0
    deadline = time.monotonic() + 20
    while left := members(stack_id, program, data=data):
        count += len(left)
        end(left, patience=0)
        if time.monotonic() > deadline:
            break
    return count

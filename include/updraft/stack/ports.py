"""Ports on loopback: the usual ones when they are free, others when not, the same ones again after a restart."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from updraft.errors import StackError
from updraft.stack.layout import LOOPBACK, private_tmp, write_private

PREFERRED: Mapping[str, int] = {"postgres": 5432, "mlflow": 5000, "airflow": 8080}
"""Where people expect the services."""


@dataclass(kw_only=True)
class Reservation:
    """Ports that no other stack of this user takes while the locks are held.

    The locks are file descriptors: supervisord inherits them, so that a port stays ours while its service restarts.
    """

    ports: dict[str, int] = field(default_factory=dict)
    descriptors: list[int] = field(default_factory=list)

    def release(self) -> None:
        """Close this process's copies of the locks."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of loopback (nor on all addresses)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT can be listened on
        try:
            probe.bind((LOOPBACK, port))
            probe.listen()
        except OSError:
            return False
    return True


def remembered(path: Path) -> dict[str, int]:
    """The ports of the last start; none when the file is missing or broken, since others can be chosen."""
    try:
        return {str(name): int(port) for name, port in json.loads(path.read_text()).items()}
    except (FileNotFoundError, ValueError, AttributeError, TypeError):
        return {}


def reserve(path: Path, *, free: Callable[[int], bool] = is_free, locks: Path | None = None) -> Reservation:
    """Choose a port for each service and keep the choice in ``path``.

    Each service gets the port it had, else the usual one or one of the next, else any; always one that is free.
    """
    locks = locks or private_tmp() / "ports"
    locks.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = remembered(path)
    taken = Reservation()
    try:
        for name, usual in PREFERRED.items():
            wanted = [before[name]] if name in before else []
            for port in (*wanted, *range(usual, usual + 20), *(_any_port() for _ in range(50))):
                if port not in taken.ports.values() and (lock := _lock(locks / str(port))) is not None:
                    if free(port):
                        taken.ports[name] = port
                        taken.descriptors.append(lock)
                        break
                    os.close(lock)
            else:
                raise StackError(
                    f"no free port on {LOOPBACK} for {name}: 70 were tried; close programs that listen there"
                )
    except BaseException:
        taken.release()
        raise
    write_private(path, json.dumps(taken.ports, indent=1))
    return taken


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor

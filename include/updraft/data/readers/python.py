"""The project's own function ``rows(window)`` in ``sources.py``, run in a process of its own: see :mod:`.python_run`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from updraft import files
from updraft.connections import Connection, Connections
from updraft.data.readers.python_run import Answer
from updraft.data.readers.reader import Window
from updraft.errors import DataError, SourceAway, SourceMissing
from updraft.spec.problems import shown_path
from updraft.spec.source import Source
from updraft.spec.source_code import SOURCES_FILE


class PythonReader:
    """What the function gives for a window: a DataFrame or an Arrow table, or None while the rows have not come."""

    def __init__(self, source: str, spec: Source, connections: Connections, *, folder: Path) -> None:
        self._source, self._spec, self._connections = source, spec, connections
        self._file = folder.absolute() / SOURCES_FILE
        self._what = f"source {source}: {shown_path(self._file)}"

    def revision(self, window: Window) -> str:
        """Of the rows that it gives now."""
        with tempfile.TemporaryDirectory() as folder:
            return files.sha256(self.arrive(window, Path(folder)).read_bytes())

    def newest(self, start: datetime) -> None:
        """What there is beyond a window, the function is not asked."""

    def arrive(self, window: Window, folder: Path, *, glance: bool = False) -> Path:
        """Write the rows that the function gives as Parquet. A glance costs as much: it is one call."""
        del glance
        path = folder / "arrived.parquet"
        told = self._run(window, path)
        if told.kind == "rows":
            return path
        if told.kind == "none":
            raise SourceMissing(
                f"{self._what}: rows() gave None: the rows from {window.start.isoformat()} until {window.until.isoformat()} are not there yet",
                self._source,
            )
        if told.kind == "away":
            raise SourceAway(f"{self._what}: {told.words}", self._source)
        raise DataError(f"{self._what}: {told.words}")

    def _run(self, window: Window, path: Path) -> Answer:
        connection = self._connections.get(self._spec.connection) if self._spec.connection else None
        request = {
            "file": str(self._file),
            "source": self._source,
            "from": window.start.astimezone(UTC).isoformat(),
            "until": window.until.astimezone(UTC).isoformat(),
            "key": window.key,
            "connection": _as_json(connection),
        }
        library = str(Path(__file__).parents[3])
        env = {"PATH": os.defpath, "PYTHONPATH": library, "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
        seconds = self._spec.time_limit.total_seconds()
        with tempfile.TemporaryDirectory() as empty, path.open("wb") as rows, tempfile.TemporaryFile() as told:
            run = subprocess.Popen(
                [sys.executable, "-B", "-m", "updraft.data.readers.python_run", str(rows.fileno()), str(int(seconds))],
                stdin=subprocess.PIPE,
                stdout=told,
                stderr=subprocess.DEVNULL,  # what the function prints may hold values
                env=env | {"HOME": empty, "TMPDIR": empty},
                cwd=empty,
                start_new_session=True,
                pass_fds=[rows.fileno()],
            )
            try:
                run.communicate(json.dumps(request).encode(), timeout=seconds)
            except subprocess.TimeoutExpired:
                return Answer("away", f"rows() did not end within {seconds:g} s (data.sources.{self._source}.timeout)")
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(run.pid, signal.SIGKILL)
                run.wait()
            told.seek(0)
            answer = told.read()
        if run.returncode == 0 and answer:
            return Answer(**json.loads(answer))
        how = (
            f"was ended by {signal.Signals(-run.returncode).name}"
            if run.returncode < 0
            else f"ended the process with code {run.returncode}"
        )
        return Answer("wrong", f"rows() {how}; it must return a table, and do nothing else")


def _as_json(connection: Connection | None) -> dict[str, object] | None:
    if connection is None:
        return None
    return {
        "host": connection.host,
        "port": connection.port,
        "login": connection.login,
        "password": connection.password,
        "schema": connection.schema,
        "extra": dict(connection.extra),
    }

"""``features.py`` tried before anything is started: in a process of its own, on a few rows, within a time limit.

What a project's author writes may hang, fill the memory, or quote its rows. So it is run where it can do little: with nothing of this
process's environment, in an empty folder, and with no right to write, to reach a network or to start a program. That keeps mistakes
in; it is no wall against an author who wants out. What comes back are complaints that hold no value of a row.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from updraft.errors import DataError, SpecError
from updraft.spec.feature_source import FEATURES
from updraft.spec.features import FeatureCode, compute, load_features
from updraft.spec.load import load_project
from updraft.spec.model import Project
from updraft.spec.problems import shown_path

if TYPE_CHECKING:
    import pandas as pd

SECONDS = 60
"""That the trial may take, the start of Python and pandas included."""
ROWS = 2_000
"""Rows that it is tried on."""
_MEMORY = 16 * 2**30
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_REFUSED: tuple[str, ...] = (
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
)
_REFUSED += ("os.system", "os.fork", "os.forkpty", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.kill")
"""Events of Python's own audit (PEP 578) that no feature function has a use for."""


def try_features(
    folder: Path, rows: Path | None, *, seconds: float = SECONDS, environment: str | None = None
) -> tuple[str, ...]:
    """What is wrong with the feature function of a project's folder.

    :param rows: Parquet file of published rows; None where there are none, so that the file is only loaded.
    :param seconds: after which the trial is ended.
    :param environment: as for :func:`updraft.spec.load.load_project`.
    """
    file = shown_path(folder / FEATURES)
    library = str(Path(__file__).parents[2])
    env = {"PATH": os.defpath, "PYTHONPATH": library, "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
    arguments = [str(folder.absolute()), environment or "", *([str(rows)] if rows else [])]
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryFile() as told:
        trial = subprocess.Popen(
            [sys.executable, "-B", "-m", "updraft.spec.feature_trial", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.DEVNULL,  # what the function prints may hold values
            env=env | {"HOME": empty, "TMPDIR": empty},
            cwd=empty,
            start_new_session=True,
        )
        try:
            code = trial.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return (
                f"{file}: did not end within {seconds:g} s on {ROWS:,} rows at most; look for a loop over the rows",
            )
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(trial.pid, signal.SIGKILL)
            trial.wait()
        told.seek(0)
        answer = told.read()
        if code == 0 and answer:  # without one, the function ended the process itself
            return tuple(json.loads(answer))
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended the process with code {code}"
    return (f"{file}: {how} when it was tried; it must return a table of features, and do nothing else",)


def complaints(folder: Path, rows: Path | None, environment: str | None = None) -> Iterator[str]:
    """What is wrong with the feature function, as the process of the trial finds it.

    :param rows: as in :func:`try_features`.
    :param environment: as for :func:`updraft.spec.load.load_project`.
    """
    try:
        project = load_project(folder, environment)
        code = load_features(project)
    except SpecError as error:
        yield from str(error).splitlines()
        return
    if rows is None:
        return
    import pandas as pd

    yield from _of_rows(project, code, pd.read_parquet(rows))


def _of_rows(project: Project, code: FeatureCode, rows: pd.DataFrame) -> Iterator[str]:
    try:
        frame = compute(project, code, rows, values=False)
    except DataError as error:
        yield str(error)
        return
    column = _put_in_order(code, rows, frame)
    if column is not None:
        yield (
            f"{shown_path(code.path)}: features() puts the rows into an order of its own: column {column!r} comes out the same in "
            "whatever order they are given; leave each row in its place: do not sort, or end with .loc[rows.index]"
        )


def _put_in_order(code: FeatureCode, rows: pd.DataFrame, frame: pd.DataFrame) -> str | None:
    """A column that does not follow the order of the rows; None when there is none.

    An index that was made anew hides it: so the rows are given backwards. What is right comes out backwards as well, or, where a
    row is told by those before it, as something else. What was sorted comes out as before.
    """
    backwards = rows.iloc[::-1].reset_index(drop=True)
    try:
        again = code.function(backwards)
    except Exception:  # noqa: BLE001  -- it works on the rows as they come: that it needs them in this order is no fault
        return None
    if list(again.columns) != list(frame.columns) or len(again) != len(frame):
        return None
    for name in frame.columns:
        given, turned = frame[name].reset_index(drop=True), again[name].reset_index(drop=True)
        if turned.equals(given) and not given.iloc[::-1].reset_index(drop=True).equals(given):
            return str(name)
    return None


def _refuse(event: str, given: tuple[Any, ...]) -> None:
    """A hook of Python's audit."""
    writes = event == "open" and isinstance(given[2], int) and given[2] & _WRITING and given[0] != os.devnull
    if writes or event in _REFUSED:
        raise PermissionError(f"a feature function does nothing but compute: {event} is refused")


def _shut_in() -> None:
    """Take from this process what a feature function has no use for; the heavy libraries are loaded before."""
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.alarm(SECONDS + 5)  # ends it where whoever waits for it was killed: sleeping takes no time of the processor
    sys.addaudithook(_refuse)


def _main() -> None:
    answer = os.dup(1)
    os.dup2(2, 1)  # what the function prints is no answer
    _shut_in()
    folder, environment, *given = sys.argv[1:]
    rows = Path(given[0]) if given else None
    try:
        told = json.dumps(list(dict.fromkeys(complaints(Path(folder), rows, environment or None))))
    except SystemExit as error:  # of the function: at once, as libraries that are torn down here abort now and then
        os._exit(error.code if isinstance(error.code, int) else int(error.code is not None))
    os.write(answer, told.encode())
    os._exit(0)


if __name__ == "__main__":
    _main()

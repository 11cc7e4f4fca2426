"""Run in a process of its own: calls ``rows(window)`` of a project's ``sources.py`` and writes what it gives as Parquet.

What a project's author writes may hang, fill the memory, or quote its rows. So it runs with nothing of the deployment's environment, in
an empty folder, and with no right to write files or to start a program; a network it has, as that is where rows are. That keeps
mistakes in; it is no wall against an author who wants out. What is told of it holds no value of a row.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any, Literal

from updraft.spec.source_code import ROWS

_MEMORY = 16 * 2**30
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_REFUSED = (
    "subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork", "os.forkpty", "os.remove", "os.rename", "os.rmdir",
    "os.mkdir", "os.kill",
)  # fmt: skip
_AWAY = (ConnectionError, TimeoutError)
"""What a function may raise when whom it asks does not answer: it is asked again."""


@dataclass(frozen=True)
class Answer:
    """What came of it."""

    kind: Literal["rows", "none", "away", "wrong"]
    words: str = ""


def _refuse(event: str, given: tuple[Any, ...]) -> None:
    """A hook of Python's audit (PEP 578)."""
    writes = event == "open" and isinstance(given[2], int) and given[2] & _WRITING and isinstance(given[0], str)
    if (writes and given[0] != os.devnull) or event in _REFUSED:
        raise PermissionError(f"a source does nothing but read: {event} is refused")


def _answer(request: dict[str, Any], rows: Any) -> Answer:
    import pyarrow as pa
    import pyarrow.parquet

    path = Path(request["file"])
    window = SimpleNamespace(
        start=datetime.fromisoformat(request["from"]),
        until=datetime.fromisoformat(request["until"]),
        key=request["key"],
        source=request["source"],
        connection=None if request["connection"] is None else _connection(request["connection"]),
    )
    try:
        given = _function(path)(window)
        if given is None:
            return Answer("none")
        table = _table(given)
    except _AWAY as error:
        return Answer("away", f"rows() raised {type(error).__name__}{_line(error, path)}")
    except (Exception, SystemExit) as error:  # noqa: BLE001  -- whatever it is, it is told
        return Answer("wrong", f"rows() raised {_named(error)}{_line(error, path)}")
    if isinstance(table, str):
        return Answer("wrong", f"rows() gave {table}")
    try:
        pyarrow.parquet.write_table(table.replace_schema_metadata(None), rows, compression="zstd")
    except pa.ArrowException as error:
        return Answer("wrong", f"rows() gave a table that cannot be written: {type(error).__name__}")
    rows.flush()
    return Answer("rows")


def _connection(told: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(**{**told, "extra": MappingProxyType(told["extra"])})


def _function(path: Path) -> Any:
    module = ModuleType("_updraft_sources")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    return getattr(module, ROWS)


def _table(given: Any) -> Any:
    """What it gave as an Arrow table, or in words what is wrong with it."""
    import pandas as pd
    import pyarrow as pa

    if isinstance(given, pa.RecordBatchReader):
        return given.read_all()
    if isinstance(given, pa.Table):
        return given
    if not isinstance(given, pd.DataFrame):
        return f"a {type(given).__name__}; it must give a DataFrame or an Arrow table, or None while the rows are not there yet"
    if odd := [column for column in given.columns if not isinstance(column, str)]:
        return f"a column named {odd[0]!r}; names are text"
    if not given.columns.is_unique:
        return f"column {given.columns[given.columns.duplicated()][0]!r} twice"
    for column in given.columns:
        try:
            pa.Array.from_pandas(given[column])
        except pa.ArrowException:
            return f"column {column!r} of mixed types; make it all text, or numbers, or times"
    return pa.Table.from_pandas(given, preserve_index=False)


def _named(error: BaseException) -> str:
    """The kind of an error; its words only where they can quote no row."""
    if isinstance(error, ImportError | PermissionError | NameError | SyntaxError):
        return f"{type(error).__name__}: {error}"
    return f"{type(error).__name__} (its words are not repeated: they may quote a row)"


def _line(error: BaseException, path: Path) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" in line {lines[-1]}" if lines else ""


def _main() -> None:
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    answer = os.dup(1)
    os.dup2(2, 1)  # what the function prints is no answer
    request = json.loads(sys.stdin.buffer.read())
    with os.fdopen(int(sys.argv[1]), "wb", closefd=True) as rows:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        signal.alarm(int(sys.argv[2]) + 5)  # ends it where whoever waits for it was killed
        sys.addaudithook(_refuse)
        told = _answer(request, rows)
    os.write(answer, json.dumps(asdict(told)).encode())
    os._exit(0)


if __name__ == "__main__":
    _main()

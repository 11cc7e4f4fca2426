"""Ingest a partition again and again, each time anew and with another harm, and then once more without any.

Run as a process: ``python -m tests.support.harmed_ingestion FOLDER STORE_URL EVERY``, where EVERY says at which steps it is killed: each one (1),
each second one and so on. Each ingestion is a process of its own, forked from this
one before anything has been done here, so that it may be killed as a task of the deployment is. Prints one JSON object a line.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401  -- as the scheduler does: what every child needs is imported before the fork
import pandas as pd  # noqa: F401
import psycopg2  # noqa: F401
import pyarrow.parquet  # noqa: F401
import sqlalchemy as sa
from tests.support.tables import Table, day

from updraft.data import docs_templates, gx  # noqa: F401
from updraft.data.pinned import read_schema
from updraft.lake.places import Lake
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.store.store import Store

HARMED = 1
"""The day that is harmed: its ingestion tells types, publishes rows and their labels, and has rows in quarantine and outside."""
LIMITS = (0, 900)
"""Bytes of the largest file that may be written, as on a disk that is full."""


def main(folder: Path, store_url: str, every: int) -> None:
    """Every harm in turn."""
    gx.load()
    tell("none", of_child(folder, store_url, "whole", lambda home: None))
    for number in range(1, 1000, every):
        killed = of_child(folder, store_url, f"step{number}", partial(kill_at, number))
        tell(f"killed at step {number}", killed)
        if killed["ended"] == 0:  # it has fewer steps
            break
    for limit in LIMITS:
        full = of_child(folder, store_url, f"limit{limit}", partial(largest_file, limit))
        tell(f"no file of more than {limit} bytes", full)


def tell(harm: str, outcome: dict[str, Any]) -> None:
    """What the test reads."""
    print(json.dumps({"harm": harm, **outcome}), flush=True)


def of_child(folder: Path, store_url: str, name: str, harm: Callable[[Path], None]) -> dict[str, Any]:
    """What came of one harm, and of an ingestion after it."""
    table = written(folder / name, name)
    told = folder / f"{name}.json"

    def harmed() -> None:
        harm(table.folder / "home")
        take(table, store_url)

    def once_more() -> None:
        between = looked_at(table, store_url)
        take(table, store_url)
        told.write_text(json.dumps({"between": between, "after": looked_at(table, store_url)}))

    return {
        "ended": forked(harmed),
        "again": forked(once_more),
        **(json.loads(told.read_text()) if told.exists() else {}),
    }


def written(folder: Path, name: str) -> Table:
    """A day with rows of every fate."""
    folder.mkdir()
    label = {"expr": "y", "matures_after": "1h"}
    table = Table(folder, name=name, data={"refuse_above": 0.5, "label": label})
    rows = [f"n{place},2024-01-01T{place:02}:00:00Z,{place / 2},w{place},{place % 2}" for place in range(20)]
    table.write(
        HARMED, "\n".join(["id,at,x,who,y", *rows, "n20,2024-01-01T20:00:00Z,odd,w,1", "n21,2099-01-01,1,w,1", ""])
    )
    (table.project.folder / "features.py").write_text("def features(rows):\n    return rows[['x']]\n")
    return table


def take(table: Table, store_url: str) -> None:
    """Ingest the day as the tasks of the DAG do."""
    store = Store.open(store_url)
    sa.event.listen(store.engine, "before_cursor_execute", lambda *_: step("SQL"))
    sa.event.listen(store.engine, "commit", lambda _: step("commit"))
    ingest(Loop(table.project, table.settings, store, KeptModels()), day(HARMED))


def looked_at(table: Table, store_url: str) -> dict[str, Any]:
    """Everything that is there of a project: its schema, what the store says of the day, and the files that nobody refers to."""
    store = Store.open(store_url)
    lake = table.folder / "home" / "lake" / table.name
    row = store.partition(table.name, day(HARMED))
    kinds = {column: kind.kind for column, kind in read_schema(Lake(table.settings.lake, table.name), "rows").items()}
    referred = [] if row is None else [row.sha256, row.labels_sha256, row.rows, row.quarantined, row.checks["labels"]]
    aside = sorted(str(path.relative_to(lake)) for path in lake.rglob(".*") if path.is_file() and path.name != ".lock")
    return {"schema": kinds, "row": referred, "aside": aside}


_COUNTER: dict[str, Any] = {"left": None}


def step(_kind: str) -> None:
    """One step of a child that is to be killed at one."""
    if _COUNTER["left"] is None:
        return
    _COUNTER["left"] -= 1
    if _COUNTER["left"] == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def kill_at(number: int, home: Path) -> None:
    """End this process before its step of this number that writes below a folder, or speaks to the store."""
    _COUNTER["left"] = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("os.rename", "os.remove", "os.mkdir") or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        ):
            path = arguments[0]
            if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(str(home)):
                step(event)

    sys.addaudithook(hook)


def largest_file(limit: int, _home: Path) -> None:
    """Let this process write no file beyond a size: it gets an error, as from a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def forked(action: Callable[[], object]) -> int:
    """Do something in a process of its own; its exit code, or minus the signal that ended it."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:  # noqa: BLE001  -- a child does not go on as its parent
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

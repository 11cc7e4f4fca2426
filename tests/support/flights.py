"""The flights' history in a backtest's lake, ingested once for all tests of a run and copied to where it is wanted."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from updraft.backtest.history import history
from updraft.lake.places import Lake
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels, play
from updraft.loop.sealed_notes import SealedNotes
from updraft.settings import Settings
from updraft.spec.load import load_project
from updraft.spec.model import Project
from updraft.store.records import IngestedPartition
from updraft.store.store import Store
from updraft.training.model import Model

PROJECTS = Path(__file__).parents[2] / "include" / "projects"


def flights() -> Project:
    """The reference project."""
    return load_project(PROJECTS / "flight_delays")


def settings(home: Path) -> Settings:
    """Settings of a deployment of files alone."""
    return Settings(home=home, projects=PROJECTS, lake=f"file://{home / 'lake'}", store="", mlflow="", airflow="")


def ingested(home: Path, partitions: int) -> list[IngestedPartition]:
    """The first partitions of the year, published below ``home``: copied, where a test of this run had them before."""
    shared = Path(os.environ.get("UPDRAFT_TESTS_SHARED", home))
    if shared != home:
        with (shared / "flights.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            history(flights(), settings(shared), partitions, lambda _: None)
            _copied(shared, home)
    return list(history(flights(), settings(home), partitions, lambda _: None).rows)


def _copied(source: Path, home: Path) -> None:
    """Copy the partitions that ``home`` lacks, its pseudonyms' key included, and seal anew what names the lake."""
    project, (old, new) = flights(), (settings(source), settings(home))
    before, after = Lake(old.lake, project.name), Lake(new.lake, project.name)
    there, here = (Path(lake.url.removeprefix("file://")) for lake in (before, after))
    missing = sorted({path.name for path in there.glob("ingested/*")} - {path.name for path in here.glob("ingested/*")})
    if not missing:
        return
    if not new.keys.exists():
        shutil.copytree(old.keys, new.keys)
    shutil.copytree(there, here, dirs_exist_ok=True, ignore=shutil.ignore_patterns("ingested"))
    sealed, anew = SealedNotes.of(before, old), SealedNotes.of(after, new)
    for name in missing:
        note = json.dumps(sealed.read(f"ingested/{name}"))
        anew.write(f"ingested/{name}", json.loads(note.replace(before.url, after.url)))


def fresh_loop(home: Path, project: Project | None = None) -> tuple[Loop, KeptModels]:
    """A loop with an empty store in memory, on the lake below ``home``."""
    models = KeptModels()
    return Loop(project or flights(), settings(home), Store.in_memory(), models), models


_PLAYED: dict[tuple[Path, str], list[tuple[bytes, dict[str, Model]]]] = {}
"""Stores and models after no partition, after one, and so on, by lake and policy: what was played once is copied."""


def played(home: Path, rows: Sequence[IngestedPartition], project: Project | None = None) -> tuple[Loop, KeptModels]:
    """A loop of its own, after the first partitions of the year.

    :param rows: as :func:`ingested` gives them, from the first on.
    """
    loop, models = fresh_loop(home, project)
    stages = _PLAYED.setdefault((home, loop.spec.model_dump_json()), [])
    if stages:
        content, versions = stages[min(len(rows), len(stages) - 1)]
        _connection(loop.store).deserialize(content)
        models.versions.update(versions)
    else:
        stages.append((_connection(loop.store).serialize(), {}))
    for row in rows[len(stages) - 1 :]:
        play(loop, models, row)
        stages.append((_connection(loop.store).serialize(), dict(models.versions)))
    return loop, models


def copied(loop: Loop, models: KeptModels) -> tuple[Loop, KeptModels]:
    """Another loop on the same lake, whose store and models are where these are now."""
    other = KeptModels()
    other.versions.update(models.versions)
    store = Store.in_memory()
    _connection(store).deserialize(_connection(loop.store).serialize())
    return Loop(loop.project, loop.settings, store, other), other


def _connection(store: Store) -> sqlite3.Connection:
    connection = store.engine.raw_connection().driver_connection
    assert isinstance(connection, sqlite3.Connection)
    return connection

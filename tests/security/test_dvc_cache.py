"""DVC keeps databases that it reads as pickle in folders that it opens to everybody: nobody else's row is ever loaded."""

from __future__ import annotations

import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from updraft import files
from updraft.data.snapshots import take_snapshot
from updraft.errors import IntegrityError, SettingsError
from updraft.settings import Settings
from updraft.spec.model import Project, ProjectSpec

NOBODY = 65534
PICKLE = 4
"""How diskcache marks a value that it has pickled."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user of the machine")


class _Run:
    """Whoever unpickles it runs a command."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self._command,)


@dataclass
class Deployment:
    """A deployment on a machine with other users, who may go where its umask lets them."""

    folder: Path
    settings: Settings
    project: Project

    @property
    def datasets(self) -> Path:
        return self.settings.home / "datasets"

    @property
    def notes(self) -> Path:
        return self.datasets / "shop" / ".dvc" / "tmp"

    @property
    def owned(self) -> Path:
        """What the attacker's code would write, with the rights of the deployment."""
        return self.folder / "open" / "owned"

    def take(self, name: str) -> None:
        """Take a snapshot of two files, of which one is new."""
        parts = {}
        for part in ("shared", name):
            url = f"{self.settings.lake}/shop/features/{part}.parquet"
            parts[f"features/{part}.parquet"] = url, files.write_parquet(url, pd.DataFrame({"x": [part]}))
        take_snapshot(self.project, self.settings, name=name, files=parts, record={})


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    folder = Path(tempfile.mkdtemp(prefix="updraft-dvc-"))  # pytest's own folders let nobody in
    folder.chmod(0o755)
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    source = {"type": "file", "url": "file:///none", "event_time": "at"}
    data = {"schedule": "0 0 * * *", "start": "2024-01-01", "sources": {"orders": source}, "key": ["id"]}
    spec = ProjectSpec.model_validate({"name": "shop", "owner": "me", "data": {**data, "label": {"expr": "a > 1"}}})
    settings = Settings.from_env({"UPDRAFT_HOME": str(folder / "home")})
    yield Deployment(folder, settings, Project(spec=spec, folder=folder))
    shutil.rmtree(folder)


ATTACK = """
import os, shutil, sqlite3, sys
from pathlib import Path
notes, payload = Path(sys.argv[1]), bytes.fromhex(sys.argv[2])
caches = list(notes.glob("site/repo/*"))
for cache in caches:
    aside = cache.with_name("renamed-" + cache.name)
    cache.rename(aside)
    shutil.copytree(aside, cache)
    for path in cache.rglob("cache.db"):
        with sqlite3.connect(path) as database:
            database.execute("UPDATE Cache SET mode = 4, value = ?", (payload,))
            database.execute(
                "INSERT OR REPLACE INTO Cache(key, raw, store_time, expire_time, access_time, tag, mode, filename, value)"
                " VALUES (?, 0, 0, null, 0, null, 4, null, ?)", (payload, payload))
print(len(caches))
"""


def _payload(deployment: Deployment) -> bytes:
    return pickle.dumps(_Run(f"touch {deployment.owned}"), protocol=4)


@as_root
def test_another_user_cannot_plant_a_row_that_the_next_snapshot_unpickles(deployment: Deployment) -> None:
    deployment.take("first")
    attack = ["/usr/bin/python3", "-c", ATTACK, str(deployment.notes), _payload(deployment).hex()]
    done = subprocess.run(
        attack, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, check=False
    )
    deployment.take("second")
    assert not deployment.owned.exists()
    assert done.stdout.strip() in ("", "0"), "another user found a cache to change"


@as_root
def test_another_user_cannot_so_much_as_look_into_the_data_repositories(deployment: Deployment) -> None:
    deployment.take("first")
    for place in (deployment.datasets, deployment.datasets / "shop", deployment.notes.parent):
        done = subprocess.run(
            ["/bin/ls", str(place)], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, check=False
        )
        assert done.returncode != 0


def _plant(deployment: Deployment) -> None:
    """A cache as earlier versions left it, open to everybody, with a pickle in every database."""
    from dvc_data.hashfile.cache import Cache

    payload = _payload(deployment)
    token = deployment.folder / "token"
    (deployment.notes / "site" / "repo").mkdir(parents=True)
    for name in ("links", "hashes/local", "index/data"):
        Cache(str(token / name)).close()
        with sqlite3.connect(token / name / "cache.db") as database:
            database.execute(
                "INSERT INTO Cache(key, raw, store_time, expire_time, access_time, tag, mode, filename, value)"
                f" VALUES (?, 0, 0, null, 0, null, {PICKLE}, null, ?)",
                (payload, payload),
            )
    from dvc.repo import Repo

    with Repo(str(deployment.datasets / "shop")) as repo:  # tells under which name it would look for them
        chosen = Path(repo.site_cache_dir)
    shutil.rmtree(chosen)
    shutil.copytree(token, chosen)
    for path in deployment.notes.rglob("*"):
        path.chmod(0o777)
    deployment.notes.chmod(0o777)


def test_a_pickle_in_an_open_cache_of_before_is_removed_unread(deployment: Deployment) -> None:
    deployment.take("first")
    deployment.datasets.chmod(0o755)
    (deployment.datasets / "shop").chmod(0o755)
    _plant(deployment)
    marker, opened = str(deployment.owned).encode(), list[str]()
    assert any(marker in path.read_bytes() for path in deployment.notes.rglob("cache.db"))

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        path = Path(str(arguments[0])) if event == "sqlite3.connect" else None
        if path is not None and path.is_file() and marker in path.read_bytes():
            opened.append(str(path))

    sys.addaudithook(watch)  # stays for the life of the process, and knows this test's marker alone
    deployment.take("second")
    assert opened == []
    assert not deployment.owned.exists()
    assert not deployment.notes.exists()
    assert deployment.datasets.stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_place_of_the_notes_is_removed_and_not_followed(deployment: Deployment) -> None:
    deployment.take("first")
    kept = deployment.folder / "open" / "kept"
    kept.mkdir()
    (kept / "file").write_text("another's")
    deployment.notes.symlink_to(kept)
    deployment.take("second")
    assert (kept / "file").read_text() == "another's"
    assert [path.name for path in kept.iterdir()] == ["file"]


def test_a_hook_in_the_data_repository_is_not_run(deployment: Deployment) -> None:
    deployment.take("first")
    hooks = deployment.datasets / "shop" / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-commit", "commit-msg", "post-commit"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {deployment.owned}\n")
        (hooks / name).chmod(0o755)
    deployment.take("second")
    assert not deployment.owned.exists()


@as_root
@pytest.mark.parametrize("part", [".", "shop"])
def test_a_folder_of_another_user_is_refused_with_words(deployment: Deployment, part: str) -> None:
    folder = deployment.datasets / part
    folder.mkdir(parents=True)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises((SettingsError, IntegrityError), match=rf"belongs to user {NOBODY}.*chown"):
        deployment.take("first")


def test_a_link_in_the_place_of_the_folder_is_refused(deployment: Deployment) -> None:
    elsewhere = deployment.folder / "open" / "elsewhere"
    elsewhere.mkdir()
    deployment.settings.home.mkdir(parents=True, exist_ok=True)
    deployment.datasets.symlink_to(elsewhere)
    with pytest.raises(SettingsError, match="is a link"):
        deployment.take("first")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("part", ["shop/.git/config", "shop/.git", "shop", "."])
def test_what_everybody_could_write_is_refused_and_stays_refused(deployment: Deployment, part: str) -> None:
    deployment.take("first")
    deployment.datasets.chmod(0o755)
    (deployment.datasets / "shop").chmod(0o755)
    (deployment.datasets / part).chmod(0o777)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="can be written by everybody"):
            deployment.take("second")


@as_root
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_another_user_left_in_an_open_folder_is_refused(deployment: Deployment, kind: str) -> None:
    deployment.take("first")
    deployment.datasets.chmod(0o755)
    left = deployment.datasets / "shop" / ".git" / "refs" / "tags" / "left"
    if kind == "file":
        left.write_text("0" * 40)
    elif kind == "folder":
        left.mkdir(mode=0o700)
    else:
        left.symlink_to("/etc/hostname")
    os.chown(left, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(IntegrityError, match=rf"belongs to user {NOBODY}"):
        deployment.take("second")

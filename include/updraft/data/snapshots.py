"""Snapshots: what one training used, versioned by DVC and bound in one record.

Each project has a data repository (``<home>/datasets/<project>``, Git and DVC). A snapshot is a commit in it, tagged
by what was asked for; ``data/`` holds its files, whose content stands in DVC's cache and in its remote. The manifest
(``<lake>/<project>/snapshots/<sha256>.json``) names the files with their hashes and carries the record; its own hash
is the snapshot's identity. A training reads the files of the lake and checks them against the manifest; the data
repository brings them back when the lake no longer has them: ``git checkout TAG && dvc pull``.

DVC keeps notes in databases that it reads as pickle, in a folder that it opens to every user of the machine (mode
0777, whatever the umask). So ``<home>/datasets`` lets its owner alone in, and the notes (``.dvc/tmp``) live for one
snapshot: they are removed unread before DVC starts, and again when it has ended.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from updraft import files as lake_files
from updraft.data.private_folders import make_private, remove_unread
from updraft.errors import DataError, IntegrityError
from updraft.lake.places import Lake
from updraft.settings import Settings
from updraft.spec.model import Project

if TYPE_CHECKING:
    import pandas as pd

_WHO = b"updraft <updraft@localhost>"
_DATA, _POINTER, _MANIFEST = "data", "data.dvc", "snapshot.json"
_NAME = re.compile(r"[\w.+-]+(/[\w.+-]+)*")


@dataclass(frozen=True)
class SnapshotFile:
    """One file of a snapshot."""

    url: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that was taken."""

    url: str
    """Of its manifest."""
    sha256: str
    """Of its manifest: the snapshot's identity."""
    revision: str
    """Commit in the project's data repository."""


@dataclass(frozen=True)
class SnapshotManifest:
    """What a snapshot binds together."""

    project: str
    name: str
    files: Mapping[str, SnapshotFile]
    """By logical name."""
    record: Mapping[str, Any]
    """What the caller bound to the data: code commit, features' hash, parameters, environment."""
    dvc: str
    """MD5 under which DVC keeps the folder."""

    def to_bytes(self) -> bytes:
        """Canonical JSON: the same snapshot is the same bytes."""
        files = {name: vars(file) for name, file in self.files.items()}
        value = {"project": self.project, "name": self.name, "files": files, "record": self.record, "dvc": self.dvc}
        return json.dumps(value, sort_keys=True, indent=1).encode()


def take_snapshot(
    project: Project,
    settings: Settings,
    *,
    name: str,
    files: Mapping[str, tuple[str, str]],
    record: Mapping[str, Any],
    remote: str | None = None,
) -> Snapshot:
    """Version files and bind them to a record. Taken twice, nothing changes; killed half way, the next call mends it.

    :param name: of the snapshot, such as the id of the training's run.
    :param files: logical name (``labels/2013-01-07T0500``) → URL and SHA-256.
    :param record: JSON value.
    :param remote: URL of DVC's remote; ``<lake>/<project>/dvc`` by default.
    :raises IntegrityError: a file is not what its hash says, or the data repository not what was written there.
    :raises SettingsError: the folder of the data repositories is not this user's own.
    :raises DataError: no files, a file that is not there, or a remote that DVC cannot write to.
    """
    if not files:
        raise DataError(f"{project.name}: snapshot {name!r} has no files")
    for logical in files:
        if not _NAME.fullmatch(logical) or ".." in logical:
            raise DataError(f"{project.name}: snapshot {name!r}: {logical!r} is no relative file name")
    asked = {"project": project.name, "name": name, "record": record, "files": {k: list(v) for k, v in files.items()}}
    tag = f"snapshot-{lake_files.canonical_hash(asked)[:32]}"
    lake = Lake(settings.lake, project.name)
    repository = _Repository(settings.home / "datasets" / project.name)
    with repository.locked():
        repository.prepare(_address(remote or lake.dvc))
        taken = repository.tagged(tag)
        if taken is None:
            placed = repository.place(files)
            digest = repository.version(remote or lake.dvc)
            manifest = SnapshotManifest(project.name, name, placed, json.loads(json.dumps(record)), digest)
            content = manifest.to_bytes()
            taken = content, repository.commit(tag, name, content)
        content, revision = taken
        if _asked_of(content) != json.loads(json.dumps(asked)):
            raise IntegrityError(
                f"{settings.home / 'datasets' / project.name}: tag {tag} holds the manifest of another snapshot; it was "
                "changed after it was written. Find out by whom, then delete the tag and run again"
            )
        sha256 = lake_files.sha256(content)
        url = lake.snapshot(sha256)
        if not lake_files.exists(url):
            lake_files.write_bytes(url, content)
    return Snapshot(url, sha256, revision)


def forget_content(settings: Settings, project: str, *, md5: str, sha256: str) -> None:
    """Remove every copy of a file that a data repository keeps of earlier snapshots: in ``data/``, in DVC's cache, and in its remote.

    Their manifests stay, so that what a training learnt from stays provable by its hash; it cannot be brought back.

    :param md5: of the file: under it DVC keeps it.
    """
    repository = settings.home / "datasets" / project
    for path in (repository / _DATA).rglob(f"*-{sha256[:12]}.parquet"):
        path.unlink(missing_ok=True)
    for store in (f"file://{repository}/.dvc/cache", Lake(settings.lake, project).dvc):
        lake_files.remove(f"{store}/files/md5/{md5[:2]}/{md5[2:]}")


def _asked_of(manifest: bytes) -> dict[str, Any]:
    """What a manifest answers: the part of it that its caller gave."""
    value = json.loads(manifest)
    files = {name: [file["url"], file["sha256"]] for name, file in value["files"].items()}
    return {"project": value["project"], "name": value["name"], "record": value["record"], "files": files}


def load_snapshot(url: str, sha256: str) -> SnapshotManifest:
    """Read a manifest.

    :raises IntegrityError: when it is not the one that the hash names.
    :raises DataError: when it is not there.
    """
    value = json.loads(_verified(url, sha256))
    file_by_name = {name: SnapshotFile(**file) for name, file in value["files"].items()}
    return SnapshotManifest(**{**value, "files": file_by_name})


def read_snapshot_file(manifest: SnapshotManifest, logical: str, columns: list[str] | None = None) -> pd.DataFrame:
    """Read one file of a snapshot, checked against its hash.

    :raises IntegrityError: when it is not what it was when the snapshot was taken.
    :raises DataError: when the snapshot has no such file, or the lake has it no longer.
    """
    import io

    import pandas as pd

    file = manifest.files.get(logical)
    if file is None:
        raise DataError(f"{manifest.project}: snapshot {manifest.name!r} has no file {logical!r}")
    return pd.read_parquet(io.BytesIO(_verified(file.url, file.sha256)), columns=columns)


def _verified(url: str, sha256: str) -> bytes:
    try:
        content = lake_files.read_bytes(url)
    except FileNotFoundError:
        raise DataError(f"{url} is not there; the project's data repository can restore it (dvc pull)") from None
    actual = lake_files.sha256(content)
    if actual != sha256:
        raise IntegrityError(f"{url} has SHA-256 {actual}, expected {sha256}; it was changed after it was written")
    return content


def _address(remote: str) -> str:
    return str(lake_files.local_path(remote)) if lake_files.is_local(remote) else remote


class _Repository:
    """The data repository of a project. Git is written through dulwich: no program, hook or setting of the user."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One writer at a time on this machine; the lock dies with its process, so what it left over is removed.

        :raises SettingsError: when the folder is somebody else's.
        :raises IntegrityError: when somebody else could have changed what is in it.
        """
        make_private(self._root.parent, unread=("*/.dvc/tmp",))
        make_private(self._root, unread=(".dvc/tmp",))
        path = self._root.parent / f".{self._root.name}.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            git = self._root / ".git"
            for left in (*git.glob("*.lock"), *git.glob("refs/**/*.lock"), *self._root.glob(f"{_DATA}/**/.*.aside")):
                left.unlink(missing_ok=True)
            remove_unread(git / "hooks")  # dulwich would run them
            remove_unread(self._notes)
            yield
        finally:
            remove_unread(self._notes)
            os.close(lock)

    @property
    def _notes(self) -> Path:
        """Where DVC keeps its locks and its databases."""
        return self._root / ".dvc" / "tmp"

    def prepare(self, remote: str) -> None:
        """Make the repository, or finish making it."""
        from dulwich import porcelain
        from dulwich.repo import Repo

        if '"' in remote or "\n" in remote:
            raise DataError(f"DVC's remote {remote!r} has a quote in its URL")
        if not (self._root / ".git" / "HEAD").exists():
            shutil.rmtree(self._root / ".git", ignore_errors=True)
            porcelain.init(self._root).close()
        with Repo(str(self._root)) as repo:
            config = repo.get_config()
            if not config.has_section((b"user",)):
                config.set((b"user",), b"name", b"updraft")
                config.set((b"user",), b"email", b"updraft@localhost")
                config.write_to_path()
        shared = (
            "[core]\n    analytics = False\n    check_update = False\n    autostage = False\n    remote = lake\n"
            '[cache]\n    type = "reflink,hardlink,symlink,copy"\n'
            f'[\'remote "lake"\']\n    url = "{remote}"\n'
        )
        local = f'[core]\n    site_cache_dir = "{self._notes / "site"}"\n'
        for file, content in (
            (".dvc/config", shared),
            (".dvc/config.local", local),
            (".dvc/.gitignore", "/config.local\n/tmp\n/cache\n"),
            (".dvcignore", ".*.aside\n"),
            (".gitignore", f"/{_DATA}\n"),
        ):
            path = self._root / file
            if not path.exists() or path.read_text() != content:
                lake_files.write_bytes(str(path), content.encode())

    def tagged(self, tag: str) -> tuple[bytes, str] | None:
        """The manifest and the commit of a tag."""
        from dulwich.object_store import tree_lookup_path
        from dulwich.objects import Blob, Commit
        from dulwich.refs import Ref
        from dulwich.repo import Repo

        with Repo(str(self._root)) as repo:
            reference = Ref(f"refs/tags/{tag}".encode())
            if reference not in repo.refs:
                return None
            commit = repo[repo.refs[reference]]
            if not isinstance(commit, Commit):
                raise IntegrityError(f"{self._root}: tag {tag} names no commit; delete the tag and run again")
            _, blob_id = tree_lookup_path(repo.__getitem__, commit.tree, _MANIFEST.encode())
            blob = repo[blob_id]
            if not isinstance(blob, Blob):
                raise IntegrityError(f"{self._root}: tag {tag} has no {_MANIFEST}; delete the tag and run again")
            return blob.data, commit.id.decode()

    def place(self, files: Mapping[str, tuple[str, str]]) -> dict[str, SnapshotFile]:
        """Make ``data/`` hold these files and no others. A file's name carries its hash: one that is there is right."""
        import pyarrow.parquet

        data = self._root / _DATA
        wanted: dict[Path, tuple[str, str]] = {}
        placed: dict[str, SnapshotFile] = {}
        paths: dict[str, Path] = {}
        for logical, (url, sha256) in files.items():
            stem = logical.removesuffix(".parquet")
            paths[logical] = data / f"{stem}-{sha256[:12]}.parquet"
            wanted[paths[logical]] = url, sha256
        for path in list(data.rglob("*")):
            if path.is_file() and path not in wanted:
                path.unlink()
        for path, (url, sha256) in wanted.items():
            if not path.exists():
                path.unlink(missing_ok=True)  # a link whose target is gone
                path.parent.mkdir(parents=True, exist_ok=True)
                aside = path.with_name(f".{path.name}.aside")
                aside.write_bytes(_verified(url, sha256))
                aside.replace(path)
        for logical, (url, sha256) in files.items():
            rows = pyarrow.parquet.read_metadata(str(paths[logical])).num_rows
            placed[logical] = SnapshotFile(url, sha256, rows)
        return placed

    def version(self, remote: str) -> str:
        """Put ``data/`` into DVC's cache and its remote; what both have is hashed, and not copied again."""
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        logging.getLogger("dvc").setLevel(logging.WARNING)  # it greets and advises
        try:
            with Repo(str(self._root)) as repo:
                [stage] = repo.add(str(self._root / _DATA))
                repo.push()
                return str(stage.outs[0].hash_info.value)
        except (DvcException, OSError) as error:
            raise DataError(
                f"{self._root}: DVC could not version data/ or copy it to {remote}: {error}; "
                "check the remote's address and rights, and run the training again"
            ) from error

    def commit(self, tag: str, name: str, manifest: bytes) -> str:
        """Commit the manifest with DVC's pointer, then tag it: a snapshot without its tag was not taken."""
        from dulwich.refs import Ref
        from dulwich.repo import Repo

        lake_files.write_bytes(str(self._root / _MANIFEST), manifest)
        with Repo(str(self._root)) as repo:
            tree = repo.get_worktree()
            tree.stage([_MANIFEST, _POINTER, ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"])
            revision = tree.commit(message=f"Snapshot {name}".encode(), author=_WHO, committer=_WHO, no_verify=True)
            repo.refs[Ref(f"refs/tags/{tag}".encode())] = revision
            return revision.decode()

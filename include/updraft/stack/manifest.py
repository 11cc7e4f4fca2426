"""The manifest of a backup: what is in it, with the SHA-256 of every file. It is written last, so it says that the rest is there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from updraft.errors import InputError
from updraft.stack.layout import write_private

NAME = "manifest.json"
FORMAT = 1
DATABASES, KEYS, ARTIFACTS, ANCHORS, LAKE, LAKE_LIST = "databases", "keys", "mlflow", "anchors", "lake", "lake.jsonl"
"""Folders of a backup, and the file that lists the lake: a JSON object a line, with ``path``, ``size`` and ``sha256``."""
MIGRATED = "migrated.json"
"""The file that tells of which versions the databases of Airflow and MLflow are."""

_SHOWN = 5
_CHUNK = 1 << 20


@dataclass(frozen=True)
class FileEntry:
    """One file: its bytes."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Head:
    """The newest decision of a project's chain."""

    seq: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What one backup holds, and of which deployment."""

    format: int = FORMAT
    updraft: str
    """Version that made it."""
    made_at: str
    home: str
    lake: str
    raw: str
    audit: str
    """The addresses that rows of the store name: they hold after a restore only when they are the same."""
    environment: str = ""
    """UPDRAFT_ENVIRONMENT, whose policies its decisions follow; a backup that does not say is of a deployment without."""
    schema: str
    """Revision of the store."""
    postgres: int
    """Major version of the server."""
    chains: dict[str, Head]
    """The head of each project's decisions."""
    lake_copied: bool
    files: dict[str, FileEntry] = field(repr=False)
    """Every file of the backup but this one, by its path in it."""

    def write(self, folder: Path) -> None:
        """Put it in place, whole."""
        write_private(folder / NAME, json.dumps(asdict(self), indent=1, sort_keys=True))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a backup.

        :raises InputError: when there is none, so that the backup was not finished or is none; or when it is not of this form.
        """
        path = folder / NAME
        try:
            content: dict[str, Any] = json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputError(
                f"{path} is not there: {folder} is no backup, or one that was not finished; take another"
            ) from error
        except ValueError as error:
            raise InputError(f"{path} is not JSON ({error}): the backup was altered; take another") from error
        if isinstance(content, dict) and isinstance(content.get("format"), int) and content["format"] > FORMAT:
            raise InputError(
                f"{path} has form {content['format']}, and this Updraft reads form {FORMAT}: a newer version made the backup; "
                "install that version"
            )
        try:
            files = {name: FileEntry(**entry) for name, entry in content.pop("files").items()}
            chains = {name: Head(**head) for name, head in content.pop("chains").items()}
            return cls(files=files, chains=chains, **content)
        except (TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path} is no manifest of a backup ({error}); take another") from error

    def verify(self, folder: Path) -> None:
        """Hold every file against its hash.

        :raises InputError: naming what is missing, was altered, or does not belong there.
        """
        there = {str(path.relative_to(folder)) for path in walk(folder)} - {NAME}
        missing = sorted(set(self.files) - there)
        extra = sorted(there - set(self.files))
        altered = [name for name in sorted(set(self.files) & there) if entry_of(folder / name) != self.files[name]]
        problems = [
            f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''})"
            for what, names in (("missing", missing), ("altered", altered), ("not of the backup", extra))
            if names
        ]
        if problems:
            raise InputError(f"{folder} is not the backup that was made: {'; '.join(problems)}; nothing was restored")


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in order. Links are not followed."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def close_to_others(folder: Path) -> None:
    """Leave a folder and everything in it to its owner alone."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)


def entry_of(path: Path) -> FileEntry:
    """Size and hash of a file of this machine."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return FileEntry(size, digest.hexdigest())


def write_lines(path: Path, entries: Mapping[str, FileEntry]) -> None:
    """Write a list of files, one a line, in order."""
    lines = [json.dumps({"path": name, **asdict(entry)}) for name, entry in sorted(entries.items())]
    write_private(path, "".join(f"{line}\n" for line in lines))


def read_lines(path: Path) -> dict[str, FileEntry]:
    """The inverse of :func:`write_lines`."""
    parsed = [json.loads(line) for line in path.read_text().splitlines()]
    return {entry["path"]: FileEntry(entry["size"], entry["sha256"]) for entry in parsed}

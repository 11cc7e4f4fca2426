"""The files below a URL, wherever that is: listed with their hashes, copied out and put back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from updraft import files
from updraft.stack.manifest import FileEntry, walk

_CHUNK = 1 << 20


def list_below(
    url: str, *, copy_to: Path | None = None, without: Callable[[str], bool] = lambda name: False
) -> dict[str, FileEntry]:
    """Size and SHA-256 of every file below a URL, by its path there; nothing where there is no such folder.

    What is removed meanwhile is left out; what is being written aside (its name begins with a dot) is none yet.

    :param copy_to: a folder that gets a copy of each.
    :param without: whether a file is left out, by its path there.
    """
    there, base = files.filesystem(url)
    entries = {}
    for path in sorted(map(str, there.find(base))):
        name = path.removeprefix(base).lstrip("/")
        if Path(name).name.startswith(".") or without(name):
            continue
        try:
            with there.open(path, "rb") as source:
                entries[name] = _taken(source, copy_to / name if copy_to is not None else None)
        except FileNotFoundError:
            continue
    return entries


def _taken(source: IO[bytes], target: Path | None) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    if target is not None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.open("wb") if target is not None else nullcontext() as copy:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if copy is not None:
                copy.write(chunk)
    return FileEntry(size, digest.hexdigest())


def put_back(folder: Path, url: str) -> Iterator[str]:
    """Write every file of a folder below a URL unless something is there already; the names of those that were there."""
    for path in walk(folder):
        name = path.relative_to(folder).as_posix()
        if files.exists(f"{url}/{name}"):
            yield name
        else:
            files.write_bytes(f"{url}/{name}", path.read_bytes())

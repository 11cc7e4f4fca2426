"""What ``--data`` names: a file, a folder, a pattern, or a URL, as the URL of a source."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from updraft import files
from updraft.draft.words import slug
from updraft.errors import InputError

_KINDS = (".csv", ".csv.gz", ".csv.zip", ".tsv", ".txt", ".parquet", ".pq")


def url_of(data: str) -> str:
    """The URL of a source: absolute, as another process starts in another folder.

    :raises InputError: when it is nothing that is read, with what to do.
    """
    scheme, parted, _ = data.partition("://")
    if "{" in data:
        return _refuse(
            f"--data {data}: `updraft init` reads all files at once; write a star in place of what stands in braces"
        )
    if parted and scheme != "file":
        return _in_store(data)
    path = Path(data.removeprefix("file://")).expanduser().absolute()
    if path.is_dir():
        names = [child.name for child in path.iterdir() if child.is_file()]
        path = path / f"*{_kind_of_folder(str(path), names)}"
    elif "*" not in path.name and not path.is_file():
        return _refuse(f"--data {data}: there is no such file or folder ({path})")
    if "*" in str(path.parent):
        return _refuse(f"--data {data} has a star in the name of a folder; one in the name of a file is read")
    return f"file://{path}"


def _in_store(data: str) -> str:
    """A file or a pattern of a store as it is given; a folder (a prefix) as the pattern of its files, which are asked for."""
    name = data.rstrip("/").rsplit("/", 1)[-1]
    if "*" in name or (not data.endswith("/") and (data.startswith(("http://", "https://")) or name.endswith(_KINDS))):
        return data
    folder = data.rstrip("/")
    if folder.startswith(("http://", "https://")):
        return _refuse(f"--data {data} is a folder, and a web server does not tell its files; give the URL of a file")
    try:
        filesystem, place = files.filesystem(folder)
        names = [
            str(entry["name"]).rsplit("/", 1)[-1]
            for entry in filesystem.ls(place, detail=True)
            if entry["type"] == "file"
        ]
    except FileNotFoundError:
        return _refuse(f"--data {data}: there is no such file or folder")
    except (OSError, ImportError, ValueError) as error:
        return _refuse(
            f"--data {data} cannot be listed: {type(error).__name__}: {error}; look at its address and at the store's keys"
        )
    return f"{folder}/*{_kind_of_folder(folder, names)}"


def source_name(url: str) -> str:
    """A name for the source: that of the file, or, of several, of their folder."""
    path = PurePosixPath(url.partition("://")[2])
    text = path.parent.name if "*" in path.name else path.name.partition(".")[0]
    return slug(text, "rows")


def _kind_of_folder(folder: str, names: Iterable[str]) -> str:
    shown = [name for name in names if not name.startswith(".")]
    kinds = {kind: [file for file in shown if file.lower().endswith(kind)] for kind in _KINDS}
    present = [kind for kind, names in kinds.items() if names]
    if not present:
        raise InputError(f"--data {folder} has no file that is read: {', '.join(_KINDS)}")
    if len(present) > 1:
        raise InputError(
            f"--data {folder} has files of several kinds ({', '.join(present)}); say which, such as '{folder}/*{present[0]}'"
        )
    return present[0]


def _refuse(message: str) -> str:
    raise InputError(message)

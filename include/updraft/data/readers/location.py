"""Where a source's files stand: found by their URL, told from their earlier content, and fetched."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from updraft import files
from updraft.data import limits
from updraft.data.partitions import partition
from updraft.errors import DataError, SourceAway, SourceMissing
from updraft.spec.model import Project

_CLIENTS = ("aiohttp", "aiobotocore", "botocore")
"""Libraries that speak to stores; not all of their errors are an ``OSError``."""


@dataclass(frozen=True)
class Location:
    """A source's file: its fsspec URL and what tells its content from another."""

    url: str
    fingerprint: str


def resolve(url: str, *, source: str, key: str) -> str:
    """The fsspec URL of a source: ``{key}`` filled in, ``package://NAME/PATH`` found without importing the package.

    :raises DataError: when the package is not installed.
    """
    url = url.replace("{key}", key)
    if not url.startswith("package://"):
        return url
    package, _, path = url.removeprefix("package://").partition("/")
    try:
        package_spec = importlib.util.find_spec(package.partition(".")[0])
    except (ImportError, ValueError):
        package_spec = None
    if package_spec is None or not package_spec.submodule_search_locations:
        raise DataError(f"source {source}: {url}: package {package!r} is not installed here; pip install {package}")
    return str(Path(next(iter(package_spec.submodule_search_locations)), path))


_DATE = re.compile(r"\{date(?::([^}]*))?\}")


def url_of(project: Project, source: str, key: str) -> str:
    """The fsspec URL of a partition's file: ``{key}`` is its key, ``{date}`` the day on which it begins, ``{date:%Y/%m}`` written otherwise.

    :raises DataError: when the key is no tick, or a package is not installed.
    """
    url = project.spec.data.sources[source].url
    if _DATE.search(url):
        start = partition(project.spec, key).start
        url = _DATE.sub(lambda match: start.strftime(match[1] or "%Y-%m-%d"), url)
    return resolve(url, source=source, key=key)


def is_pattern(url: str) -> bool:
    """Whether the URL stands for several files, which are read as one: its last part has a star in it."""
    return "*" in url.rsplit("/", 1)[-1] and not url.startswith(("http://", "https://"))


def matches(url: str, *, source: str) -> list[str]:
    """The files that a URL stands for, sorted: those of a pattern, hidden ones left out, or the one that it names.

    :raises SourceMissing: when no file is of the pattern.
    :raises SourceAway: when its store does not answer.
    :raises DataError: when it cannot be reached for another reason, such as credentials.
    """
    if not is_pattern(url):
        return [url]
    if files.is_local(url):
        path = files.local_path(url)
        paths = [str(file) for file in path.parent.glob(path.name) if file.is_file()]
    else:
        try:
            filesystem, path_there = files.filesystem(url)
            paths = [filesystem.unstrip_protocol(file) for file in filesystem.glob(path_there)]
        except (PermissionError, ImportError, ValueError) as error:
            raise DataError(f"source {source}: {url} cannot be reached: {type(error).__name__}: {error}") from error
        except OSError as error:
            words = f"source {source}: {url} cannot be reached: {type(error).__name__}: {error}"
            raise SourceAway(words, source) from error
    paths = sorted(file for file in paths if not file.rsplit("/", 1)[-1].startswith("."))
    if not paths:
        raise SourceMissing(
            f"source {source}: no file is of the pattern {url}; check data.sources.{source}.url in project.yaml", source
        )
    return paths


def local_bytes(url: str, *, source: str) -> int:
    """Bytes of the files of this machine that a URL stands for."""
    return sum(files.local_path(file).stat().st_size for file in matches(url, source=source))


def locate(url: str, *, source: str) -> Location:
    """Find a file and its fingerprint: size and time of change, or what its store tells instead of them.

    Of a pattern (``orders-*.csv``) it is the fingerprint of all its files.

    :raises SourceMissing: when there is no such file.
    :raises SourceAway: when its store does not answer.
    :raises DataError: when it cannot be reached for another reason, such as credentials.
    """
    if is_pattern(url):
        fingerprints = [[file, locate(file, source=source).fingerprint] for file in matches(url, source=source)]
        return Location(url, files.canonical_hash([url, fingerprints]))
    if files.is_local(url):
        path = files.local_path(url)
        if not path.is_file():
            raise SourceMissing(
                f"source {source}: no file {url}; check data.sources.{source}.url in project.yaml", source
            )
        state = path.stat()
        return Location(url, files.canonical_hash([url, state.st_mtime_ns, state.st_size]))
    try:
        filesystem, path_there = files.filesystem(url)
        info: Mapping[str, Any] = filesystem.info(path_there)
        known = {mark: info[mark] for mark in ("ETag", "etag", "LastModified", "mtime", "md5Hash") if info.get(mark)}
        if not known:  # nothing tells two contents apart but the content
            with fetched(url, source) as path, path.open("rb") as file:
                known = {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except FileNotFoundError as error:
        _unless_missing(url, source, error)
        raise SourceMissing(
            f"source {source}: no file {url}; check data.sources.{source}.url in project.yaml", source
        ) from None
    except (PermissionError, ImportError, ValueError) as error:
        raise DataError(f"source {source}: {url} cannot be reached: {type(error).__name__}: {error}") from error
    except OSError as error:
        words = f"source {source}: {url} cannot be reached: {type(error).__name__}: {error}"
        raise SourceAway(words, source) from error
    return Location(url, files.canonical_hash([url, info.get("size"), known]))


def _unless_missing(url: str, source: str, error: FileNotFoundError) -> None:
    """Tell apart what fsspec calls a missing file for everything that a web server says, or does not say."""
    cause = error.__cause__
    status = getattr(cause, "status", None)
    if not url.startswith(("http://", "https://")) or cause is None or status in (404, 410):
        return
    words = f"source {source}: {url} cannot be reached: {type(cause).__name__}: {cause}"
    raise (DataError(words) if status in (401, 403) else SourceAway(words, source)) from error


@contextmanager
def fetched(url: str, source: str) -> Iterator[Path]:
    """A local path to a source's file: copied in pieces where it is elsewhere, and counted, as a server may send without end.

    :raises SourceAway: when its store stops answering.
    :raises DataError: when it is larger than a source may be.
    """
    if files.is_local(url):
        yield files.local_path(url)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"fetched{Path(url.rsplit('/', 1)[-1]).suffix}"
        try:
            filesystem, there = files.filesystem(url)
            streamed = {"block_size": 0} if url.startswith(("http://", "https://")) else {}  # else it asks for ranges
            with filesystem.open(there, "rb", **streamed) as remote, path.open("wb") as file:
                limits.copy(remote, file, f"source {source}: {url}")
        except (FileNotFoundError, PermissionError, DataError):
            raise
        except Exception as error:
            if isinstance(error, OSError) or type(error).__module__.split(".")[0] in _CLIENTS:
                words = f"source {source}: {url} cannot be read to its end: {type(error).__name__}: {error}"
                raise SourceAway(words, source) from error
            raise
        yield path


def is_there(project: Project, source: str, key: str) -> bool:
    """Whether the file of a partition is there.

    :raises SourceAway: when its store does not answer.
    """
    try:
        locate(url_of(project, source, key), source=source)
    except SourceMissing:
        return False
    return True

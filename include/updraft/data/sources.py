"""Sources of a project: where their rows stand as one Parquet file each, however they came."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from updraft import files
from updraft.connections import Connections, EnvironmentConnections
from updraft.data.partitions import partition
from updraft.data.readers.conversion import convert, convert_all
from updraft.data.readers.location import Location, locate, matches, url_of
from updraft.data.readers.opened import columns_of_file, downloaded, wanted_columns
from updraft.data.readers.python import PythonReader
from updraft.data.readers.reader import Reader, Window
from updraft.data.readers.sql import SqlReader
from updraft.errors import DataError, SettingsError, SourceAway
from updraft.lake.places import SOURCES
from updraft.spec.label import read_label
from updraft.spec.model import Project

CACHE_VERSION = 3
"""Part of the cache's key: raised when the conversion changes."""
ENVIRONMENT = EnvironmentConnections()


def reader_of(project: Project, source: str, connections: Connections = ENVIRONMENT) -> Reader:
    """The reader of a source whose rows are asked for, so of any type but ``file``."""
    spec = project.spec.data.sources[source]
    if spec.type == "python":
        return PythonReader(source, spec, connections, folder=project.folder)
    named = [column for columns, _ in wanted_columns(project, source) for column in columns]
    if source == next(iter(project.spec.data.sources)):
        named += [*project.spec.data.outcomes, *sorted(read_label(project.spec.data.label.expr).names)]
    kept = dict.fromkeys(column.lower() for column in named)
    if spec.type == "sql":
        return SqlReader(source, spec, connections, kept=frozenset(kept))
    # Here, as the command line of a training is this one too, and its image has no httpx.
    from updraft.data.readers.http import HttpReader

    as_written = {column.lower(): column for column in reversed(named)}
    return HttpReader(source, spec, connections, kept=tuple(as_written[column] for column in kept))


def close_raw_zone(raw: str) -> None:
    """Make a raw zone, and let its owner alone into it: it holds private values in clear. A bucket has its own policy.

    :param raw: URL of the project's raw zone.
    :raises SettingsError: when it is open to others and belongs to somebody else.
    """
    if not files.is_local(raw):
        return
    path = files.local_path(raw)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise SettingsError(
            f"{path}: the raw zone cannot be closed to others: {error.strerror}; its owner can, with chmod 700"
        ) from error


def window_of(project: Project, key: str, since: datetime | None = None) -> Window:
    """The window of a partition, from an earlier moment on where its rows go further back.

    :raises DataError: when the key is no tick.
    """
    own = partition(project.spec, key)
    return Window(key, own.start if since is None else since, own.tick)


@contextmanager
def table(
    project: Project,
    raw: str,
    source: str,
    key: str,
    *,
    since: datetime | None = None,
    connections: Connections = ENVIRONMENT,
) -> Iterator[Path]:
    """The local Parquet file that holds a source's content: its event time is a timestamp with time zone, and what else was text
    is text, as it stands in the file. A file's content is whole, and kept; of other sources it is the rows of the window.

    :param raw: URL of the project's raw zone; the cache stands below ``sources/``.
    :param since: from when on rows are asked for; the partition's start unless it is given.
    :raises SourceAway: when the file changed while it was read: whoever delivers it is not done.
    :raises DataError: no such file, not readable, or a column that the spec names is not there.
    """
    spec = project.spec.data.sources[source]
    if spec.type == "file":
        with _table_of_file(project, raw, source, key) as path:
            yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        window, converted = window_of(project, key, since), Path(folder) / "converted.parquet"
        came = reader_of(project, source, connections).arrive(window, Path(folder))
        convert(project, came, spec.place, source, str(converted))
        came.unlink()
        yield converted


@contextmanager
def _table_of_file(project: Project, raw: str, source: str, key: str) -> Iterator[Path]:
    spec = project.spec.data.sources[source]
    place = locate(url_of(project, source, key), source=source)
    how_read = [spec.event_time, spec.time_format, spec.time_zone, spec.encoding, wanted_columns(project, source)]
    version = files.canonical_hash([place.fingerprint, how_read, CACHE_VERSION])[:16]
    cached = f"{raw}/{SOURCES}/{source}-{version}.parquet"
    if not files.exists(cached):
        try:
            convert_all(project, matches(place.url, source=source), source, cached)
        except DataError:
            _unless_written(place, source)
            raise
        try:
            _unless_written(place, source)
        except SourceAway:
            files.remove(cached)  # what is in it is neither the one content nor the other
            raise
    files.note_use(cached)
    with files.fetched(cached) as path:
        yield path


def remove_copies(raw: str, source: str) -> None:
    """Remove the copies of a source's files from a raw zone; the next reading makes them anew."""
    for file in files.names_below(f"{raw}/{SOURCES}"):
        if re.fullmatch(rf"{re.escape(source)}-[0-9a-f]{{16}}\.parquet", file):
            files.remove(f"{raw}/{SOURCES}/{file}")


def _unless_written(place: Location, source: str) -> None:
    """Tell a file that is being written from one that is broken. A store elsewhere shows none before it is whole.

    :raises SourceAway: when a file of this machine has changed since it was found.
    """
    if files.is_local(place.url) and locate(place.url, source=source).fingerprint != place.fingerprint:
        raise SourceAway(f"source {source}: {place.url} changed while it was read; it is still being written", source)


def revision(
    project: Project,
    source: str,
    key: str,
    *,
    since: datetime | None = None,
    connections: Connections = ENVIRONMENT,
) -> str:
    """What tells the present content of a source for a partition from another.

    :raises SourceMissing: when it has not come yet.
    :raises SourceAway: when the source does not answer.
    :raises DataError: when it cannot be reached for another reason.
    """
    if project.spec.data.sources[source].type == "file":
        return locate(url_of(project, source, key), source=source).fingerprint
    return reader_of(project, source, connections).revision(window_of(project, key, since))


def columns(project: Project, source: str, key: str) -> dict[str, str]:
    """Names and DuckDB types of a source's columns; of a text file as its first rows tell them, of several files the last one's.
    Nothing is kept.

    :raises SourceMissing: when there is no file for the key.
    :raises DataError: when it cannot be reached or does not read.
    """
    spec = project.spec.data.sources[source]
    if spec.type == "file":
        *_, url = matches(locate(url_of(project, source, key), source=source).url, source=source)
        with downloaded(url, source, spec.encoding) as path:
            return columns_of_file(project, source, path, url)
    with tempfile.TemporaryDirectory() as folder:
        path = reader_of(project, source).arrive(window_of(project, key), Path(folder), glance=True)
        return columns_of_file(project, source, path, spec.place)

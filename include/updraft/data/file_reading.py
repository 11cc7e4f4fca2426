"""Whether the files that a project has for its partitions read: all of them, or in a given time a spread of them."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from updraft import files
from updraft.data import sources
from updraft.data.partitions import KEY_FORMAT, end_of_history, keys_before
from updraft.data.readers.location import is_there, local_bytes, resolve, url_of
from updraft.errors import DataError, SourceAway, SourceMissing
from updraft.settings import Settings
from updraft.spec.model import Project, ProjectSpec

TIME = 20.0
"""Seconds in which as many files of a source are read as can be."""
LARGEST = 512 * 2**20
"""Bytes of a local file that is read before anything is started."""
_TOLD = 20
"""Files with a fault that are told one by one."""
_TICKS = 20_000
"""Newest ticks whose files are looked for."""


@dataclass
class FilesRead:
    """What came of it."""

    problems: list[str] = field(default_factory=list)
    """A line for each file that does not read, with its name, line and cause."""
    notes: list[str] = field(default_factory=list)
    """What was not read, and why."""


def read_files(project: Project, settings: Settings, *, seconds: float | None = None) -> FilesRead:
    """Read the file of each partition as ingestion would, of every source that has one for each. Nothing is kept.

    :param seconds: for each source; None to read every file, however long it takes and however large it is.
    """
    came_of_it = FilesRead()
    with tempfile.TemporaryDirectory() as folder:
        aside = replace(settings, home=Path(folder), lake=Path(folder).as_uri(), raw="")
        for name, source in project.spec.data.sources.items():
            if source.has_file_each:
                _read_files_of(project, aside, name, came_of_it, seconds=seconds)
    return came_of_it


def _read_files_of(
    project: Project, aside: Settings, source: str, came_of_it: FilesRead, *, seconds: float | None
) -> None:
    problems, notes = came_of_it.problems, came_of_it.notes
    began, keys = time.monotonic(), list(_ticked(project.spec))
    local = files.is_local(resolve(project.spec.data.sources[source].url, source=source, key=""))
    if local:  # of another store it is not asked for each tick beforehand
        keys = [key for key in keys if is_there(project, source, key)]
    looked_at, large = 0, 0
    wrong: list[str] = []
    try:
        for key in _spread(keys):
            if seconds is not None and looked_at and time.monotonic() - began > seconds:
                break
            looked_at += 1
            if seconds is not None and local and _size(project, source, key) > LARGEST:
                large += 1
                continue
            if (fault := _fault(project, aside, source, key)) is not None:
                wrong.append(fault)
    except SourceAway as error:
        notes.append(f"the files of {source} are not read: {error}")
    problems += sorted(wrong)[:_TOLD]
    if len(wrong) > _TOLD:
        problems.append(f"source {source}: and {len(wrong) - _TOLD} more files do not read")
    if looked_at < len(keys):
        of = f"{len(keys):,} files" if local else f"the {len(keys):,} partitions that may have one"
        notes.append(
            f"data.sources.{source}: {looked_at:,} of {of} were read, the newest, the oldest and a spread between them; "
            f"updraft validate {project.name} --all reads every one"
        )
    if large:
        notes.append(
            f"data.sources.{source}: {large:,} files of more than {LARGEST // 2**20} MiB were not read; --all does"
        )


def _fault(project: Project, aside: Settings, source: str, key: str) -> str | None:
    """What is wrong with a file; None of one that reads, or that is not there.

    :raises SourceAway: when its store does not answer.
    """
    try:
        with sources.table(project, aside.raw_zone(project.name), source, key) as path:
            path.unlink()  # thousands of them would fill the disk
    except SourceMissing:
        return None
    except SourceAway:
        raise
    except DataError as error:
        return str(error)
    except OSError as error:  # such as a file that this user may not read
        return f"source {source}: {error.filename or key} cannot be read: {error.strerror}"
    return None


def _size(project: Project, source: str, key: str) -> int:
    return local_bytes(url_of(project, source, key), source=source)


def _ticked(spec: ProjectSpec) -> Iterator[str]:
    """Keys of the partitions that may have a file by now, the newest first."""
    now = datetime.now(UTC)
    end = min(end_of_history(spec) or now, now) + timedelta(minutes=1)
    first = datetime.combine(spec.data.start, datetime.min.time(), UTC).strftime(KEY_FORMAT)
    newest_first = keys_before(spec, end.strftime(KEY_FORMAT))
    yield from itertools.islice(itertools.takewhile(lambda key: key > first, newest_first), _TICKS)


def _spread(keys: Sequence[str]) -> Iterator[str]:
    """Each key once: the first, the last, then what lies in the middle of the widest gaps."""
    yield from keys[:1]
    yield from keys[1:][-1:]
    gaps = [(0, len(keys) - 1)]
    while gaps:
        halves = []
        for low, high in gaps:
            if high - low > 1:
                middle = (low + high) // 2
                yield keys[middle]
                halves += [(low, middle), (middle, high)]
        gaps = halves

"""What a partition of the history follows from: when any of it is another one, the partition is ingested again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from updraft import files
from updraft.connections import Connections
from updraft.data.extraction import slices
from updraft.data.readers.location import locate, url_of
from updraft.data.sources import ENVIRONMENT, revision
from updraft.errors import DataError, SourceMissing
from updraft.files import canonical_hash
from updraft.spec.environments import holds_spec
from updraft.spec.model import Project

Content = tuple[str, str, str]
"""A source and its file's URL; of one that is asked for a window its source, key, and since when."""
Dependencies = Mapping[str, str]
"""What a partition follows from, in words for people -> a hash of it."""
NO_FILE = "no file"
"""Stands for the fingerprint of a file that is not there (yet)."""
_LOOKS = 8
"""Files of a store that are asked about at the same time: each answer takes a round trip."""


def changed(before: object, now: Dependencies) -> tuple[str, ...]:
    """In words, what differs from what a note says; every note of an earlier form counts as changed."""
    if not isinstance(before, dict):
        return ("the form in which the history is kept",)
    return tuple(sorted(name for name in {*before, *now} if before.get(name) != now.get(name)))


class HistoryDependencies:
    """Of every partition of a project's history; each file is looked at once, however many partitions read it."""

    def __init__(self, project: Project, connections: Connections = ENVIRONMENT) -> None:
        self._project = project
        self._connections = connections
        self._of_project = _of_project(project)
        self._fingerprints: dict[Content, str | DataError] = {}
        self._read: dict[tuple[str, str], list[Content]] = {}

    def look_ahead(self, keys: Iterable[str]) -> None:
        """Take the fingerprints of all files of these partitions, several at a time."""
        read = {
            content
            for key in keys
            for source in self._project.spec.data.sources
            for content in self._contents(source, key)
        }
        with ThreadPoolExecutor(_LOOKS) as pool:
            self._fingerprints.update(zip(sorted(read), pool.map(self._look, sorted(read)), strict=True))

    def of(self, key: str) -> Dependencies:
        """What a partition follows from.

        :raises SourceMissing: when a source has no file for it.
        :raises DataError: when a store does not tell.
        """
        of_sources: dict[str, str] = {}
        for source in self._project.spec.data.sources:
            own, *earlier = (self._fingerprint(content) for content in self._contents(source, key))
            if isinstance(own, DataError):
                raise own
            # A file that never came has no labels to mature; it is another dependency once it comes.
            told = [own, *(NO_FILE if isinstance(mark, SourceMissing) else mark for mark in earlier)]
            if failed := next((mark for mark in told if isinstance(mark, DataError)), None):
                raise failed
            of_sources[f"the files of source {source}"] = canonical_hash(told)
        return {**self._of_project, **of_sources}

    def _contents(self, source: str, key: str) -> list[Content]:
        """What a partition reads of a source: its own first, then that of earlier rows whose labels mature at its tick."""
        if (source, key) not in self._read:
            spec, covered = self._project.spec.data.sources[source], slices(self._project, key)
            keys = [key]
            if spec.by_partition and source == next(iter(self._project.spec.data.sources)):
                keys += [earlier.key for earlier in covered[:-1]]
            if spec.type == "file":
                contents = [(source, "", url_of(self._project, source, covered_key)) for covered_key in keys]
            else:
                since = covered[0].start.isoformat()
                contents = [(source, covered_key, "" if spec.by_partition else since) for covered_key in keys]
            self._read[source, key] = contents
        return self._read[source, key]

    def _fingerprint(self, content: Content) -> str | DataError:
        if content not in self._fingerprints:
            self._fingerprints[content] = self._look(content)
        return self._fingerprints[content]

    def _look(self, content: Content) -> str | DataError:
        """Its fingerprint, or why there is none: it may be the file of a partition that nobody asks for."""
        source, key, where = content
        try:
            if self._project.spec.data.sources[source].type == "file":
                return locate(where, source=source).fingerprint
            since = datetime.fromisoformat(where) if where else None
            return revision(self._project, source, key, since=since, connections=self._connections)
        except DataError as error:
            return error


def _of_project(project: Project) -> dict[str, str]:
    """By the keys that hold in this environment, and by the names of the files beside project.yaml and its overrides; neither ``data.end``
    nor how long a file is waited for changes a partition."""
    data = project.spec.data.model_dump(mode="json", exclude={"end": True, "sources": {"__all__": {"wait"}}})
    keys = {f"data.{key}": value for key, value in data.items() if not isinstance(value, dict)}
    keys |= {f"data.label.{key}": value for key, value in data["label"].items()}
    keys |= {f"data.sources.{name}": value for name, value in data["sources"].items()}
    keys["data.sources"] = list(data["sources"])  # the first one gives the rows
    keys["release.cluster"] = project.spec.release.cluster
    hashes = {key: canonical_hash(value) for key, value in keys.items()}
    beside = [path for path in Path(project.folder).iterdir() if path.is_file() and not holds_spec(path)]
    return hashes | {path.name: files.sha256(path.read_bytes()) for path in beside}

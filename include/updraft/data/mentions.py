"""What ``project.yaml`` says of its sources, held against the sources: columns that none has, a label that is no expression."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from updraft import files
from updraft.data import sources
from updraft.data.catalogue import TYPES
from updraft.data.duck import attempt, connection, kind_of, name
from updraft.data.figures import unknown_columns
from updraft.data.joins import joined_names
from updraft.data.partitions import KEY_FORMAT, partitions
from updraft.data.readers.location import locate, url_of
from updraft.data.views import CLOCKS
from updraft.errors import DataError, SettingsError, SourceAway, SourceMissing
from updraft.spec.document import Document, Path_
from updraft.spec.figure import path_of, read_figure
from updraft.spec.label import read_label
from updraft.spec.load import spec_document
from updraft.spec.model import Project, ProjectSpec
from updraft.spec.problems import Problem, did_you_mean

if TYPE_CHECKING:
    import duckdb

_LABELS = (*TYPES["number"], "BOOLEAN", "VARCHAR")
"""Types that a label may be of; text of numbers is read as numbers."""


@dataclass(frozen=True)
class Mentions:
    """What was found."""

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    """Sources that could not be read, so that nothing can be told of their columns."""


def check_mentions(
    folder: Path, spec: ProjectSpec, broken: frozenset[Path_] = frozenset(), environment: str | None = None
) -> Mentions:
    """Every column that ``project.yaml`` names and no source has, and what is wrong with ``data.label.expr`` and ``monitoring.figures``.

    Of a source with ``{key}`` the file of one of the first or last partitions is looked at.

    :param broken: keys at which the spec does not say what the file says; nothing is told of them.
    :param environment: that the spec was read for.
    """
    mentions = _Mentions(spec_document(folder, environment), spec, broken)
    notes = mentions.read(Project(spec=spec, folder=folder))
    problems = [
        *mentions.unreadable,
        *mentions.of_sources(),
        *mentions.of_rows(),
        *mentions.label(),
        *mentions.of_any(),
        *mentions.figures(),
    ]
    return Mentions(tuple(sorted(problems, key=lambda problem: problem.line or 0)), notes)


@dataclass
class _Mentions:
    document: Document
    spec: ProjectSpec
    broken: frozenset[Path_]
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    unreadable: list[Problem] = field(default_factory=list)
    """Of sources that are there and do not read, or cannot be there."""

    @property
    def row_source(self) -> str:
        return next(iter(self.spec.data.sources))

    def _sound(self, path: Path_) -> bool:
        return not any(
            path[: len(broken_key)] == broken_key or broken_key[: len(path)] == path for broken_key in self.broken
        )

    def read(self, project: Project) -> tuple[str, ...]:
        """Read the columns of every source that can be read; words on the others."""
        notes = []
        for source, spec in self.spec.data.sources.items():
            timed = all(self._sound(("data", setting)) for setting in ("schedule", "start", "end"))
            if not self._sound(("data", "sources", source)) or (spec.by_partition and not timed):
                continue
            if spec.type == "file" and (wrong := _wrong_place(spec.url)) is not None:
                self.unreadable.append(self.document.problem(("data", "sources", source, "url"), wrong, spec.url))
                continue
            try:
                located = _located(project, source)
            except DataError as error:
                if isinstance(error, SourceMissing) and spec.type == "file" and not spec.has_file_each:
                    message = "there is no such file; correct the URL, or put the file there"
                    self.unreadable.append(self.document.problem(("data", "sources", source, "url"), message, spec.url))
                else:
                    notes.append(f"the columns of {source} are not checked: {error}")
                continue
            try:
                self.columns[source] = sources.columns(project, source, located)
            except SourceAway as error:
                notes.append(f"the columns of {source} are not checked: {error}")
            except DataError as error:
                if spec.type == "file":
                    message = f"{error} (docs/files.md says how a file is read)"
                    self.unreadable.append(self.document.problem(("data", "sources", source, "url"), message, spec.url))
                else:
                    self.unreadable.append(self.document.problem(("data", "sources", source), str(error)))
            except (
                SettingsError
            ) as error:  # such as a connection that this command line does not know, and Airflow does
                notes.append(f"the columns of {source} are not checked: {error}")
            except OSError as error:  # such as a file that this user may not read
                message = f"{error.filename or spec.url} cannot be read: {error.strerror}; let the user of the deployment read it"
                self.unreadable.append(self.document.problem(("data", "sources", source, "url"), message, spec.url))
        return tuple(notes)

    def label(self) -> Iterator[Problem]:
        """Parsed always; bound to the columns of the row source where they are known."""
        path: Path_ = ("data", "label", "expr")
        if not self._sound(path):
            return
        expr = self.spec.data.label.expr
        own = self.columns.get(self.row_source)
        read_by = read_label(expr)
        if not read_by.wrong and not read_by.names:
            yield self.document.problem(
                path,
                "reads no column, so every row has the same label; a column's name stands as it is or in double quotes, and what stands in "
                "single quotes is a text",
                expr,
            )
            return
        try:
            _evaluate(expr, own)
        except DataError as error:
            said = str(error)
            missing = re.search(r'Referenced column "([^"]+)"', said)
            if missing and own is None:
                return
            if missing and own is not None:
                yield self._missing(path, expr, missing[1], self.row_source, own)
            else:
                yield self.document.problem(
                    path, f"is no SQL expression (DuckDB) for a number or true/false: {said}", expr
                )

    def of_sources(self) -> Iterator[Problem]:
        """What each source says of itself."""
        for source, spec in self.spec.data.sources.items():
            named = {"columns": spec.columns, "join": spec.join, "aggregate": tuple(spec.aggregate)}
            if spec.event_time is not None:
                named["event_time"] = (spec.event_time,)
            for key, columns in named.items():
                yield from self._in_source(("data", "sources", source, key), columns, source)

    def of_rows(self) -> Iterator[Problem]:
        """What is read of the row source."""
        data = self.spec.data
        yield from self._in_source(("data", "key"), data.key, self.row_source)
        for other, spec in list(data.sources.items())[1:]:
            yield from self._in_source(("data", "sources", other, "join"), spec.join, self.row_source)
        if self.spec.release.cluster not in CLOCKS:
            path: Path_ = ("release", "cluster")
            own = self.columns.get(self.row_source)
            if own is not None and self._sound(path) and self.spec.release.cluster not in own:
                cluster, allowed = self.spec.release.cluster, (*CLOCKS, *own)
                hint = did_you_mean(cluster, allowed)
                message = f"is neither {', '.join(CLOCKS)} nor a column of {self.row_source}{hint}"
                yield self.document.problem(path, message, cluster, () if hint else allowed)

    def of_any(self) -> Iterator[Problem]:
        """What may be a column of any source, under its own name or as ``<source>_<column>``."""
        if not self._all_read():
            return  # it may be a column of what could not be read
        own, others, joined = self.columns[self.row_source], self._others(), self._joined()
        known = own | joined | {column: kind for columns in others.values() for column, kind in columns.items()}
        data, gates = self.spec.data, self.spec.gates
        yield from self._in(("data", "private"), data.private, "any source", known)
        yield from self._in(("data", "outcomes"), data.outcomes, "any source", known)
        if gates.slices is not None:
            yield from self._in(("gates", "slices", "by"), gates.slices.by, "the published rows", self._published())
        if gates.fairness is not None:
            path, by = ("gates", "fairness", "by"), gates.fairness.by
            yield from self._in(path, by, "the published rows", self._published())
            of_label = read_label(data.label.expr).names
            for column in by if self._sound(path) and self._sound(("data", "label", "expr")) else ():
                if column.lower() in of_label and column not in data.outcomes:
                    message = f"{column} is read by data.label.expr, and columns of the label are not published"
                    yield self.document.problem(path, message, list(by))

    def figures(self) -> Iterator[Problem]:
        """Expressions of figures: each is parsed, and its names are held against the published columns where those are known."""
        data = self.spec.data
        known = self._all_read() and all(self._sound(("data", key)) for key in ("sources", "outcomes", "label"))
        unpublished = {*data.outcomes} if known else set()
        of_label = read_label(data.label.expr).names if known and self.spec.monitoring.figures else frozenset()
        for figure, spec in self.spec.monitoring.figures.items():
            path = path_of(self.document, figure)
            if not self._sound(path):
                continue
            wrong = read_figure(spec.expr).wrong
            if not wrong and known:
                columns = [
                    column
                    for column in self._published()
                    if column not in unpublished and column.lower() not in of_label
                ]
                wrong = unknown_columns(spec.expr, columns, data.label.classes)
            if wrong:
                yield self.document.problem(path, wrong, spec.expr)

    def _all_read(self) -> bool:
        return set(self.columns) == set(self.spec.data.sources)

    def _others(self) -> dict[str, dict[str, str]]:
        return {source: columns for source, columns in self.columns.items() if source != self.row_source}

    def _joined(self) -> dict[str, str]:
        """What the other sources add, under every name that it may be called by."""
        others = self._others()
        joined = {
            added: columns.get(column, "")
            for source, columns in others.items()
            for added, column in joined_names(source, self.spec.data.sources[source], columns).items()
        }
        return joined | {
            f"{source}_{column}": kind for source, columns in others.items() for column, kind in columns.items()
        }

    def _published(self) -> dict[str, str]:
        """The columns of the published rows with those that are left out of them: outcomes, and columns of the label."""
        joined = {column: kind for column, kind in self._joined().items() if not self._joins(column)}
        return {**self.columns[self.row_source], **joined}

    def _joins(self, column: str) -> bool:
        """Whether a name stands for a column that joins, which is published under the row source's name alone."""
        return any(
            column == f"{source}_{join_column}"
            for source, spec in self.spec.data.sources.items()
            for join_column in spec.join
        )

    def _in_source(self, path: Path_, columns: tuple[str, ...], source: str) -> Iterator[Problem]:
        if source in self.columns:
            yield from self._in(path, columns, source, self.columns[source])

    def _in(self, path: Path_, columns: tuple[str, ...], where: str, there: Mapping[str, str]) -> Iterator[Problem]:
        for column in columns if self._sound(path) else ():
            if column not in there:
                value = column if path[-1] == "event_time" else list(columns)
                yield self._missing(path, value, column, where, there)

    def _missing(self, path: Path_, value: object, column: str, where: str, there: Mapping[str, str]) -> Problem:
        hint = did_you_mean(column, there)
        return self.document.problem(
            path, f"no column {column!r} in {where}{hint}", value, () if hint else tuple(there)
        )


def _evaluate(expr: str, columns: Mapping[str, str] | None) -> None:
    """Parse an expression, and bind it to the columns where they are given.

    :raises DataError: in DuckDB's words, which name columns and hold no value, as there are no rows.
    """

    def told(error: duckdb.Error) -> DataError:
        return DataError(kind_of(error))

    label = read_label(expr)
    if label.wrong:
        raise DataError(label.wrong)
    made = ", ".join(f"{name(column)} {kind}" for column, kind in (columns or {"_": "INTEGER"}).items())
    with connection() as con:
        con.execute(f"CREATE TABLE rows_of_a_source ({made})")
        query = f"DESCRIBE SELECT (\n{expr}\n) AS l FROM rows_of_a_source"
        described = attempt(lambda: con.execute(query).fetchall(), told)
    kind = str(described[0][1]).partition("(")[0]
    if columns is None:
        return
    if unknown := label.unknown(columns):
        raise DataError(f"{', '.join(unknown)} is no column")
    if kind not in _LABELS:
        raise DataError(f"it gives {kind}")


def _wrong_place(url: str) -> str | None:
    """What is wrong with a URL whatever lies there, as the end of a sentence."""
    if files.is_local(url) and not files.local_path(url).is_absolute():
        return (
            "is relative, so it names another file in each folder that a process is started in; write the whole path, such as "
            "file:///srv/data/orders.csv"
        )
    folder = files.local_path(url).parent if files.is_local(url) else None
    if folder is not None and "{key}" in url and "{key}" not in str(folder) and not folder.is_dir():
        return f"there is no folder {folder}; correct the URL, or make it"
    return None


def _located(project: Project, source: str) -> str:
    """A key whose file of a source is there.

    :raises DataError: when there is none, or it cannot be reached.
    """
    spec = project.spec.data.sources[source]
    keys = list(some_keys(project.spec)) if spec.type != "file" or spec.has_file_each else [""]
    if spec.type != "file":
        if not keys:
            raise DataError("there is no partition yet")
        return keys[0]
    for number, key in enumerate(keys, start=1):
        try:
            locate(url_of(project, source, key), source=source)
        except SourceMissing:
            if number == len(keys):
                raise
            continue
        return key
    raise DataError("there is no partition yet")


def some_keys(spec: ProjectSpec) -> Iterator[str]:
    """Keys of the last three partitions until now, newest first, and of the first two."""
    from croniter import croniter

    now = datetime.now(UTC)
    end = min(datetime.combine(spec.data.end, datetime.min.time(), UTC), now) if spec.data.end else now
    first = datetime.combine(spec.data.start, datetime.min.time(), UTC)
    ticks = croniter(spec.data.schedule, end + timedelta(seconds=1))
    last = [ticks.get_prev(datetime) for _ in range(3)]
    yield from (tick.strftime(KEY_FORMAT) for tick in last if tick > first)
    yield from (partition.key for partition in itertools.islice(partitions(spec, end), 2))

"""A source's file as DuckDB reads it: its format, the names of its columns, and what to say where it does not read."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from updraft.data import csv_file, limits, text_file
from updraft.data.duck import attempt, columns_of, connection, kind_of, name, parquet
from updraft.data.readers.json_lines import (
    JSON_LINES,
    keep_columns,
    kept_columns,
    lines_of,
    lines_reader,
    write_lines,
)
from updraft.data.readers.location import fetched, locate, matches, resolve
from updraft.data.type_inference import infer
from updraft.data.views import CLOCKS
from updraft.errors import DataError
from updraft.spec.model import Project
from updraft.spec.source import Source

if TYPE_CHECKING:
    import duckdb

PARQUET = (".parquet", ".pq")
_TEXTS = (".csv", ".tsv", ".txt")
_GLANCE = 20_480
"""Rows of a file that tell the types of its columns where a glance is enough."""
_INDEX = re.compile(r"__index_level_\d+__")
"""Columns that pandas adds to a Parquet file for a frame's index: no data of anybody's."""


def is_written(project: Project, source: str) -> bool:
    """Whether a source's rows come as text, so that they state no types; of an unknown format too, which reading refuses."""
    spec = project.spec.data.sources[source]
    return spec.type in ("file", "http") and not spec.url.endswith(PARQUET)


def wanted_columns(project: Project, source: str) -> list[tuple[tuple[str, ...], str]]:
    """The columns that the spec names of a source, with the key of project.yaml that names them."""
    data = project.spec.data
    spec = data.sources[source]
    wanted = [(spec.columns, f"data.sources.{source}.columns"), (spec.join, f"data.sources.{source}.join")]
    if spec.event_time is not None:
        wanted.append(((spec.event_time,), f"data.sources.{source}.event_time"))
    if source == next(iter(data.sources)):
        wanted.append((data.key, "data.key"))
        wanted += [(joined.join, f"data.sources.{other}.join") for other, joined in list(data.sources.items())[1:]]
        if project.spec.release.cluster not in CLOCKS:
            wanted.append(((project.spec.release.cluster,), "release.cluster"))
    return [(columns, what) for columns, what in wanted if columns]


def named_columns(project: Project, source: str) -> set[str]:
    return {column for columns, _ in wanted_columns(project, source) for column in columns}


@dataclass(frozen=True)
class OpenedFile:
    """A source's file as DuckDB reads it."""

    reader: str
    columns: Mapping[str, str]
    unreadable: Callable[[duckdb.Error], DataError]


def open_file(
    con: duckdb.DuckDBPyConnection,
    spec: Source,
    path: Path,
    url: str,
    source: str,
    *,
    wanted: Collection[str] = (),
    asked: bool = True,
) -> OpenedFile:
    """:param wanted: the columns that the project names.
    :param asked: whether a file without a single one of them is refused.

    :raises DataError: when it does not read, or has names that mean several columns."""
    what = f"source {source}: {url}"
    if path.suffix in PARQUET:
        text_file.check_parquet(path, what)
        reader = parquet(str(path))

        def unreadable(error: duckdb.Error) -> DataError:
            return DataError(
                f"{what} does not read as Parquet, as it is broken: {kind_of(error)}; write or copy it again"
            )

        columns = attempt(lambda: columns_of(con, reader), unreadable)
        names_in_file = _parquet_names(path, what)
    elif path.suffix in _TEXTS:
        dialect = csv_file.read_dialect(path, what, wanted=wanted, asked=asked)
        names_in_file, reader = list(dialect.columns), dialect.reader(path)
        columns = dict.fromkeys(dialect.columns, "VARCHAR")

        def unreadable(error: duckdb.Error) -> DataError:
            return csv_file.wrong_line(error, what, dialect)
    elif path.suffix in JSON_LINES:
        names_in_file = list(kept_columns(path))
        columns = dict.fromkeys(names_in_file, "VARCHAR")
        if not names_in_file:
            raise DataError(f"{what} has no record, so that nobody knows its columns")
        reader = lines_reader(path, names_in_file)

        def unreadable(error: duckdb.Error) -> DataError:
            return DataError(f"{what} does not read as JSON lines: {kind_of(error)}")
    else:
        raise DataError(
            f"{what}: unknown format {path.suffix!r}; use .csv, .csv.zip, .csv.gz, .parquet or .jsonl (one object in each line)"
        )
    names_in_file = [column for column in names_in_file if not _INDEX.fullmatch(column)]
    csv_file.check_names(names_in_file, what, kept=spec.columns)
    limits.check_columns(len(names_in_file), what)
    return OpenedFile(reader, {column: columns[column] for column in names_in_file}, unreadable)


def _parquet_names(path: Path, what: str) -> list[str]:
    """Names of the columns as they stand in the file; DuckDB renames those that it cannot tell apart.

    :raises DataError: when its notes on the columns are broken, which DuckDB does not read.
    """
    import pyarrow as pa
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except (pa.ArrowException, UnicodeDecodeError):
        broken = DataError(f"{what} does not read as Parquet, as its schema is broken; write or copy it again")
    raise broken


def columns_of_file(project: Project, source: str, path: Path, place: str) -> dict[str, str]:
    """Names and DuckDB types of a file's columns; of a text file as its first rows tell them.

    :raises DataError: when it does not read.
    """
    spec = project.spec.data.sources[source]
    with connection([path]) as con:
        file = open_file(con, spec, path, place, source, wanted=named_columns(project, source), asked=False)
        texts = [column for column, kind in file.columns.items() if kind == "VARCHAR" and path.suffix not in PARQUET]
        rows = f"(SELECT *, row_number() OVER () AS file_row_number FROM (SELECT * FROM {file.reader} LIMIT {_GLANCE}))"
        told = attempt(lambda: infer(con, rows, texts, spec), file.unreadable)
    return {column: kind[1] if (kind := told.get(column)) else stored for column, stored in file.columns.items()}


def encoding_of(url: str, source: str) -> str:
    """How a source's text files seem to be written, as project.yaml calls it; utf-8 for what is no text.

    :raises SourceMissing: when there is no file.
    :raises DataError: when they cannot be read, or are written differently.
    """
    told: dict[str, str] = {}
    for file in matches(resolve(url, source=source, key=""), source=source):
        locate(file, source=source)
        with fetched(file, source) as local, tempfile.TemporaryDirectory() as folder:
            path = limits.unpacked(local, Path(folder), f"source {source}: {file}")
            written = text_file.encoding_of(path) if path.suffix in _TEXTS else "ascii"
        if written != "ascii":
            told.setdefault(written, file)
    if len(told) > 1:
        raise DataError(
            f"source {source}: {' and '.join(f'{file} is written in {encoding}' for encoding, file in told.items())}; write all files in one encoding"
        )
    return next(iter(told), "utf-8")


@contextmanager
def as_written(spec: Source, source: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, str]]]:
    """A connection whose table ``written`` has every row of a source's files, for which there is no project yet, and its columns
    with their DuckDB types: what is text as it stands there, and ``file_row_number`` from 0. Nothing is kept.

    :raises SourceMissing: when there is no file.
    :raises DataError: when one cannot be reached or does not read.
    """
    urls = matches(resolve(spec.url, source=source, key=""), source=source)
    for url in urls:
        locate(url, source=source)
    with ExitStack() as stack:
        paths = {url: stack.enter_context(downloaded(url, source, spec.encoding)) for url in urls}
        con = stack.enter_context(connection(paths.values()))
        opened = {url: open_file(con, spec, path, url, source, asked=False) for url, path in paths.items()}
        for number, (url, file) in enumerate(opened.items()):
            attempt(partial(_copy_whole, con, file, f"part_{number}", f"source {source}: {url}"), file.unreadable)
        csv_file.check_names(
            {column for file in opened.values() for column in file.columns}, f"source {source}: {spec.url}"
        )
        union = " UNION ALL BY NAME ".join(f"SELECT * FROM part_{number}" for number in range(len(opened)))
        make = f"CREATE TABLE written AS SELECT *, row_number() OVER () - 1 AS file_row_number FROM ({union})"
        attempt(lambda: con.execute(make), lambda error: DataError(f"source {source}: {spec.url}: {kind_of(error)}"))
        for number in range(len(opened)):
            con.execute(f"DROP TABLE part_{number}")
        stored = columns_of(con, "written")
        yield con, {column: kind for column, kind in stored.items() if column != "file_row_number"}


def _copy_whole(con: duckdb.DuckDBPyConnection, file: OpenedFile, table: str, what: str) -> None:
    limits.check_rows(con, file.reader, what)
    con.execute(f"CREATE TABLE {table} AS SELECT {', '.join(map(name, file.columns))} FROM {file.reader}")


def need_columns(needed: tuple[str, ...], columns: Mapping[str, str], *, source: str, url: str, what: str) -> None:
    """Refuse a table without the columns that the spec names.

    :raises DataError: with the columns that are missing and those that are there.
    """
    missing = [column for column in needed if column not in columns]
    if missing:
        lower = {column.lower(): column for column in columns}
        meant = [lower[column.lower()] for column in missing if column.lower() in lower]
        hint = f"; it has {', '.join(map(repr, meant))}, written otherwise" if meant else ""
        raise DataError(
            f"source {source}: {url} has no column {', '.join(map(repr, missing))} ({what}){hint}; "
            f"its columns are {', '.join(columns)}"
        )


@contextmanager
def downloaded(url: str, source: str, encoding: str) -> Iterator[Path]:
    """A local file with the content: fetched when it is elsewhere, unpacked when it is packed, in UTF-8 when it is text."""
    what = f"source {source}: {url}"
    with fetched(url, source) as local, tempfile.TemporaryDirectory() as folder:
        path = limits.unpacked(local, Path(folder), what)
        if path.suffix in JSON_LINES:
            yield as_lines(path, Path(folder), what)
        else:
            yield text_file.in_utf8(path, Path(folder), what, encoding) if path.suffix in _TEXTS else path


def as_lines(path: Path, folder: Path, what: str) -> Path:
    """A file of JSON lines written as :func:`open_file` reads it."""
    lines = folder / "lines.jsonl"
    keep_columns(lines, write_lines(lines_of(path, what), lines))
    return lines

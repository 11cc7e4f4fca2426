"""Sources: files behind a URL, read by DuckDB; a CSV is turned into Parquet once per content."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.data import limits
from updraft.data.duck import attempt, columns_of, connection, first_failing, kind_of, literal, name, parquet
from updraft.errors import DataError, SettingsError, SourceAway, SourceMissing
from updraft.spec.model import Project, Source

if TYPE_CHECKING:
    import duckdb

NULLS = ("", "NA", "N/A", "NaN", "nan", "NULL", "null")
"""Texts that stand for a missing value in a CSV file."""
_CLIENTS = ("aiohttp", "aiobotocore", "botocore")
"""Libraries that speak to stores; not all of their errors are an ``OSError``."""
CACHE_VERSION = 1
"""Part of the cache's key: raised when the conversion changes."""
SAMPLE = 20_480
"""Rows of a CSV that tell the types of its columns where a glance is enough."""
ROW_GROUP = 20_480
"""Rows per row group of the cache, so that one partition of a long history is read without the rest."""


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
        found = importlib.util.find_spec(package.partition(".")[0])
    except (ImportError, ValueError):
        found = None
    if found is None or not found.submodule_search_locations:
        raise DataError(f"source {source}: {url}: package {package!r} is not installed here; pip install {package}")
    return str(Path(next(iter(found.submodule_search_locations)), path))


def locate(url: str, *, source: str) -> Location:
    """Find a file and its fingerprint: size and time of change, or what its store tells instead of them.

    :raises SourceMissing: when there is no such file.
    :raises SourceAway: when its store does not answer.
    :raises DataError: when it cannot be reached for another reason, such as credentials.
    """
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
        known = {each: info[each] for each in ("ETag", "etag", "LastModified", "mtime", "md5Hash") if info.get(each)}
        if not known:  # nothing tells two contents apart but the content
            with _fetched(url, source) as path, path.open("rb") as file:
                known = {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except FileNotFoundError as error:
        _unless_missing(url, source, error)
        raise SourceMissing(
            f"source {source}: no file {url}; check data.sources.{source}.url in project.yaml", source
        ) from None
    except (PermissionError, ImportError, ValueError) as error:
        raise DataError(f"source {source}: {url} cannot be reached: {type(error).__name__}: {error}") from error
    except OSError as error:
        raise SourceAway(f"source {source}: {url} cannot be reached: {type(error).__name__}: {error}") from error
    return Location(url, files.canonical_hash([url, info.get("size"), known]))


def _unless_missing(url: str, source: str, error: FileNotFoundError) -> None:
    """Tell apart what fsspec calls a missing file for everything that a web server says, or does not say."""
    cause = error.__cause__
    status = getattr(cause, "status", None)
    if not url.startswith(("http://", "https://")) or cause is None or status in (404, 410):
        return
    words = f"source {source}: {url} cannot be reached: {type(cause).__name__}: {cause}"
    raise (DataError if status in (401, 403) else SourceAway)(words) from error


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


@contextmanager
def table(project: Project, raw: str, source: str, key: str) -> Iterator[Path]:
    """The local Parquet file that holds a source's content; its event time is a timestamp with time zone.

    :param raw: URL of the project's raw zone; the cache stands below ``sources/``.
    :raises DataError: no such file, not readable, or a column that the spec names is not there.
    """
    spec = project.spec.data.sources[source]
    found = locate(resolve(spec.url, source=source, key=key), source=source)
    version = files.canonical_hash([found.fingerprint, spec.event_time, CACHE_VERSION])[:16]
    cached = f"{raw}/sources/{source}-{version}.parquet"
    if not files.exists(cached):
        _convert(found.url, spec, source, cached)
    files.note_use(cached)
    with files.fetched(cached) as path:
        yield path


def _convert(url: str, spec: Source, source: str, target: str) -> None:
    with ExitStack() as stack:
        path = stack.enter_context(_downloaded(url, source))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        con = stack.enter_context(connection([path], folder))
        aside = folder / "converted.parquet"
        what = f"source {source}: {url}"
        reader = _reader(path, url, source)

        def unreadable(error: duckdb.Error) -> DataError:
            return DataError(f"source {source}: {url} does not read as {_format(path)}: {kind_of(error)}")

        columns = attempt(lambda: columns_of(con, reader), unreadable)
        limits.check_columns(len(columns), what)
        if _format(path) == "Parquet":
            attempt(lambda: limits.check_rows(con, reader, what), unreadable)
        order, replace = "", ""
        if spec.event_time is not None:
            need_columns((spec.event_time,), columns, source=source, url=url, what="event_time")
            time = name(spec.event_time)
            replace = f"REPLACE (CAST({time} AS TIMESTAMPTZ) AS {time})"
            order = f"ORDER BY {time}, COLUMNS(*)"
        copy = (
            f"COPY (SELECT * {replace} FROM {reader} {order}) TO {literal(str(aside))} "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})"
        )
        attempt(lambda: con.execute(copy), lambda error: _no_time(con, reader, spec, url, source) or unreadable(error))
        limits.check_rows(con, parquet(str(aside)), what)
        limits.check_cells(con, aside, what)
        files.write_bytes(target, aside.read_bytes())


def _no_time(con: duckdb.DuckDBPyConnection, reader: str, spec: Source, url: str, source: str) -> DataError | None:
    """What is wrong with the event time, with its first row; None when it is something else that failed."""
    import duckdb

    if spec.event_time is None:
        return None
    rows = f"(SELECT {name(spec.event_time)} AS t, row_number() OVER () AS n FROM {reader})"
    try:
        row = first_failing(con, rows, "CAST(t AS TIMESTAMPTZ)", "n")
    except duckdb.Error:  # not even its rows can be counted
        return None
    if row is None:
        return None
    return DataError(
        f"source {source}: {url}: event_time {spec.event_time!r} is no time in row {row}; "
        "write it as 2013-01-31T05:00:00Z (the value is not told here, as it may be private)"
    )


def columns(project: Project, source: str, key: str) -> dict[str, str]:
    """Names and DuckDB types of a source's columns, of a CSV from a sample of its rows; nothing is kept.

    :raises SourceMissing: when there is no file for the key.
    :raises DataError: when it cannot be reached or does not read.
    """
    url = locate(resolve(project.spec.data.sources[source].url, source=source, key=key), source=source).url
    with _downloaded(url, source) as path, connection([path]) as con:
        reader = _reader(path, url, source, sample=SAMPLE)
        found = attempt(
            lambda: columns_of(con, reader),
            lambda error: DataError(f"source {source}: {url} does not read as {_format(path)}: {kind_of(error)}"),
        )
    limits.check_columns(len(found), f"source {source}: {url}")
    return found


def need_columns(needed: tuple[str, ...], columns: Mapping[str, str], *, source: str, url: str, what: str) -> None:
    """Refuse a table without the columns that the spec names.

    :raises DataError: with the columns that are missing and those that are there.
    """
    missing = [column for column in needed if column not in columns]
    if missing:
        raise DataError(
            f"source {source}: {url} has no column {', '.join(map(repr, missing))} ({what}); "
            f"its columns are {', '.join(columns)}"
        )


def _format(path: Path) -> str:
    return "Parquet" if path.suffix in (".parquet", ".pq") else "CSV"


def _reader(path: Path, url: str, source: str, *, sample: int = -1) -> str:
    if path.suffix in (".parquet", ".pq"):
        return parquet(str(path))
    if path.suffix in (".csv", ".tsv", ".txt"):
        limits.check_header(path, f"source {source}: {url}")
        nulls = "[" + ", ".join(literal(text) for text in NULLS) + "]"
        return f"read_csv({literal(str(path))}, nullstr = {nulls}, sample_size = {sample}, header = TRUE, skip = 0)"
    raise DataError(f"source {source}: {url}: unknown format {path.suffix!r}; use .csv, .csv.zip, .csv.gz or .parquet")


@contextmanager
def _fetched(url: str, source: str) -> Iterator[Path]:
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
                raise SourceAway(words) from error
            raise
        yield path


@contextmanager
def _downloaded(url: str, source: str) -> Iterator[Path]:
    """A local file with the content: fetched when it is elsewhere, unpacked when it is packed."""
    with _fetched(url, source) as path, tempfile.TemporaryDirectory() as folder:
        yield limits.unpacked(path, Path(folder), f"source {source}: {url}")


def is_there(url: str, *, source: str, key: str) -> bool:
    """Whether the file of a partition is there.

    :raises SourceAway: when its store does not answer.
    """
    try:
        locate(resolve(url, source=source, key=key), source=source)
    except SourceMissing:
        return False
    return True


def select(path: Path, columns: Mapping[str, str], event_time: str | None, start: datetime, end: datetime) -> str:
    """SQL for a file's rows of ``[start, end)``, or all of a lookup table's.

    :param columns: names and the SQL expressions that they stand for.
    """
    chosen = ", ".join(f"{expression} AS {name(column)}" for column, expression in columns.items())
    query = f"SELECT {chosen} FROM {parquet(str(path))} AS f"
    if event_time is None:
        return query
    time = f"f.{name(event_time)}"
    return f"{query} WHERE {time} >= {literal(start)} AND {time} < {literal(end)}"

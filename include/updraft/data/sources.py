"""Sources: files behind a URL, read by DuckDB; a CSV is turned into Parquet once per content."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import hashlib
import importlib.util
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.data import csv_file, limits, text_file
from updraft.data.catalogue import TYPES
from updraft.data.cells import NULLS, earlier_twin, is_wall_clock, looks_ambiguous, time_of
from updraft.data.duck import attempt, columns_of, connection, first, kind_of, literal, name, parquet
from updraft.data.schema import of_storage
from updraft.data.type_inference import has_long, infer
from updraft.data.views import CLOCKS
from updraft.errors import DataError, SettingsError, SourceAway, SourceMissing
from updraft.lake.places import SOURCES
from updraft.spec.data import Source
from updraft.spec.model import Project

if TYPE_CHECKING:
    import duckdb

_PARQUET = (".parquet", ".pq")
_TEXTS = (".csv", ".tsv", ".txt")
_CLIENTS = ("aiohttp", "aiobotocore", "botocore")
"""Libraries that speak to stores; not all of their errors are an ``OSError``."""
CACHE_VERSION = 3
"""Part of the cache's key: raised when the conversion changes."""
_SKIPPED = "skipped"
"""In the cache's own notes: how many rows have a time that their zone skips."""
_GLANCE = 20_480
"""Rows of a file that tell the types of its columns where a glance is enough."""
_INDEX = re.compile(r"__index_level_\d+__")
"""Columns that pandas adds to a Parquet file for a frame's index: no data of anybody's."""
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
        package_spec = importlib.util.find_spec(package.partition(".")[0])
    except (ImportError, ValueError):
        package_spec = None
    if package_spec is None or not package_spec.submodule_search_locations:
        raise DataError(f"source {source}: {url}: package {package!r} is not installed here; pip install {package}")
    return str(Path(next(iter(package_spec.submodule_search_locations)), path))


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
    """The local Parquet file that holds a source's content: its event time is a timestamp with time zone, and what else was text
    is text, as it stands in the file.

    :param raw: URL of the project's raw zone; the cache stands below ``sources/``.
    :raises SourceAway: when the file changed while it was read: whoever delivers it is not done.
    :raises DataError: no such file, not readable, or a column that the spec names is not there.
    """
    spec = project.spec.data.sources[source]
    place = locate(resolve(spec.url, source=source, key=key), source=source)
    how_read = [spec.event_time, spec.time_format, spec.time_zone, spec.encoding, wanted_columns(project, source)]
    version = files.canonical_hash([place.fingerprint, how_read, CACHE_VERSION])[:16]
    cached = f"{raw}/{SOURCES}/{source}-{version}.parquet"
    if not files.exists(cached):
        try:
            _convert_all(project, matches(place.url, source=source), source, cached)
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


def is_written(project: Project, source: str) -> bool:
    """Whether a source's file is text, so that it states no types; of an unknown format too, which reading refuses."""
    return not project.spec.data.sources[source].url.endswith(_PARQUET)


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


def _named_columns(project: Project, source: str) -> set[str]:
    return {column for columns, _ in wanted_columns(project, source) for column in columns}


@dataclass(frozen=True)
class _File:
    """A source's file as DuckDB reads it."""

    reader: str
    columns: Mapping[str, str]
    unreadable: Callable[[duckdb.Error], DataError]


def _opened(
    con: duckdb.DuckDBPyConnection,
    spec: Source,
    path: Path,
    url: str,
    source: str,
    *,
    wanted: Collection[str] = (),
    asked: bool = True,
) -> _File:
    """:param wanted: the columns that the project names.
    :param asked: whether a file without a single one of them is refused.

    :raises DataError: when it does not read, or has names that mean several columns."""
    what = f"source {source}: {url}"
    if path.suffix in _PARQUET:
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
    else:
        raise DataError(f"{what}: unknown format {path.suffix!r}; use .csv, .csv.zip, .csv.gz or .parquet")
    names_in_file = [column for column in names_in_file if not _INDEX.fullmatch(column)]
    csv_file.check_names(names_in_file, what, kept=spec.columns)
    limits.check_columns(len(names_in_file), what)
    return _File(reader, {column: columns[column] for column in names_in_file}, unreadable)


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


def _convert_all(project: Project, urls: Sequence[str], source: str, target: str) -> None:
    """Write the files of a source as one Parquet file, in the order of the event time; a column that a file lacks is missing in its rows.

    :raises DataError: when a file does not read, or has another type of a column than one before it.
    """
    if len(urls) == 1:
        _convert(project, urls[0], source, target)
        return
    with tempfile.TemporaryDirectory() as folder:
        parts = {url: Path(folder) / f"{number}.parquet" for number, url in enumerate(urls)}
        for url, part in parts.items():
            _convert(project, url, source, str(part))
        aside, pattern = Path(folder) / "all.parquet", project.spec.data.sources[source].url
        with connection(parts.values(), Path(folder)) as con:
            _check_alike(con, parts, source)
            event_time = project.spec.data.sources[source].event_time
            order = f"ORDER BY {name(event_time)}, COLUMNS(*)" if event_time is not None else ""
            skipped = sum(skipped_times(con, part) for part in parts.values())
            copy = (
                f"COPY (SELECT * FROM ({_united(parts.values())}) {order}) TO {literal(str(aside))} "
                f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}, KV_METADATA {{{_SKIPPED}: {literal(str(skipped))}}})"
            )
            attempt(lambda: con.execute(copy), lambda error: DataError(f"source {source}: {pattern}: {kind_of(error)}"))
            limits.check_rows(con, parquet(str(aside)), f"source {source}: {pattern}")
        files.write_bytes(target, aside.read_bytes())


def _united(parts: Iterable[Path]) -> str:
    return " UNION ALL BY NAME ".join(f"SELECT * FROM {parquet(str(part))}" for part in parts)


def _check_alike(con: duckdb.DuckDBPyConnection, parts: Mapping[str, Path], source: str) -> None:
    """Refuse files whose columns differ at most in case, or in their types, as one of the two would be converted.

    :raises DataError: with the column, both files and both types.
    """
    told: dict[str, tuple[str, str]] = {}
    for url, part in parts.items():
        columns = columns_of(con, parquet(str(part)))
        longs = has_long(con, parquet(str(part)), [column for column, stored in columns.items() if stored == "BIGINT"])
        for column, stored in columns.items():
            kind = "whole numbers beyond 2^53" if column in longs else of_storage(stored)[0]
            before, where = told.setdefault(column, (kind, url))
            if before != kind:
                raise DataError(
                    f"source {source}: column {column!r} is of type {before} in {where} and of type {kind} in {url}; "
                    "write both files with one type"
                )
    csv_file.check_names(told, f"source {source}: {next(iter(parts))} and the other files of its pattern", kept=told)


def _convert(project: Project, url: str, source: str, target: str) -> None:
    spec = project.spec.data.sources[source]
    with ExitStack() as stack:
        path = stack.enter_context(_downloaded(url, source, spec.encoding))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        con = stack.enter_context(connection([path], folder))
        aside = folder / "converted.parquet"
        what = f"source {source}: {url}"
        file = _opened(con, spec, path, url, source, wanted=_named_columns(project, source))
        if path.suffix in _PARQUET:
            attempt(lambda: limits.check_rows(con, file.reader, what), file.unreadable)
        rows, order, skipped = f"(SELECT {', '.join(map(name, file.columns))} FROM {file.reader})", "", 0
        if spec.event_time is not None:
            need_columns((spec.event_time,), file.columns, source=source, url=url, what="event_time")
            attempt(lambda: _check_times(con, file, spec, url, source), file.unreadable)
            rows, skipped = attempt(lambda: _timed(con, file, project, source), file.unreadable)
            order = f"ORDER BY {name(spec.event_time)}, COLUMNS(*)"
        copy = (
            f"COPY (SELECT * FROM {rows} {order}) TO {literal(str(aside))} "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}, KV_METADATA {{{_SKIPPED}: {literal(str(skipped))}}})"
        )
        attempt(lambda: con.execute(copy), file.unreadable)
        limits.check_rows(con, parquet(str(aside)), what)
        limits.check_cells(con, aside, what)
        files.write_bytes(target, aside.read_bytes())


def _timed(con: duckdb.DuckDBPyConnection, file: _File, project: Project, source: str) -> tuple[str, int]:
    """A table expression over a file, its event time as the moment that it means, and how many rows have a time that their zone skips.

    An hour that a zone has twice, when its clocks are set back, stands twice in a file with a row an hour. So of two rows that are told
    apart by their time, and have the same one, the first in the file is the earlier: the second in a file that goes back in time.
    """
    data, spec = project.spec.data, project.spec.data.sources[source]
    column = str(spec.event_time)
    kind = file.columns[column]
    value = f"trim({name(column)})" if kind == "VARCHAR" else name(column)
    moment = time_of(value, kind, spec)

    def with_time(expression: str) -> str:
        return ", ".join(
            f"{expression} AS {name(file_column)}" if file_column == column else name(file_column)
            for file_column in file.columns
        )

    if not spec.time_zone:
        return f"(SELECT {with_time(moment)} FROM {file.reader})", 0
    moved, wall = time_of(value, kind, spec, skipped=True), is_wall_clock(value, kind, spec)
    read = f"(SELECT *, {moment} AS _moment, {moved} AS _moved, {wall} AS _is_wall, row_number() OVER () AS _place FROM {file.reader})"
    twins = f"(SELECT *, CASE WHEN _is_wall THEN {earlier_twin('_moment', spec.time_zone)} END AS _earlier FROM {read})"
    skipped, repeated, back = first(
        con,
        "SELECT count(*) FILTER (_moment IS NULL AND _moved IS NOT NULL), count(_earlier), "
        f"COALESCE(arg_min(_moment, _place) > arg_max(_moment, _place), FALSE) FROM {twins}",
    )
    identity = data.key if source == next(iter(data.sources)) else spec.join
    told_apart = [other for other in identity if other in file.columns and other != column]
    resolved = "_moment"
    if repeated and column in identity:
        same = f"PARTITION BY {', '.join([*map(name, told_apart), '_moment', '_is_wall'])}"
        is_first = (
            f"row_number() OVER ({same} ORDER BY _place {'DESC' if back else 'ASC'}) = 1 AND count(*) OVER ({same}) > 1"
        )
        resolved = f"CASE WHEN _earlier IS NOT NULL AND {is_first} THEN _earlier ELSE _moment END"
    return f"(SELECT {with_time(resolved)} FROM {twins})", int(skipped)


def skipped_times(con: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Rows of a file, as :func:`table` keeps it, whose time their zone skips, so that they have none."""
    query = (
        f"SELECT decode(value) FROM parquet_kv_metadata({literal(str(path))}) WHERE decode(key) = {literal(_SKIPPED)}"
    )
    return sum(int(count) for (count,) in con.execute(query).fetchall())


def _check_times(con: duckdb.DuckDBPyConnection, file: _File, spec: Source, url: str, source: str) -> None:
    """Refuse a file with a time that does not read: no row of it can be put into a partition by guessing.

    :raises DataError: with the first such row, and how to say what its times mean.
    """
    column = str(spec.event_time)
    kind = file.columns[column]
    value = f"trim({name(column)})" if kind == "VARCHAR" else name(column)
    present = f"{value} IS NOT NULL" + (
        f" AND {value} NOT IN ({', '.join(map(literal, NULLS))})" if kind == "VARCHAR" else ""
    )
    ambiguous = looks_ambiguous(value) if kind == "VARCHAR" else "FALSE"
    wrong = (
        f"SELECT n, {ambiguous} FROM (SELECT {name(column)}, row_number() OVER () AS n FROM {file.reader}) "
        f"WHERE {present} AND ({time_of(value, kind, spec, skipped=True)}) IS NULL ORDER BY n LIMIT 1"
    )
    rows = con.execute(wrong).fetchall()
    if not rows:
        return
    [(row, day_or_month)] = rows
    begin = f"source {source}: {url}: event_time {column!r}"
    private = "(the value is not told here, as it may be private)"
    if spec.time_format is not None:
        raise DataError(f"{begin} is not written as time_format {spec.time_format!r} says in row {row} {private}")
    if kind in TYPES["number"]:
        raise DataError(
            f"{begin} is a number; say what it counts with `time_format: unix` (seconds since 1970) or `unix_ms` in data.sources.{source}"
        )
    if day_or_month:
        raise DataError(
            f"{begin} is written with day and month in an order that cannot be told, in row {row} {private}; say how with "
            f'`time_format: "%d/%m/%Y"` or `"%m/%d/%Y"` and the like, in data.sources.{source}'
        )
    raise DataError(
        f"{begin} is no time in row {row}; write it as 2013-01-31T05:00:00Z, or say how it is written with `time_format` "
        f"in data.sources.{source} {private}"
    )


def columns(project: Project, source: str, key: str) -> dict[str, str]:
    """Names and DuckDB types of a source's columns; of a text file as its first rows tell them, of several files the last one's.
    Nothing is kept.

    :raises SourceMissing: when there is no file for the key.
    :raises DataError: when it cannot be reached or does not read.
    """
    spec = project.spec.data.sources[source]
    *_, url = matches(locate(resolve(spec.url, source=source, key=key), source=source).url, source=source)
    with _downloaded(url, source, spec.encoding) as path, connection([path]) as con:
        file = _opened(con, spec, path, url, source, wanted=_named_columns(project, source), asked=False)
        texts = [column for column, kind in file.columns.items() if kind == "VARCHAR" and path.suffix not in _PARQUET]
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
        with _fetched(file, source) as fetched, tempfile.TemporaryDirectory() as folder:
            path = limits.unpacked(fetched, Path(folder), f"source {source}: {file}")
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
        paths = {url: stack.enter_context(_downloaded(url, source, spec.encoding)) for url in urls}
        con = stack.enter_context(connection(paths.values()))
        opened = {url: _opened(con, spec, path, url, source, asked=False) for url, path in paths.items()}
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


def _copy_whole(con: duckdb.DuckDBPyConnection, file: _File, table: str, what: str) -> None:
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
                raise SourceAway(words, source) from error
            raise
        yield path


@contextmanager
def _downloaded(url: str, source: str, encoding: str) -> Iterator[Path]:
    """A local file with the content: fetched when it is elsewhere, unpacked when it is packed, in UTF-8 when it is text."""
    what = f"source {source}: {url}"
    with _fetched(url, source) as fetched, tempfile.TemporaryDirectory() as folder:
        path = limits.unpacked(fetched, Path(folder), what)
        yield text_file.in_utf8(path, Path(folder), what, encoding) if path.suffix in _TEXTS else path


def is_there(url: str, *, source: str, key: str) -> bool:
    """Whether the file of a partition is there.

    :raises SourceAway: when its store does not answer.
    """
    try:
        locate(resolve(url, source=source, key=key), source=source)
    except SourceMissing:
        return False
    return True

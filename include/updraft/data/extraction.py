"""The first step of ingestion: what a partition needs from its sources, copied into the raw zone."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from updraft import files
from updraft.data import sources
from updraft.data.cells import is_repeated
from updraft.data.contract import load_contract
from updraft.data.duck import attempt, columns_of, connection, first, kind_of, literal, name, parquet, without_values
from updraft.data.forgotten import NOBODY, Forgotten, leave_out
from updraft.data.key_ring import marker
from updraft.data.partitions import KEY_FORMAT, Partition, partition
from updraft.data.pinned import SchemaOf, Told
from updraft.data.readers.opened import is_written, need_columns, wanted_columns
from updraft.data.readers.times import skipped_times
from updraft.data.selection import Part, that_bind, whole_columns
from updraft.data.views import label_columns
from updraft.errors import DataError, SourceAway, SourceBehind, SourceMissing
from updraft.lake.places import Lake
from updraft.settings import Settings
from updraft.spec.label import label_number, published_private, read_label
from updraft.spec.model import Project, ProjectSpec
from updraft.spec.source import Source

if TYPE_CHECKING:
    import duckdb

log = logging.getLogger(__name__)
NOT_READ_FILE = "not_read.json"
"""In a partition's raw zone: :class:`NotRead`."""


@dataclass(frozen=True)
class Outside:
    """Rows of a file that are not the partition's."""

    rows: int = 0
    """Of a file that is the partition's own ({key}): rows whose time lies outside of it."""
    timeless: int = 0
    """Rows without a time: they are in no partition."""
    first: str | None = None
    last: str | None = None
    """Times, ISO 8601, of the rows outside."""
    skipped: int = 0
    """Of the rows without a time those whose wall-clock time their zone skips."""
    repeated: int = 0
    """Rows of the partition in an hour that their zone has twice."""


@dataclass(frozen=True)
class ExtractedSource:
    """One source's raw file."""

    url: str
    sha256: str
    rows: int
    outside: Outside = Outside()


@dataclass(frozen=True)
class Extracted:
    """The raw files of one partition."""

    key: str
    sources: Mapping[str, ExtractedSource]


def raw_url(project: Project, settings: Settings, key: str, file: str) -> str:
    """URL of a file of a partition's raw zone.

    :raises DataError: when the key is none of the project's.
    """
    return f"{settings.raw_zone(project.name)}/{partition(project.spec, key).key}/{file}"


def slices(project: Project, key: str) -> tuple[Partition, ...]:
    """Partitions, oldest first, with rows whose labels can mature at the tick of ``key``; the last is its own.

    They are whole, so that what is judged over a partition (uniqueness) is judged again in the same way. Starts are
    cut by ``data.start``.

    :raises DataError: the key is no tick, or lies before the start.
    """
    data = project.spec.data
    first = datetime.combine(data.start, datetime.min.time(), UTC)
    own = partition(project.spec, key)
    if own.tick <= first:
        raise DataError(f"{project.name}: partition {key} lies before data.start ({data.start})")
    oldest = max(own.start - data.label.matures_after, first)
    covered = [own]
    while covered[0].start > oldest:
        covered.insert(0, partition(project.spec, covered[0].start.strftime(KEY_FORMAT)))
    return tuple(replace(covered_part, start=max(covered_part.start, first)) for covered_part in covered)


_TRIES = 5
"""A type that another ingestion pinned meanwhile holds in the next try, so that a second one is enough for each new column."""


@without_values
def extract_partition(project: Project, settings: Settings, key: str, forgotten: Forgotten = NOBODY) -> Extracted:
    """Copy what the partition needs from its sources into ``<key>/<source>.parquet`` of the project's raw zone.

    The row source: rows of the partition, and of the earlier partitions whose labels mature at its tick. Other
    sources with a time: rows of the partition. Lookup tables: whole. The same content gives the same bytes.

    :param forgotten: persons whose rows are left out, whatever the source holds of them.
    :raises DataError: a source that is not there or not readable, or without a column that the spec names.
    """
    for _ in range(_TRIES):
        extracted = _extract(project, settings, key, forgotten)
        if extracted is not None:
            return extracted
        log.info(
            "partition %s: another ingestion has told types of columns meanwhile; its files are read again to those",
            key,
        )
    raise DataError(
        f"{project.name}: partition {key}: other ingestions tell other types of its columns again and again; state them in the contract"
    )


def _extract(project: Project, settings: Settings, key: str, forgotten: Forgotten) -> Extracted | None:
    """None where another ingestion has pinned other types of columns that were new here."""
    covered = slices(project, key)
    check_roles(project)
    raw = settings.raw_zone(project.name)
    sources.close_raw_zone(raw)
    extracted: dict[str, ExtractedSource] = {}
    columns: dict[str, Mapping[str, str]] = {}
    contract = load_contract(project)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tables: dict[str, dict[str, Path]] = {}
        unread: dict[str, str] = {}
        schemas: list[tuple[SchemaOf, Told]] = []
        still_there: list[str] = []
        for source in project.spec.data.sources:
            tables[source], unread_of_source = _tables(
                stack, source, project=project, settings=settings, covered=covered
            )
            unread |= unread_of_source
        con = stack.enter_context(
            connection([path for paths_by_key in tables.values() for path in paths_by_key.values()], folder)
        )
        for source in project.spec.data.sources:
            path = folder / f"{source}.parquet"
            schema = SchemaOf(project, contract, source, Lake(settings.lake, project.name))
            columns[source], query, told = _selection(con, schema, tables=tables[source], covered=covered)
            schemas.append((schema, told))
            con.execute(f"COPY ({query}) TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")
            if forgotten and leave_out(con, path, marker(project.name, settings), forgotten, folder / "aside.parquet"):
                still_there.append(source)
            (rows,) = first(con, f"SELECT count(*) FROM {parquet(str(path))}")
            content = path.read_bytes()
            url = raw_url(project, settings, key, f"{source}.parquet")
            files.write_bytes(url, content)
            outside = _outside(con, project, source, tables[source], covered)
            extracted[source] = ExtractedSource(url, files.sha256(content), int(rows), outside)
    for source in still_there:  # the copy of the whole source holds them in clear; it is made again where it is needed
        sources.remove_copies(raw, source)
    check_mentions(project, columns)
    written = [schema.write(told) for schema, told in schemas]  # here: a spelling mistake in the project pins no type
    if not all(written):
        return None
    counted = {source: asdict(raw_file.outside) for source, raw_file in extracted.items()}
    not_read = {"sources": counted, "unread": unread}
    files.write_json(raw_url(project, settings, key, NOT_READ_FILE), not_read)
    return Extracted(key, extracted)


@without_values
def check_reach(project: Project, settings: Settings, key: str) -> None:
    """Tell a partition whose rows have not come yet from one that has none, by what a file of all time holds beside.

    The file of the row source alone is asked, and only for one row at or after the partition's start: it stands sorted by its times.

    :raises SourceBehind: when there is none. Rows of later partitions, and none of this one, show that it has none.
    :raises DataError: as :func:`extract_partition`.
    """
    source, spec = next(iter(project.spec.data.sources.items()))
    if not grows_with_time(project):
        return
    start = slices(project, key)[-1].start
    check_roles(project)
    if spec.type == "file":
        newest = _newest_of_file(project, settings, key, start)
    else:
        reaches, newest = sources.reader_of(project, source, settings.connections).newest(start) or (True, None)
        if reaches:
            return
    if newest is not None and newest >= start:
        return
    holds = f"its newest row is of {newest.isoformat()}" if newest else "it has no row with a time"
    raise SourceBehind(
        f"source {source}: {spec.place} holds nothing from {start.isoformat()} on yet, where partition {key} begins: {holds}",
        source,
    )


def _newest_of_file(project: Project, settings: Settings, key: str, start: datetime) -> datetime | None:
    """The newest time of a file of all time; of one that reaches a moment, any time from there on."""
    source, spec = next(iter(project.spec.data.sources.items()))
    raw, time = settings.raw_zone(project.name), name(str(spec.event_time))
    sources.close_raw_zone(raw)
    with sources.table(project, raw, source, key) as path, connection([path]) as con:
        rows = parquet(str(path))
        reached = con.execute(f"SELECT {time} FROM {rows} WHERE {time} >= {literal(start)} LIMIT 1").fetchone()
        newest: datetime | None = reached[0] if reached else first(con, f"SELECT max({time}) FROM {rows}")[0]
    return newest


def grows_with_time(project: Project) -> bool:
    """Whether the rows of every partition come into one file, and may come after their tick: a wait of zero says that they do not."""
    spec = next(iter(project.spec.data.sources.values()))
    return not spec.by_partition and spec.wait != timedelta(0)


@dataclass(frozen=True)
class NotRead:
    """What of the files is not in a partition's extracted rows."""

    outside: Mapping[str, Outside]
    """By source."""
    unread: Mapping[str, str]
    """Earlier partitions whose file does not read any more, so that their labels are missing, and why."""


def read_not_read(project: Project, settings: Settings, key: str) -> NotRead:
    """What :func:`extract_partition` left out of a partition; of one extracted by an earlier version, nothing."""
    url = raw_url(project, settings, key, NOT_READ_FILE)
    if not files.exists(url):
        return NotRead({}, {})
    told = files.read_json(url)
    return NotRead({source: Outside(**counts) for source, counts in told["sources"].items()}, told["unread"])


def _outside(
    con: duckdb.DuckDBPyConnection,
    project: Project,
    source: str,
    tables: Mapping[str, Path],
    covered: tuple[Partition, ...],
) -> Outside:
    """Count the rows of the partition's own file that are not in it."""
    spec, own = project.spec.data.sources[source], covered[-1]
    if spec.event_time is None:
        return Outside()
    time = name(spec.event_time)
    elsewhere = (
        f"{time} < {literal(own.start - spec.history)} OR {time} >= {literal(own.tick)}"
        if spec.by_partition
        else "FALSE"
    )
    twice = "FALSE"
    if spec.time_zone:
        twice = (
            f"{time} >= {literal(own.start)} AND {time} < {literal(own.tick)} AND {is_repeated(time, spec.time_zone)}"
        )
    path = tables[own.key]
    rows, timeless, earliest, latest, repeated = first(
        con,
        f"SELECT count(*) FILTER ({elsewhere}), count(*) FILTER ({time} IS NULL), min({time}) FILTER ({elsewhere}), "
        f"max({time}) FILTER ({elsewhere}), count(*) FILTER ({twice}) FROM {parquet(str(path))}",
    )
    begin, end = (moment.isoformat() if moment else None for moment in (earliest, latest))
    skipped = skipped_times(con, path) if spec.time_zone else 0
    return Outside(int(rows), int(timeless), begin, end, skipped, int(repeated))


def check_roles(project: Project) -> None:
    row_source, *others = project.spec.data.sources
    data = project.spec.data
    if data.sources[row_source].event_time is None:
        raise DataError(
            f"{project.name}: data.sources.{row_source} is the row source and needs event_time, "
            "the column whose time puts a row into its partition"
        )
    for source in others:
        if not data.sources[source].join:
            raise DataError(
                f"{project.name}: data.sources.{source} needs join, the columns that it joins {row_source} by"
            )


def _tables(
    stack: ExitStack, source: str, *, project: Project, settings: Settings, covered: tuple[Partition, ...]
) -> tuple[dict[str, Path], dict[str, str]]:
    """The files that a source's rows are taken from, by key: the partition's own first, and of a row source that is asked for each
    partition by itself those whose labels can mature now. A file that never came has no labels to mature.

    Of an earlier file that does not read, the labels alone are missing: it stops no later partition. Why stands in the second
    dictionary, by key.
    """
    own, spec, raw = covered[-1], project.spec.data.sources[source], settings.raw_zone(project.name)
    is_row_source = source == next(iter(project.spec.data.sources))

    def table(key: str, since: datetime) -> Path:
        content = sources.table(project, raw, source, key, since=since, connections=settings.connections)
        return stack.enter_context(content)

    tables = {own.key: table(own.key, since=_since(spec, covered, is_row_source=is_row_source))}
    unread: dict[str, str] = {}
    if spec.has_file_each or (is_row_source and spec.by_partition):
        for earlier in covered[:-1] if is_row_source else _before(project.spec, own, spec.history):
            try:
                tables[earlier.key] = table(earlier.key, since=earlier.start)
            except SourceMissing:  # a file that never came has no labels to mature
                continue
            except SourceAway:  # it may answer at the next try
                raise
            except DataError as error:
                unread[earlier.key] = str(error)
                log.warning("partition %s: the labels of partition %s are missing: %s", own.key, earlier.key, error)
    return tables, unread


def _before(spec: ProjectSpec, own: Partition, history: timedelta) -> list[Partition]:
    """The partitions before one that reach into the time of its history."""
    before, reached = [], own.start
    while reached > own.start - history:
        before.append(partition(spec, reached.strftime(KEY_FORMAT)))
        reached = before[-1].start
    return before


def _since(spec: Source, covered: tuple[Partition, ...], *, is_row_source: bool) -> datetime:
    """From when on the rows of a source are needed: those whose labels can mature now, and those that join from before the partition."""
    if is_row_source and not spec.by_partition:
        return covered[0].start
    return covered[-1].start - spec.history


def _selection(
    con: duckdb.DuckDBPyConnection, schema: SchemaOf, *, tables: Mapping[str, Path], covered: tuple[Partition, ...]
) -> tuple[dict[str, str], str, Told]:
    """The columns of a source, SQL for its raw rows in a fixed order, each column of its type, and what its file told.

    :param tables: its files by key, as :func:`_tables` finds them.
    """
    project, source = schema.project, schema.source
    spec = project.spec.data.sources[source]
    own = covered[-1]
    is_row_source = source == next(iter(project.spec.data.sources))
    there = columns_of(con, parquet(str(tables[own.key])))
    needed = _needed(project, source, there)
    columns = {column: kind for column, kind in there.items() if not spec.columns or column in (*spec.columns, *needed)}
    written = is_written(project, source)
    told = schema.types(con, tables[own.key], columns, written=written, key=own.key)
    types = told.types
    parts = [Part(tables[own.key], columns, _since(spec, covered, is_row_source=is_row_source), own.tick)]
    parts[0] = replace(parts[0], start=own.start) if spec.has_file_each else parts[0]
    for earlier_key in [key for key in tables if key != own.key]:
        earlier, path = partition(project.spec, earlier_key), tables[earlier_key]
        start = max(earlier.start, covered[0].start if is_row_source else own.start - spec.history)
        parts.append(Part(path, columns_of(con, parquet(str(path))), start, earlier.tick))
    if is_row_source:
        types = that_bind(con, schema, types)
    whole = whole_columns(con, parts, types, spec)
    union = " UNION ALL BY NAME ".join(
        part.select(
            types, spec, written=written, whole=whole, odd=part.odd(con, types, spec, written=written, whole=whole)
        )
        for part in parts
    )
    if is_row_source:
        check_label(con, project, f"({union})", there)
    order = "COLUMNS(*)" if spec.event_time is None else f"{name(spec.event_time)}, COLUMNS(*)"
    return dict(columns), f"SELECT * FROM ({union}) ORDER BY {order}", told


def check_label(con: duckdb.DuckDBPyConnection, project: Project, table: str, columns: Mapping[str, str]) -> None:
    """Refuse a label expression that does not fit the columns of the row source, or that says more than a label may.

    :param table: the source as an SQL table expression.
    :raises DataError: with what DuckDB says of the expression.
    """
    data = project.spec.data
    source = next(iter(data.sources))
    where = f"source {source}: {data.sources[source].place}: data.label.expr {data.label.expr!r}"
    label = read_label(data.label.expr)
    if wrong := label.wrong or published_private(data.label.expr, data):
        raise DataError(f"{where}: {wrong}")
    attempt(
        lambda: con.execute(f"SELECT {label_number(data.label)} FROM {table} LIMIT 0"),
        lambda error: DataError(f"{where} cannot be evaluated: {kind_of(error)}; its columns are {', '.join(columns)}"),
    )
    if unknown := label.unknown(columns):
        raise DataError(f"{where} reads {', '.join(unknown)}, which is no column; its columns are {', '.join(columns)}")


def _needed(project: Project, source: str, columns: Mapping[str, str]) -> tuple[str, ...]:
    """The columns that the spec asks of a source; refuses a source that lacks one."""
    data = project.spec.data
    needed: list[str] = []
    for wanted, what in wanted_columns(project, source):
        need_columns(wanted, columns, source=source, url=data.sources[source].place, what=what)
        needed += wanted
    if source != next(iter(data.sources)):
        return tuple(needed)
    needed += label_columns(project, columns)
    return (*needed, *(column for column in data.outcomes if column in columns))


def check_mentions(project: Project, columns: Mapping[str, Mapping[str, str]]) -> None:
    """A private column or an outcome that no source has is a spelling mistake that would publish the real one."""
    row_source, *others = columns
    known = {column for kinds in columns.values() for column in kinds}
    known |= {f"{source}_{column}" for source in others for column in columns[source]}
    for key, mentioned in (("private", project.spec.data.private), ("outcomes", project.spec.data.outcomes)):
        missing = [column for column in mentioned if column not in known]
        if missing:
            raise DataError(
                f"{project.name}: data.{key}: no source has a column {', '.join(map(repr, missing))}; "
                f"{row_source} has {', '.join(columns[row_source])}"
            )

"""The first step of ingestion: what a partition needs from its sources, copied into the raw zone."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from updraft import files
from updraft.data import sources
from updraft.data.duck import attempt, columns_of, connection, first, kind_of, literal, name, parquet, without_values
from updraft.data.partitions import KEY_FORMAT, Partition, partition
from updraft.errors import DataError
from updraft.settings import Settings
from updraft.spec.label import label_number, published_private, read_label
from updraft.spec.model import Project

if TYPE_CHECKING:
    import duckdb

CLOCKS = {"day": "%Y-%m-%d", "week": "%G-W%V", "hour": "%Y-%m-%dT%H"}
"""Values of ``release.cluster`` that are no column, and how they write a time (UTC): a week is ISO 8601's, from Monday."""


@dataclass(frozen=True)
class ExtractedSource:
    """One source's raw file."""

    url: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Extracted:
    """The raw files of one partition."""

    key: str
    sources: Mapping[str, ExtractedSource]


def lake(project: Project, settings: Settings) -> str:
    """URL of the project's folder in the lake."""
    return f"{settings.lake}/{project.name}"


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
    found = [own]
    while found[0].start > oldest:
        found.insert(0, partition(project.spec, found[0].start.strftime(KEY_FORMAT)))
    return tuple(replace(each, start=max(each.start, first)) for each in found)


def label_columns(project: Project, columns: Mapping[str, str]) -> tuple[str, ...]:
    """The columns of the row source that the label's expression reads."""
    bare = re.sub(r"'(?:[^']|'')*'", " ", project.spec.data.label.expr)
    words = {word.lower() for word in re.findall(r"[A-Za-z_]\w*", re.sub(r'"[^"]*"', " ", bare))}
    quoted = {word.lower() for word in re.findall(r'"([^"]*)"', bare)}
    return tuple(column for column in columns if column.lower() in words | quoted)


@without_values
def extract_partition(project: Project, settings: Settings, key: str) -> Extracted:
    """Copy what the partition needs from its sources into ``<key>/<source>.parquet`` of the project's raw zone.

    The row source: rows of the partition, and of the earlier partitions whose labels mature at its tick. Other
    sources with a time: rows of the partition. Lookup tables: whole. The same content gives the same bytes.

    :raises DataError: a source that is not there or not readable, or without a column that the spec names.
    """
    covered = slices(project, key)
    check_roles(project)
    raw = settings.raw_zone(project.name)
    sources.close_raw_zone(raw)
    extracted: dict[str, ExtractedSource] = {}
    columns: dict[str, Mapping[str, str]] = {}
    for source in project.spec.data.sources:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            path = folder / f"{source}.parquet"
            tables = _tables(stack, source, project=project, raw=raw, covered=covered)
            con = stack.enter_context(connection(tables.values(), folder))
            columns[source], query = _selection(con, source, project=project, tables=tables, covered=covered)
            con.execute(f"COPY ({query}) TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")
            (rows,) = first(con, f"SELECT count(*) FROM {parquet(str(path))}")
            content = path.read_bytes()
        url = raw_url(project, settings, key, f"{source}.parquet")
        files.write_bytes(url, content)
        extracted[source] = ExtractedSource(url, files.sha256(content), int(rows))
    check_mentions(project, columns)
    return Extracted(key, extracted)


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
    stack: ExitStack, source: str, *, project: Project, raw: str, covered: tuple[Partition, ...]
) -> dict[str, Path]:
    """The files that a source's rows are taken from, by key: the partition's own first, and of a row source with a file
    for each partition those whose labels can mature now. A file that never came has no labels to mature.
    """
    own, url = covered[-1], project.spec.data.sources[source].url
    tables = {own.key: stack.enter_context(sources.table(project, raw, source, own.key))}
    if source == next(iter(project.spec.data.sources)) and "{key}" in url:
        for earlier in covered[:-1]:
            if sources.is_there(url, source=source, key=earlier.key):
                tables[earlier.key] = stack.enter_context(sources.table(project, raw, source, earlier.key))
    return tables


def _selection(
    con: duckdb.DuckDBPyConnection,
    source: str,
    *,
    project: Project,
    tables: Mapping[str, Path],
    covered: tuple[Partition, ...],
) -> tuple[dict[str, str], str]:
    """The columns of a source, and SQL for its raw rows in a fixed order.

    :param tables: its files by key, as :func:`_tables` finds them.
    """
    spec = project.spec.data.sources[source]
    own = covered[-1]
    is_row_source = source == next(iter(project.spec.data.sources))
    path = tables[own.key]
    there = columns_of(con, parquet(str(path)))
    needed = _needed(con, project, source, path, there)
    columns = {each: kind for each, kind in there.items() if not spec.columns or each in (*spec.columns, *needed)}
    plain = {column: f"f.{name(column)}" for column in columns}
    by_key = "{key}" in spec.url
    start = covered[0].start if is_row_source and not by_key else own.start
    parts = [sources.select(path, plain, spec.event_time, start, own.tick)]
    for earlier in covered[:-1]:
        if earlier.key not in tables:
            continue
        present = columns_of(con, parquet(str(tables[earlier.key])))
        cast = {  # to the types of the current file: one odd file must not change those that follow
            column: f"TRY_CAST(f.{name(column)} AS {kind})" if column in present else f"CAST(NULL AS {kind})"
            for column, kind in columns.items()
        }
        parts.append(sources.select(tables[earlier.key], cast, spec.event_time, earlier.start, earlier.tick))
    order = "COLUMNS(*)" if spec.event_time is None else f"{name(spec.event_time)}, COLUMNS(*)"
    return columns, f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY {order}"


def wanted_columns(project: Project, source: str) -> list[tuple[tuple[str, ...], str]]:
    """The columns that the spec names of a source, with the key of project.yaml that names them."""
    data = project.spec.data
    spec = data.sources[source]
    found = [(spec.columns, f"data.sources.{source}.columns"), (spec.join, f"data.sources.{source}.join")]
    if spec.event_time is not None:
        found.append(((spec.event_time,), f"data.sources.{source}.event_time"))
    if source == next(iter(data.sources)):
        found.append((data.key, "data.key"))
        found += [(joined.join, f"data.sources.{other}.join") for other, joined in list(data.sources.items())[1:]]
        if project.spec.release.cluster not in CLOCKS:
            found.append(((project.spec.release.cluster,), "release.cluster"))
    return [(columns, what) for columns, what in found if columns]


def check_label(con: duckdb.DuckDBPyConnection, project: Project, table: str, columns: Mapping[str, str]) -> None:
    """Refuse a label expression that does not fit the columns of the row source, or that says more than a label may.

    :param table: the source as an SQL table expression.
    :raises DataError: with what DuckDB says of the expression.
    """
    data = project.spec.data
    source = next(iter(data.sources))
    where = f"source {source}: {data.sources[source].url}: data.label.expr {data.label.expr!r}"
    label = read_label(data.label.expr)
    if wrong := label.wrong or published_private(data.label.expr, data):
        raise DataError(f"{where}: {wrong}")
    attempt(
        lambda: con.execute(f"SELECT {label_number(data.label.expr)} FROM {table} LIMIT 0"),
        lambda error: DataError(f"{where} cannot be evaluated: {kind_of(error)}; its columns are {', '.join(columns)}"),
    )
    if unknown := label.unknown(columns):
        raise DataError(f"{where} reads {', '.join(unknown)}, which is no column; its columns are {', '.join(columns)}")


def _needed(
    con: duckdb.DuckDBPyConnection, project: Project, source: str, path: Path, columns: Mapping[str, str]
) -> tuple[str, ...]:
    """The columns that the spec asks of a source; refuses a source that lacks one."""
    data = project.spec.data
    found: list[str] = []
    for wanted, what in wanted_columns(project, source):
        sources.need_columns(wanted, columns, source=source, url=data.sources[source].url, what=what)
        found += wanted
    if source != next(iter(data.sources)):
        return tuple(found)
    check_label(con, project, parquet(str(path)), columns)
    found += label_columns(project, columns)
    return (*found, *(column for column in data.outcomes if column in columns))


def check_mentions(project: Project, columns: Mapping[str, Mapping[str, str]]) -> None:
    """A private column or an outcome that no source has is a spelling mistake that would publish the real one."""
    row_source, *others = columns
    known = {column for each in columns.values() for column in each}
    known |= {f"{source}_{column}" for source in others for column in columns[source]}
    for key, mentioned in (("private", project.spec.data.private), ("outcomes", project.spec.data.outcomes)):
        missing = [column for column in mentioned if column not in known]
        if missing:
            raise DataError(
                f"{project.name}: data.{key}: no source has a column {', '.join(map(repr, missing))}; "
                f"{row_source} has {', '.join(columns[row_source])}"
            )

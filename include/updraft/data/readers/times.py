"""The event time of a source's file, read as the moment that it means."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from updraft.data.catalogue import TYPES
from updraft.data.cells import NULLS, earlier_twin, is_wall_clock, looks_ambiguous, time_of
from updraft.data.duck import first, literal, name
from updraft.data.readers.opened import OpenedFile
from updraft.errors import DataError
from updraft.spec.model import Project
from updraft.spec.source import Source

if TYPE_CHECKING:
    import duckdb

SKIPPED = "skipped"
"""In a converted file's own notes: how many rows have a time that their zone skips."""


def timed(con: duckdb.DuckDBPyConnection, file: OpenedFile, project: Project, source: str) -> tuple[str, int]:
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
        f"SELECT decode(value) FROM parquet_kv_metadata({literal(str(path))}) WHERE decode(key) = {literal(SKIPPED)}"
    )
    return sum(int(count) for (count,) in con.execute(query).fetchall())


def check_times(con: duckdb.DuckDBPyConnection, file: OpenedFile, spec: Source, url: str, source: str) -> None:
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

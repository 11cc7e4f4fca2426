"""Files of a source written as one Parquet file, in the order of their event time."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from updraft import files
from updraft.data import csv_file, limits
from updraft.data.duck import attempt, columns_of, connection, kind_of, literal, name, parquet
from updraft.data.readers.opened import PARQUET, downloaded, named_columns, need_columns, open_file
from updraft.data.readers.times import SKIPPED, check_times, skipped_times, timed
from updraft.data.schema import of_storage
from updraft.data.type_inference import has_long
from updraft.errors import DataError
from updraft.spec.model import Project

if TYPE_CHECKING:
    import duckdb

ROW_GROUP = 20_480
"""Rows per row group of a converted file, so that one partition of a long history is read without the rest."""


def convert_all(project: Project, urls: Sequence[str], source: str, target: str) -> None:
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
                f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}, KV_METADATA {{{SKIPPED}: {literal(str(skipped))}}})"
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
    with downloaded(url, source, project.spec.data.sources[source].encoding) as path:
        convert(project, path, url, source, target)


def convert(project: Project, path: Path, place: str, source: str, target: str) -> None:
    """Write a file that is here as Parquet, in the order of its event time.

    :param place: where it is from, for what errors say.
    :raises DataError: when it does not read, lacks a column or is larger than a source may be.
    """
    spec = project.spec.data.sources[source]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        con = stack.enter_context(connection([path], folder))
        aside = folder / "converted.parquet"
        what = f"source {source}: {place}"
        file = open_file(con, spec, path, place, source, wanted=named_columns(project, source))
        if path.suffix in PARQUET:
            attempt(lambda: limits.check_rows(con, file.reader, what), file.unreadable)
        rows, order, skipped = f"(SELECT {', '.join(map(name, file.columns))} FROM {file.reader})", "", 0
        if spec.event_time is not None:
            need_columns((spec.event_time,), file.columns, source=source, url=place, what="event_time")
            attempt(lambda: check_times(con, file, spec, place, source), file.unreadable)
            rows, skipped = attempt(lambda: timed(con, file, project, source), file.unreadable)
            order = f"ORDER BY {name(spec.event_time)}, COLUMNS(*)"
        copy = (
            f"COPY (SELECT * FROM {rows} {order}) TO {literal(str(aside))} "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}, KV_METADATA {{{SKIPPED}: {literal(str(skipped))}}})"
        )
        attempt(lambda: con.execute(copy), file.unreadable)
        limits.check_rows(con, parquet(str(aside)), what)
        limits.check_cells(con, aside, what)
        files.write_bytes(target, aside.read_bytes())

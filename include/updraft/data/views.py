"""Views of one partition's raw files on a DuckDB connection; validation and publication see the same rows.

For a source ``s``:
    ``steps_s`` where ``data.clean`` has columns of it: every raw row, with its cells after each step,
    ``src_s``   every raw row as it is cleaned, with ``_n`` (row of the file) and ``_slice`` (key of the partition that it lies in),
    ``win_s``   the rows of this partition: what is judged,
    ``bad_s``   table: ``_n`` and ``_reasons`` (list of text) of every raw row in breach, and whether a person has dropped it (``_dropped``),
    ``good_s``  the rows of this partition that are not in breach,
    ``past_s``  the same with the rows from before the partition, which a source has whose join reaches back.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from updraft.data.catalogue import MISFITS
from updraft.data.cells import as_text
from updraft.data.cleaning import cleaning_of
from updraft.data.duck import columns_of, first, literal, name, parquet
from updraft.data.joins import matches
from updraft.data.partitions import Partition
from updraft.data.privacy import Pseudonymiser
from updraft.errors import DataError
from updraft.spec.data import Data
from updraft.spec.model import Project

if TYPE_CHECKING:
    import duckdb

INTERNAL = ("_n", "_slice", MISFITS)
CLOCKS = {"day": "%Y-%m-%d", "week": "%G-W%V", "hour": "%Y-%m-%dT%H"}
"""Values of ``release.cluster`` that are no column, and how they write a time (UTC): a week is ISO 8601's, from Monday."""


def private_columns(project: Project, source: str, columns: Iterable[str]) -> tuple[str, ...]:
    """The private ones among a source's columns: named as they are, or as ``<source>_<column>`` after the join.

    A column that joins has its values in the row source too: private in one of them, it is private in both.
    """
    sources = project.spec.data.sources
    joined = {(other, column) for other, spec in sources.items() for column in spec.join}

    def names(column: str) -> set[str]:
        on = {f"{other}_{column}" for other in sources if (other, column) in joined}
        own = source == next(iter(sources)) or (source, column) in joined
        return {column, f"{source}_{column}"} | (on if own else set())

    private = set(project.spec.data.private)
    return tuple(column for column in columns if names(column) & private)


def hidden_columns(data: Data) -> frozenset[str]:
    """The columns of what is published that hold pseudonyms: private ones by their names there."""
    row_source, *others = data.sources
    own = {column.removeprefix(f"{row_source}_") for column in data.private}
    joined = {f"{other}_{column}" for other in others for column in data.private}
    return frozenset({*data.private, *own, *joined})


def label_columns(project: Project, columns: Iterable[str]) -> tuple[str, ...]:
    """The columns of the row source that the label's expression reads."""
    bare = re.sub(r"'(?:[^']|'')*'", " ", project.spec.data.label.expr)
    words = {word.lower() for word in re.findall(r"[A-Za-z_]\w*", re.sub(r'"[^"]*"', " ", bare))}
    quoted = {word.lower() for word in re.findall(r'"([^"]*)"', bare)}
    return tuple(column for column in columns if column.lower() in words | quoted)


@dataclass(frozen=True)
class Views:
    """One partition's raw files on one connection."""

    con: duckdb.DuckDBPyConnection
    project: Project
    slices: tuple[Partition, ...]
    """The partitions that the row source's raw file covers, oldest first; the last one is the partition itself."""

    @property
    def row_source(self) -> str:
        """The source whose rows are the partition's rows."""
        return next(iter(self.project.spec.data.sources))

    @property
    def key(self) -> str:
        """The partition's key."""
        return self.slices[-1].key

    def open(self, raw: Mapping[str, Path]) -> None:
        """Make ``src_*`` and ``win_*``.

        :raises DataError: when a raw file is one of an earlier version.
        """
        last = literal(self.key)
        for source, path in raw.items():
            if MISFITS not in columns_of(self.con, parquet(str(path))):
                raise DataError(
                    f"{self.project.name}: partition {self.key}: source {source} was extracted by an earlier version of Updraft; "
                    "clear the task extract_partition of its run, and what follows it"
                )
            event_time = self.project.spec.data.sources[source].event_time
            which, own = last, "TRUE"
            start = literal(self.slices[-1].start)
            if self.project.spec.data.sources[source].history:
                own = f"{name(str(event_time))} >= {start}"
                which = f"CASE WHEN {own} THEN {last} ELSE 'before' END"
            elif source == self.row_source and event_time is not None and len(self.slices) > 1:
                own = f"{name(event_time)} >= {start}"
                cases = " ".join(
                    f"WHEN {name(event_time)} >= {literal(part.start)} THEN {literal(part.key)}"
                    for part in reversed(self.slices)
                )
                which = f"CASE {cases} END"
            src, win = name(f"src_{source}"), name(f"win_{source}")
            rows = (
                f"SELECT * RENAME (file_row_number AS _n), {which} AS _slice "
                f"FROM {parquet(str(path), row_numbers=True)}"
            )
            if cleaning := cleaning_of(self.con, self.project, source, path):
                cleaning.check(self._listed(raw))
                self.con.execute(f"CREATE VIEW {name(f'steps_{source}')} AS {cleaning.layers(rows)}")
                rows = cleaning.result(name(f"steps_{source}"))
            self.con.execute(f"CREATE VIEW {src} AS {rows}")
            self.con.execute(f"CREATE VIEW {win} AS SELECT * FROM {src} WHERE {own}")

    def cleaned(self, source: str, path: Path) -> dict[str, int]:
        """By step how many cells of the partition it changed."""
        cleaning = cleaning_of(self.con, self.project, source, path)
        if cleaning is None:
            return {}
        counts = cleaning.counts()
        here = f"SELECT _n FROM {name(f'win_{source}')}"
        row = first(
            self.con,
            f"SELECT {', '.join(counts.values())} FROM {name(f'steps_{source}')} WHERE _n IN ({here})",
        )
        return {step: int(count) for step, count in zip(counts, row, strict=True)}

    def _listed(self, raw: Mapping[str, Path]) -> list[str]:
        """The columns of the joined rows."""
        return [
            column if source == self.row_source else f"{source}_{column}"
            for source, path in raw.items()
            for column in columns_of(self.con, parquet(str(path)))
            if column not in INTERNAL
        ]

    def mark(self, source: str, breaches: str) -> None:
        """Make ``bad_*`` from SQL that yields ``_n`` and ``_reasons``, and ``good_*``."""
        bad, win, good = name(f"bad_{source}"), name(f"win_{source}"), name(f"good_{source}")
        self.con.execute(f"CREATE OR REPLACE TABLE {bad} AS SELECT _n, _reasons, FALSE AS _dropped FROM ({breaches})")
        src, past = name(f"src_{source}"), name(f"past_{source}")
        self.con.execute(f"CREATE OR REPLACE VIEW {good} AS SELECT * FROM {win} WHERE _n NOT IN (SELECT _n FROM {bad})")
        self.con.execute(f"CREATE OR REPLACE VIEW {past} AS SELECT * FROM {src} WHERE _n NOT IN (SELECT _n FROM {bad})")

    def settle(self, source: str, released: Iterable[int], dropped: Iterable[int]) -> None:
        """Take rows out of ``bad_*`` that a person has released, and mark those that were dropped; both by ``_n``."""
        import pyarrow as pa

        bad = name(f"bad_{source}")
        for action, rows in (("DELETE FROM {}", released), ("UPDATE {} SET _dropped = TRUE", dropped)):
            self.con.register("settled_in", pa.table({"_n": pa.array(sorted(rows), pa.int64())}))
            self.con.execute(f"{action.format(bad)} WHERE _n IN (SELECT _n FROM settled_in)")
            self.con.unregister("settled_in")

    def matches(self, source: str) -> str:
        """SQL for what each good row finds in a source that joins: ``_n`` and the columns that it adds."""
        spec = self.project.spec.data.sources
        kinds = self.columns(self.row_source), self.columns(source)
        rows, others = f"good_{self.row_source}", f"{'past' if spec[source].history else 'good'}_{source}"
        time = str(spec[self.row_source].event_time)
        return matches(source, spec[source], rows=rows, others=others, time=time, kinds=kinds)

    def count(self, view: str) -> int:
        """Rows of a view."""
        return int(first(self.con, f"SELECT count(*) FROM {name(view)}")[0])

    def columns(self, source: str) -> dict[str, str]:
        """Names and DuckDB types of a source's own columns."""
        kinds = columns_of(self.con, name(f"win_{source}"))
        return {column: kind for column, kind in kinds.items() if column not in INTERNAL}


def pseudonymised(
    con: duckdb.DuckDBPyConnection, relation: str, private: Mapping[str, str], pseudonyms: Pseudonymiser
) -> str:
    """SQL that selects a relation (an SQL name) with its private columns as pseudonyms.

    :param private: column of the relation → the column whose pseudonyms it takes, so that a value has one
        pseudonym in all sources.
    """
    import pyarrow as pa

    kinds = columns_of(con, relation)
    joins, replaced = [], []
    for index, (column, domain) in enumerate(private.items()):
        rows = con.execute(
            f"SELECT DISTINCT {as_text(name(column), kinds[column])} AS clear FROM {relation} "
            f"WHERE {name(column)} IS NOT NULL ORDER BY clear"
        ).fetchall()
        known = pseudonyms.mapping(domain, (row[0] for row in rows))
        table = f"pseudonyms_{index}"
        content = pa.table(
            {"clear": pa.array(list(known), pa.string()), "pseudonym": pa.array(list(known.values()), pa.string())}
        )
        con.register("pseudonyms_in", content)
        con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM pseudonyms_in")
        con.unregister("pseudonyms_in")
        joins.append(f"LEFT JOIN {table} ON {as_text(f't.{name(column)}', kinds[column])} = {table}.clear")
        replaced.append(f"{table}.pseudonym AS {name(column)}")
    if not joins:
        return f"SELECT t.* FROM {relation} AS t"
    return f"SELECT t.* REPLACE ({', '.join(replaced)}) FROM {relation} AS t {' '.join(joins)}"

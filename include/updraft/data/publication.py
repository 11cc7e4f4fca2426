"""The last step of ingestion: the joined, pseudonymised partition, and the labels that matured at its tick."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from updraft import files
from updraft.data.catalogue import MISFITS, NUMBER
from updraft.data.cells import as_text
from updraft.data.checks import LabelCounts
from updraft.data.columns import CLUSTER, EVENT_TIME, LABEL, PARTITION, ROW
from updraft.data.duck import arrow, attempt, columns_of, first, first_failing, kind_of, literal, name, names
from updraft.data.extraction import check_label
from updraft.data.joins import joined_names
from updraft.data.key_ring import KeyRing
from updraft.data.partitions import partition
from updraft.data.privacy import Pseudonymiser
from updraft.data.views import CLOCKS, INTERNAL, Views, label_columns, private_columns, pseudonymised
from updraft.errors import DataError
from updraft.spec.label import UNLISTED, label_number

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


@dataclass(frozen=True)
class Publisher:
    """Makes the published tables from the views of a partition that has been validated."""

    views: Views
    ring: KeyRing

    def rows(self) -> pa.Table:
        """The good rows with what they join, as :mod:`updraft.data.columns` describes, by event time and row.

        :raises DataError: when two rows have one identity.
        """
        con, source = self.views.con, self.views.row_source
        private = self._private
        con.execute(
            f"CREATE TEMP TABLE hidden AS {pseudonymised(con, 'joined', private, self.ring.of(self.views.key))}"
        )
        outcomes = set(self.views.project.spec.data.outcomes)
        outcomes |= set(label_columns(self.views.project, self.views.columns(source)))
        kept = [column for column in columns_of(con, "hidden") if column not in outcomes and column not in INTERNAL]
        table = arrow(con, f"SELECT {self._identity('hidden')}, {names(kept)} FROM hidden ORDER BY {EVENT_TIME}, {ROW}")
        if len(table[ROW].unique()) != len(table):
            raise DataError(
                f"{self.views.project.name}: partition {self.views.key}: two rows have the same key "
                f"({', '.join(self.views.project.spec.data.key)}); data.key must name a row"
            )
        return table

    def labels(self) -> tuple[pa.Table, LabelCounts]:
        """Labels of good rows that matured in (previous tick, tick], by event time and row, and what became of the rows that were due.

        A label that is not finite, or is none of ``data.label.classes``, is no label: nothing can be learnt from it, or measured on it.

        :raises DataError: when the expression is no label (the project may have changed since the extraction), or fails.
        """
        con, source = self.views.con, self.views.row_source
        spec = self.views.project.spec
        check_label(con, self.views.project, name(f"src_{source}"), self.views.columns(source))
        own = partition(spec, self.views.key)
        after = spec.data.label.matures_after
        time = name(str(spec.data.sources[source].event_time))
        number = label_number(spec.data.label)
        every = (
            f"(SELECT * FROM {name(f'src_{source}')} WHERE {time} >= {literal(own.start - after)} "
            f"AND {time} < {literal(own.tick - after)})"
        )
        bad = f"_n IN (SELECT _n FROM {name(f'bad_{source}')})"
        due = f"(SELECT * FROM {every} WHERE NOT {bad})"
        (in_breach,) = first(con, f"SELECT count(*) FROM {every} WHERE {bad}")
        attempt(
            lambda: con.execute(f"CREATE TEMP TABLE matured AS SELECT *, {number} AS _label FROM {due}"),
            lambda error: self._no_label(due, number, error),
        )
        hidden = {column: column for column in private_columns(self.views.project, source, self.views.columns(source))}
        con.execute(f"CREATE TEMP TABLE matured_hidden AS {self._hidden('matured', hidden)}")
        without, infinite, unlisted = first(
            con,
            "SELECT count(*) FILTER (_label IS NULL), count(*) FILTER (NOT isfinite(_label)), "
            f"count(*) FILTER (_label = {UNLISTED}) FROM matured",
        )
        con.execute("DELETE FROM matured_hidden WHERE NOT isfinite(_label)")
        zero = spec.data.label.missing == "zero"
        label = "COALESCE(_label, 0)" if zero else "_label"
        identity = self._identity("matured_hidden")
        made = arrow(
            con,
            f"SELECT * FROM (SELECT {identity}, _slice AS {PARTITION}, {label} AS {LABEL} FROM matured_hidden) "
            f"WHERE {LABEL} IS NOT NULL ORDER BY {EVENT_TIME}, {ROW}",
        )
        missing = 0 if zero else int(without)
        if spec.data.label.classes:
            counts = LabelCounts(len(made), missing, 0, in_breach=int(in_breach), unlisted=int(unlisted))
        else:
            counts = LabelCounts(len(made), missing, int(infinite), in_breach=int(in_breach))
        return made.select([ROW, PARTITION, EVENT_TIME, CLUSTER, LABEL]), counts

    def pairs(self, before: Pseudonymiser) -> pa.Table:
        """``column``, ``before`` and ``after``: which pseudonym of these rows was which, with the key before the last rotation.

        :param before: of that key. To be called after :meth:`rows`.
        """
        import pyarrow as pa

        rows: list[tuple[str, str, str]] = []
        for column, domain in self._private.items():
            kind = columns_of(self.views.con, "joined")[column]
            values = self.views.con.execute(
                f"SELECT DISTINCT {as_text(name(column), kind)} FROM joined WHERE {name(column)} IS NOT NULL"
            ).fetchall()
            old = before.mapping(domain, (value for (value,) in values))
            new = self.ring.of(self.views.key).mapping(domain, (value for (value,) in values))
            rows += [(column, old[value], new[value]) for value in old]
        table = {
            field: [row[place] for row in sorted(rows)] for place, field in enumerate(("column", "before", "after"))
        }
        return pa.table({field: pa.array(texts, pa.string()) for field, texts in table.items()})

    def _hidden(self, relation: str, private: Mapping[str, str]) -> str:
        """SQL for rows of several partitions, each with the pseudonyms of its own partition's key."""
        groups: dict[str, tuple[Pseudonymiser, list[str]]] = {}
        for part in self.views.slices:
            pseudonyms = self.ring.of(part.key)
            groups.setdefault(pseudonyms.key_id, (pseudonyms, []))[1].append(part.key)
        if len(groups) == 1 or not private:
            return pseudonymised(self.views.con, relation, private, self.ring.of(self.views.key))
        made = []
        for number, (pseudonyms, keys) in enumerate(groups.values()):
            of_key, listed = name(f"of_key_{number}"), ", ".join(map(literal, keys))
            self.views.con.execute(
                f"CREATE OR REPLACE TEMP TABLE {of_key} AS SELECT * FROM {relation} WHERE _slice IN ({listed})"
            )
            query = pseudonymised(self.views.con, of_key, private, pseudonyms)
            self.views.con.execute(f"CREATE OR REPLACE TEMP TABLE {of_key} AS {query}")
            made.append(f"SELECT * FROM {of_key}")
        return " UNION ALL ".join(made)

    def _no_label(self, due: str, number: str, error: duckdb.Error) -> DataError:
        """What is wrong with the label, with the first row that it fails on (of the raw file, counted from 1)."""
        project, source = self.views.project, self.views.row_source
        row = first_failing(self.views.con, due, number, "_n")
        where = f" in row {row + 1} of raw/{self.views.key}/{source}.parquet" if row is not None else ""
        return DataError(
            f"{project.name}: partition {self.views.key}: source {source}: data.label.expr "
            f"{project.spec.data.label.expr!r} gives no number{where}: {kind_of(error)} (the value is not told here, as "
            "it may be private); mend the source, or write the expression so that it gives null there, with TRY_CAST"
        )

    def _identity(self, relation: str) -> str:
        """SQL for ROW, EVENT_TIME and CLUSTER, over columns that are pseudonymised already.

        The key's values are hashed with MD5, whose lower half DuckDB gives as a number: its own ``hash()`` may
        differ between versions. A private part of the key goes in as its pseudonym, so that ROW tells nothing.
        """
        spec = self.views.project.spec
        kinds = columns_of(self.views.con, relation)
        parts = ", ".join(as_text(name(column), kinds[column]) for column in spec.data.key)
        time = name(str(spec.data.sources[self.views.row_source].event_time))
        clock = CLOCKS.get(spec.release.cluster)
        cluster = (
            f"strftime({time}, {literal(clock)})"
            if clock
            else as_text(name(spec.release.cluster), kinds[spec.release.cluster])
        )
        return f"md5_number_lower(concat_ws(chr(31), {parts})) AS {ROW}, {time} AS {EVENT_TIME}, {cluster} AS {CLUSTER}"

    def key_of(self, row: int) -> tuple[object, ...] | None:
        """The key of a raw row by its ROW: as it is published, so that a private part is a pseudonym."""
        con, source = self.views.con, self.views.row_source
        columns = self.views.columns(source)
        hidden = {column: column for column in private_columns(self.views.project, source, columns)}
        con.execute(f"CREATE OR REPLACE TEMP TABLE named AS {self._hidden(name(f'src_{source}'), hidden)}")
        key = self.views.project.spec.data.key
        query = f"SELECT {names(key)} FROM (SELECT *, {self._identity('named')} FROM named) WHERE {ROW} = {int(row)} LIMIT 1"
        rows = con.execute(query).fetchall()
        return tuple(rows[0]) if rows else None

    @cached_property
    def _private(self) -> dict[str, str]:
        """Make the view ``joined`` (raw values); return its private columns and whose pseudonyms they take.

        Of several matches in a lookup one is taken, the first by all its columns: rows are never multiplied.
        """
        project, source = self.views.project, self.views.row_source
        own = self.views.columns(source)
        chosen = [f"r.{name(column)} AS {name(column)}" for column in own]
        private = {column: column for column in private_columns(project, source, own)}
        joins, clash = [], set[str]()
        for other in self._others():
            spec, columns = project.spec.data.sources[other], self.views.columns(other)
            added, matched = joined_names(other, spec, columns), name(f"matched_{other}")
            hidden = set(private_columns(project, other, columns))
            self.views.con.execute(f"CREATE TEMP TABLE {matched} AS {self.views.matches(other)}")
            chosen += [f"{matched}.{name(column)} AS {name(column)}" for column in added]
            private |= {column: of for column, of in added.items() if of in hidden and not spec.aggregate}
            joins.append(f"LEFT JOIN {matched} ON r._n = {matched}._n")
            clash |= {column for column in added if column in own}
        if clash:
            raise DataError(
                f"{project.name}: {', '.join(sorted(clash))}: a column of {source} has the name of a joined one"
            )
        self.views.con.execute(
            f"CREATE VIEW joined AS SELECT {', '.join(chosen)} FROM {name(f'good_{source}')} AS r {' '.join(joins)}"
        )
        return private

    def _others(self) -> list[str]:
        return list(self.views.project.spec.data.sources)[1:]


def quarantine(views: Views, source: str, ring: KeyRing) -> pa.Table:
    """The partition's rows of a source that are in breach and were not dropped, pseudonymised.

    With ``_reasons`` and ``_misfits`` (text), and ``_number``: the row of the raw file, from 1.
    """
    con = views.con
    relation = name(f"quarantined_{source}")
    columns = views.columns(source)
    hidden = {column: column for column in private_columns(views.project, source, columns)}
    # What a misfit is, its column cannot hold. A private one is not told: it may be a value that stands in the wrong column.
    unseen = f"[{', '.join(map(literal, hidden))}]::VARCHAR[]"
    shown = f"list_filter(map_entries(w.{MISFITS}), lambda misfit: NOT list_contains({unseen}, misfit.key))"
    told = f"array_to_string(list_transform({shown}, lambda misfit: misfit.key || ': ' || misfit.value), '; ')"
    con.execute(
        f"CREATE VIEW {relation} AS SELECT w.* EXCLUDE (_slice, {MISFITS}), {told} AS {MISFITS}, "
        f"array_to_string(b._reasons, '; ') AS _reasons "
        f"FROM {name(f'win_{source}')} AS w JOIN {name(f'bad_{source}')} AS b USING (_n) WHERE NOT b._dropped"
    )
    query = pseudonymised(con, relation, hidden, ring.of(views.key))
    return arrow(con, f"SELECT * EXCLUDE (_n), _n + 1 AS {NUMBER} FROM ({query}) ORDER BY _n")


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as Parquet; the same table gives the same bytes."""
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table.replace_schema_metadata(None), buffer, compression="zstd")
    return buffer.getvalue()


def write_pairs(url: str, table: pa.Table) -> None:
    """Keep which pseudonym was which, beside a partition."""
    files.write_bytes(url, parquet_bytes(table))


def write_table(stem: str, table: pa.Table) -> tuple[str, str]:
    """Write a table under a name whose end its content decides; its URL and SHA-256."""
    content = parquet_bytes(table)
    digest = files.sha256(content)
    url = f"{stem}-{digest[:8]}.parquet"
    if not files.exists(url):
        files.write_bytes(url, content)
    return url, digest

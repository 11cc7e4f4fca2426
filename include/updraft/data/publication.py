"""The last step of ingestion: the joined, pseudonymised partition, and the labels that matured at its tick."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft import files
from updraft.data.catalogue import TYPES
from updraft.data.columns import CLUSTER, EVENT_TIME, LABEL, PARTITION, ROW
from updraft.data.contract import Contract
from updraft.data.duck import arrow, attempt, columns_of, first_failing, kind_of, literal, name, names
from updraft.data.extraction import CLOCKS, check_label, label_columns
from updraft.data.partitions import partition
from updraft.data.privacy import Pseudonymiser
from updraft.data.views import INTERNAL, Views, private_columns, pseudonymised
from updraft.errors import DataError
from updraft.spec.label import label_number

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_CASTS = {"integer": "BIGINT", "number": "DOUBLE", "text": "VARCHAR", "time": "TIMESTAMPTZ", "boolean": "BOOLEAN"}


@dataclass(frozen=True)
class Publisher:
    """Makes the published tables from the views of a partition that has been validated."""

    views: Views
    contract: Contract
    pseudonyms: Pseudonymiser

    def rows(self) -> pa.Table:
        """The good rows with what they join, as :mod:`updraft.data.columns` describes, by event time and row.

        :raises DataError: when two rows have one identity.
        """
        con, source = self.views.con, self.views.row_source
        private = self._joined()
        con.execute(f"CREATE TEMP TABLE hidden AS {pseudonymised(con, 'joined', private, self.pseudonyms)}")
        outcomes = set(self.views.project.spec.data.outcomes)
        outcomes |= set(label_columns(self.views.project, self.views.columns(source)))
        kept = [column for column in columns_of(con, "hidden") if column not in outcomes and column not in INTERNAL]
        table = arrow(con, f"SELECT {self._identity()}, {names(kept)} FROM hidden ORDER BY {EVENT_TIME}, {ROW}")
        if len(table[ROW].unique()) != len(table):
            raise DataError(
                f"{self.views.project.name}: partition {self.views.key}: two rows have the same key "
                f"({', '.join(self.views.project.spec.data.key)}); data.key must name a row"
            )
        return table

    def labels(self) -> pa.Table:
        """Labels of good rows that matured in (previous tick, tick], by event time and row.

        :raises DataError: when the expression is no label (the project may have changed since the extraction), or fails.
        """
        con, source = self.views.con, self.views.row_source
        spec = self.views.project.spec
        check_label(con, self.views.project, name(f"src_{source}"), self.views.columns(source))
        own = partition(spec, self.views.key)
        after = spec.data.label.matures_after
        time = name(str(spec.data.sources[source].event_time))
        number = label_number(spec.data.label.expr)
        due = (
            f"(SELECT * FROM {name(f'src_{source}')} WHERE {time} >= {literal(own.start - after)} "
            f"AND {time} < {literal(own.tick - after)} AND _n NOT IN (SELECT _n FROM {name(f'bad_{source}')}))"
        )
        attempt(
            lambda: con.execute(f"CREATE TEMP TABLE matured AS SELECT *, {number} AS _label FROM {due}"),
            lambda error: self._no_label(due, number, error),
        )
        hidden = {column: column for column in private_columns(self.views.project, source, self.views.columns(source))}
        con.execute(f"CREATE TEMP TABLE matured_hidden AS {pseudonymised(con, 'matured', hidden, self.pseudonyms)}")
        label = "COALESCE(_label, 0)" if spec.data.label.missing == "zero" else "_label"
        identity = self._identity()
        made = arrow(
            con,
            f"SELECT * FROM (SELECT {identity}, _slice AS {PARTITION}, {label} AS {LABEL} FROM matured_hidden) "
            f"WHERE {LABEL} IS NOT NULL ORDER BY {EVENT_TIME}, {ROW}",
        )
        return made.select([ROW, PARTITION, EVENT_TIME, CLUSTER, LABEL])

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

    def _identity(self) -> str:
        """SQL for ROW, EVENT_TIME and CLUSTER, over columns that are pseudonymised already.

        The key's values are hashed with MD5, whose lower half DuckDB gives as a number: its own ``hash()`` may
        differ between versions. A private part of the key goes in as its pseudonym, so that ROW tells nothing.
        """
        spec = self.views.project.spec
        parts = ", ".join(f"CAST({name(column)} AS VARCHAR)" for column in spec.data.key)
        time = name(str(spec.data.sources[self.views.row_source].event_time))
        clock = CLOCKS.get(spec.release.cluster)
        cluster = f"strftime({time}, {literal(clock)})" if clock else f"CAST({name(spec.release.cluster)} AS VARCHAR)"
        return f"md5_number_lower(concat_ws(chr(31), {parts})) AS {ROW}, {time} AS {EVENT_TIME}, {cluster} AS {CLUSTER}"

    def _joined(self) -> dict[str, str]:
        """Make the view ``joined`` (raw values); return its private columns and whose pseudonyms they take.

        Of several matches in a lookup one is taken, the first by all its columns: rows are never multiplied.
        """
        project, source = self.views.project, self.views.row_source
        own = self.views.columns(source)
        chosen = [f"{self._typed(source, column, kind, 'r')} AS {name(column)}" for column, kind in own.items()]
        private = {column: column for column in private_columns(project, source, own)}
        joins = []
        for other, spec in list(project.spec.data.sources.items())[1:]:
            columns = self.views.columns(other)
            alias = name(f"j_{other}")
            for column, kind in columns.items():
                if column not in spec.join:
                    chosen.append(f"{self._typed(other, column, kind, alias)} AS {name(f'{other}_{column}')}")
            private |= {f"{other}_{c}": c for c in private_columns(project, other, columns) if c not in spec.join}
            joins.append(
                f"LEFT JOIN (SELECT * FROM {name(f'good_{other}')} QUALIFY row_number() OVER "
                f"(PARTITION BY {names(list(spec.join))} ORDER BY {names(list(columns))}) = 1) AS {alias} ON "
                + " AND ".join(f"r.{name(column)} = {alias}.{name(column)}" for column in spec.join)
            )
        clash = sorted(
            {each for each in (f"{o}_{c}" for o in self._others() for c in self.views.columns(o)) if each in own}
        )
        if clash:
            raise DataError(f"{project.name}: {', '.join(clash)}: a column of {source} has the name of a joined one")
        self.views.con.execute(
            f"CREATE VIEW joined AS SELECT {', '.join(chosen)} FROM {name(f'good_{source}')} AS r {' '.join(joins)}"
        )
        return private

    def _others(self) -> list[str]:
        return list(self.views.project.spec.data.sources)[1:]

    def _typed(self, source: str, column: str, kind: str, alias: str) -> str:
        """A column; with the type that the contract states where the file had no value to tell it from."""
        stated = self.contract.of(source).columns.get(column)
        plain = f"{alias}.{name(column)}"
        if stated is None or kind.partition("(")[0] in TYPES[stated]:
            return plain
        return f"CAST({plain} AS {_CASTS[stated]})"


def quarantine(views: Views, source: str, pseudonyms: Pseudonymiser) -> pa.Table:
    """The partition's rows of a source that are in breach, with ``_reasons`` (text), pseudonymised."""
    con = views.con
    relation = name(f"quarantined_{source}")
    columns = views.columns(source)
    con.execute(
        f"CREATE VIEW {relation} AS SELECT w.* EXCLUDE (_slice), array_to_string(b._reasons, '; ') AS _reasons "
        f"FROM {name(f'win_{source}')} AS w JOIN {name(f'bad_{source}')} AS b USING (_n)"
    )
    hidden = {column: column for column in private_columns(views.project, source, columns)}
    query = pseudonymised(con, relation, hidden, pseudonyms)
    return arrow(con, f"SELECT * EXCLUDE (_n) FROM ({query}) ORDER BY _n")


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as Parquet; the same table gives the same bytes."""
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table.replace_schema_metadata(None), buffer, compression="zstd")
    return buffer.getvalue()


def write_table(folder: str, key: str, table: pa.Table) -> tuple[str, str]:
    """Write a table under a name that its content decides; its URL and SHA-256."""
    content = parquet_bytes(table)
    digest = files.sha256(content)
    url = f"{folder}/{key}-{digest[:8]}.parquet"
    if not files.exists(url):
        files.write_bytes(url, content)
    return url, digest

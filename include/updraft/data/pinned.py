"""A project's schema: which type each column of its sources has, written down when it was told, and read from there ever after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft import files
from updraft.data.cleaning import cleaned_columns
from updraft.data.contract import Contract
from updraft.data.duck import parquet
from updraft.data.schema import STORAGE, ColumnKind, ColumnType, of_storage, stated
from updraft.data.type_inference import decimal_commas, has_long, infer, without_values
from updraft.data.views import CLOCKS, label_columns, private_columns
from updraft.errors import DataError
from updraft.lake.places import Lake
from updraft.lock import exclusive
from updraft.spec.cleaning import reads_text
from updraft.spec.model import Project

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb


def read_schema(lake: Lake, source: str) -> dict[str, ColumnType]:
    """The types that were written down for a source; empty before its first file.

    :raises DataError: when the file is not one of ours.
    """
    url = lake.schema(source)
    if not files.exists(url):
        return {}
    try:
        return {str(column): ColumnType.from_dict(value) for column, value in files.read_json(url)["columns"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{url}: the schema of source {source} cannot be read ({type(error).__name__}: {error}); restore it from a backup, "
            "or remove it, and the next partition's file tells the types anew"
        ) from error


def keep_classes(project: Project, lake: Lake) -> None:
    """Write down the label's classes the first time, and hold them against it ever after: a published label is a position in this list.

    :raises DataError: when the list is another one by now.
    """
    classes = list(project.spec.data.label.classes)
    url = lake.classes
    if not files.exists(url):
        if not classes:
            return
        with exclusive(lake.schema_lock):
            if not files.exists(url):
                files.write_json(url, classes)
    if (kept := files.read_json(url)) != classes:
        raise DataError(
            f"{project.name}: data.label.classes is {_listed(classes)}, and was {_listed(kept)} when the first labels were published; published "
            "labels and models speak of positions in that list, so put it back. For other classes, begin a project of another name"
        )


def _listed(classes: Sequence[str]) -> str:
    return f"[{', '.join(map(str, classes))}]"


LONG: tuple[ColumnKind, str] = ("integer", "BIGINT")
"""Of integers that a float64 may round."""


@dataclass(frozen=True)
class Told:
    """What a file was read to."""

    types: dict[str, ColumnType]
    new: dict[str, ColumnType]
    """The columns whose type nothing had told before."""
    identity: frozenset[str] = frozenset()
    """The columns of the file that name something."""


@dataclass(frozen=True)
class SchemaOf:
    """The schema of one source, against the file of one partition."""

    project: Project
    contract: Contract
    source: str
    lake: Lake

    def types(
        self, con: duckdb.DuckDBPyConnection, path: Path, columns: Mapping[str, str], *, written: bool, key: str
    ) -> Told:
        """The type of each column of a file, and what is told here for the first time: :meth:`write` it when the rest is sound.

        A column without a single value is not pinned: the first file with values tells its type.

        :param path: the file as :func:`updraft.data.sources.table` keeps it.
        :param columns: names and DuckDB types there.
        :param written: whether it was a text file.
        :param key: of the partition that the file is of.
        :raises DataError: numbers with decimal commas of which the project says nothing.
        """
        identity = self._identity(columns)
        pinned = self._pinned(identity)
        chosen = {column: self.named(column) for column in columns}
        untold = [column for column, kind in chosen.items() if kind is None and column.lower() not in pinned]
        relation = parquet(str(path), row_numbers=True)
        told = self._told(con, relation, untold, columns, identity, written=written, key=key)
        nothing = ColumnType("text", "VARCHAR", "inferred")
        types = {}
        for column in columns:
            _, known = pinned.get(column.lower(), (column, None))
            bare = nothing if written else ColumnType(*of_storage(columns[column]), "inferred")
            types[column] = chosen[column] or known or told.get(column) or bare
        return Told(types, {column: kind for column, kind in told.items() if kind is not None}, identity)

    def _pinned(self, identity: frozenset[str]) -> dict[str, tuple[str, ColumnType]]:
        """What is written down, by the names of the columns in lower case: name and type.

        What the project uses a column for may have changed since: then what was written down of it does not hold.
        """
        names = {column.lower() for column in identity}
        return {
            column.lower(): (column, kind)
            for column, kind in read_schema(self.lake, self.source).items()
            if kind.origin != ("inferred" if column.lower() in names else "role")
        }

    def write(self, told: Told) -> bool:
        """Write down what was told for the first time, beside what others have told meanwhile; False where theirs is another type.

        Theirs holds then, and the file has to be read again.
        """
        if not told.new:
            return True
        with exclusive(self.lake.schema_lock):
            pinned = self._pinned(told.identity)
            others = {column: pinned[column.lower()][1] for column in told.new if column.lower() in pinned}
            kept = dict(pinned.values()) | {column: kind for column, kind in told.new.items() if column not in others}
            if len(kept) > len(pinned):
                kinds = {column: kind.to_dict() for column, kind in sorted(kept.items())}
                files.write_json(self.lake.schema(self.source), {"source": self.source, "columns": kinds})
        return all(
            (kind.kind, kind.storage) == (told.new[name].kind, told.new[name].storage) for name, kind in others.items()
        )

    def _told(
        self,
        con: duckdb.DuckDBPyConnection,
        relation: str,
        untold: list[str],
        columns: Mapping[str, str],
        identity: frozenset[str],
        *,
        written: bool,
        key: str,
    ) -> dict[str, ColumnType | None]:
        """The types that this file tells; None where it has no value of a column."""
        spec = self.project.spec.data.sources[self.source]
        others = [column for column in untold if column not in identity]
        told: dict[str, ColumnType | None] = {}
        if written:
            if others and spec.decimal == ".":
                self._refuse_commas(con, relation, others)
            for column, guess in infer(con, relation, others, spec).items():
                told[column] = guess and ColumnType(*guess, "inferred", key)
            return told | {column: ColumnType("text", "VARCHAR", "role") for column in untold if column in identity}
        empty = without_values(con, relation, {column: columns[column] for column in untold})
        numbers = [column for column in untold if of_storage(columns[column]) == ("number", "BIGINT")]
        long = has_long(con, relation, numbers)
        for column in untold:
            if column in empty or '"NULL"' in columns[column]:
                continue
            kind, storage = LONG if column in long else of_storage(columns[column])
            told[column] = ColumnType(kind, storage, "role" if column in identity else "inferred", key)
        return told

    def unpinned(self, types: Mapping[str, ColumnType]) -> tuple[str, ...]:
        """The columns whose type nothing has told yet."""
        return tuple(column for column, kind in types.items() if kind.origin == "inferred" and not kind.since)

    def named(self, column: str) -> ColumnType | None:
        """The type that the project gives a column, whatever its file holds."""
        sources = self.project.spec.data.sources
        if column == sources[self.source].event_time:
            return ColumnType("time", STORAGE["time"], "role")
        if reads_text(cleaned_columns(self.project, self.source).get(column, ())):
            return ColumnType("text", STORAGE["text"], "role")  # what it is after its steps, they say
        kind = self.contract.of(self.source).columns.get(column)
        if kind is not None:
            return stated(kind)
        for other in self._joined_by(
            column
        ):  # both sides of a join are compared, so what is stated of one holds for both
            if column == sources[other].event_time:
                return ColumnType("time", STORAGE["time"], "role")
            if kind := self.contract.of(other).columns.get(column):
                return stated(kind)
        return None

    def _joined_by(self, column: str) -> list[str]:
        row_source, *others = self.project.spec.data.sources
        sources = self.project.spec.data.sources
        if self.source == row_source:
            return [other for other in others if column in sources[other].join]
        return [row_source] if column in sources[self.source].join else []

    def _identity(self, columns: Iterable[str]) -> frozenset[str]:
        """The columns that name something: their texts are compared and hashed, so they stay as they are written.

        So are private columns, but for those that the label or the contract reads as numbers.
        """
        data = self.project.spec.data
        row_source, *others = data.sources
        private = set(private_columns(self.project, self.source, columns)) - self._read_as_numbers(columns)
        if self.source != row_source:
            return frozenset(private | set(data.sources[self.source].join))
        joins = {column for other in others for column in data.sources[other].join}
        return frozenset(private | joins | set(data.key) | ({self.project.spec.release.cluster} - set(CLOCKS)))

    def _read_as_numbers(self, columns: Iterable[str]) -> frozenset[str]:
        """Of the columns those in the label, and those that the contract holds against numbers."""
        contract = self.contract.of(self.source)
        compared = {
            column
            for expectation in (*contract.rows, *contract.table)
            if expectation.name.startswith("column_pair")
            or (
                any(isinstance(expectation.args.get(bound), int | float) for bound in ("min_value", "max_value"))
                and not expectation.name.startswith(("column_value_lengths", "column_unique", "column_proportion"))
            )
            for column in expectation.columns
        }
        if self.source == next(iter(self.project.spec.data.sources)):
            compared |= set(label_columns(self.project, columns))
        return frozenset(compared)

    def _refuse_commas(self, con: duckdb.DuckDBPyConnection, relation: str, columns: list[str]) -> None:
        with_commas = decimal_commas(con, relation, columns)
        if not with_commas:
            return
        where = f"source {self.source}: {self.project.spec.data.sources[self.source].place}"
        shown, text = (
            ", ".join(map(repr, with_commas)),
            f"`{next(iter(with_commas))}: text` under `{self.source}.columns` in the contract",
        )
        if all(with_commas.values()):
            raise DataError(
                f"{where}: {shown}: numbers with three digits behind a comma, such as thousands; write them without, or, if the comma is a "
                f'decimal one, say so with `decimal: ","` in data.sources.{self.source}, or, if they are no numbers, state {text}'
            )
        raise DataError(
            f'{where}: {shown}: numbers with a decimal comma; say so with `decimal: ","` in data.sources.{self.source}, or, if they '
            f"are no numbers, state {text}"
        )

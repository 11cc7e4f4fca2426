"""Raw values of private columns, looked for in what was written of a partition.

What is looked for are the values of the private columns in the partition's raw files, without regard to case and the blanks around them. A
column that holds pseudonyms must hold nothing else. Everywhere else a value is found as a whole: a cell, or words of a text. Left out there are
values that would be found by chance (:func:`is_telling`), those that a public column of the sources holds too, and words of the project's own
files. One pass over a text looks for all values at once: each is known by its first word.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.data.catalogue import MISFITS
from updraft.data.extraction import raw_url
from updraft.data.privacy import LENGTH
from updraft.data.views import hidden_columns, private_columns
from updraft.settings import Settings
from updraft.spec.model import Project

if TYPE_CHECKING:
    import pyarrow as pa

SHORTEST = 6
"""Characters of a value that is looked for in texts and in other columns."""
FEWEST_DIGITS = 9
"""Of a value without a letter: shorter ones are counts, times and ids of anything."""
MOST_VALUES = 100_000
"""Distinct values of a private column that are looked for, and distinct cells of a column that are looked at: the first ones of a file."""
MOST_BYTES = 8 * 2**20
"""Of a page or a log that are read: its end."""
_WORD = re.compile(r"\w+")
_PSEUDONYM = re.compile(rf"[0-9a-f]{{{LENGTH}}}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ t].*)?")
_PLACEHOLDERS = {
    "unknown",
    "missing",
    "anonymous",
    "undefined",
    "not available",
    "not known",
    "no name",
    "deleted",
    "redacted",
}


@dataclass(frozen=True)
class Leak:
    """A raw private value stands where none may."""

    column: str
    """The private column, as ``<source>.<column>``."""
    place: str
    """URL or name of what holds it."""
    where: str
    """The column, or the line; never the value."""

    @property
    def words(self) -> str:
        """For people."""
        return f"a raw value of the private column {self.column} stands in {self.place} ({self.where})"


@dataclass(frozen=True)
class Secrets:
    """What is looked for, by value in small letters: the private column that holds it."""

    cells: Mapping[str, str]
    """Every value: none may stand where pseudonyms do."""
    by_word: Mapping[str, tuple[tuple[str, int, str], ...]]
    """By its first word the values that are looked for everywhere else, each with the place of that word in it, and its column."""

    def in_text(self, text: str) -> str | None:
        """The private column of which a value stands in a text; None when there is none."""
        small = text.casefold()
        for word in _WORD.finditer(small):
            for value, offset, column in self.by_word.get(word[0], ()):
                begin = word.start() - offset
                end = begin + len(value)
                if begin >= 0 and small.startswith(value, begin) and not small[end : end + 1].isalnum():
                    return column
        return None

    def in_table(self, place: str, table: pa.Table, hidden: Collection[str]) -> Leak | None:
        """The first column of a table in which a value stands.

        :param hidden: names of columns that hold pseudonyms, and nothing else.
        """
        for column in table.column_names:
            for cell in _texts(table[column]):
                held = self._in_cell(column, cell, hidden)
                if held is not None:
                    return Leak(held, place, f"column {column}")
        return None

    def _in_cell(self, column: str, cell: str, hidden: Collection[str]) -> str | None:
        if column not in hidden:
            return self.in_text(cell)
        return None if _PSEUDONYM.fullmatch(cell) else self.cells.get(_small(cell), column)

    def in_json(self, place: str, value: Any, path: str = "") -> Leak | None:
        """The first text of a JSON value in which a value stands."""
        if isinstance(value, str):
            held = self.in_text(value)
            return None if held is None else Leak(held, place, path or "text")
        below: Iterable[tuple[str, Any]] = ()
        if isinstance(value, Mapping):
            if (held := self.in_text("\n".join(map(str, value)))) is not None:
                return Leak(held, place, f"names of {path or 'keys'}")
            below = ((f"{path}.{name}" if path else str(name), part) for name, part in value.items())
        elif isinstance(value, list | tuple):
            below = ((path, part) for part in value)
        return next((leak for name, part in below if (leak := self.in_json(place, part, name)) is not None), None)

    def in_lines(self, place: str, text: str) -> Leak | None:
        """The first line of a page or a log in which a value stands: as it is, or as HTML or JSON writes it."""
        for number, line in enumerate(text.splitlines(), start=1):
            plain = html.unescape(line)
            if plain.startswith("{"):
                try:
                    plain = "\n".join(map(str, json.loads(plain).values()))
                except (ValueError, AttributeError):
                    plain = html.unescape(line)
            if (held := self.in_text(plain)) is not None:
                return Leak(held, place, f"line {number}")
        return None


def secrets_of(project: Project, settings: Settings, key: str) -> Secrets:
    """The values of the private columns in a partition's raw files."""
    tables = _raw_tables(project, settings, key)
    cells = _private_values(project, tables)
    public = {
        small
        for source, table in tables.items()
        for column in set(table.column_names) - {MISFITS, *private_columns(project, source, table.column_names)}
        for cell in _texts(table[column])
        if (small := _small(cell)) in cells
    }
    own_text = _own_text(project, tables)
    own_words = {word[0] for word in _WORD.finditer(own_text)}
    by_word: dict[str, list[tuple[str, int, str]]] = {}
    for value, column in cells.items():
        word = _WORD.search(value)
        if word is None or not is_telling(value) or value in public:
            continue
        if not (word[0] in own_words and value in own_text):
            by_word.setdefault(word[0], []).append((value, word.start(), column))
    return Secrets(cells, {word: tuple(values) for word, values in by_word.items()})


def _raw_tables(project: Project, settings: Settings, key: str) -> dict[str, pa.Table]:
    """By source its raw file's private columns, and those that may hold texts."""
    tables = {}
    for source in project.spec.data.sources:
        url = raw_url(project, settings, key, f"{source}.parquet")
        if files.exists(url):
            tables[source] = _read(url, also=partial(private_columns, project, source))
    return tables


def _private_values(project: Project, tables: Mapping[str, pa.Table]) -> dict[str, str]:
    """In small letters, with the first private column that holds each."""
    cells: dict[str, str] = {}
    skipped = set(project.spec.privacy.scan.not_searched)
    for source, table in tables.items():
        for column in private_columns(project, source, table.column_names):
            if skipped & {column, f"{source}_{column}"}:
                continue
            for value in (*_texts(table[column], numbers=True), *_misfits(table, column)):
                if value.strip():
                    cells.setdefault(_small(value), f"{source}.{column}")
    return cells


def is_telling(value: str) -> bool:
    """Whether a value (in small letters) that is found in a text is there by no chance."""
    if len(value) < SHORTEST or _DATE.fullmatch(value) or value in _PLACEHOLDERS:
        return False
    return any(sign.isalpha() for sign in value) or sum(sign.isdigit() for sign in value) >= FEWEST_DIGITS


def leak_in_parquet(secrets: Secrets, project: Project, url: str) -> Leak | None:
    """The first column of a file of the lake in which a raw private value stands."""
    return secrets.in_table(url, _read(url), hidden_columns(project.spec.data))


def _own_text(project: Project, tables: Mapping[str, pa.Table]) -> str:
    """What the project's files say, in small letters, with the columns' names: pages and messages repeat it anyway."""
    told = [path.read_text(errors="replace") for path in sorted(project.folder.glob("*.yaml"))]
    return "\n".join([*told, *(column for table in tables.values() for column in table.column_names)]).casefold()


def _small(value: str) -> str:
    return value.strip().casefold()


def _read(url: str, also: Callable[[list[str]], Iterable[str]] = lambda _: ()) -> pa.Table:
    """The columns of a Parquet file that may hold texts, and some others of its columns."""
    import pyarrow as pa
    import pyarrow.parquet

    plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_temporal, pa.types.is_decimal)
    with files.fetched(url) as path:
        schema = pyarrow.parquet.read_schema(path)
        wanted = set(also(schema.names))
        read = [
            field.name
            for field in schema
            if field.name in wanted or not any(is_plain(field.type) for is_plain in plain)
        ]
        return pyarrow.parquet.read_table(path, columns=read)


def _texts(column: pa.ChunkedArray, *, numbers: bool = False) -> Iterator[str]:
    """The distinct texts of a column, the first ones of many.

    :param numbers: whether what is no text counts too, as it is written without a needless point.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_list(kind):
        column, kind = pc.list_flatten(column), kind.value_type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not is_text and (not numbers or pa.types.is_nested(kind)):
        return
    for value in pc.unique(column).slice(0, MOST_VALUES).to_pylist():
        if value is not None:
            yield str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _misfits(table: pa.Table, column: str) -> Iterator[str]:
    """What a private column's type cannot hold: it stands beside its column."""
    import pyarrow.compute as pc

    if MISFITS in table.column_names:
        for value in pc.unique(pc.map_lookup(table[MISFITS], column, "first")).to_pylist():
            if value is not None:
                yield str(value)

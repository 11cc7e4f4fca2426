"""How a CSV file is written: separator, columns and encoding, told from its first line, and what is wrong with a line that does not fit.

Nothing is guessed from the rows, so one odd row changes nothing for the others. What is said of a fault names line, cause and mend, and no cell.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from updraft.data.duck import in_words, literal
from updraft.data.limits import COLUMNS, HEADER_BYTES, too_wide
from updraft.errors import DataError
from updraft.spec.problems import did_you_mean

if TYPE_CHECKING:
    import duckdb

_SEPARATORS = (",", ";", "\t", "|")
_WRITTEN = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_LOOKS_LIKE_DATA = re.compile(
    r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?|\d{4}-\d\d-\d\d([T ].*)?|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}.*|.*@.*|(?i:true|false|nan|null)"
)
"""Cells that no header has: numbers, times and the like."""


@dataclass(frozen=True)
class Dialect:
    """How one CSV file is written."""

    separator: str
    columns: tuple[str, ...]

    def reader(self, path: Path) -> str:
        """A table expression over the file: every column as text, as it stands there; an empty field is null."""
        columns = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in self.columns)
        return (
            f"read_csv({literal(str(path))}, auto_detect = FALSE, header = TRUE, delim = {literal(self.separator)}, "
            f"quote = '\"', escape = '\"', nullstr = [''], columns = {{{columns}}})"
        )


def read_dialect(path: Path, what: str, *, wanted: Collection[str], asked: bool = True) -> Dialect:
    """Read the first line of a CSV file that is written in UTF-8.

    :param what: how an error begins: the source and its URL.
    :param wanted: the columns that the project names; they tell the separator.
    :param asked: whether a file without any of them is refused; if not, one is refused that has nothing like them either.
    :raises DataError: when there is no first line, when it is no header, or when two columns share a name.
    """
    line = _first_line(path, what)
    separator = max(
        _SEPARATORS,
        key=lambda sign: (len(set(wanted) & set(_cells(line, sign))), line.count(sign), -_SEPARATORS.index(sign)),
    )
    columns = _cells(line, separator)
    if len(columns) > COLUMNS:
        raise DataError(too_wide(what))
    if not {column.lower() for column in wanted} & {column.lower() for column in columns}:
        data = sum(bool(_LOOKS_LIKE_DATA.fullmatch(cell)) for cell in columns)
        if data:
            raise DataError(
                f"{what} has no header: {data} of the {len(columns)} cells of its first line are values, as of a row "
                "(they are not told here, as they may be private); write the names of the columns above the rows"
            )
        if wanted and (asked or not any(did_you_mean(column, columns) for column in wanted)):
            raise DataError(
                f"{what} has no column {', '.join(sorted(map(repr, wanted)))}, of all that project.yaml names; its first line has "
                f"{len(columns)} cells, with {_WRITTEN[separator]} between them (they are not told here, as they may be no names but a row)"
            )
    if len(columns) > 1 and not columns[-1]:
        raise DataError(
            f"{what}: the first line ends with a {_WRITTEN[separator]}, so its last column has no name; "
            "name it, or take the sign out of every line"
        )
    empty = [str(place) for place, column in enumerate(columns, 1) if not column]
    if empty:
        raise DataError(f"{what}: column {', '.join(empty)} of {len(columns)} has no name in the first line; name it")
    return Dialect(separator, columns)


def check_names(columns: Collection[str], what: str, *, kept: Collection[str] = ()) -> None:
    """Refuse names that would stand for two columns, or for one of Updraft's own.

    :param kept: the columns that the project keeps; all when empty.
    :raises DataError: with the names.
    """
    lower = Counter(column.lower() for column in columns)
    twice = sorted({column for column in columns if lower[column.lower()] > 1})
    if twice:
        raise DataError(
            f"{what} has several columns that differ at most in their case: {', '.join(map(repr, twice))}; "
            "a name in project.yaml would mean any of them, so rename or remove all but one"
        )
    internal = sorted(column for column in columns if column.startswith("_") and (not kept or column in kept))
    if internal:
        raise DataError(
            f"{what} has columns whose names begin with an underscore: {', '.join(map(repr, internal))}; such names are "
            "Updraft's own: rename them in the source, or name the columns to keep under `columns`"
        )


def _cells(line: str, separator: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in next(csv.reader([line], delimiter=separator), []))


def _first_line(path: Path, what: str) -> str:
    with path.open("rb") as file:
        content = file.read(HEADER_BYTES)
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        text = decoder.decode(content)
    except UnicodeDecodeError as error:
        before = content[: error.start]
        if b"\n" not in before:
            raise DataError(not_utf8(what, 1)) from None
        text = before.decode("utf-8-sig")
    lines = re.split(r"\r\n|\n|\r", text, maxsplit=1)
    if len(lines) == 1 and len(content) == HEADER_BYTES:
        raise DataError(too_wide(what))
    if "\0" in lines[0]:
        raise DataError(
            f"{what}: its first line holds zero bytes; if it is written in UTF-16, say so with `encoding: utf-16`, else it is no text"
        )
    if lines[0].count('"') % 2:
        raise DataError(
            f'{what}: the first line has a quote (") that does not close; close it, or take the line break out of the name of the column'
        )
    return lines[0]


def not_utf8(what: str, line: int) -> str:
    """What to say of a line that is written otherwise."""
    return (
        f"{what}: line {line} is not written in UTF-8; save the file as UTF-8, or say how it is written with "
        "`encoding: latin-1` (or windows-1252, utf-16) in its source"
    )


def wrong_line(error: duckdb.Error, what: str, dialect: Dialect) -> DataError:
    """What DuckDB's reader stumbled over: the line, the likely cause, and how to mend it."""
    text = str(error)
    place = re.search(r"CSV Error on Line: (\d+)", text)
    line = int(place[1]) if place else 0
    if "unicode" in text.lower():
        return DataError(not_utf8(what, line))
    if "unterminated quote" in text or ("unquoted" in text.lower() and "quote" in text.lower()):
        return DataError(
            f'{what}: line {line} has a quote (") that does not close; close it, or write a quote inside of a text twice ("")'
        )
    count = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
    if count:
        wanted, seen = int(count[1]), int(count[2])
        sign = _WRITTEN[dialect.separator]
        cause = (
            "the file may have been cut off while it was copied"
            if seen < wanted
            else f"a text with a {sign} in it must stand in quotes"
        )
        return DataError(
            f"{what}: line {line} has {seen} fields where the first line names {wanted} columns ({sign} between them): {cause}"
        )
    if "maximum line size" in text.lower() or "max_line_size" in text.lower():
        return DataError(f"{what}: line {line} is longer than 2 MiB; a quote that does not close looks like this too")
    if "invalid state" in text:
        return DataError(
            f"{what}: its lines do not all end alike, or quotes stand in the middle of texts; write it as RFC 4180 says"
        )
    where = f" (line {line} of the file)" if line else ""
    return DataError(f"{what} does not read as CSV: {in_words(type(error).__name__)}{where}")

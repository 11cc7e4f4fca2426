"""Records of JSON as lines that DuckDB reads: each an object of texts, as a CSV file holds texts.

Numbers keep their digits. What is nested becomes columns of its own, ``{"customer": {"id": 7}}`` a column ``customer_id``; a list stays
JSON. So a number in quotes and one without are told apart by nothing, as in CSV, and `docs/files.md` holds for both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from updraft.data import limits
from updraft.data.duck import literal
from updraft.errors import DataError

JSON_LINES = (".jsonl", ".ndjson")
_LONGEST_LINE = 2 * 2**20
_DEEPEST = 20


def decoded(text: str | bytes) -> Any:
    """JSON with its numbers as the texts that they are written as.

    :raises ValueError: when it is none.
    """
    return json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def write_lines(records: Iterable[tuple[str, Any]], path: Path) -> tuple[str, ...]:
    """Write records, each with the words for its place, and return the names of their columns in the order in which they came.

    :raises DataError: when one is no object, has a name that means two columns, or columns are too many.
    """
    columns: dict[str, None] = {}
    with path.open("w", encoding="utf-8") as file:
        for where, record in records:
            if not isinstance(record, dict):
                raise DataError(f"{where} is no JSON object; a record is written as {{...}}")
            flat = dict[str, str | None]()
            for name, value in _flat(record, "", where):
                if name in flat:
                    raise DataError(
                        f"{where} has two values for column {name!r}: one is nested; give one of them another name"
                    )
                flat[name] = value
            columns.update(dict.fromkeys(flat))
            if len(columns) > limits.COLUMNS:
                raise DataError(limits.too_wide(where))
            file.write(json.dumps(flat, ensure_ascii=False))
            file.write("\n")
    return tuple(columns)


def lines_of(path: Path, what: str) -> Iterator[tuple[str, Any]]:
    """The records of a file of JSON lines (UTF-8).

    :raises DataError: with the first line that is none.
    """
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE + 1), b""), start=1):
            where = f"{what}: line {number}"
            if len(line) > _LONGEST_LINE:
                raise DataError(f"{where} has more than {_LONGEST_LINE // 2**20} MiB; write one record in each line")
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901
            if not line.strip():
                continue
            try:
                record = decoded(line)
            except (ValueError, RecursionError):
                record = None
            if record is None:
                raise DataError(f"{where} is no JSON; write one object in each line, in UTF-8")
            yield where, record


def _flat(record: dict[str, Any], above: str, where: str, depth: int = 0) -> Iterator[tuple[str, str | None]]:
    if depth > _DEEPEST:
        raise DataError(f"{where} is nested more than {_DEEPEST} deep")
    for key, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}_", where, depth + 1)
        else:
            yield f"{above}{key}", _text(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A list with its numbers as numbers again."""
    if isinstance(value, _Number):
        return json.loads(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def keep_columns(lines: Path, columns: Iterable[str]) -> None:
    """Note the names of the columns beside the lines."""
    _names_of(lines).write_text(json.dumps(list(columns)))


def kept_columns(lines: Path) -> tuple[str, ...]:
    """The names that :func:`keep_columns` noted."""
    return tuple(json.loads(_names_of(lines).read_text()))


def _names_of(lines: Path) -> Path:
    return lines.with_suffix(".columns")


def lines_reader(path: Path, columns: Iterable[str]) -> str:
    """A table expression over lines that :func:`write_lines` wrote; every column is text."""
    types = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in columns)
    return f"read_json({literal(str(path))}, columns = {{{types}}}, format = 'newline_delimited', maximum_object_size = {8 * _LONGEST_LINE})"

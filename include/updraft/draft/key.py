"""Which columns tell one row from another."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from updraft.draft.question import Question, Settle
from updraft.draft.table import Column, Table
from updraft.draft.words import names_an_id
from updraft.errors import InputError
from updraft.spec.problems import did_you_mean

_LONGEST = 6
"""Columns of a key that is looked for."""
_TWICE = 0.01
"""Share of rows that may share an identifier with another: they are mistakes, and are quarantined."""


@dataclass(frozen=True)
class Key:
    """The columns that name a row."""

    columns: tuple[str, ...]
    why: str
    shared: int = 0
    """Rows beyond the first of those that have the same."""


def choose(table: Table, settle: Settle, *, columns: Sequence[str] | None, taken: Collection[str]) -> Key:
    """The key, as somebody said, or as the rows tell it.

    :param columns: what somebody said.
    :param taken: columns that are no part of a key, such as the label.
    :raises InputError: when they do not tell rows apart, or none can be told.
    """
    if columns is not None:
        return _named(table, columns)
    question = _question(table, taken)
    key = _named(table, _listed(settle(question)))
    return Key(key.columns, question.why, key.shared)


def _named(table: Table, columns: Sequence[str]) -> Key:
    for column in columns:
        if column not in table.columns:
            hint = did_you_mean(column, table.columns)
            raise InputError(f"--key {column!r} is no column{hint}; there are {', '.join(table.columns)}")
        if table.columns[column].missing:
            raise InputError(
                f"--key {column!r} is missing in {table.columns[column].missing:,} of {table.rows:,} rows; a key is there in every row"
            )
    shared = table.rows - table.distinct(columns)
    if shared > _TWICE * table.rows:
        raise InputError(
            f"--key {','.join(columns)} does not tell rows apart: {shared:,} of {table.rows:,} rows have the key of another row. Add columns to "
            "it, such as the event time, or leave out what stands in the data twice"
        )
    return Key(tuple(dict.fromkeys(columns)), "as you said", shared)


def _question(table: Table, taken: Collection[str]) -> Question:
    complete = [
        column for name, column in table.columns.items() if name not in taken and column.kind and not column.missing
    ]
    ids = [
        column.name
        for column in complete
        if names_an_id(column.name) and not column.is_measure and column.kind != "time"
    ]
    ids.sort(key=lambda column: column.lower() not in ("id", f"{table.name}_id", f"{table.name}id"))
    asks = "Which columns tell one row from every other?"

    def answer(columns: Sequence[str], why: str, *, is_safe: bool) -> Question:
        return Question("--key", asks, ",".join(columns), is_safe, why, tuple(ids))

    for column in ids:
        if table.columns[column].distinct == table.rows:
            return answer([column], "another one in every row, and named as an identifier", is_safe=True)
    for column in ids:
        if table.event_time not in taken and table.distinct([column, table.event_time]) == table.rows:
            return answer(
                [column, table.event_time], "an identifier and the event time: another pair in every row", is_safe=True
            )
    for column in ids:
        shared = table.rows - table.columns[column].distinct
        if shared <= _TWICE * table.rows:
            return answer([column], f"named as an identifier; {shared:,} rows share theirs with another", is_safe=False)
    for plain in complete:
        if plain.distinct == table.rows and (plain.kind in ("text", "integer")):
            return answer([plain.name], "another text in every row", is_safe=False)
    columns = _combination(table, complete)
    if columns is not None:
        return answer(columns, "Together they are another in every row, and no fewer of them are", is_safe=False)
    twice = table.rows - table.distinct(list(table.columns))
    why = (
        f"No combination of columns does; {twice:,} of {table.rows:,} rows stand in the data more than once, column by column"
        if twice
        else "No combination of columns that have a value in every row does"
    )
    return Question(
        "--key", asks, None, False, f"{why}. Leave out what stands there twice, or add a column that counts rows", ()
    )


def _combination(table: Table, complete: Sequence[Column]) -> list[str] | None:
    """Columns that together tell every row: the event time, then texts, then whole numbers, the most telling first, and none too many."""
    texts = [column.name for column in complete if column.kind in ("text", "boolean")]
    numbers = [column.name for column in complete if column.kind in ("number", "integer") and column.is_whole]
    numbers.sort(key=lambda column: not names_an_id(column))
    chosen, told = [table.event_time], table.distinct([table.event_time])
    for candidates in (texts, numbers):
        left = list(candidates)
        while left and told < table.rows and len(chosen) < 2 * _LONGEST:
            counts = {column: table.distinct([*chosen, column]) for column in left}
            best = max(left, key=lambda column: counts[column])
            if counts[best] == told:
                break
            told = counts[best]
            chosen.append(best)
            left.remove(best)
    if told < table.rows:
        return None
    for column in chosen[::-1]:
        fewer = [kept for kept in chosen if kept != column]
        if fewer and column != table.event_time and table.distinct(fewer) == table.rows:
            chosen = fewer
    return [*chosen[1:], chosen[0]] if len(chosen) <= _LONGEST else None


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]

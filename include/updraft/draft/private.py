"""Columns that look like they tell who somebody is. What they hold is never shown, and a model reads none of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from updraft.data.personal_texts import FORMS
from updraft.draft.table import Column, Table
from updraft.draft.words import PRIVATE_WORDS, THINGS_WITH_NAMES, words_of

_SHARE = 0.5
"""Share of a column's values from which they are of a form."""
_EVERY = 4
"""Of the rows of a sample whose values are looked at."""
_FEW = 12
"""Different values up to which a column tells of nobody."""


def looks_private(table: Table, known: Collection[str]) -> dict[str, str]:
    """Columns that look private, and why, each as the end of a sentence.

    :param known: columns that are not looked at, such as the label and the event time.
    """
    sample = table.sample()
    told = {}
    for column in table.columns.values():
        if column.name in known or column.kind is None:
            continue
        written = (
            [str(value) for value in sample[column.name].dropna().iloc[::_EVERY]]
            if column.kind in ("text", "number", "integer")
            else []
        )
        if why := _by_name(column) or _by_values(column, written):
            told[column.name] = why
    return told


def _by_name(column: Column) -> str | None:
    own = words_of(column.name)
    whole = "".join(own)
    for what, words in PRIVATE_WORDS.items():
        if not (set(own) | {whole}) & words or (what == "name" and set(own) & THINGS_WITH_NAMES):
            continue
        if column.distinct > _FEW and column.kind != "boolean":
            return f"has the name of a {what}" if what[0] not in "ae" else f"has the name of an {what}"
    return None


def _by_values(column: Column, values: Sequence[str]) -> str | None:
    if not values or column.distinct <= _FEW:
        return None
    for what, is_one in FORMS.items():
        if sum(bool(is_one(value.strip())) for value in values) >= _SHARE * len(values):
            return f"holds what looks like {what}"
    return None

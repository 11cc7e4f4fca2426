"""What a model may read of a table: numbers, categories, parts of times, words of texts; and why it reads nothing of the other columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from updraft.draft.table import Column, Table
from updraft.draft.words import names_an_id

MOST_CATEGORIES = 200
"""Different texts up to which a column is one of categories: more name things or say something, and are rare each."""
GROUPS = 256
"""Into which more texts are put by their hash: more are as rare as the texts themselves."""
WORD_GROUPS = 32
_FREE_TEXT = 3
"""Words of a text in the mean from which it says something by its words, rather than as a whole."""
_MOST_MISSING = 0.98
_MOST_COLUMNS = 1_000
"""Features; a wider table is for a person to choose from."""

How = Literal["number", "category", "clock", "weekday", "days_before", "hashed", "words"]


@dataclass(frozen=True)
class Feature:
    """One feature, and the column that it is made of."""

    name: str
    """Of words, what the names of several features begin with."""
    column: str
    how: How


@dataclass(frozen=True)
class Chosen:
    """What is read, and what is not."""

    features: tuple[Feature, ...]
    unused: Mapping[str, str]
    """Column -> why nothing is made of it, as the end of a sentence."""


def choose(table: Table, *, key: Collection[str], left_out: Collection[str]) -> Chosen:
    """The features of a table.

    :param left_out: the label's columns, outcomes and private columns, which are told elsewhere.
    """
    features: list[Feature] = []
    unused: dict[str, str] = {}
    names = set(table.columns)

    def derived(name: str) -> str:
        while name in names:
            name += "_"
        names.add(name)
        return name

    for column in table.columns.values():
        if column.name in left_out:
            continue
        if column.name == table.event_time:
            times = (("hour", "clock"), ("weekday", "weekday")) if _has_clock(table) else (("weekday", "weekday"),)
            features += [Feature(derived(f"{column.name}_{word}"), column.name, how) for word, how in times]  # type: ignore[arg-type]
        elif why := _unused(table, column, key):
            unused[column.name] = why
        elif sum(WORD_GROUPS + 1 if feature.how == "words" else 1 for feature in features) >= _MOST_COLUMNS:
            unused[column.name] = f"is one of more than {_MOST_COLUMNS}; choose which to read"
        elif column.kind == "time":
            features.append(Feature(derived(f"days_since_{column.name}"), column.name, "days_before"))
        elif _is_free_text(table, column):
            features.append(Feature(_prefix(f"{column.name}_text", names), column.name, "words"))
        elif column.kind == "text" and column.distinct > MOST_CATEGORIES:
            features.append(Feature(derived(f"{column.name}_group"), column.name, "hashed"))
        elif column.kind == "text" or column.name in key:
            features.append(Feature(column.name, column.name, "category"))
        else:
            features.append(Feature(column.name, column.name, "number"))
    return Chosen(tuple(features), unused)


def _unused(table: Table, column: Column, key: Collection[str]) -> str | None:
    if column.kind is None:
        return "is empty"
    if column.distinct == 1 and not column.missing:
        return "has one value in every row"
    if column.missing > _MOST_MISSING * table.rows:
        return f"is missing in {column.missing / table.rows:.1%} of rows"
    if column.kind == "other":
        return f"is of type {column.type.storage}; derive a number or a text from it"
    if names_an_id(column.name) and (column.kind == "text" or column.is_whole) and column.distinct > MOST_CATEGORIES:
        return "is an identifier"
    if column.name in key and column.distinct > MOST_CATEGORIES and column.distinct < table.rows:
        return f"is part of the key, and has {column.distinct:,} different values"
    if column.kind == "text" and column.distinct > table.rows / 2 and not _is_free_text(table, column):
        return "has another text in almost every row"
    if column.name in key and column.distinct == table.rows:
        return "is the key"
    return None


def _is_free_text(table: Table, column: Column) -> bool:
    """Whether a column of many texts holds sentences."""
    if column.kind != "text" or column.distinct <= MOST_CATEGORIES:
        return False
    own = '"' + column.name.replace('"', '""') + '"'
    (words,) = table.asked(f"avg(length({own}) - length(replace({own}, ' ', '')) + 1)")
    return words is not None and float(words) >= _FREE_TEXT


def _prefix(name: str, names: set[str]) -> str:
    """Which no column's name begins with."""
    while any(other.startswith(name) for other in names):
        name += "_"
    names.add(name)
    return name


def _has_clock(table: Table) -> bool:
    """Whether the event times have more than a day in them."""
    own = '"' + table.event_time.replace('"', '""') + '"'
    (hours,) = table.asked(f"count(DISTINCT hour({own}))")
    return int(hours) > 1

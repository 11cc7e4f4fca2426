"""What a model may read of a table: numbers as they are, categories, parts of times; and why it reads nothing of the other columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from updraft.draft.table import Column, Table
from updraft.draft.words import names_an_id

MOST_CATEGORIES = 200
"""Different texts up to which a column is one of categories: more name things or say something, and are rare each."""
_MOST_MISSING = 0.98
_MOST_COLUMNS = 1_000
"""Features; a wider table is for a person to choose from."""

How = Literal["number", "category", "clock", "weekday", "days_before"]


@dataclass(frozen=True)
class Feature:
    """One feature, and the column that it is made of."""

    name: str
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
        elif len(features) >= _MOST_COLUMNS:
            unused[column.name] = f"is one of more than {_MOST_COLUMNS}; choose which to read"
        elif column.kind == "time":
            features.append(Feature(derived(f"days_since_{column.name}"), column.name, "days_before"))
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
    if (column.kind == "text" or column.name in key) and column.distinct > MOST_CATEGORIES:
        if column.distinct > table.rows / 2:
            return "has another text in almost every row"
        return f"has {column.distinct:,} different texts, more than {MOST_CATEGORIES}; group them, or derive a number"
    if column.name in key and column.distinct == table.rows:
        return "is the key"
    return None


def _has_clock(table: Table) -> bool:
    """Whether the event times have more than a day in them."""
    own = '"' + table.event_time.replace('"', '""') + '"'
    (hours,) = table.asked(f"count(DISTINCT hour({own}))")
    return int(hours) > 1

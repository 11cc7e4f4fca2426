"""Limits learnt from a table, so wide that the history keeps them with room to spare. Each is a guess for a person to tighten."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from updraft.data.duck import name
from updraft.data.type_inference import chunks
from updraft.draft.schedule import Volume
from updraft.draft.table import Table

ROOM = 3
"""Times the widest that was seen, from the middle."""
_MOST_MISSING = 0.3
"""Share of a partition in which a column may be missing beyond what was seen."""


@dataclass(frozen=True)
class Limits:
    """What ``expectations.yaml`` says of the one source."""

    columns: Mapping[str, str]
    """Column -> type."""
    rows: Sequence[Mapping[str, Any]]
    """Expectations that a row can break."""
    table: Sequence[Mapping[str, Any]]
    """Expectations on a partition as a whole."""


def learn(table: Table, volume: Volume, columns: Sequence[str], *, typed: Sequence[str]) -> Limits:
    """Types of columns, ranges of numbers, shares that may be missing, and rows of a partition.

    :param columns: that the features are made of, and are not named by text, such as a key.
    :param typed: columns whose type is stated, those of the label too.
    """
    kinds = {column: str(table.columns[column].type.kind) for column in typed}
    types = {column: kind for column, kind in kinds.items() if kind != "other"}
    rows: list[dict[str, Any]] = []
    for column in columns:
        of = table.columns[column]
        if of.kind in ("number", "integer") and of.low is not None and of.high is not None:
            low, high = _range(of.low, of.high)
            rows.append(
                {"expect": "column_values_to_be_between", "column": column, "min_value": low, "max_value": high}
            )
    counted = [count for count in volume.rows if count]
    most = max(counted, default=1)
    partition = [
        {
            "expect": "table_row_count_to_be_between",
            "min_value": max(1, min(counted, default=1) // ROOM),
            "max_value": most * ROOM,
        }
    ]
    return Limits(
        types, rows, [*partition, *_missing(table, volume, [column for column in columns if column in types])]
    )


def _range(low: float, high: float) -> tuple[float, float]:
    """Ends that lie ROOM times as far from the middle; what was never negative stays so."""
    if (low, high) == (0, 1):  # yes or no
        return 0, 1
    middle, reach = (low + high) / 2, ROOM * max((high - low) / 2, abs(high) * 0.1, 1e-6)
    return _round(0.0 if low >= 0 else middle - reach, up=False), _round(0.0 if high <= 0 else middle + reach, up=True)


def _round(value: float, *, up: bool) -> float:
    """A number of two digits, away from what was seen."""
    if not value:
        return 0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    rounded = (math.ceil if up else math.floor)(value / step) * step
    return int(rounded) if abs(rounded) >= 10 and abs(rounded) < 1e15 else float(f"{rounded:.2g}")


def _missing(table: Table, volume: Volume, columns: Sequence[str]) -> list[dict[str, Any]]:
    """How much of a column has to be there in each partition; nothing of one that lacks much of it somewhere."""
    told: list[dict[str, Any]] = []
    bucket = _BUCKETS.get(volume.schedule, "day")
    for part in chunks(list(columns)):
        shares = ", ".join(f"count({name(column)}) / count(*) AS s{place}" for place, column in enumerate(part))
        least = ", ".join(f"min(s{place})" for place in range(len(part)))
        query = f"SELECT {least} FROM (SELECT {shares} FROM typed GROUP BY date_trunc('{bucket}', {name(table.event_time)}))"
        for column, share in zip(part, table.con.execute(query).fetchall()[0], strict=True):
            mostly = math.floor((float(share) - _MOST_MISSING) * 20) / 20
            if mostly > 0:
                told.append({"expect": "column_values_to_not_be_null", "column": column, "mostly": mostly})
    return told


_BUCKETS = {"0 * * * *": "hour", "0 0 * * *": "day", "0 0 * * 1": "week"}

"""How a source joins the rows of a partition, in SQL: exactly, by the latest row before the event, or by what many rows come to.

Never the future: an ``asof`` row is at or before the event, and an aggregate takes rows strictly before it. No join multiplies rows, and
the same rows give the same bytes whatever their order.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from updraft.data.catalogue import TYPES
from updraft.data.cells import as_text
from updraft.data.duck import name, names
from updraft.errors import DataError
from updraft.spec.part import shown_duration
from updraft.spec.source import Source

Kinds = Mapping[str, str]
"""Column → DuckDB's type."""


def joined_names(source: str, spec: Source, columns: Iterable[str]) -> dict[str, str]:
    """The columns that a source adds to the rows → the column of its own that each is made of."""
    if spec.aggregate:
        return {
            f"{source}_{column}_{function}_{shown_duration(window)}": column
            for column, functions in spec.aggregate.items()
            for function in functions
            for window in spec.over
        }
    return {f"{source}_{column}": column for column in columns if column not in spec.join}


def matches(source: str, spec: Source, *, rows: str, others: str, time: str, kinds: tuple[Kinds, Kinds]) -> str:
    """SQL for what each row finds: ``_n`` of the row, ``_hit`` whether it finds a row, and the columns that the source adds.

    A row without a line here finds nothing.

    :param rows: view of the partition's rows, with ``_n``.
    :param others: view of the source's good rows, those from before the partition included where the join reaches back.
    :param time: the rows' event time.
    :param kinds: columns of ``rows`` and of ``others``.
    :raises DataError: when a column cannot be added up.
    """
    own, other = kinds
    chosen = {added: column for added, column in joined_names(source, spec, other).items() if column in other}
    if spec.aggregate:
        return _aggregates(source, spec, rows=rows, others=others, time=time, kinds=kinds)
    told = ", ".join(["TRUE AS _hit", *(f"w.{name(column)} AS {name(added)}" for added, column in chosen.items())])
    by = [*spec.join, *([str(spec.event_time)] if spec.asof else [])]
    unique = f"(SELECT * FROM {name(others)} QUALIFY row_number() OVER (PARTITION BY {names(by)} ORDER BY {names(list(other))}) = 1)"
    on = " AND ".join(_same(column, own, other) for column in spec.join)
    if not spec.asof:
        return f"SELECT r._n, {told} FROM {name(rows)} AS r JOIN {unique} AS w ON {on}"
    at, seen = f"r.{name(time)}", f"w.{name(str(spec.event_time))}"
    return (
        f"SELECT r._n, {told} FROM {name(rows)} AS r ASOF JOIN {unique} AS w ON {on} AND {at} >= {seen} "
        f"WHERE {seen} >= {at} - {_interval(spec.asof.tolerance)}"
    )


def _same(column: str, own: Kinds, other: Kinds) -> str:
    """Equal values; as texts where the two sides have other types."""
    sides = [(f"r.{name(column)}", own[column]), (f"w.{name(column)}", other[column])]
    same = sides[0][1] == sides[1][1] or all(kind.partition("(")[0] in TYPES["number"] for _, kind in sides)
    return " = ".join(value if same else as_text(value, kind) for value, kind in sides)


def _aggregates(source: str, spec: Source, *, rows: str, others: str, time: str, kinds: tuple[Kinds, Kinds]) -> str:
    """Range aggregates over one point for each key and moment: of rows and events together, so that a frame has no ties.

    Sums of moments are made in the order of their values, and windows over moments, so that floats add up the same each time.
    """
    own, other = kinds
    keys = [f"_key_{place}" for place in range(len(spec.join))]
    own_keys = [_key(column, own, other) for column in spec.join]
    other_keys = [_key(column, other, own) for column in spec.join]
    points, values = ["count(_there) AS _rows"], ["TRUE AS _there"]
    for place, column in enumerate(spec.aggregate):
        value = _value(source, column, spec, other)
        values.append(f"{value} AS _value_{place}")
        number = f"_value_{place}"
        points += [
            f"count({number}) AS _count_{place}",
            f"last({number} ORDER BY {number}) FILTER ({number} IS NOT NULL) AS _last_{place}",
        ]
        if {"sum", "mean"} & set(spec.aggregate[column]):
            points.append(f"sum({number} ORDER BY {number}) AS _sum_{place}")
    widest = spec.over.index(max(spec.over))
    told, frames = [f"COALESCE(sum(_rows) OVER w_{widest}, 0) > 0 AS _hit"], []
    for nth, window in enumerate(spec.over):
        frames.append(
            f"w_{nth} AS (PARTITION BY {', '.join(keys)} ORDER BY _at RANGE BETWEEN {_interval(window)} PRECEDING "
            "AND INTERVAL 1 MICROSECOND PRECEDING)"
        )
        for place, (column, functions) in enumerate(spec.aggregate.items()):
            for function in functions:
                added = name(f"{source}_{column}_{function}_{shown_duration(window)}")
                told.append(f"{_over(function, place, f'w_{nth}')} AS {added}")
    nothing = ", ".join("NULL" for _ in values)
    of_others = ", ".join(f"{expression} AS {key}" for expression, key in zip(other_keys, keys, strict=True))
    of_rows = ", ".join(f"{expression} AS {key}" for expression, key in zip(own_keys, keys, strict=True))
    here = " AND ".join(f"{key} IS NOT NULL" for key in keys)
    events = f"(SELECT _n, {of_rows}, {name(time)} AS _at FROM {name(rows)})"
    points_of = (
        f"SELECT {', '.join(keys)}, _at, {', '.join(points)} FROM ("
        f"SELECT {of_others}, {name(str(spec.event_time))} AS _at, {', '.join(values)} FROM {name(others)} "
        f"UNION ALL SELECT {', '.join(keys)}, _at, {nothing} FROM {events}) WHERE {here} AND _at IS NOT NULL GROUP BY ALL"
    )
    windows = f"SELECT {', '.join(keys)}, _at, {', '.join(told)} FROM ({points_of}) WINDOW {', '.join(frames)}"
    return f"SELECT _n, w.* EXCLUDE ({', '.join(keys)}, _at) FROM {events} AS e JOIN ({windows}) AS w USING ({', '.join(keys)}, _at)"


def _key(column: str, kinds: Kinds, others: Kinds) -> str:
    """A column that joins, as text where the other side has another type."""
    numbers = all(kind[column].partition("(")[0] in TYPES["number"] for kind in (kinds, others))
    if kinds[column] == others[column]:
        return name(column)
    return f"CAST({name(column)} AS DOUBLE)" if numbers else as_text(name(column), kinds[column])


def _value(source: str, column: str, spec: Source, kinds: Kinds) -> str:
    """The column that is aggregated; as a float64 where it is added up.

    :raises DataError: when it is not there, or is no number and is to be added up.
    """
    if column not in kinds:
        raise DataError(
            f"source {source} has no column {column!r} (data.sources.{source}.aggregate); its columns are {', '.join(kinds)}"
        )
    adds = [function for function in spec.aggregate[column] if function in ("sum", "mean")]
    if not adds:
        return name(column)
    if kinds[column].partition("(")[0] not in (*TYPES["number"], "BOOLEAN"):
        raise DataError(
            f"source {source}: column {column!r} is {kinds[column]}, of which there is no {adds[0]} (data.sources.{source}.aggregate); "
            f"state `{column}: number` under `{source}.columns` in the contract if it is one"
        )
    return f"CAST({name(column)} AS DOUBLE)"


def _over(function: str, place: int, window: str) -> str:
    total, count = f"sum(_sum_{place}) OVER {window}", f"COALESCE(sum(_count_{place}) OVER {window}, 0)"
    return {
        "count": f"CAST({count} AS BIGINT)",
        "sum": f"CASE WHEN {count} > 0 THEN {total} END",
        "mean": f"CASE WHEN {count} > 0 THEN {total} / {count} END",
        "last": f"last_value(_last_{place} IGNORE NULLS) OVER {window}",
    }[function]


def _interval(length: timedelta) -> str:
    return f"to_microseconds({int(length.total_seconds()) * 1_000_000})"

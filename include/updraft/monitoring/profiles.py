"""Profiles: what one partition looks like, column by column, in a form that merges.

A profile needs no reference: its counters are fixed by the numbers' own representation (see :mod:`.sketch`). So it is
computed once per partition, at cold start as later, and stored; the reference of a model version is the merge of the
profiles of its training window, with bins cut from that merge. Nothing is read again when a new model brings a new
reference. Arrow and numpy do the counting: unlike the sums of a parallel SQL engine, theirs are the same at every run.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.data.columns import EVENT_TIME
from updraft.errors import DataError
from updraft.monitoring.sketch import (
    Categories,
    EventDays,
    Numbers,
    event_days,
    merge_categories,
    merge_numbers,
    summarise_categories,
    summarise_numbers,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

CHUNK = 1 << 20
"""Rows summarised at once: bounds the memory, whatever the size of the partition."""


@dataclass(frozen=True)
class Profile:
    """Summary of one partition, or of several merged. A column of which every row is null stands in ``empty``."""

    rows: int = 0
    oldest: str | None = None
    """Earliest event time, ISO 8601 (UTC)."""
    newest: str | None = None
    numbers: Mapping[str, Numbers] = field(default_factory=dict)
    categories: Mapping[str, Categories] = field(default_factory=dict)
    empty: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, sorted."""
        return tuple(sorted({*self.numbers, *self.categories, *self.empty}))

    def nulls(self, column: str) -> int:
        """Rows in which the column is null (or is not there at all)."""
        known = self.numbers.get(column) or self.categories.get(column)
        return self.rows - known.count if known else self.rows

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; equal profiles give equal JSON."""
        return {
            "rows": self.rows,
            "oldest": self.oldest,
            "newest": self.newest,
            "numbers": {name: column.as_dict() for name, column in sorted(self.numbers.items())},
            "categories": {name: column.as_dict() for name, column in sorted(self.categories.items())},
            "empty": list(self.empty),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Profile:
        """Inverse of :meth:`as_dict`."""
        return cls(
            value["rows"],
            value["oldest"],
            value["newest"],
            {name: Numbers.from_dict(column) for name, column in value["numbers"].items()},
            {name: Categories.from_dict(column) for name, column in value["categories"].items()},
            tuple(value["empty"]),
        )


def profile(source: str | pd.DataFrame, *, columns: Sequence[str] | None = None) -> Profile:
    """Summarise a partition: numbers, texts and booleans; not times, nor what begins with ``_``.

    :param source: URL of a Parquet file, or a frame (of features, say).
    :param columns: the columns to summarise; all when None.
    :raises DataError: when a column asked for is not there.
    """
    if isinstance(source, str):
        with files.fetched(source) as path:
            return merge(_of_table(table) for table in _tables(str(path), columns))
    import pyarrow as pa

    if missing := set(columns or ()) - set(source.columns):
        raise DataError(f"the frame has no column {sorted(missing)}; it has {sorted(map(str, source.columns))}")
    chosen = [name for name in source.columns if _wanted(str(name), columns) or name == EVENT_TIME]
    return _of_table(pa.Table.from_pandas(source[chosen], preserve_index=False))


def merge(profiles: Iterable[Profile]) -> Profile:
    """The profile of all the partitions together. Counts do not depend on order or grouping; means do by rounding.

    :raises DataError: when a column holds numbers in one partition and text in another.
    """
    return functools.reduce(_merged, profiles, Profile())


def _merged(left: Profile, right: Profile) -> Profile:
    kinds = ({*left.numbers} & {*right.categories}) | ({*left.categories} & {*right.numbers})
    if kinds:
        raise DataError(
            f"column {sorted(kinds)[0]!r} holds numbers in one partition and text in another,"
            " so their profiles do not merge; publish it with one type"
        )

    def numbers(name: str) -> Numbers:
        return merge_numbers(
            left.numbers.get(name) or Numbers(nulls=left.rows), right.numbers.get(name) or Numbers(nulls=right.rows)
        )

    def categories(name: str) -> Categories:
        return merge_categories(
            left.categories.get(name) or Categories(nulls=left.rows),
            right.categories.get(name) or Categories(nulls=right.rows),
        )

    known = {*left.numbers, *right.numbers, *left.categories, *right.categories}
    return Profile(
        left.rows + right.rows,
        min(filter(None, (left.oldest, right.oldest)), default=None),
        max(filter(None, (left.newest, right.newest)), default=None),
        {name: numbers(name) for name in sorted({*left.numbers, *right.numbers})},
        {name: categories(name) for name in sorted({*left.categories, *right.categories})},
        tuple(sorted({*left.empty, *right.empty} - known)),
    )


def _wanted(name: str, columns: Sequence[str] | None) -> bool:
    return name in columns if columns is not None else not name.startswith("_")


def _tables(path: str, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    """The file in chunks of whole row groups; texts as dictionaries, which makes counting them cheap."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    if missing := set(columns or ()) - set(schema.names):
        raise DataError(f"{path} has no column {sorted(missing)}; it has {sorted(schema.names)}")
    texts = [part.name for part in schema if pa.types.is_string(part.type) or pa.types.is_large_string(part.type)]
    chosen = [name for name in schema.names if _wanted(name, columns) or name == EVENT_TIME]
    with pq.ParquetFile(path, read_dictionary=[name for name in texts if name in chosen]) as file:
        groups: list[int] = []
        rows = 0
        for group in range(file.num_row_groups):
            groups.append(group)
            rows += file.metadata.row_group(group).num_rows
            if rows >= CHUNK or group == file.num_row_groups - 1:
                yield file.read_row_groups(groups, columns=chosen)
                groups, rows = [], 0


def _of_table(table: pa.Table) -> Profile:
    oldest, newest, days = _times(table)
    numbers: dict[str, Numbers] = {}
    categories: dict[str, Categories] = {}
    empty: list[str] = []
    for name in table.column_names:
        if name == EVENT_TIME:
            continue
        column = table.column(name).combine_chunks()
        if column.null_count == len(column) and not _is_time(column.type):
            empty.append(name)
        elif _is_number(column.type):
            numbers[name] = _numbers(column, days)
        elif _is_text(column.type):
            categories[name] = _categories(column)
    return Profile(table.num_rows, oldest, newest, numbers, categories, tuple(sorted(empty)))


def _numbers(column: pa.Array, days: EventDays | None) -> Numbers:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.is_valid(column).to_numpy(zero_copy_only=False) if column.null_count else None
    values = column.cast(pa.float64(), safe=False)
    if known is not None:
        values = values.fill_null(0.0)
    return summarise_numbers(values.to_numpy(), known, days)


def _categories(column: pa.Array) -> Categories:
    import numpy as np
    import pyarrow as pa

    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    indices = coded.indices.drop_null().to_numpy()
    rows = np.bincount(indices, minlength=len(coded.dictionary)).tolist()
    names = coded.dictionary.to_pylist()
    counts: dict[str, int] = {}
    for name, number in zip(names, rows, strict=True):
        counts[_text(name)] = counts.get(_text(name), 0) + number  # a file's dictionaries may hold a name twice
    return summarise_categories(counts, column.null_count)


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return bool(_is_text(kind.value_type) or _is_number(kind.value_type))
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind))


def _is_time(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_temporal(kind))


def _text(name: object) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)


def _times(table: pa.Table) -> tuple[str | None, str | None, EventDays | None]:
    import numpy as np
    import pyarrow as pa

    if EVENT_TIME not in table.column_names or not table.num_rows:
        return None, None, None
    times = (
        table.column(EVENT_TIME)
        .combine_chunks()
        .cast(pa.timestamp("us", tz="UTC"), safe=False)
        .cast(pa.timestamp("us"))
    )
    values = times.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    known = values[~np.isnat(values)]
    if not len(known):
        return None, None, None
    return f"{known.min()}+00:00", f"{known.max()}+00:00", event_days(values)

"""Persons who are forgotten: their rows are in nothing that Updraft keeps, and come in no more.

A person is known by the value of a column. What is kept of it is a mark, a keyed pseudonym of a domain of its own: it tells nothing of the value,
and cannot be joined with the pseudonyms that were published.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from updraft.data.cells import as_text
from updraft.data.duck import columns_of, literal, name, parquet
from updraft.data.key_ring import Marker

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

Forgotten = Mapping[str, frozenset[str]]
"""Marks by column."""
NOBODY: Forgotten = {}


def mark_of(marker: Marker, column: str, value: str) -> str:
    """What is kept of a person."""
    return marker.mark(_domain(column), value)


def marks_of(marker: Marker, column: str, value: str) -> frozenset[str]:
    """What may have been kept of a person, by this Updraft or an earlier one."""
    return marker.marks(_domain(column), value)


def _domain(column: str) -> str:
    return f"\x1fforgotten by {column}"


def of_persons(values: pd.Series, wanted: frozenset[str]) -> pd.Series:
    """Which values of a column are among some texts: numbers are compared as they are written without a needless point."""
    import pandas as pd

    texts = values.map(lambda value: str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))
    return pd.Series(texts.isin(wanted) & values.notna(), index=values.index)


def leave_out(con: duckdb.DuckDBPyConnection, path: Path, marker: Marker, forgotten: Forgotten, aside: Path) -> int:
    """Write an extracted file anew without the rows of persons who are forgotten; how many there were.

    :param aside: a path to write at, which takes the place of the file.
    """
    import pyarrow as pa

    kinds = columns_of(con, parquet(str(path)))
    conditions = []
    for number, (column, marks) in enumerate(forgotten.items()):
        if column not in kinds:
            continue
        text = as_text(name(column), kinds[column])
        rows = con.execute(
            f"SELECT DISTINCT {text} FROM {parquet(str(path))} WHERE {name(column)} IS NOT NULL"
        ).fetchall()
        gone = [value for (value,) in rows if marks_of(marker, column, value) & marks]
        if gone:
            con.register("gone_in", pa.table({"value": pa.array(gone, pa.string())}))
            con.execute(f"CREATE OR REPLACE TEMP TABLE gone_{number} AS SELECT * FROM gone_in")
            con.unregister("gone_in")
            conditions.append(f"({name(column)} IS NOT NULL AND {text} IN (SELECT value FROM gone_{number}))")
    if not conditions:
        return 0
    either = " OR ".join(conditions)
    counted = con.execute(f"SELECT count(*) FROM {parquet(str(path))} WHERE {either}").fetchall()
    con.execute(
        f"COPY (SELECT * FROM {parquet(str(path))} WHERE NOT ({either})) TO {literal(str(aside))} (FORMAT parquet, COMPRESSION zstd)"
    )
    aside.replace(path)
    return int(counted[0][0])

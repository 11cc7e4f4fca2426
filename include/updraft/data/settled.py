"""Rows in breach of which a person has decided: a released row counts as good, a dropped one is wanted no more.

A row is known by its *mark*: a keyed pseudonym of all that stands in it. So a decision is about that content of that partition, wherever its
rows stand in the file, and another delivery of a row is another row. The mark tells nothing of the row to whoever has not the key.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from updraft.data.catalogue import MISFITS
from updraft.data.cells import as_text
from updraft.data.duck import columns_of, first, literal, name, names
from updraft.data.key_ring import Marker
from updraft.data.views import INTERNAL, Views

if TYPE_CHECKING:
    import pandas as pd

MARKED = "\x1frow of "
"""Before the name of a source: what marks are pseudonyms of. No column has such a name."""


@dataclass(frozen=True)
class SettledRows:
    """Marks of rows by partition and source."""

    released: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    dropped: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)


NOTHING_SETTLED = SettledRows()


def marks(views: Views, source: str, marker: Marker) -> pd.DataFrame:
    """The rows in breach of a source: ``n``, ``partition``, ``mark``, ``reasons`` (list) and ``own`` (of this partition), by ``n``.

    ``earlier``: the mark that an earlier Updraft would have kept; null where none is known any more.
    """
    relation = (
        f"(SELECT s.*, b._reasons FROM {name(f'src_{source}')} AS s JOIN {name(f'bad_{source}')} AS b USING (_n))"
    )
    kinds = columns_of(views.con, relation)
    cells = [
        f"CASE WHEN {name(column)} IS NOT NULL THEN {literal(column)} || chr(31) || {as_text(name(column), kind)} END"
        for column, kind in sorted(kinds.items())
        if column not in (*INTERNAL, "_reasons")
    ]
    misfits = f"CASE WHEN cardinality({MISFITS}) > 0 THEN CAST({MISFITS} AS VARCHAR) END"
    frame: pd.DataFrame = views.con.execute(
        f"SELECT _n AS n, _slice AS partition, concat_ws(chr(30), {', '.join([*cells, misfits])}) AS mark, _reasons AS reasons, "
        f"_slice = {literal(views.key)} AS own FROM {relation} ORDER BY _n"
    ).df()
    domain, content = f"{MARKED}{source}", frame["mark"]
    earlier = marker.earlier.series(domain, content) if marker.earlier is not None else None
    return frame.assign(mark=marker.own.series(domain, content), earlier=earlier)


def settle(views: Views, source: str, marker: Marker, settled: SettledRows) -> None:
    """Take what was released out of the rows in breach, and mark what was dropped."""
    decided = {key for rows in (settled.released, settled.dropped) for key, of_source in rows if of_source == source}
    if not decided:
        return
    views.settle(source, *decided_numbers(marks(views, source, marker), source, settled))


def decided_numbers(frame: pd.DataFrame, source: str, settled: SettledRows) -> tuple[list[int], list[int]]:
    """``n`` of those rows of :func:`marks` that were released, and of those that were dropped.

    A decision by a mark of now is later than one by the mark of an earlier Updraft.
    """
    released, dropped = list[int](), list[int]()
    for n, key, *known in zip(frame["n"], frame["partition"], frame["mark"], frame["earlier"], strict=True):
        for mark in known:
            if mark in settled.released.get((key, source), ()):
                released.append(int(n))
                break
            if mark in settled.dropped.get((key, source), ()):
                dropped.append(int(n))
                break
    return released, dropped


def key_problem(views: Views, source: str, released: list[int]) -> str | None:
    """Why some rows in breach cannot be published beside the good ones; None where they can: rows are told apart by their key."""
    if source != views.row_source:
        return None
    key, own = views.project.spec.data.key, ", ".join(map(str, released)) or "NULL"
    rows = f"(SELECT * FROM {name(f'good_{source}')} UNION ALL BY NAME SELECT * FROM {name(f'win_{source}')} WHERE _n IN ({own}))"
    (without,) = first(
        views.con, f"SELECT count(*) FROM {rows} WHERE {' OR '.join(f'{name(column)} IS NULL' for column in key)}"
    )
    (doubled,) = first(
        views.con,
        f"SELECT count(*) FROM (SELECT 1 FROM {rows} GROUP BY {names(key)} HAVING count(*) > 1)",
    )
    if without:
        return f"{without} of the rows have no {' or no '.join(key)} (data.key), so that no label could find them"
    if doubled:
        return f"{doubled} keys ({', '.join(key)}) would be there more than once; drop all rows of such a key but one"
    return None

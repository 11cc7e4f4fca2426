"""Which rows in breach a person means: all that are in quarantine, those of one reason or source, or some by their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft.errors import InputError
from updraft.loop.settled import How

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Chosen:
    """Which of the rows in breach of a partition are meant; all that are in quarantine where nothing is said."""

    breach: str | None = None
    """Only those that are there for this reason."""
    source: str | None = None
    rows: tuple[int, ...] = ()
    """By number, as `updraft quarantine show` tells them. A row of which the other was decided before may be named here."""


@dataclass(frozen=True)
class Rows:
    """The rows of a source that break the contract in one partition, and what was decided of them before (by ``n``)."""

    frame: pd.DataFrame
    released: frozenset[int]
    dropped: frozenset[int]


def chosen_rows(
    project: str, key: str, of_sources: Mapping[str, Rows], chosen: Chosen, how: How
) -> dict[str, pd.DataFrame]:
    """The rows that a person means, without those of which the same was decided before.

    :raises InputError: when there is no such row, naming what there is.
    """
    there = {source: rows for source, rows in of_sources.items() if len(rows.frame)}
    if chosen.source is not None and chosen.source not in there:
        named = ", ".join(there) or "no source"
        raise InputError(f"{project}: no row of {chosen.source!r} breaks the contract in {key}; rows of {named} do")
    there = {source: rows for source, rows in there.items() if chosen.source in (None, source)}
    if chosen.rows and len(there) > 1:
        raise InputError(f"--row counts the rows of one source: give --source, one of {', '.join(there)}")
    reasons = sorted({why for rows in there.values() for list_of in rows.frame["reasons"] for why in list_of})
    if chosen.breach is not None and chosen.breach not in reasons:
        raise InputError(
            f"{project}: no row of {key} is in quarantine for {chosen.breach!r}; there are: {'; '.join(reasons)}"
        )
    frames = {source: _meant(project, key, source, rows, chosen, how) for source, rows in there.items()}
    return {source: frame for source, frame in frames.items() if len(frame)}


def _meant(project: str, key: str, source: str, rows: Rows, chosen: Chosen, how: How) -> pd.DataFrame:
    frame = rows.frame
    if chosen.rows:
        if unknown := sorted(set(chosen.rows) - {int(n) + 1 for n in frame["n"]}):
            raise InputError(f"{project}: row {unknown[0]} of {source} does not break the contract in {key}")
        frame = frame[(frame["n"] + 1).isin(chosen.rows)]
        frame = frame[~frame["n"].isin(rows.released if how == "release" else rows.dropped)]
    else:  # what was settled stays so, unless a row is named
        frame = frame[~frame["n"].isin(rows.released | rows.dropped)]
    if chosen.breach is not None:
        frame = frame[[chosen.breach in reasons for reasons in frame["reasons"]]]
    return frame

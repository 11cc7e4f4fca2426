"""What people have decided about rows in quarantine, as ingestion reads it from the chain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from updraft import files
from updraft.data.extraction import slices
from updraft.data.settled import SettledRows
from updraft.loop.context import Loop
from updraft.store.records import Decision

How = Literal["release", "drop"]
KINDS: dict[How, str] = {"release": "release_rows", "drop": "drop_rows"}
"""Kinds of the decisions."""


def decisions_about_rows(loop: Loop, keys: Sequence[str]) -> list[Decision]:
    """The decisions about rows in quarantine of some partitions, in order. People made them, so there are a few, however long the history."""
    decisions = loop.store.decisions(loop.name, kinds=tuple(KINDS.values()))
    return [decision for decision in decisions if decision.body["partition"] in keys]


def settled_rows(loop: Loop, key: str) -> SettledRows:
    """What was decided about rows of a partition, and of the earlier ones whose labels mature at its tick. The last decision about a row counts.

    :raises IntegrityError: when the list of rows in the lake is not what was decided on.
    """
    keys = [part.key for part in slices(loop.project, key)]
    by_kind: dict[str, dict[tuple[str, str], frozenset[str]]] = {kind: {} for kind in KINDS.values()}
    for decision in decisions_about_rows(loop, keys):
        partition = decision.body["partition"]
        for source, marks in _listed(loop.lake.settled(partition, decision.body["sha256"]), decision.body["sha256"]):
            for kind, rows in by_kind.items():
                before = rows.get((partition, source), frozenset())
                rows[partition, source] = before | marks if kind == decision.kind else before - marks
    return SettledRows(by_kind[KINDS["release"]], by_kind[KINDS["drop"]])


@lru_cache(maxsize=128)
def _listed(url: str, sha256: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """Marks by source. The name comes from the content, so that it may be kept."""
    frame = files.read_parquet(url, sha256)
    return tuple((str(source), frozenset(rows["mark"])) for source, rows in frame.groupby("source", sort=True))

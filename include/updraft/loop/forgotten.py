"""Who is forgotten, as ingestion reads it from the chain."""

from __future__ import annotations

from updraft.data.forgotten import Forgotten
from updraft.loop.context import Loop

FORGET = "forget"
"""Kind of the decision that a person is to be forgotten, by the mark."""
REWRITTEN = "forgotten_rows"
"""Kind of the decision that says which files of a partition were written anew without a person, by their hashes."""


def forgotten_persons(loop: Loop) -> Forgotten:
    """The marks of all persons who are forgotten, by column. Each was decided by a person, so they are read by their kind."""
    marks: dict[str, frozenset[str]] = {}
    for decision in loop.store.decisions(loop.name, kinds=(FORGET,)):
        column = str(decision.body["column"])
        marks[column] = marks.get(column, frozenset()) | {str(decision.body["mark"])}
    return marks

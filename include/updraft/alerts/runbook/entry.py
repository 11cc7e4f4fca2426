"""One entry of the runbook, and what several of them say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One entry of the runbook."""

    title: str
    means: str
    look: str
    """How to see more."""
    do: str
    undo: str


CLEAR_AGAIN = (
    "Clearing is safe as often as you like: every task takes up where it stopped, and what is done is not done twice."
)
LOG = "The task's log (the alert links to it); `updraft status PROJECT` says what else is wanted."
NOTHING_TO_UNDO = "Nothing was changed that would have to be undone."

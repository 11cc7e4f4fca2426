"""What was decided, the newest first, each with its sentence and the evidence that it rests on."""

from __future__ import annotations

from typing import Any, Literal

from updraft.control.view import View
from updraft.loop.decision_words import TELLING, in_words
from updraft.store.records import Decision
from updraft.store.store import Store

Tone = Literal["good", "bad", "asks", "plain"]

_TONES: dict[str, Tone] = {
    "promote": "good",
    "accept": "good",
    "kept": "good",
    "reinstate": "good",
    "roll_back": "bad",
    "refuse": "bad",
    "rejected": "bad",
    "training_ended": "bad",
    "unscorable": "bad",
    "remedies": "asks",
}


class Decided(View):
    """One decision for people."""

    seq: int
    key: str
    """The partition at whose tick it was taken."""
    kind: str
    tone: Tone
    words: str
    by: str | None
    """Who, where a person decided."""
    written_at: str
    version: str | None
    """The version that it is about, where it is about one."""
    evidence: dict[str, Any]
    """All that the decision says, as it stands in the chain."""
    sha256: str


def telling_decisions(store: Store, project: str, number: int, *, before: int | None = None) -> list[Decision]:
    """The newest decisions that say something, in order; without the calibration layers, of which the one in force is told apart.

    Most ticks call for no remedy: those that did are found by their episodes.

    :param before: number of a decision; those before it.
    """
    if number <= 0:
        return []
    telling = store.newest_decisions(project, TELLING, number, before=before)
    first = None if before is None else store.link(project, before)
    until = first.key if first else None
    diagnoses = [
        decision
        for key in dict.fromkeys(row.opened_at for row in store.episodes(project, newest=number, until=until))
        if (decision := store.decision(project, "diagnose", key)) is not None
        and (before is None or decision.seq < before)
    ]
    return sorted([*telling, *diagnoses], key=lambda decision: decision.seq)[-number:]


def decided(decision: Decision) -> Decided | None:
    """A decision for people; None of one that says nothing."""
    words = in_words(decision)
    if words is None:
        return None
    body = decision.body
    version = body.get("version")
    return Decided(
        seq=decision.seq,
        key=decision.key,
        kind=decision.kind,
        tone=_tone(decision),
        words=words,
        by=str(body["by"]) if body.get("by") else None,
        written_at=decision.written_at,
        version=str(version) if version is not None else None,
        evidence=body,
        sha256=decision.sha256,
    )


def _tone(decision: Decision) -> Tone:
    if decision.kind == "approval":
        return "good" if decision.body["approved"] else "bad"
    if decision.kind == "diagnose":
        diagnosis = decision.body.get("diagnosis") or {}
        return "asks" if diagnosis.get("remedy") in ("person", "quarantine") else "plain"
    return _TONES.get(decision.kind, "plain")

"""What on-call hears of a release: each decision of it, and that it waits for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from updraft.alerts import messages, outbox
from updraft.loop.alerting.links import release_url
from updraft.loop.alerting.telling import never_fails, record
from updraft.loop.context import Loop
from updraft.release.bound import Bound
from updraft.release.states import Policy
from updraft.store.records import Decision, ReleaseRow
from updraft.store.releases import release_of
from updraft.store.state import RETURNS


def _thread(loop: Loop, release: ReleaseRow) -> str | None:
    training = loop.store.training_of(loop.name, release.version)
    return training.episode if training else None


def _promoted(loop: Loop, decision: Decision) -> None:
    row = loop.store.release(decision.subject)
    record(
        loop,
        messages.promotion(
            loop.name,
            release=row.id,
            lane=row.lane,
            version=row.version,
            previous=decision.body["previous"],
            key=decision.key,
            reason=str(decision.body["reason"]),
            probation=loop.spec.release.refresh.probation if row.lane == "refresh" else 0,
            thread=_thread(loop, row),
            links={"Release": release_url(loop, row.id)},
        ),
    )


@never_fails
def of_release(loop: Loop, release: str) -> None:
    """Everything that was decided about a release, from the chain: what a killed task had written and not told is told by the next one."""
    about = loop.store.decisions_about(loop.name, release, tuple(kind for kind in TOLD if kind not in RETURNS))
    for decision in sorted((*about, *loop.store.returns(loop.name, release)), key=lambda written: written.seq):
        TOLD[decision.kind](loop, decision)
        if decision.kind in ANSWERED:
            reply = ANSWERED[decision.kind]
            words = f"{reply}: {decision.body['reason']}" if reply else None
            outbox.resolve(loop.store.engine, loop.name, messages.QUESTION, release, words=words)


def _verdict(loop: Loop, decision: Decision) -> None:
    """A verdict, in the words of its own: `unscorable`, and verdicts that reject, are in chains of earlier versions alone."""
    _tell_verdict(loop, decision, decision.body["verdict"])


def _rejected(loop: Loop, decision: Decision) -> None:
    _tell_verdict(loop, decision, "reject")


def _kept(loop: Loop, decision: Decision) -> None:
    """A probation that is over: judged or ended early, or without a judgement."""
    if decision.body.get("unjudged"):
        _tell_unjudged(loop, decision)
    else:
        _tell_verdict(loop, decision, "keep")


def _tell_verdict(loop: Loop, decision: Decision, verdict: Literal["promote", "hold", "reject", "keep"]) -> None:
    row = loop.store.release(decision.subject)
    figures = _figures(decision.body["evidence"].get("bound") or _proof(loop, row))
    record(
        loop,
        messages.verdict(
            loop.name,
            release=row.id,
            version=row.version,
            against=row.against or "none",
            key=decision.key,
            verdict=verdict,
            reason=str(decision.body["reason"]),
            clusters=figures.clusters,
            gain=figures.mean,
            low=figures.lower,
            high=figures.upper,
            asks=Policy.of(loop.spec).asks(row.lane),
            thread=_thread(loop, row),
            links={"Release": release_url(loop, row.id)},
        ),
    )


def _tell_unjudged(loop: Loop, decision: Decision) -> None:
    row = loop.store.release(decision.subject)
    figures = _figures(decision.body["evidence"].get("bound") or {})
    record(
        loop,
        messages.unjudged(
            loop.name,
            release=row.id,
            version=row.version,
            against=row.against or "none",
            key=decision.key,
            reason=str(decision.body["reason"]),
            clusters=figures.clusters,
            gain=figures.mean,
            low=figures.lower,
            high=figures.upper,
            thread=_thread(loop, row),
            links={"Release": release_url(loop, row.id)},
        ),
    )


def _figures(told: Mapping[str, Any]) -> Bound:
    """A bound as a decision's body has it; an end that is not known is infinite."""
    lower, upper = told.get("lower"), told.get("upper")
    return Bound(
        float("-inf") if lower is None else float(lower),
        float("inf") if upper is None else float(upper),
        float(told.get("mean") or 0.0),
        int(told.get("clusters") or 0),
    )


def _superseded(loop: Loop, decision: Decision) -> None:
    row = loop.store.release(decision.subject)
    record(
        loop,
        messages.superseded(
            loop.name,
            release=row.id,
            version=row.version,
            key=decision.key,
            reason=str(decision.body["reason"]),
            was=str(decision.body["from"]),
            continued_by=decision.body.get("continued_by"),
            thread=_thread(loop, row),
            links={"Release": release_url(loop, row.id)},
        ),
    )


def _proof(loop: Loop, row: ReleaseRow) -> dict[str, Any]:
    """The bound of the verdict that put a release before a person; empty when there was none."""
    verdict = loop.store.decision(loop.name, "verdict", row.id)
    return dict(verdict.body["evidence"].get("bound") or {}) if verdict is not None else {}


@never_fails
def approval_wanted(loop: Loop, release: str, link: str) -> None:
    """A person has to answer."""
    row = loop.store.release(release)
    hours = int(loop.spec.release.change.approval_timeout.total_seconds() // 3600)
    record(
        loop,
        messages.approval(
            loop.name,
            release=release,
            version=row.version,
            reason=row.reason or "",
            until=f"after {hours} hours",
            link=link,
            thread=_thread(loop, row),
        ),
    )


def _rolled_back(loop: Loop, decision: Decision) -> None:
    row = loop.store.release(release_of(decision.subject))
    record(
        loop,
        messages.rollback(
            loop.name,
            release=decision.subject,
            version=row.version,
            to=str(decision.body["version"]),
            key=decision.key,
            reason=str(decision.body["reason"]),
            by=decision.body.get("by"),
            thread=_thread(loop, row) or row.id,
            links={"Release": release_url(loop, row.id)},
        ),
    )


def _reinstated(loop: Loop, decision: Decision) -> None:
    row = loop.store.release(release_of(decision.subject))
    record(
        loop,
        messages.reinstated(
            loop.name,
            release=row.id,
            subject=decision.subject,
            version=row.version,
            previous=str(decision.body["previous"]),
            key=decision.key,
            reason=str(decision.body["reason"]),
            thread=_thread(loop, row),
            links={"Release": release_url(loop, row.id)},
        ),
    )


TOLD = {
    "verdict": _verdict,
    "rejected": _rejected,
    "kept": _kept,
    "promote": _promoted,
    "roll_back": _rolled_back,
    "reinstate": _reinstated,
    "superseded": _superseded,
    "unscorable": _verdict,
}
"""How a decision of a release is told, by kind."""


ANSWERED = {"promote": None, "rejected": "It is rejected", "superseded": None}
"""Decisions that end a question to a person, and what the question's thread hears of it: nothing where the decision is told at once anyway; a
rejection may wait for the digest."""

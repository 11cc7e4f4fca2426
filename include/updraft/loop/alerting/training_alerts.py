"""What on-call hears of an episode and its training: opened, passed or refused, ended without a model, in want of a machine."""

from __future__ import annotations

from typing import Any

from updraft.alerts import messages, outbox
from updraft.loop.alerting.links import dag_url, learning_url, version_url
from updraft.loop.alerting.telling import never_fails, record
from updraft.loop.context import Loop
from updraft.loop.decision_words import gates_in_words
from updraft.pods.attempts import WithoutNode
from updraft.store.records import EpisodeRow

_AT_ONE_TICK = 16
"""More trainings than can be found to have failed at one tick: one is under way at a time."""


@never_fails
def episode_opened(loop: Loop, row: EpisodeRow) -> None:
    """An episode was opened."""
    record(
        loop,
        messages.episode(
            loop.name,
            episode=row.id,
            key=row.opened_at,
            cause=row.cause,
            remedy=row.remedy,
            diagnosis=str(row.diagnosis.get("words", "")),
            links=_place_of_remedy(loop, row.remedy),
        ),
    )


def _place_of_remedy(loop: Loop, remedy: str) -> dict[str, str]:
    """Where a person sees, or does, what a remedy leaves."""
    match remedy:
        case "retrain":
            return {"Training": dag_url(loop, "train")}
        case "quarantine":
            return {"What it learns from": learning_url(loop)}
        case _:
            return {"Monitor": dag_url(loop, "monitor")}


@never_fails
def trained(loop: Loop, run: str, version: str, gates: dict[str, Any]) -> None:
    """A training passed its gates, or did not. One that brings a version which an earlier run has brought is no news."""
    row, first = loop.store.training(loop.name, run), loop.store.training_of(loop.name, version)
    if first is not None and first.id != run:
        return
    key, thread = (row.key, row.episode) if row else ("", None)
    links = {"Model version": version_url(loop, version)}
    gone = "" if gates["passed"] else ", which its gates refused"
    for incident in (messages.OVERDUE, messages.ENDED):
        words = f"A training has brought version {version}{gone}."
        outbox.resolve(loop.store.engine, loop.name, incident, None, words=words)
    if gates["passed"]:
        alert = messages.trained(
            loop.name,
            run=run,
            key=key,
            version=version,
            summary=gates_in_words(gates).capitalize(),
            thread=thread,
            links=links,
        )
    else:
        alert = messages.refused_model(
            loop.name, run=run, key=key, reasons=list(gates["reasons"]), version=version, thread=thread, links=links
        )
    record(loop, alert)


@never_fails
def trainings_ended(loop: Loop, key: str) -> None:
    """Trainings that episodes had called for and that were found at a tick to bring no model."""
    for decision in loop.store.newest_decisions(loop.name, ("training_ended",), _AT_ONE_TICK):
        if decision.key == key:
            why, links = str(decision.body["reason"]), {"Training run": dag_url(loop, "train", decision.subject)}
            record(loop, messages.training_ended(loop.name, episode=decision.subject, key=key, why=why, links=links))


@never_fails
def no_node(loop: Loop, run: str, link: str, waits: str, does: WithoutNode, limit: str) -> None:
    """A training's pod found no node within its limit."""
    record(loop, messages.no_node(loop.name, run=run, waits=waits, does=does, limit=limit, link=link))


@never_fails
def more_memory(loop: Loop, run: str, link: str, words: str) -> None:
    """A training was killed for memory and gets more."""
    record(loop, messages.more_memory(loop.name, run=run, words=words, link=link))

"""Episodes: what is wrong with a model, its remedy, and what has to wait."""

from __future__ import annotations

from collections.abc import Mapping

from updraft.alerts.alert import Alert
from updraft.alerts.words import CAUSES, REMEDIES


def episode(
    project: str,
    *,
    episode: str,
    key: str,
    cause: str,
    remedy: str,
    diagnosis: str,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """An episode was opened: what is wrong, shown by what, and the remedy.

    :param diagnosis: the evidence in one or two sentences.
    :param remedy: ``retrain``, ``recalibrate``, ``quarantine`` or ``person``.
    """
    does, needs = REMEDIES.get(remedy, (f"The remedy is {remedy}.", ""))
    return Alert(
        project=project,
        kind="drift",
        dedup=f"episode:{episode}",
        title=f"Episode: {CAUSES.get(cause, cause)}",
        text=diagnosis,
        does=does,
        needs=needs,
        thread=episode,
        key=key,
        links=links or {},
    )


def waiting(
    project: str,
    *,
    subject: str,
    what: str,
    why: str,
    until: str = "",
    needs: str = "",
    thread: str | None = None,
    key: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """Something that would be done is not done yet, and why: a cooldown, a spent budget, a full queue.

    :param subject: what waits, once and for all (an episode, a release): one alert per subject and reason.
    """
    return Alert(
        project=project,
        kind="drift",
        dedup=f"waiting:{subject}:{why}",
        title=f"Waiting: {what}",
        text=why,
        does=f"It goes on by itself {until}." if until else "It goes on by itself as soon as that has passed.",
        needs=needs,
        thread=thread,
        key=key,
        links=links or {},
    )

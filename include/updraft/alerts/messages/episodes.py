"""Episodes: what is wrong with a model, and its remedy."""

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
        entry="episode",
        dedup=f"episode:{episode}",
        title=f"Episode: {CAUSES.get(cause, cause)}",
        text=diagnosis,
        does=does,
        needs=needs,
        thread=episode,
        key=key,
        links=links or {},
    )

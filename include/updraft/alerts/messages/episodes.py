"""Episodes: what is wrong with a model, and its remedy."""

from __future__ import annotations

from collections.abc import Mapping

from updraft.alerts.alert import Alert
from updraft.alerts.words import CAUSES, REMEDIES

BROKEN_FEED = "broken_feed"
"""The incident of a project's partitions whose feed looked broken; its parts are their keys."""


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
    """An episode was opened: what is wrong, shown by what, and the remedy. Those of a broken feed share a thread until it is sound.

    :param diagnosis: the evidence in one or two sentences.
    :param remedy: ``retrain``, ``recalibrate``, ``quarantine`` or ``person``.
    """
    broken = remedy == "quarantine"
    does, needs = REMEDIES.get(remedy, (f"The remedy is {remedy}.", ""))
    return Alert(
        project=project,
        kind="drift",
        entry="episode",
        dedup=f"episode:{episode}",
        title=f"Episode: {CAUSES.get(cause, cause)}",
        text=diagnosis,
        does=does,
        needs=needs.replace("PROJECT PARTITION", f"{project} {key}"),
        thread=None if broken else episode,
        incident=BROKEN_FEED if broken else None,
        part=key if broken else None,
        key=key,
        links=links or {},
    )

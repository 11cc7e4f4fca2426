"""Why a policy scored too little of a history for its loss to be told."""

from __future__ import annotations

from updraft.loop.context import Loop
from updraft.spec.part import shown_duration

_SHOWN = 3
"""Refused candidates that are told in full: those that follow are mostly refused for the same reason."""


def why_unscored(loop: Loop, measured: int) -> str:
    """The reason in words, and what to do.

    :param measured: partitions that were scored and whose labels have matured.
    """
    training, remedies = loop.spec.training, loop.spec.monitoring.remedies
    if remedies.retrain is None:
        return "nothing is ever trained, as monitoring.remedies.retrain is null; write `retrain: {every: 4}`, say"
    attempts = loop.store.trainings(loop.name)
    if not attempts:
        return (
            f"no training came about: it takes {training.first_after} partitions with matured labels (training.first_after), "
            f"and of {len(loop.store.partitions(loop.name))} published ones the labels mature after "
            f"{shown_duration(loop.spec.data.label.matures_after)}; it needs a longer history, or a smaller first_after"
        )
    refused = [row for row in attempts if row.state == "refused"]
    if len(refused) == len(attempts):
        told = [f"at {row.key}: {'; '.join(row.result['gates']['reasons'])}" for row in refused[:_SHOWN]]
        more = [f"and {len(refused) - _SHOWN} more"] if len(refused) > _SHOWN else []
        number = "the one candidate was" if len(refused) == 1 else f"all {len(refused)} candidates were"
        return f"nothing ever served, as {number} refused by the gates: {'. '.join([*told, *more])}"
    return (
        f"{measured} scored partition{' has' if measured == 1 else 's have'} matured labels by the end of the history, and a "
        "comparison takes two; it needs a longer history"
    )

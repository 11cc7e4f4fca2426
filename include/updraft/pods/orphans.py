"""Which pods of the namespace belong to no training that is under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

YOUNG = timedelta(minutes=1)
"""A pod this new may belong to a task that has not told its state yet."""
_UNDER_WAY = frozenset(
    {"scheduled", "queued", "running", "restarting", "deferred", "up_for_retry", "up_for_reschedule"}
)


def orphans(
    pods: Sequence[Mapping[str, Any]], state_of: Callable[[str, str], str | None], now: datetime
) -> list[tuple[str, str]]:
    """(pod, why) of those to remove.

    :param pods: of this deployment, as the API gives them, with the annotations of :mod:`updraft_airflow.pods`.
    :param state_of: project and run → state of the task that trains; None when there is no such task any more.
    """
    orphaned = []
    for pod in pods:
        meta = pod["metadata"]
        labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
        project, run = labels.get("updraft.dev/project", ""), notes.get("updraft.dev/run", "")
        if now - datetime.fromisoformat(meta["creationTimestamp"]).astimezone(UTC) < YOUNG:
            continue
        state = state_of(project, run)
        if state not in _UNDER_WAY:
            orphaned.append((str(meta["name"]), f"train_model of {project} {run} is {state or 'gone'}"))
    return orphaned

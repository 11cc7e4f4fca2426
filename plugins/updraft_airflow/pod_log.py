"""The lines of a pod's log, each handed on once, however late the cluster answers.

Kubernetes is asked for "the last n seconds" and counts them from the moment in which it gets to the question: behind a busy API server, or
with a clock that differs, the base's exact n loses the lines in between. Here more is asked for than is needed, and the time that the
cluster gives each line tells which are new.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
from airflow.providers.cncf.kubernetes.utils.pod_manager import AsyncPodManager

MARGIN = timedelta(seconds=60)
"""How late a question may be answered, and how far the clocks of cluster and worker may differ."""


def since_seconds(read_to: datetime | None, now: datetime) -> int | None:
    """How many of the last seconds to ask for; None for the whole log.

    :param read_to: time of the last line that was handed on.
    """
    return None if read_to is None else max(1, math.ceil((now - read_to + MARGIN).total_seconds()))


def stamped(line: str) -> tuple[datetime | None, str]:
    """When a line was written, and its text; no time of one that goes on from the line before it.

    Read as ISO 8601 alone, where the base lets a parser guess: a log's last minute is read every few seconds.
    """
    time, _, text = line.partition(" ")
    try:
        return datetime.fromisoformat(time.rstrip()), text.rstrip("\n")
    except ValueError:
        return None, line.rstrip("\n")


def unread(lines: Iterable[str], read_to: datetime | None) -> tuple[list[str], datetime | None]:
    """The lines after a time, as they came, with the time of the last one.

    :param lines: each begins with its time; one that does not goes on from the line before it.
    """
    kept: list[str] = []
    newest, new = read_to, read_to is None
    for line in lines:
        time, _ = stamped(line)
        if time is not None:
            new = read_to is None or time > read_to
            newest = time if newest is None or time > newest else newest
        if new:
            kept.append(line)
    return kept, newest


class PodLogReader(AsyncPodManager):
    """The base's reader of a pod, whose lines come once each."""

    async def fetch_container_logs_before_current_sec(
        self, pod: Any, container_name: str, since_time: Any = None
    ) -> Any:
        """Log what is new; the time of the last line of all, which is where the next reading goes on."""
        lines = await self._hook.read_logs(
            name=pod.metadata.name,
            namespace=pod.metadata.namespace,
            container_name=container_name,
            since_seconds=since_seconds(since_time, datetime.now(UTC)),
        )
        # In a thread, as the base does: the triggerer's loop waits for nobody's log.
        return await asyncio.to_thread(self._hand_on, lines, since_time, container_name)

    def _hand_on(self, lines: list[str], since_time: Any, container_name: str) -> Any:
        new, newest = unread(lines, since_time)
        # The base leaves out the second that it takes for the present one: none is.
        self._emit_container_logs(new, pendulum.now() + timedelta(days=1000), container_name)
        return newest

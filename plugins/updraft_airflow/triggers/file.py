"""A trigger that waits for the files of a partition. It holds no worker and never blocks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypedDict

from airflow.triggers.base import BaseTrigger, TriggerEvent

from updraft.errors import Transient
from updraft.loop.late_files import look_for_files
from updraft_airflow.connections import connections_of
from updraft_airflow.deployment import open_loop, settings
from updraft_airflow.triggers.store import PASSING

log = logging.getLogger(__name__)

_LOOKS = 200
"""How often it looks, about, until the end of its wait."""
_RAREST = 30.0
"""Seconds between two looks at most."""


class Woken(TypedDict):
    """What the task gets when it wakes up."""

    why: str


class FileTrigger(BaseTrigger):
    """Fires when every file of a partition is there and has stopped changing, when a person has passed over it, or at the latest when told.

    What else goes wrong wakes the task too: it fails with the words for it.

    :param project: the project's name.
    :param key: the partition's.
    :param until: the moment (ISO 8601) at which it fires at the latest.
    :param seen: the content that the task has read, and that had nothing of the partition: it fires for another one alone.
    """

    def __init__(self, project: str, key: str, until: str, seen: str | None = None) -> None:
        super().__init__()
        self.project = project
        self.key = key
        self.until = until
        self.seen = seen

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments."""
        arguments = {"project": self.project, "key": self.key, "until": self.until, "seen": self.seen}
        return "updraft_airflow.triggers.file.FileTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the files are there or time is up; a source or a store that is away is waited for."""
        pause = min(max(self._left() / _LOOKS, settings().poll_seconds), _RAREST)
        before: str | None = None
        while (left := self._left()) > 0:
            await asyncio.sleep(min(pause, left))
            try:
                content = await self._look()
            except (*PASSING, Transient) as error:
                log.warning("%s %s: cannot look (%s); trying again", self.project, self.key, error)
                continue
            except Exception as error:
                log.exception("%s %s: a look failed", self.project, self.key)
                yield TriggerEvent(Woken(why=type(error).__name__))
                return
            if (
                content is not None and content == before and content != self.seen
            ):  # one that still grows is being written
                yield TriggerEvent(Woken(why="its files are there"))
                return
            before = content
        yield TriggerEvent(Woken(why="time is up"))

    def _left(self) -> float:
        """Seconds until it fires."""
        return (datetime.fromisoformat(self.until) - datetime.now(UTC)).total_seconds()

    async def _look(self) -> str | None:
        loop = await asyncio.to_thread(open_loop, self.project)
        connections = await connections_of(loop.spec)
        return await asyncio.to_thread(
            look_for_files, replace(loop, settings=replace(loop.settings, connections=connections)), self.key
        )

"""A trigger that waits on the store: whether a remedy is due, or a release has enough evidence. It holds no worker and never blocks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Literal, TypedDict

from airflow.triggers.base import BaseTrigger, TriggerEvent
from sqlalchemy.exc import DBAPIError

from updraft.errors import SpecError
from updraft.loop.sensor_looks import Question, ask
from updraft_airflow.deployment import open_loop, settings

log = logging.getLogger(__name__)

PASSING = (DBAPIError, ConnectionError, TimeoutError, OSError, SpecError)
"""Errors that pass: a store that is away for a while, a project.yaml that is just being edited. Waited out, not raised."""


class Answer(TypedDict):
    """What the sensor gets when it wakes up."""

    act: Literal["look"]
    key: str | None


class StoreTrigger(BaseTrigger):
    """Asks the store again and again, and fires when there is something to do.

    Arguments are frozen when a task defers, so they only name things: policy and state are read anew at every look.

    :param project: the project's name.
    :param question: what to ask.
    :param subject: the release that is asked about; empty for ``remedy``.
    """

    def __init__(self, project: str, question: Question, subject: str = "") -> None:
        super().__init__()
        self.project = project
        self.question = question
        self.subject = subject

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments."""
        arguments = {"project": self.project, "question": self.question, "subject": self.subject}
        return "updraft_airflow.triggers.store.StoreTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something to do; a store that is away is waited for."""
        pause = settings().poll_seconds
        while True:
            try:
                key, act = await asyncio.to_thread(self._look)
            except PASSING as error:
                log.warning(
                    "%s %s %s: cannot look (%s); trying again",
                    self.project,
                    self.question,
                    self.subject,
                    error,
                )
                await asyncio.sleep(max(pause, 2.0))
                continue
            if act:
                yield TriggerEvent(Answer(act="look", key=key))
                return
            await asyncio.sleep(pause)

    def _look(self) -> tuple[str | None, bool]:
        return ask(open_loop(self.project), self.question, self.subject)

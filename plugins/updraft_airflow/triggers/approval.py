"""Waits for a person's answer to whether a release is promoted, and withdraws the question when it is void."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.triggers.hitl import HITLTrigger
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time.hitl import update_hitl_detail_response
from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async

from updraft.loop.sensor_looks import void
from updraft_airflow.deployment import open_loop, settings
from updraft_airflow.triggers.store import PASSING

log = logging.getLogger(__name__)

WITHDRAWN = "withdrawn"
"""Key of the event under which it says why the question is void."""


class ApprovalTrigger(HITLTrigger):
    """Airflow's own trigger of a question, which also looks at what is asked about.

    A release that is closed while a person is asked (a newer one took its place, it cannot be scored any more) needs no answer: the question is
    answered here with a no, in nobody's name, and so leaves *Required actions*.

    :param project: the project's name.
    :param release: the release that is asked about.
    """

    def __init__(self, *, project: str, release: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.project = project
        self.release = release

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments."""
        arguments = {**super().serialize()[1], "project": self.project, "release": self.release}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is an answer, the time is over, or the question is void."""
        answered = asyncio.ensure_future(anext(super().run()))
        withdrawn = asyncio.ensure_future(self._until_void())
        try:
            await asyncio.wait({answered, withdrawn}, return_when=asyncio.FIRST_COMPLETED)
            if not answered.done() and (event := await self._withdraw(withdrawn.result())) is not None:
                yield event
                return
            yield await answered
        finally:
            for waiting in (answered, withdrawn):
                waiting.cancel()

    async def _until_void(self) -> str:
        """Why the release is closed, once it is; a store that is away is waited for."""
        pause = settings().poll_seconds
        while True:
            try:
                if (why := await asyncio.to_thread(self._void)) is not None:
                    return why
            except PASSING as error:
                log.warning("%s %s: cannot look (%s); trying again", self.project, self.release, error)
                await asyncio.sleep(max(pause, 2.0))
            await asyncio.sleep(pause)

    def _void(self) -> str | None:
        return void(open_loop(self.project), self.release)

    async def _withdraw(self, why: str) -> TriggerEvent | None:
        """Answer the question with a no; None where a person was faster."""
        chosen = [ApprovalOperator.REJECT]
        try:
            response = await sync_to_async(update_hitl_detail_response)(
                ti_id=self.ti_id, chosen_options=chosen, params_input={}
            )
        except AirflowRuntimeError as error:
            log.info("%s is answered already: %s", self.release, error)
            return None
        log.info("The question about %s is withdrawn: %s", self.release, why)
        payload = {"chosen_options": chosen, "params_input": {}, "responded_at": response.responded_at}
        return TriggerEvent({**payload, "responded_by_user": None, "timedout": False, WITHDRAWN: why})

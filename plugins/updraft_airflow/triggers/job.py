"""Waits until a Job has its first pod: while a queue holds it back there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

_GONE = 404


class JobStartTrigger(BaseTrigger):
    """Fires once, with status ``started``, ``gone``, or ``late``.

    :param job: the Job's name.
    :param namespace: its namespace.
    :param connection: Airflow's connection to the cluster.
    :param late_at: seconds since the epoch, after which it waits no longer; for ever when None.
    :param poll_seconds: between two looks.
    """

    def __init__(
        self, job: str, namespace: str, connection: str, late_at: float | None = None, poll_seconds: float = 2.0
    ) -> None:
        super().__init__()
        self.job, self.namespace, self.connection = job, namespace, connection
        self.late_at, self.poll_seconds = late_at, poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """This class and its arguments."""
        arguments = {
            "job": self.job,
            "namespace": self.namespace,
            "connection": self.connection,
            "late_at": self.late_at,
            "poll_seconds": self.poll_seconds,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is a pod; what passes by itself, such as an API server that is away, is logged and waited out."""
        told = False
        while (status := await self._status()) == "waiting":
            if not told:
                self.log.info("Job %s waits to be admitted", self.job)
            told = True
            if self.late_at is not None and time.time() > self.late_at:
                status = "late"
                break
            await asyncio.sleep(self.poll_seconds)
        yield TriggerEvent({"name": self.job, "namespace": self.namespace, "status": status})

    async def on_kill(self) -> None:
        """The task was cleared, marked or deleted: nothing of it is to start."""
        from kubernetes_asyncio.client import BatchV1Api
        from kubernetes_asyncio.client.exceptions import ApiException

        try:
            async with AsyncKubernetesHook(conn_id=self.connection).get_conn() as api:
                await BatchV1Api(api).delete_namespaced_job(self.job, self.namespace, propagation_policy="Background")
        except ApiException as error:
            if error.status != _GONE:
                raise

    async def _status(self) -> str:
        from kubernetes_asyncio.client import BatchV1Api
        from kubernetes_asyncio.client.exceptions import ApiException

        try:
            async with AsyncKubernetesHook(conn_id=self.connection).get_conn() as api:
                job = await BatchV1Api(api).read_namespaced_job(self.job, self.namespace)
        except ApiException as error:
            if error.status == _GONE:
                return "gone"
            if error.status in (401, 403):
                raise
            self.log.warning("Job %s: %s", self.job, error.reason)
            return "waiting"
        except OSError as error:
            self.log.warning("Job %s: %s", self.job, error)
            return "waiting"
        seen = (job.status.active or 0) + (job.status.succeeded or 0) + (job.status.failed or 0)
        return "started" if seen else "waiting"

"""Waits for a training's pod as Airflow's own trigger does, and also notices that its node is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.triggers.pod import ContainerState, KubernetesPodTrigger
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodLaunchTimeoutException
from airflow.triggers.base import TriggerEvent

from updraft.pods.endings import NOT_MADE
from updraft_airflow.pod_log import PodLogReader

if TYPE_CHECKING:
    from kubernetes_asyncio.client.models import V1Pod

_AFTER_GRACE = timedelta(seconds=5)


class TrainingPodTrigger(KubernetesPodTrigger):
    """A pod that was told to end and has outlived its grace is on a node that does not answer: it has failed.

    Kubernetes itself goes on showing such a pod as running until the node comes back.
    """

    _seen: Mapping[str, str | None] = MappingProxyType({})

    @cached_property
    def pod_manager(self) -> PodLogReader:
        """The base's, but no line of the log is lost or told twice."""
        return PodLogReader(async_hook=self.hook)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """The base's events, with where the pod was when it was last seen: one that was deleted cannot be asked any more."""
        async with aclosing(super().run()) as events:
            async for event in events:
                yield TriggerEvent({**event.payload, "seen": dict(self._seen)})

    async def _get_pod(self) -> V1Pod:
        pod = await super()._get_pod()
        statuses = (pod.status.container_statuses if pod.status else None) or []
        images = [status.image_id for status in statuses if status.image_id]
        self._seen = {"node": pod.spec.node_name if pod.spec else None, "image_id": images[0] if images else None}
        return pod

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """This class, with the arguments of its base."""
        return f"{type(self).__module__}.{type(self).__qualname__}", super().serialize()[1]

    def define_pod_container_state(self, pod: V1Pod) -> ContainerState:
        """The base's answer, or FAILED for a pod beyond its grace."""
        due = pod.metadata.deletion_timestamp  # when it is to be gone, the grace included
        if due is not None and datetime.now(UTC) > due + _AFTER_GRACE:
            return ContainerState.FAILED
        return super().define_pod_container_state(pod)

    async def _wait_for_pod_start_within_deadline(self) -> ContainerState:
        """As the base, but a container that cannot be made (its Secret is missing, say) ends the wait at once."""
        started = asyncio.ensure_future(super()._wait_for_pod_start_within_deadline())
        try:
            while not started.done():
                await asyncio.wait({started}, timeout=self.startup_check_interval)
                if not started.done() and (why := _cannot_start(await self._get_pod())):
                    raise PodLaunchTimeoutException(why)
            return started.result()
        finally:
            started.cancel()


def _cannot_start(pod: V1Pod) -> str | None:
    for status in (pod.status.container_statuses if pod.status else None) or []:
        waiting = status.state.waiting if status.state else None
        if waiting is not None and waiting.reason in NOT_MADE:
            return f"{waiting.reason}: {waiting.message}"
    return None

"""Waits for a training's pod as Airflow's own trigger does, and also notices that its node is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.triggers.pod import ContainerState, KubernetesPodTrigger

if TYPE_CHECKING:
    from kubernetes_asyncio.client.models import V1Pod

_AFTER_GRACE = timedelta(seconds=5)


class TrainingPodTrigger(KubernetesPodTrigger):
    """A pod that was told to end and has outlived its grace is on a node that does not answer: it has failed.

    Kubernetes itself goes on showing such a pod as running until the node comes back.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """This class, with the arguments of its base."""
        return f"{type(self).__module__}.{type(self).__qualname__}", super().serialize()[1]

    def define_pod_container_state(self, pod: V1Pod) -> ContainerState:
        """The base's answer, or FAILED for a pod beyond its grace."""
        due = pod.metadata.deletion_timestamp  # when it is to be gone, the grace included
        if due is not None and datetime.now(UTC) > due + _AFTER_GRACE:
            return ContainerState.FAILED
        return super().define_pod_container_state(pod)

"""The trigger that waits for a training's pod, and notices that its node is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.cncf.kubernetes.triggers.pod import ContainerState
from kubernetes_asyncio.client import models as k8s

from updraft_airflow.triggers.pod import TrainingPodTrigger, _cannot_start


def trigger() -> TrainingPodTrigger:
    return TrainingPodTrigger(
        pod_name="p",
        pod_namespace="updraft",
        trigger_start_time=datetime(2026, 1, 1, tzinfo=UTC),
        base_container_name="base",
    )


def pod(state: k8s.V1ContainerState, deleted: datetime | None = None) -> k8s.V1Pod:
    status = k8s.V1ContainerStatus(name="base", image="i", image_id="", ready=True, restart_count=0, state=state)
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="p", deletion_timestamp=deleted),
        status=k8s.V1PodStatus(phase="Running", container_statuses=[status]),
    )


RUNNING = k8s.V1ContainerState(running=k8s.V1ContainerStateRunning())


def test_it_is_rebuilt_from_what_it_serializes():
    path, arguments = trigger().serialize()
    assert path == "updraft_airflow.triggers.pod.TrainingPodTrigger"
    assert TrainingPodTrigger(**arguments).serialize() == (path, arguments)


@pytest.mark.parametrize(
    ("deleted", "state"),
    [
        (None, ContainerState.RUNNING),
        (timedelta(seconds=30), ContainerState.RUNNING),  # to be gone in half a minute: it writes its checkpoint
        (timedelta(seconds=-60), ContainerState.FAILED),
    ],
)
def test_a_pod_beyond_its_grace_has_failed_whatever_its_status_still_says(deleted, state):
    due = None if deleted is None else datetime.now(UTC) + deleted
    assert trigger().define_pod_container_state(pod(RUNNING, due)) == state


def test_a_container_that_cannot_be_made_is_told():
    waiting = k8s.V1ContainerStateWaiting(reason="CreateContainerConfigError", message='secret "s" not found')
    assert (
        _cannot_start(pod(k8s.V1ContainerState(waiting=waiting))) == 'CreateContainerConfigError: secret "s" not found'
    )
    creating = k8s.V1ContainerStateWaiting(reason="ContainerCreating")
    assert _cannot_start(pod(k8s.V1ContainerState(waiting=creating))) is None
    assert _cannot_start(pod(RUNNING)) is None

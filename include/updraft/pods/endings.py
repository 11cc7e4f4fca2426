"""How a pod ended, told from what the cluster says of it. Pods and events come as plain dictionaries (Kubernetes API, core/v1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from updraft.jobs.failure import TrainingFailure
from updraft.pods.attempts import Ending

CONTAINER = "base"
"""Name of the container that trains, as Airflow's operator calls it."""
_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
NOT_MADE = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
"""Why a container is not made, for as long as nobody mends it."""
_BAD_INPUT = 2
"""Exit code of ``updraft`` for a request or an environment with which nothing can be started."""
_KILLED = 137
_OUT_OF_MEMORY = ("OOMKilling", "SystemOOM")
"""Reasons of events by which a node tells that it killed for memory."""
_NOTICED = (75, 143)
"""Asked to end by SIGTERM: at a checkpoint, or before the training could hear it."""


@dataclass(frozen=True)
class End:
    """What happened, in words for a person, and whether trying again can mend it."""

    ending: Ending
    words: str
    again: bool


def end_of(
    pod: Mapping[str, Any] | None,
    events: Sequence[Mapping[str, Any]] = (),
    *,
    memory: str = "",
    failure: TrainingFailure | None = None,
) -> End:
    """Tell an end from the pod's last known state.

    :param pod: None when it is not there any more.
    :param events: of the pod, oldest first.
    :param memory: its limit, for the message.
    :param failure: what its training says of itself.
    """
    if pod is None:
        return End(Ending.LOST, "the pod was deleted while it ran; the next one goes on from the last checkpoint", True)
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    state = _container(status)
    waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
    if waiting.get("reason") in _PULL or waiting.get("reason") in NOT_MADE:
        return _not_started(waiting, events, pod)
    if terminated.get("reason") == "OOMKilled" or (terminated.get("exitCode") == _KILLED and _oom(events)):
        return End(Ending.MEMORY, f"killed for memory: the limit is {memory or 'that of the node'}", True)
    if status.get("reason") == "DeadlineExceeded":
        limit = (pod.get("spec") or {}).get("activeDeadlineSeconds")
        words = f"ran longer than training.compute.timeout ({limit} s); raise it and clear the task: it goes on from its checkpoint"
        return End(Ending.TIMEOUT, words, False)
    if status.get("reason") == "Evicted" and not _disrupted(status):
        words = f"put out by its node: {status.get('message')}; raise training.compute.disk and clear the task: it goes on from its checkpoint"
        return End(Ending.TRAINING, words, False)
    if status.get("reason") in ("Evicted", "Preempting", "NodeShutdown", "Terminated", "NodeAffinity"):
        words = f"{status['reason']}: {status.get('message') or 'by the node'}; the next pod goes on from the last checkpoint"
        return End(Ending.INTERRUPTED, words, True)
    if terminated.get("exitCode") in _NOTICED:
        words = "stopped with notice (a drain, a pre-emption or a deletion); the next pod goes on from its checkpoint"
        return End(Ending.INTERRUPTED, words, True)
    if terminated:
        return _failed(terminated, failure)
    if pod["metadata"].get("deletionTimestamp"):
        node = (pod.get("spec") or {}).get("nodeName")
        return End(
            Ending.LOST, f"node {node} does not answer any more; the next pod goes on from the last checkpoint", True
        )
    return End(
        Ending.UNKNOWN, f"pod {name} is {status.get('phase')}: {status.get('message') or 'no reason was given'}", True
    )


def _disrupted(status: Mapping[str, Any]) -> bool:
    """Whether a pod was put out for its node's sake (short of memory, say): one that wrote more than its own limit has no such condition."""
    return any(
        condition.get("type") == "DisruptionTarget" and condition.get("status") == "True"
        for condition in status.get("conditions") or []
    )


def _not_started(waiting: Mapping[str, Any], events: Sequence[Mapping[str, Any]], pod: Mapping[str, Any]) -> End:
    image = next((c["image"] for c in pod["spec"]["containers"] if c["name"] == CONTAINER), "?")
    said = waiting.get("message") or next((e["message"] for e in reversed(events) if e.get("type") == "Warning"), "")
    if waiting["reason"] in _PULL:
        todo = "build and push it (make trainer-image), or mend training.compute.image"
        return End(Ending.IMAGE, f"image {image} cannot be had ({waiting['reason']}: {said}); {todo}", False)
    return End(
        Ending.REFUSED,
        f"the pod could not start ({waiting['reason']}: {said}); docs/kubernetes.md says what it needs",
        False,
    )


def _failed(terminated: Mapping[str, Any], failure: TrainingFailure | None) -> End:
    """The training's own word counts. Without it the exit code does, and the end of its log is for people."""
    if failure is not None:
        return End(Ending.TRAINING, failure.sentence, failure.passing)
    code, log = terminated.get("exitCode"), str(terminated.get("message") or "").strip()
    last = log.splitlines()[-1] if log else "it said nothing"
    words = f"ended with exit code {code} ({terminated.get('reason')}): {last}"
    return End(Ending.TRAINING, words, False) if code == _BAD_INPUT else End(Ending.UNKNOWN, words, True)


def _container(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for container in status.get("containerStatuses") or []:
        if container["name"] == CONTAINER:
            return dict(container.get("state") or {})
    return {}


def _oom(events: Sequence[Mapping[str, Any]]) -> bool:
    return any(event.get("reason") in _OUT_OF_MEMORY for event in events)


def waits_for(pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str | None:
    """What an unscheduled pod waits for, in the scheduler's words; None when it has a node."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    for condition in conditions:
        if condition.get("type") == "PodScheduled" and condition.get("status") != "True":
            return str(condition.get("message") or condition.get("reason") or "a node")
    if (pod.get("spec") or {}).get("nodeName"):
        return None
    gates = (pod.get("spec") or {}).get("schedulingGates")
    if gates:
        return f"the queue to admit it ({', '.join(str(gate['name']) for gate in gates)})"
    return next((str(e["message"]) for e in reversed(events) if e.get("reason") == "FailedScheduling"), "a node")

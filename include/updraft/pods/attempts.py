"""The pods of one training run, kept in the store: what each got, how it ended, and so what the next one gets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import Enum, StrEnum

from updraft.spec.compute import Compute, PodCompute, PodDefaults, pod_compute
from updraft.spec.part import mebibytes, memory_bytes, shown_duration
from updraft.store.store import Store


class Ending(StrEnum):
    """How a pod ended."""

    RUNNING = "running"
    DONE = "done"
    MEMORY = "memory"
    """Killed for it."""
    NO_GPU = "no_gpu"
    """No node within the limit."""
    IMAGE = "image"
    """The image cannot be had."""
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    """Stopped with notice."""
    LOST = "lost"
    """Gone without."""
    TRAINING = "training"
    """The training itself failed."""
    REFUSED = "refused"
    """The cluster did not make its container."""
    UNKNOWN = "unknown"


class WithoutNode(Enum):
    """What a training does whose pod found no node within its limit, and how a person is told."""

    WAIT = "waits on"
    USE_CPU = "trains on CPU"
    GIVE_UP = "gives up"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One pod."""

    pod: str
    namespace: str
    image: str
    gpu: int
    cpu: str
    memory: str
    wanted_gpu: int
    """What the project's policy asked for at the time; with another wish, what was learnt here counts no more."""
    wanted_memory: str
    why: str = ""
    """Why it got something else than was asked for."""
    ending: Ending = Ending.RUNNING
    words: str = ""
    """How it ended, for a person."""
    node: str | None = None
    image_id: str | None = None
    """Digest of the image as the node knows it."""
    peak_memory_mb: float | None = None
    """As the training last told."""


def read_attempts(store: Store, project: str, run: str) -> tuple[Attempt, ...]:
    """The pods of a run so far, in order."""
    kept = store.run_record(project, run, "pods") or {"pods": []}
    return tuple(Attempt(**{**attempt, "ending": Ending(attempt["ending"])}) for attempt in kept["pods"])


def note_attempt(store: Store, project: str, run: str, attempt: Attempt) -> None:
    """Keep a pod, in place of what was known of it."""
    pods = {known.pod: known for known in read_attempts(store, project, run)} | {attempt.pod: attempt}
    store.record_run(project, run, "pods", {"pods": [asdict(pod) for pod in pods.values()]}, replace=True)


def ended(attempt: Attempt, ending: Ending, words: str, **facts: object) -> Attempt:
    """The attempt with its end."""
    return replace(attempt, ending=ending, words=words, **{k: v for k, v in facts.items() if v is not None})  # type: ignore[arg-type]


@dataclass(frozen=True)
class NextTry:
    """What the next pod gets, and why when that is not what was asked for."""

    compute: PodCompute
    why: str = ""


def next_try(own: Compute, defaults: PodDefaults, attempts: tuple[Attempt, ...]) -> NextTry:
    """Learn from the pods before: after one that was killed for memory, twice as much (up to the cap); after one that found no GPU, none.

    What was learnt under another wish (the project asked for other memory or GPUs by then) is left aside.
    """
    asked = pod_compute(own, defaults)
    alike = [
        attempt for attempt in attempts if (attempt.wanted_gpu, attempt.wanted_memory) == (asked.gpu, asked.memory)
    ]
    compute, why = asked, []
    if asked.on_no_gpu == "cpu" and any(attempt.ending is Ending.NO_GPU for attempt in alike):
        compute = pod_compute(own, defaults, gpu=0)
        why.append(f"on CPU: no node had {asked.gpu} GPU within {shown_duration(asked.wait_at_most)}")
    short = [memory_bytes(attempt.memory) for attempt in alike if attempt.ending is Ending.MEMORY]
    if short:
        wanted = mebibytes(min(memory_bytes(compute.memory_cap), 2 * max(short)))
        why.append(f"{wanted} of memory: {mebibytes(max(short))} were too little")
        compute = compute.model_copy(update={"memory": wanted})
    return NextTry(compute, "; ".join(why))


def worth_another(attempt: Attempt, compute: PodCompute) -> bool:
    """Whether a pod that was killed for memory is followed by one with more: once, and only below the cap."""
    raised = memory_bytes(attempt.memory) > memory_bytes(attempt.wanted_memory)
    return not raised and memory_bytes(attempt.memory) < memory_bytes(compute.memory_cap)


def without_node(compute: PodCompute, attempt: Attempt | None) -> WithoutNode:
    """What the policy ``on_no_gpu`` says of a pod that found no node.

    :param attempt: the pod; None for one that waits in a queue and does not exist yet. One without a GPU cannot do with less.
    """
    if compute.on_no_gpu == "cpu" and attempt is not None and attempt.gpu > 0:
        return WithoutNode.USE_CPU
    return WithoutNode.GIVE_UP if compute.on_no_gpu == "fail" else WithoutNode.WAIT

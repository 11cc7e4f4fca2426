"""What on-call hears of a training's pods: a wait that got long, and what was done about memory."""

from __future__ import annotations

from updraft.alerts.alert import Alert, one_line, redacted
from updraft.pods.attempts import WithoutNode


def no_node(project: str, *, run: str, waits: str, does: WithoutNode, limit: str, link: str) -> Alert:
    """A training found no node within ``wait_at_most``.

    :param waits: what it waits for, in the scheduler's words.
    :param does: what happens now.
    """
    return Alert(
        project=project,
        kind="failure",
        entry="no_node",
        dedup=f"no_node:{run}:{does.value}",
        title=f"{project}: no node for a training",
        text=f"Training {run} has waited for a node for {limit}.",
        detail=redacted(one_line(waits)),
        does=f"It {does.value}, as training.compute.on_no_gpu says.",
        needs=""
        if does is WithoutNode.USE_CPU
        else "Free or add such a node, or change training.compute; then clear train_model.",
        links={"Run": link},
    )


def more_memory(project: str, *, run: str, words: str, link: str) -> Alert:
    """A training was killed for memory, and is tried once more with more."""
    return Alert(
        project=project,
        kind="failure",
        entry="more_memory",
        dedup=f"memory:{run}:{words}",
        title=f"{project}: a training was short of memory",
        text=f"Training {run} was {words}.",
        does="It goes on from its checkpoint in a pod with more memory, up to training.compute.memory_cap. With a higher "
        f"training.compute.memory the next one need not die first (`updraft rightsize {project}` proposes).",
        links={"Run": link},
    )

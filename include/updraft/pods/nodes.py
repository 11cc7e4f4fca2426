"""Whether any node of the cluster could take a pod: an impossible request is told at once and not after a wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from updraft.errors import TrainingError
from updraft.spec.compute import GPU, PodCompute, Toleration
from updraft.spec.part import cpu_cores, memory_bytes


def check_possible(compute: PodCompute, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Refuse what no node could ever take, free or not.

    :param nodes: of the cluster, as the API gives them.
    :raises TrainingError: says of each node why not.
    """
    reasons = {str(node["metadata"]["name"]): _against(compute, node) for node in nodes}
    if any(not why for why in reasons.values()):
        return
    asked = f"{compute.gpu} {GPU}, {compute.cpu} cores, {compute.memory} of memory, {compute.disk} of disk"
    told = "; ".join(f"{name}: {', '.join(why)}" for name, why in sorted(reasons.items())) or "the cluster has no node"
    raise TrainingError(
        f"training.compute asks for {asked}, and no node can ever give that ({told}); ask for less, or add such a node "
        "(kubernetes.nodes: autoscaled in deployment.yaml says that the cluster adds nodes itself)"
    )


def _against(compute: PodCompute, node: Mapping[str, Any]) -> list[str]:
    """What speaks against a node."""
    there = (node.get("status") or {}).get("allocatable") or {}
    labels = node["metadata"].get("labels") or {}
    obstacles = []
    if compute.gpu > int(there.get(GPU, 0)):
        obstacles.append(f"{there.get(GPU, 0)} {GPU}")
    if cpu_cores(compute.cpu) > cpu_cores(str(there.get("cpu", "0"))):
        obstacles.append(f"{there.get('cpu', 0)} cores")
    if memory_bytes(compute.memory) > memory_bytes(str(there.get("memory", "0"))):
        obstacles.append(f"{there.get('memory', 0)} of memory")
    disk = there.get("ephemeral-storage")  # a virtual node has none to tell of
    if disk is not None and memory_bytes(compute.disk) > memory_bytes(str(disk)):
        obstacles.append(f"{disk} of disk")
    missing = [f"{key}={value}" for key, value in compute.node_selector.items() if labels.get(key) != value]
    if missing:
        obstacles.append(f"not labelled {' '.join(missing)}")
    for taint in (node.get("spec") or {}).get("taints") or []:
        if taint["effect"] != "PreferNoSchedule" and not _passing(taint) and not _tolerated(taint, compute.tolerations):
            obstacles.append(f"taint {taint['key']} is not tolerated")
    return obstacles


def _passing(taint: Mapping[str, Any]) -> bool:
    """A node that is away or under work now may be back soon: no reason to call a request impossible."""
    return str(taint["key"]).startswith("node.kubernetes.io/")


def _tolerated(taint: Mapping[str, Any], tolerations: Sequence[Toleration]) -> bool:
    return any(
        (toleration.key is None or toleration.key == taint["key"])
        and (toleration.effect is None or toleration.effect == taint["effect"])
        and (toleration.operator == "Exists" or toleration.value == taint.get("value", ""))
        for toleration in tolerations
    )

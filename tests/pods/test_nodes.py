"""A request that no node could ever take is refused at once."""

from __future__ import annotations

import pytest

from updraft.errors import TrainingError
from updraft.pods.nodes import check_possible
from updraft.spec.compute import Compute, PodDefaults, Toleration, pod_compute

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
NODES = [
    {
        "metadata": {"name": "cpu"},
        "spec": {},
        "status": {"allocatable": {"cpu": "2", "memory": "8Gi", "ephemeral-storage": "95491281146"}},
    },
    {
        "metadata": {"name": "gpu", "labels": {"nvidia.com/gpu.present": "true"}},
        "spec": {"taints": [TAINT, {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]},
        "status": {"allocatable": {"cpu": "3900m", "memory": "16393432Ki", "nvidia.com/gpu": "2"}},
    },
]


def compute(**wishes):
    return pod_compute(Compute(backend="kubernetes", **wishes), PodDefaults())


@pytest.mark.parametrize(
    "possible",
    [{}, {"gpu": 2}, {"gpu": 1, "memory": "12Gi"}, {"gpu": 1, "node_selector": {"nvidia.com/gpu.present": "true"}}],
)
def test_what_some_node_can_take_passes_also_while_that_node_is_away(possible):
    check_possible(compute(**possible), NODES)


def test_more_gpus_than_any_node_has_says_what_each_node_has():
    with pytest.raises(TrainingError, match=r"3 nvidia.com/gpu.*cpu: 0 nvidia.com/gpu.*gpu: 2 nvidia.com/gpu"):
        check_possible(compute(gpu=3), NODES)


@pytest.mark.parametrize(
    ("impossible", "said"),
    [
        ({"cpu": 8}, "2 cores"),
        ({"memory": "64Gi"}, "8Gi of memory"),
        ({"disk": "1Ti"}, "cpu: 95491281146 of disk"),
        ({"node_selector": {"zone": "b"}}, "not labelled zone=b"),
        ({"node_selector": {"nvidia.com/gpu.present": "true"}}, "taint nvidia.com/gpu is not tolerated"),
    ],
)
def test_each_reason_is_told(impossible, said):
    with pytest.raises(TrainingError, match=said):
        check_possible(compute(**impossible), NODES)


def test_a_toleration_of_another_value_does_not_help():
    own = Compute(
        tolerations=(Toleration(key="nvidia.com/gpu", operator="Equal", value="absent"),),
        node_selector={"nvidia.com/gpu.present": "true"},
    )
    with pytest.raises(TrainingError, match="is not tolerated"):
        check_possible(pod_compute(own, PodDefaults()), NODES)


def test_a_cluster_without_nodes_says_so():
    with pytest.raises(TrainingError, match="the cluster has no node"):
        check_possible(compute(), [])

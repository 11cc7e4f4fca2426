"""Pods that nobody waits for any more, on a real cluster. They are made before Airflow is brought up: until then they are old enough."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest
from tests.support.pods import eventually

from updraft.pods.orphans import YOUNG
from updraft_airflow.pods import owned

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(1800, func_only=True)]


@pytest.fixture
def orphans(cluster, object_store):
    """Pods of a run that is gone, of this deployment and of another; when they were made."""

    def orphan(name: str, labels: dict[str, str]) -> None:
        metadata = {"name": name, "namespace": "updraft", "labels": labels | {"updraft.dev/project": "podded"}}
        metadata["annotations"] = {"updraft.dev/run": "nobody-knows-it"}
        # As the namespace asks of every pod.
        rights = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        container = {"name": "c", "image": "localhost/pause:1", "securityContext": rights}
        spec: dict[str, object] = {
            "containers": [container],
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
        }
        spec["securityContext"] = {
            "runAsNonRoot": True,
            "runAsUser": 65535,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        cluster.kubectl(
            "apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        )

    mine = owned(SimpleNamespace(lake=object_store.lake))
    orphan("orphan", mine)
    orphan("of-another-deployment", mine | {"updraft.dev/deployment": "other"})
    yield time.monotonic()
    cluster.kubectl("-n", "updraft", "delete", "pod", "orphan", "of-another-deployment", "--ignore-not-found")


def test_maintenance_removes_pods_of_runs_that_are_gone_and_leaves_others(orphans, request, cluster):
    request.getfixturevalue("trained")  # not an argument: it would be made before the pods
    pod_stack = request.getfixturevalue("pod_stack")
    time.sleep(max(0.0, orphans + YOUNG.total_seconds() + 5 - time.monotonic()))
    run = pod_stack.start_dag("maintenance")
    assert pod_stack.wait_run("maintenance", run)["state"] == "success"
    eventually("it is gone", lambda: {pod["metadata"]["name"] for pod in cluster.pods()} == {"of-another-deployment"})

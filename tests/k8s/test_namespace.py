"""What the namespace of the trainings lets in, on a real cluster. Its network plugin enforces no NetworkPolicy: those are only read here."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import yaml
from tests.support.cluster import ROOT
from tests.support.pods import eventually

from updraft.spec.compute import Compute, Kubernetes, PodDefaults, pod_compute
from updraft_airflow.pods import training_pod

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(1800, func_only=True)]
LOOP = SimpleNamespace(name="open", settings=SimpleNamespace(lake="s3://lake"), spec=SimpleNamespace(owner="us"))


def pod(cluster, name: str, command: list[str], **wishes: object) -> dict:
    """The pod of a training, with another command."""
    compute = pod_compute(Compute.model_validate(wishes), PodDefaults(image=cluster.image, memory="256Mi"))
    made = training_pod(LOOP, name, "s3://lake/request.json", compute, Kubernetes(), "0" * 64)
    made["metadata"]["name"] = name
    made["spec"]["containers"][0] |= {"command": command}
    return made


def privileged(spec: dict) -> None:
    spec["containers"][0]["securityContext"] = {"privileged": True}


def of_root(spec: dict) -> None:
    spec["securityContext"] |= {"runAsUser": 0, "runAsNonRoot": False}


def on_the_nodes_disk(spec: dict) -> None:
    spec["volumes"].append({"name": "node", "hostPath": {"path": "/"}})


def on_the_nodes_network(spec: dict) -> None:
    spec["hostNetwork"] = True


def with_capabilities(spec: dict) -> None:
    spec["containers"][0]["securityContext"]["capabilities"] = {"add": ["NET_RAW"]}


@pytest.mark.parametrize(
    "hostile",
    [privileged, of_root, on_the_nodes_disk, on_the_nodes_network, with_capabilities],
    ids=lambda it: it.__name__,
)
def test_a_pod_with_more_rights_than_a_training_needs_is_refused(cluster, hostile):
    made = pod(cluster, "hostile", ["true"])
    hostile(made["spec"])
    with pytest.raises(AssertionError, match='violates PodSecurity "restricted:latest"'):
        cluster.kubectl("create", "--dry-run=server", "-f", "-", text=json.dumps(made))


def test_the_pod_of_a_training_fits_the_namespace_without_a_warning(cluster):
    made = pod(cluster, "fitting", ["true"], workers=1)
    said = json.loads(cluster.kubectl("create", "--dry-run=server", "-f", "-", "-o", "json", text=json.dumps(made)))
    assert said["spec"]["containers"][0]["resources"]["limits"]["ephemeral-storage"] == "10Gi"


def test_a_pod_that_writes_more_than_it_may_is_put_out_and_told_so(cluster):
    from updraft.pods.endings import end_of

    fills = "i=0; while [ $i -lt 64 ]; do head -c 4194304 /dev/urandom > /tmp/$i; i=$((i+1)); done; sleep 300"
    made = pod(cluster, "filling", ["sh", "-c", fills], disk="64Mi")
    cluster.kubectl("apply", "-f", "-", text=json.dumps(made))
    try:
        ended = eventually("it is put out", lambda: failed(cluster, "filling"), 240)
    finally:
        cluster.kubectl("-n", "updraft", "delete", "pod", "filling", "--wait=false")
    end = end_of(ended)
    assert (end.ending, end.again) == ("training", False)
    assert "64Mi" in end.words
    assert "raise training.compute.disk" in end.words


def failed(cluster, name: str) -> dict | None:
    found = json.loads(cluster.kubectl("-n", "updraft", "get", "pod", name, "-o", "json"))
    return found if found["status"].get("phase") == "Failed" else None


def test_the_launcher_may_make_a_groups_policy_and_read_no_secret(cluster):
    def may(verb: str, resource: str, group: str = "", subresource: str = "") -> bool:
        who = "system:serviceaccount:updraft:updraft-launcher"
        asked = {"verb": verb, "namespace": "updraft", "group": group, "resource": resource, "subresource": subresource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": who, "resourceAttributes": asked},
        }
        said = cluster.kubectl("create", "-f", "-", "-o", "json", text=json.dumps(review))
        return bool(json.loads(said)["status"]["allowed"])

    assert may("create", "networkpolicies", "networking.k8s.io")
    assert not any(may(verb, "networkpolicies", "networking.k8s.io") for verb in ("delete", "patch", "update"))
    assert not any(may(verb, "secrets") for verb in ("get", "list", "create"))
    assert not may("create", "pods", subresource="exec")


def test_the_cluster_takes_the_policies_and_the_quota(cluster):
    for name in ("networkpolicy.yaml", "quota.yaml"):
        cluster.kubectl("apply", "--dry-run=server", "-f", str(ROOT / "docker" / "kubernetes" / name))
    policies = json.loads(cluster.kubectl("-n", "updraft", "get", "networkpolicies", "-o", "json"))["items"]
    by_name = {each["metadata"]["name"]: each["spec"] for each in policies}
    assert by_name["updraft-nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    written = yaml.safe_load_all((ROOT / "docker" / "kubernetes" / "networkpolicy.yaml").read_text())
    labels = pod(cluster, "labelled", ["true"])["metadata"]["labels"]
    for each in written:
        assert each["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()

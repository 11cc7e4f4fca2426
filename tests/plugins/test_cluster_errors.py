"""What a cluster refuses is told in words that a person can act on; what passes by itself goes on as it is."""

from __future__ import annotations

import json

import pytest
from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from kubernetes.client.exceptions import ApiException

from updraft.errors import SettingsError, TrainingError
from updraft_airflow.hooks.cluster import Cluster, cluster_errors


def refusal(status: int, message: str) -> ApiException:
    """As the client raises it for an answer of the API."""
    error = ApiException(status=status, reason="Refused")
    error.body = json.dumps({"kind": "Status", "status": "Failure", "message": message, "code": status})
    return error


def told(error: Exception) -> None:
    with cluster_errors("kubernetes", "updraft"):
        raise error


def pods_of(connection: str) -> None:
    with cluster_errors(connection, "updraft"):
        Cluster(KubernetesHook(conn_id=connection).core_v1_client, "updraft").pods("a=b")


def test_a_kubeconfig_that_is_not_there_is_told_with_its_connection(monkeypatch, tmp_path):
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(tmp_path / "none")}}
    monkeypatch.setenv("AIRFLOW_CONN_MY_CLUSTER", json.dumps(connection))
    with pytest.raises(SettingsError, match=r"connection 'my_cluster' leads to no cluster: .*kube_config_path"):
        pods_of("my_cluster")


def test_a_connection_that_is_not_there_is_named():
    with pytest.raises(SettingsError, match="connection 'no_such' leads to no cluster"):
        pods_of("no_such")


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (
            'nodes is forbidden: User "u" cannot list resource "nodes" in API group "" at the cluster scope',
            "resources: [nodes], verbs: [list]}; it belongs to ClusterRole updraft-nodes",
        ),
        (
            'jobs.batch is forbidden: User "u" cannot create resource "jobs" in API group "batch" in the namespace "updraft"',
            "{apiGroups: [batch], resources: [jobs], verbs: [create]}; it belongs to Role updraft-launcher",
        ),
        (
            'networkpolicies.networking.k8s.io is forbidden: User "u" cannot create resource "networkpolicies" in API group '
            '"networking.k8s.io" in the namespace "updraft"',
            "{apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [create]}; it belongs to Role updraft-launcher",
        ),
        (
            'pods is forbidden: User "u" cannot create resource "pods" in API group "" in the namespace "updraft"',
            "resources: [pods], verbs: [create]}; it belongs to Role updraft-launcher in namespace updraft",
        ),
        (
            'pods "p" is forbidden: User "u" cannot get resource "pods/log" in API group "" in the namespace "updraft"',
            "resources: [pods/log], verbs: [get]}",
        ),
    ],
)
def test_a_missing_right_is_told_as_the_rule_that_is_missing(message, rule):
    with pytest.raises(SettingsError) as raised:
        told(refusal(403, message))
    assert rule in str(raised.value)
    assert "kubectl apply -f docker/kubernetes/rbac.yaml" in str(raised.value)


def test_a_missing_namespace_is_told():
    with pytest.raises(SettingsError, match='namespaces "updraft" not found; make it'):
        told(refusal(404, 'namespaces "updraft" not found'))


def test_credentials_that_are_not_known_are_told():
    with pytest.raises(SettingsError, match="does not know the credentials of connection 'kubernetes'"):
        told(refusal(401, "Unauthorized"))


@pytest.mark.parametrize("status", [403, 422])
def test_a_pod_that_the_cluster_does_not_take_is_the_trainings_fault(status):
    with pytest.raises(TrainingError, match="exceeded quota: team"):
        told(refusal(status, 'pods "p" is forbidden: exceeded quota: team, requested: cpu=4'))


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_what_passes_by_itself_is_left_for_a_retry(status):
    with pytest.raises(ApiException):
        told(refusal(status, "later"))

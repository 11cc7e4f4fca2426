"""What the tasks ask of a cluster beyond what Airflow's operator asks; the cluster's refusals in words that can be acted on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from updraft.errors import SettingsError, TrainingError

if TYPE_CHECKING:
    from kubernetes.client import BatchV1Api, CoreV1Api

_FORBIDDEN = re.compile(r'cannot (\w+) resource "([\w/]+)"')
_GONE, _THERE, _BUSY, _FAILED = 404, 409, 429, 500
_API_GROUPS = {"jobs": "batch", "networkpolicies": "networking.k8s.io"}
"""Of the resources that are not in the core group."""


class Cluster:
    """One cluster, and one namespace of it."""

    def __init__(self, api: CoreV1Api, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    def pod(self, name: str) -> dict[str, Any] | None:
        """A pod; None when there is none."""
        from kubernetes.client.exceptions import ApiException

        try:
            return self._plain(self._api.read_namespaced_pod(name, self.namespace))
        except ApiException as error:
            if error.status != _GONE:
                raise
            return None

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """The pods with some labels."""
        listed = self._api.list_namespaced_pod(self.namespace, label_selector=selector).items
        return [self._plain(pod) for pod in listed]

    def events(self, pod: str) -> list[dict[str, Any]]:
        """The events of a pod, oldest first."""
        listed = self._api.list_namespaced_event(self.namespace, field_selector=f"involvedObject.name={pod}").items
        plain = [self._plain(event) for event in listed]
        return sorted(
            plain, key=lambda event: str(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])
        )

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes of the cluster."""
        return [self._plain(node) for node in self._api.list_node().items]

    def remove(self, pod: str, *, at_once: bool = False) -> None:
        """Delete a pod; ``at_once`` does not wait for a node that does not answer."""
        from kubernetes.client.exceptions import ApiException

        try:
            self._api.delete_namespaced_pod(pod, self.namespace, **({"grace_period_seconds": 0} if at_once else {}))
        except ApiException as error:
            if error.status != _GONE:
                raise

    def jobs(self, selector: str) -> list[dict[str, Any]]:
        """The Jobs with some labels."""
        listed = self._batch.list_namespaced_job(self.namespace, label_selector=selector).items
        return [self._plain(job) for job in listed]

    def create_job(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create a Job; as the cluster then has it."""
        return self._plain(self._batch.create_namespaced_job(self.namespace, manifest))

    def create_service(self, manifest: dict[str, Any]) -> None:
        """Create a Service, unless it is there."""
        with _there_already():
            self._api.create_namespaced_service(self.namespace, manifest)

    def create_network_policy(self, manifest: dict[str, Any]) -> None:
        """Create a NetworkPolicy, unless it is there."""
        from kubernetes.client import NetworkingV1Api

        with _there_already():
            NetworkingV1Api(self._api.api_client).create_namespaced_network_policy(self.namespace, manifest)

    def remove_job(self, name: str) -> None:
        """Delete a Job, and with it its pods and what else it owns."""
        from kubernetes.client.exceptions import ApiException

        try:
            self._batch.delete_namespaced_job(name, self.namespace, propagation_policy="Background")
        except ApiException as error:
            if error.status != _GONE:
                raise

    def mark(self, pod: str, label: str) -> None:
        """Set a label of a pod to ``True``; a pod that is gone needs none."""
        from kubernetes.client.exceptions import ApiException

        try:
            self._api.patch_namespaced_pod(pod, self.namespace, {"metadata": {"labels": {label: "True"}}})
        except ApiException as error:
            if error.status != _GONE:
                raise

    @property
    def _batch(self) -> BatchV1Api:
        from kubernetes.client import BatchV1Api

        return BatchV1Api(self._api.api_client)

    def _plain(self, thing: Any) -> dict[str, Any]:
        return dict(self._api.api_client.sanitize_for_serialization(thing))


@contextmanager
def _there_already() -> Iterator[None]:
    from kubernetes.client.exceptions import ApiException

    try:
        yield
    except ApiException as error:
        if error.status != _THERE:
            raise


@contextmanager
def cluster_errors(connection: str, namespace: str) -> Iterator[None]:
    """Turn what a person must mend into our errors; what passes by itself goes on as it is, to be tried again.

    :raises SettingsError: no kubeconfig, no such context, a missing right (names the rule), a missing namespace.
    :raises TrainingError: when the cluster refuses the pod as it stands.
    """
    from airflow.sdk.exceptions import AirflowNotFoundException
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config.config_exception import ConfigException

    try:
        yield
    except (ConfigException, AirflowNotFoundException) as error:
        raise SettingsError(
            f"Airflow's connection {connection!r} leads to no cluster: {error}; give it a kubeconfig "
            "(extra kube_config_path), or in_cluster where Airflow runs in the cluster"
        ) from error
    except ApiException as error:
        said = _message(error)
        denied = _FORBIDDEN.search(said)
        if denied and error.status == 403:
            scope = (
                "ClusterRole updraft-nodes"
                if denied[2] == "nodes"
                else f"Role updraft-launcher in namespace {namespace}"
            )
            group = _API_GROUPS.get(denied[2], '""')
            rule = f"{{apiGroups: [{group}], resources: [{denied[2]}], verbs: [{denied[1]}]}}"
            raise SettingsError(
                f"the cluster refuses: {said}. Missing rule: {rule}; it belongs to {scope}: kubectl apply -f docker/kubernetes/rbac.yaml"
            ) from error
        if error.status == 401:
            raise SettingsError(
                f"the cluster does not know the credentials of connection {connection!r}: {said}"
            ) from error
        if error.status == _GONE and "namespaces" in said:
            raise SettingsError(
                f"{said}; make it (kubectl apply -f docker/kubernetes/rbac.yaml), or set kubernetes.namespace"
            ) from error
        if error.status in (400, 403, 422):
            raise TrainingError(
                f"the cluster refuses the training's pod: {said}; see training.compute and deployment.yaml"
            ) from error
        raise


def may_pass(error: BaseException) -> bool:
    """Whether the same question may be answered in a moment: the cluster was not reached, is busy, or failed; no refusal."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    if isinstance(error, ApiException):
        return error.status == _BUSY or (error.status or 0) >= _FAILED
    return isinstance(error, HTTPError)


def _message(error: Any) -> str:
    with suppress(ValueError, TypeError, AttributeError):
        return str(json.loads(error.body)["message"])
    return str(error.reason)

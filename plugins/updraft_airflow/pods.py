"""The pods that a training runs in, in one place: what they run, what they get, what they may do. Read it from the top."""

from __future__ import annotations

import hashlib
from typing import Any

from updraft.jobs.attested import RUN_KEY
from updraft.jobs.failure import ATTEMPT
from updraft.jobs.group import MEETING, TOKEN, WORKER
from updraft.loop.context import Loop
from updraft.pods.endings import CONTAINER
from updraft.settings import Settings
from updraft.spec.compute import GPU, Kubernetes, PodCompute, kubernetes_name

USER = 10001
"""As in docker/trainer/Dockerfile."""
GRACE_SECONDS = 60
"""Between SIGTERM and SIGKILL: the time that a block of rounds and its checkpoint have."""
PROJECT, RUN = "updraft.dev/project", "updraft.dev/run"
QUEUE = "kueue.x-k8s.io/queue-name"
JOB = "batch.kubernetes.io/job-name"
WORKER_INDEX = "batch.kubernetes.io/job-completion-index"
"""Label and annotation that an Indexed Job gives its pods."""
_MEETING_PORT = 29400
_KEPT_SECONDS = 300
"""A Job that has ended is removed by the cluster itself after this long, with its pods and its Service, if nobody did before."""
_AWAY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def run_label(run: str) -> str:
    """A run's id as a label may hold it."""
    return hashlib.sha256(run.encode()).hexdigest()[:16]


def owned(settings: Settings) -> dict[str, str]:
    """Labels of the pods of one deployment: of two that share a namespace, neither removes the other's."""
    deployment = hashlib.sha256(settings.lake.encode()).hexdigest()[:16]
    return {"app.kubernetes.io/managed-by": "updraft", "updraft.dev/deployment": deployment}


def training_pod(
    loop: Loop, run: str, request_url: str, compute: PodCompute, cluster: Kubernetes, key: str
) -> dict[str, Any]:
    """The manifest (core/v1 Pod). It names no credential: those come from the Secret, which only the node reads.

    :param key: the run's secret, by which what the pod leaves is told from what others may write there.
    """
    resources: dict[str, Any] = {"cpu": compute.cpu, "memory": compute.memory, "ephemeral-storage": compute.disk}
    if compute.gpu:
        resources[GPU] = str(compute.gpu)
    labels = {
        **owned(loop.settings),
        "app.kubernetes.io/name": "updraft-trainer",
        PROJECT: loop.name,
        RUN: run_label(run),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"train-{kubernetes_name(loop.name)}"[:50].rstrip("-"),
            "namespace": cluster.namespace,
            "labels": labels,
            "annotations": {
                "updraft.dev/owner": loop.spec.owner,
                "updraft.dev/run": run,
                "updraft.dev/request": request_url,
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": cluster.service_account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "activeDeadlineSeconds": int(compute.timeout.total_seconds()),
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "nodeSelector": compute.node_selector,
            "tolerations": [
                *(toleration.model_dump(exclude_none=True) for toleration in compute.tolerations),
                # A lost node is noticed after this long, not after Kubernetes' five minutes: the checkpoint is in the lake.
                *({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 20} for key in _AWAY),
            ],
            "imagePullSecrets": [{"name": name} for name in cluster.image_pull_secrets],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": CONTAINER,
                    "image": compute.image,
                    "imagePullPolicy": cluster.image_pull_policy,
                    "args": ["train", "run", request_url],
                    "env": [
                        {"name": RUN_KEY, "value": key},
                        {"name": ATTEMPT, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    ],
                    "envFrom": [{"secretRef": {"name": cluster.secret_of(loop.name)}}],
                    "resources": {"requests": resources, "limits": resources},
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": compute.disk}}],
        },
    }


def training_job(pod: dict[str, Any], compute: PodCompute, token: str) -> dict[str, Any]:
    """The manifest (batch/v1 Job) of a training by several workers, or through a queue: every worker is such a pod with a number.

    One lost worker ends the Job: its group is of no use without it. Another Job goes on from the checkpoint. A Job for a queue
    is made suspended, with the label by which Kueue takes it on and lets all its pods start at once, or none: what Airflow's
    KubernetesStartKueueJobOperator writes too.

    :param token: the secret by which its workers know each other; a new one for each Job.
    """
    meta, spec = pod["metadata"], pod["spec"]
    name = meta["name"]
    if compute.workers > 1:
        number = {"fieldRef": {"fieldPath": f"metadata.annotations['{WORKER_INDEX}']"}}
        variables = [
            {"name": WORKER, "valueFrom": number},
            {"name": MEETING, "value": f"{name}-0.{name}.{meta['namespace']}.svc:{_MEETING_PORT}"},
            {"name": TOKEN, "value": token},
        ]
        first, *others = spec["containers"]
        spec = {
            **spec,
            "subdomain": name,
            "containers": [{**first, "env": [*first.get("env", ()), *variables]}, *others],
        }
    queue = {QUEUE: compute.queue} if compute.queue else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": {**meta["labels"], **queue},
            "annotations": {**meta["annotations"], **queue},
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": compute.workers,
            "parallelism": compute.workers,
            "backoffLimit": 0,
            "suspend": bool(compute.queue),
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {"metadata": {"labels": meta["labels"], "annotations": meta["annotations"]}, "spec": spec},
        },
    }


def meeting_service(job: dict[str, Any]) -> dict[str, Any]:
    """The headless Service (core/v1) by whose name the workers of a Job find the first one; it goes with the Job.

    :param job: as the cluster has it, with its uid.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _goes_with(job),
        "spec": {
            "clusterIP": "None",
            "selector": {JOB: job["metadata"]["name"]},
            "publishNotReadyAddresses": True,  # workers meet before anything could call them ready
            "ports": [{"name": "meeting", "port": _MEETING_PORT}],
        },
    }


def group_policy(job: dict[str, Any]) -> dict[str, Any]:
    """The NetworkPolicy (networking.k8s.io/v1) by which the workers of a Job are reached by each other and by nobody else; it goes with it.

    On every port: XGBoost's collective and torch.distributed choose theirs when they start. It says nothing of where the
    workers may go: docker/kubernetes/networkpolicy.yaml does.

    :param job: as the cluster has it, with its uid.
    """
    workers = {"podSelector": {"matchLabels": {JOB: job["metadata"]["name"]}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _goes_with(job),
        "spec": {**workers, "policyTypes": ["Ingress"], "ingress": [{"from": [workers]}]},
    }


def _goes_with(job: dict[str, Any]) -> dict[str, Any]:
    """Metadata of what is removed with a Job."""
    meta = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
    return {
        "name": meta["name"],
        "namespace": meta["namespace"],
        "labels": meta["labels"],
        "ownerReferences": [owner],
    }

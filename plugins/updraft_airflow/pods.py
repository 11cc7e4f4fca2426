"""The pod that a training runs in, in one place: what it runs, what it gets, what it may do. Read it from the top."""

from __future__ import annotations

import hashlib
from typing import Any

from updraft.loop.context import Loop
from updraft.pods.endings import CONTAINER
from updraft.settings import Settings
from updraft.spec.compute import GPU, Kubernetes, PodCompute

USER = 10001
"""As in docker/trainer/Dockerfile."""
GRACE_SECONDS = 60
"""Between SIGTERM and SIGKILL: the time that a block of rounds and its checkpoint have."""
PROJECT, RUN = "updraft.dev/project", "updraft.dev/run"
_QUEUE = "kueue.x-k8s.io/queue-name"
_AWAY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def run_label(run: str) -> str:
    """A run's id as a label may hold it."""
    return hashlib.sha256(run.encode()).hexdigest()[:16]


def owned(settings: Settings) -> dict[str, str]:
    """Labels of the pods of one deployment: of two that share a namespace, neither removes the other's."""
    deployment = hashlib.sha256(settings.lake.encode()).hexdigest()[:16]
    return {"app.kubernetes.io/managed-by": "updraft", "updraft.dev/deployment": deployment}


def training_pod(loop: Loop, run: str, request_url: str, compute: PodCompute, cluster: Kubernetes) -> dict[str, Any]:
    """The manifest (core/v1 Pod). It names no credential: those come from the Secret, which only the node reads."""
    resources: dict[str, Any] = {"cpu": compute.cpu, "memory": compute.memory}
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
            "name": f"train-{loop.name.replace('_', '-')}"[:50].rstrip("-"),
            "namespace": cluster.namespace,
            "labels": labels | ({_QUEUE: compute.queue} if compute.queue else {}),
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
                *(each.model_dump(exclude_none=True) for each in compute.tolerations),
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
                    "envFrom": [{"secretRef": {"name": cluster.secret}}],
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
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }

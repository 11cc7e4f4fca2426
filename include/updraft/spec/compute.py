"""``training.compute``: where a training runs and what it gets there; and the same for a deployment as a whole."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from updraft.errors import SpecError
from updraft.spec.part import Cpu, Duration, Memory, Part, memory_bytes

GPU = "nvidia.com/gpu"
"""The resource that NVIDIA's device plugin offers, and the key of the taint that keeps other pods from its nodes."""

PROJECT_WORD = "{project}"
Label = Annotated[str, Field(min_length=1, max_length=253)]
ImagePattern = Annotated[str, Field(min_length=1, pattern=r"^[^\s*][^\s]*$")]
"""It does not begin with ``*``: the registry is named."""
LOCAL_IMAGE = "localhost/updraft-trainer"
"""What docker/trainer/build calls the image."""
OnNoGpu = Literal["wait", "cpu", "fail"]


class Toleration(Part):
    """A taint that the pod may be scheduled in spite of (Kubernetes, "Taints and Tolerations")."""

    key: str | None = Field(default=None, description="the taint's key; every key when left out")
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = Field(default=None, description="the taint's value, for the operator Equal")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="the taint's effect; every effect when left out"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.operator == "Equal" and (self.key is None or self.value is None):
            raise ValueError("operator Equal needs a key and a value; Exists takes any value")
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("operator Exists takes no value; write operator: Equal")
        return self


class Compute(Part):
    """A project's wishes. What is left out is as `deployment.yaml` says."""

    backend: Literal["local", "kubernetes"] = Field(
        default="local",
        description="a process on Airflow's machine, or a pod; the other keys but threads and workers are for pods",
    )
    threads: int = Field(
        default=2, ge=1, description="threads of one training; part of the recipe, as sums depend on it"
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="processes (pods) that learn one model together, each with what is asked for here; part of the recipe",
    )
    image: str | None = Field(default=None, min_length=1, description="trainer image, see docker/trainer")
    gpu: int | None = Field(default=None, ge=0, description="whole GPUs")
    cpu: Cpu | None = Field(default=None, description="cores, such as 2, 1.5 or 500m; as many as threads by default")
    memory: Memory | None = Field(default=None, description="such as 512Mi or 4Gi: request and limit")
    memory_cap: Memory | None = Field(
        default=None, description="a training that was killed for memory is tried once more with up to this much"
    )
    disk: Memory | None = Field(
        default=None, description="such as 20Gi: what the pod may write to its node (/tmp, logs); request and limit"
    )
    node_selector: dict[Label, str] | None = Field(default=None, description="labels that the node must have")
    tolerations: tuple[Toleration, ...] | None = Field(
        default=None, description="taints to tolerate; that of GPU nodes is tolerated by every pod with a GPU"
    )
    queue: str | None = Field(default=None, min_length=1, description="Kueue's LocalQueue")
    timeout: Duration | None = Field(default=None, description="of one try, from the start of its pod")
    wait_at_most: Duration | None = Field(
        default=None, description="for a node; then on_no_gpu says what happens, and on-call is told"
    )
    on_no_gpu: OnNoGpu | None = Field(
        default=None, description="no node within wait_at_most: wait on, train on CPU, or fail"
    )

    @model_validator(mode="after")
    def _cap_is_above(self) -> Self:
        if self.memory and self.memory_cap and memory_bytes(self.memory_cap) < memory_bytes(self.memory):
            raise ValueError(f"memory_cap ({self.memory_cap}) is below memory ({self.memory})")
        return self


class PodDefaults(Part):
    """What a project's pods get unless its ``training.compute`` says otherwise."""

    image: str = Field(default=f"{LOCAL_IMAGE}:cpu", min_length=1)
    gpu_image: str | None = Field(default=None, min_length=1, description="for pods with a GPU; image when left out")
    gpu: int = Field(default=0, ge=0)
    memory: Memory = "4Gi"
    memory_cap: Memory = "16Gi"
    disk: Memory = Field(default="10Gi", description="what a pod may write to its node (/tmp, logs); request and limit")
    node_selector: dict[Label, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    gpu_node_selector: dict[Label, str] = Field(default_factory=dict, description="added for pods with a GPU")
    gpu_tolerations: tuple[Toleration, ...] = Field(
        default=(Toleration(key=GPU),), description="added for pods with a GPU: the taint of GPU nodes"
    )
    queue: str | None = Field(default=None, min_length=1)
    timeout: Duration = timedelta(hours=12)
    wait_at_most: Duration = timedelta(minutes=30)
    on_no_gpu: OnNoGpu = "wait"


class Kubernetes(Part):
    """The cluster that trainings go to. Credentials stand in none of this: see `connection` and `secret`."""

    connection: str = Field(default="kubernetes", min_length=1, description="Airflow's connection to the cluster")
    namespace: Label = "updraft"
    service_account: Label = Field(default="updraft-trainer", description="of the pods; it needs no rights at all")
    secret: Label = Field(
        default="updraft-trainer",
        description="Secret whose keys become variables of the pods: the object store's AWS_ENDPOINT_URL, "
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION; with {project} in its name each project has its own",
    )
    images: tuple[ImagePattern, ...] = Field(
        default=(f"{LOCAL_IMAGE}:*",),
        description="images that a project may name in training.compute.image; * stands for anything but a slash. "
        "Those that stand in this file may always be used",
    )
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[Label, ...] = ()
    nodes: Literal["fixed", "autoscaled"] = Field(
        default="fixed",
        description="fixed: what no node can take is refused at once; autoscaled: the cluster adds nodes",
    )
    mlflow: str | None = Field(
        default=None, description="MLflow's URL as pods reach it; without it the run is recorded after the training"
    )
    pod_url: str | None = Field(
        default=None, description="a dashboard's page of a pod, with {namespace}, {pod} and {node}"
    )
    defaults: PodDefaults = PodDefaults()

    def allows(self, image: str) -> bool:
        """Whether pods may run an image: one that this file names, or that matches a pattern."""
        if image in (self.defaults.image, self.defaults.gpu_image):
            return True
        return any(_matches(pattern, image) for pattern in self.images)

    def check_image(self, image: str) -> None:
        """Refuse an image that a project may not run: code of anybody, with the trainings' key to the object store.

        :raises SpecError: with the patterns.
        """
        if not self.allows(image):
            raise SpecError(
                f"training.compute.image = {image!r}: this deployment runs no such image; allowed: "
                f"{', '.join(self.images) or 'none but its own defaults'} (kubernetes.images in deployment.yaml)"
            )

    def secret_of(self, project: str) -> str:
        """Name of the Secret that a project's pods get."""
        return self.secret.replace(PROJECT_WORD, kubernetes_name(project))


def kubernetes_name(project: str) -> str:
    """A project's name as names of Kubernetes' objects may hold it."""
    return project.replace("_", "-").lower()


def _matches(pattern: str, image: str) -> bool:
    """``*`` is any text without a slash or a space, so that a pattern for one folder of a registry does not let in what lies below it."""
    return re.fullmatch(r"[^/\s]*".join(map(re.escape, pattern.split("*"))), image) is not None


class Prices(Part):
    """What compute costs a deployment, for the pages and `updraft cost`: nothing is decided by it."""

    currency: str = Field(pattern=r"^\S{1,8}$", description="as it is to be shown, such as EUR")
    cpu_hour: float = Field(ge=0, allow_inf_nan=False, description="of one core for an hour")
    gpu_hour: float = Field(default=0.0, ge=0, allow_inf_nan=False, description="of one GPU for an hour")

    def of(self, cpu_hours: float, gpu_hours: float) -> float:
        """Cost of so many hours of cores and of GPUs."""
        return self.cpu_hour * cpu_hours + self.gpu_hour * gpu_hours


class Deployment(Part):
    """``deployment.yaml``: what holds for every project of a deployment."""

    kubernetes: Kubernetes = Kubernetes()
    prices: Prices | None = Field(default=None, description="of compute; costs are shown where it is given")


class PodCompute(Part):
    """What a project's pod gets: its own wishes over the deployment's defaults."""

    workers: int
    image: str
    gpu: int
    cpu: Cpu
    memory: Memory
    memory_cap: Memory
    disk: Memory
    node_selector: dict[str, str]
    tolerations: tuple[Toleration, ...]
    queue: str | None
    timeout: Duration
    wait_at_most: Duration
    on_no_gpu: OnNoGpu


def pod_compute(own: Compute, defaults: PodDefaults, *, gpu: int | None = None) -> PodCompute:
    """Lay a project's wishes over the defaults.

    :param gpu: in place of both, such as 0 for a training that falls back to CPU.
    """
    gpus = gpu if gpu is not None else own.gpu if own.gpu is not None else defaults.gpu
    memory = own.memory or defaults.memory
    cap = own.memory_cap or max(memory, defaults.memory_cap, key=memory_bytes)
    selector = own.node_selector if own.node_selector is not None else defaults.node_selector
    tolerations = own.tolerations if own.tolerations is not None else defaults.tolerations
    image = defaults.gpu_image if gpus and defaults.gpu_image else defaults.image
    if gpus:
        selector = {**defaults.gpu_node_selector, **selector}
        tolerations = tuple(dict.fromkeys((*tolerations, *defaults.gpu_tolerations)))
    elif gpu == 0:  # the selector of a project that wants a GPU may name GPU nodes
        selector, tolerations = defaults.node_selector, defaults.tolerations
    return PodCompute(
        workers=own.workers,
        image=own.image or image,
        gpu=gpus,
        cpu=own.cpu or str(own.threads),
        memory=memory,
        memory_cap=max(memory, cap, key=memory_bytes),
        disk=own.disk or defaults.disk,
        node_selector=dict(selector),
        tolerations=tolerations,
        queue=own.queue or defaults.queue,
        timeout=own.timeout or defaults.timeout,
        wait_at_most=own.wait_at_most or defaults.wait_at_most,
        on_no_gpu=own.on_no_gpu or defaults.on_no_gpu,
    )

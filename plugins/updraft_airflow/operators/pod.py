"""`train_model` in a pod: the same request, the same result, no worker held while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import tenacity
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.log import mask_secret

from updraft.loop.alerting import training_alerts
from updraft.loop.train import collect
from updraft.pods.attempts import (
    Attempt,
    Ending,
    NextTry,
    WithoutNode,
    ended,
    next_try,
    note_attempt,
    read_attempts,
    without_node,
    worth_another,
)
from updraft.pods.endings import CONTAINER, End, end_of, waits_for
from updraft.pods.nodes import check_possible
from updraft.spec.compute import PodCompute, pod_compute
from updraft.spec.deployment import load_deployment
from updraft.spec.part import shown_duration
from updraft_airflow.deployment import open_loop
from updraft_airflow.hooks.cluster import Cluster, cluster_errors, may_pass
from updraft_airflow.hooks.slack import deliver_alerts
from updraft_airflow.links import PodLink, RunLink
from updraft_airflow.openlineage import TellsLineage
from updraft_airflow.operators.step import dag_url, fails_at_once, log_fields, tells_tampering
from updraft_airflow.operators.train import references, run_id
from updraft_airflow.pod_log import since_seconds, stamped, unread
from updraft_airflow.pods import GRACE_SECONDS, RUN, run_label, training_pod
from updraft_airflow.triggers.pod import TrainingPodTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.loop.context import Loop
    from updraft.loop.flow import Flow
    from updraft.spec.compute import Compute, Kubernetes

NEVER_ENDS = (Ending.IMAGE, Ending.REFUSED, Ending.LOST)
"""Endings that leave the pod as it is, for ever."""
START_SECONDS = 1800
"""From a node to a running container: a GPU image is large."""


class TrainInPod(TellsLineage, KubernetesPodOperator):
    """Runs the request in a pod and takes its result. A pod that was lost is followed by one that goes on from its checkpoint.

    :param project: the project's name.
    """

    template_fields: Sequence[str] = ()
    operator_extra_links = (PodLink(), RunLink())
    ui_color = "#e8f4ea"
    RETRIES: ClassVar[int] = 6
    """Nodes come and go: a training that makes progress may lose several pods."""

    def __init__(self, *, project: str, **kwargs: Any) -> None:
        super().__init__(
            **kwargs,
            deferrable=True,
            durable=True,
            do_xcom_push=False,  # the result travels through the lake; no side-car
            get_logs=True,
            logging_interval=5,
            poll_interval=1,
            log_pod_spec_on_failure=False,
            on_finish_action="delete_pod",
            on_kill_action="delete_pod",
            base_container_name=CONTAINER,
            startup_timeout_seconds=START_SECONDS,
            startup_check_interval_seconds=1,
            termination_grace_period=GRACE_SECONDS,
        )
        self.project = project
        self.seen: Mapping[str, str | None] = {}

    def execute(self, context: Context) -> Any:
        """Start the pod (or find the one that runs), and wait for it without a worker."""
        with fails_at_once(), self._opened(context) as loop:
            if self._collected(loop, context):
                self._remove_pods(loop, run_id(context))
                return
            self._prepare(loop, context)
            super().execute(context)

    def flow(self, loop: Loop, context: Context) -> Flow | None:
        """From the snapshot to the model."""
        from updraft.loop.flow import of_training

        return of_training(loop, run_id(context))

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """The pod has ended, or waits for a node for too long."""
        with fails_at_once(), self._opened(context) as loop:
            self._configure(loop)
            self.seen = event.get("seen") or {}
            pod, events = self._cluster.pod(event["name"]), self._cluster.events(event["name"])
            waits = waits_for(pod, events) if pod and event["status"] == "timeout" else None
            if pod and waits:
                return self._no_node(loop, context, pod, waits)
            self._take(loop, context, event, pod, events)
            return None

    def defer(self, *, trigger: Any, **arguments: Any) -> None:
        """Wait with our trigger in place of the one that the base makes."""
        super().defer(trigger=TrainingPodTrigger(**trigger.serialize()[1]), **arguments)

    def convert_config_file_to_dict(self) -> None:
        """Nothing: the connection says which cluster, whatever KUBECONFIG the worker happens to have."""
        self._config_dict = None

    def build_pod_request_obj(self, context: Context | None = None, *, dry_run: bool = False) -> Any:
        """The pod of :mod:`updraft_airflow.pods`, with the labels by which Airflow finds it again."""
        pod = super().build_pod_request_obj(context, dry_run=dry_run)
        pod.spec.tolerations = self.full_pod_spec.spec.tolerations  # the base puts its own, empty list in their place
        pod.metadata.annotations = self.full_pod_spec.metadata.annotations
        return pod

    @tenacity.retry(
        stop=tenacity.stop_after_attempt(5),
        wait=tenacity.wait_exponential(max=15),
        retry=tenacity.retry_if_exception(may_pass),
        reraise=True,
    )
    def _write_logs(self, pod: Any, follow: bool = False, since_time: Any = None) -> None:
        """Log the lines since a time that were not logged yet; asked again where a busy cluster does not answer, as the pod is removed after this."""
        read_to = datetime.fromisoformat(since_time) if isinstance(since_time, str) else since_time
        response = self.client.read_namespaced_pod_log(
            name=pod.metadata.name,
            namespace=pod.metadata.namespace,
            container=self.base_container_name,
            follow=follow,
            timestamps=True,
            since_seconds=since_seconds(read_to, datetime.now(UTC)),
            _preload_content=False,
        )
        # Read whole before a line is logged: a connection that breaks half way is asked again, and no line is told twice.
        lines = [line.decode("utf-8", errors="backslashreplace") for line in response]
        for line in unread(lines, read_to)[0]:
            _, text = stamped(line)
            if text:
                self.log.info("[%s] %s", self.base_container_name, text)

    def _configure(self, loop: Loop) -> Kubernetes:
        kubernetes = load_deployment(loop.settings.deployment).kubernetes
        self.kubernetes_conn_id, self.namespace = kubernetes.connection, kubernetes.namespace
        self.schedule_timeout_seconds = int(self._asked(loop, kubernetes).wait_at_most.total_seconds())
        return kubernetes

    def _wishes(self, loop: Loop) -> Compute:
        """What the project asks for."""
        return loop.spec.training.compute

    def _asked(self, loop: Loop, kubernetes: Kubernetes) -> PodCompute:
        return pod_compute(self._wishes(loop), kubernetes.defaults)

    @property
    def _cluster(self) -> Cluster:
        return Cluster(self.client, str(self.namespace))

    @contextmanager
    def _opened(self, context: Context) -> Iterator[Loop]:
        loop = open_loop(self.project)
        kubernetes = load_deployment(loop.settings.deployment).kubernetes
        told = tells_tampering(loop, self.task_id, context)
        with log_fields(self.project, context), cluster_errors(kubernetes.connection, kubernetes.namespace), told:
            yield loop

    def _next(self, loop: Loop, kubernetes: Kubernetes, run: str) -> NextTry:
        return next_try(self._wishes(loop), kubernetes.defaults, read_attempts(loop.store, loop.name, run))

    def _prepare(self, loop: Loop, context: Context) -> None:
        """Decide what the pod gets; say at once when no node can give it."""
        from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

        kubernetes, run = self._configure(loop), run_id(context)
        for pod in self._cluster.pods(f"{RUN}={run_label(run)}"):
            if pod["metadata"].get("deletionTimestamp"):  # of a cleared task, say: not to be waited for
                self._cluster.mark(pod["metadata"]["name"], self.POD_CHECKED_KEY)
        following = self._next(loop, kubernetes, run)
        kubernetes.check_image(following.compute.image)
        if kubernetes.nodes == "fixed":
            check_possible(following.compute, self._cluster.nodes())
        if following.why:
            self.log.info("This pod gets %s", following.why)
        # What the lake holds of the request may have been changed since the last pod.
        training = loop.training(run)
        request = training.write_request()
        mask_secret(training.key)  # the provider logs a manifest that the cluster refuses
        manifest = training_pod(loop, run, request, following.compute, kubernetes, training.key)
        self.full_pod_spec = PodGenerator.deserialize_model_dict(manifest)
        context["ti"].xcom_push(key=PodLink().xcom_key, value=PodLink.page(loop.name, run))

    def get_or_create_pod(self, pod_request_obj: Any, context: Context) -> Any:
        """The base's pod, noted in the lake: which it is, and what it got."""
        return self._noted(super().get_or_create_pod(pod_request_obj, context), context)

    def _noted(self, pod: Any, context: Context) -> Any:
        loop, run = open_loop(self.project), run_id(context)
        known = {noted.pod for noted in read_attempts(loop.store, loop.name, run)}
        if pod.metadata.name not in known:
            kubernetes = load_deployment(loop.settings.deployment).kubernetes
            asked, following = self._asked(loop, kubernetes), self._next(loop, kubernetes, run)
            got = following.compute
            self.log.info(
                "Pod %s/%s: image %s, %d GPU, %s cores, %s of memory",
                pod.metadata.namespace, pod.metadata.name, got.image, got.gpu, got.cpu, got.memory,
            )  # fmt: skip
            attempt = Attempt(
                pod=pod.metadata.name,
                namespace=str(self.namespace),
                image=got.image,
                gpu=got.gpu,
                cpu=got.cpu,
                memory=got.memory,
                wanted_gpu=asked.gpu,
                wanted_memory=asked.memory,
                why=following.why,
            )
            note_attempt(loop.store, loop.name, run, attempt)
        return pod

    def _collected(self, loop: Loop, context: Context) -> bool:
        """Take a result that is there, verified; whether there is one."""
        result = collect(loop, run_id(context))
        if result is None:
            return False
        context["ti"].xcom_push(key="return_value", value=references(self.log, result))
        return True

    def _take(
        self, loop: Loop, context: Context, event: dict[str, Any], pod: Mapping[str, Any] | None, events: list[Any]
    ) -> None:
        """Let the base end the pod's story (logs, deletion), then take the result, or tell the cause and fail."""
        end = self._end(loop, context, event["name"], pod, events)
        if pod is not None and end.ending in NEVER_ENDS:
            event = {**event, "status": "timeout", "message": end.words}  # else the base waits for the pod's end
        try:
            super().trigger_reentry(context, event)
        except AirflowException as error:
            failure: AirflowException | None = error
        else:
            failure = None
        run = run_id(context)
        if self._collected(loop, context):  # a pod that was stopped after its last write has done its work
            self._close(loop, run, event["name"], End(Ending.DONE, "", again=False), pod)
            return
        if failure is None:
            end = End(Ending.UNKNOWN, f"the pod ended well and {loop.training(run).nothing_left}", again=True)
        if end.ending is Ending.LOST and pod is not None:
            self._cluster.remove(event["name"], at_once=True)
        self._fail(loop, context, self._close(loop, run, event["name"], end, pod), end)

    def _end(self, loop: Loop, context: Context, name: str, pod: Mapping[str, Any] | None, events: list[Any]) -> End:
        """How the training's pod ended."""
        run = run_id(context)
        failure = loop.training(run).failure(name)
        return end_of(pod, events, memory=self._memory_of(loop, run, name), failure=failure)

    def _discard(self, pod: Mapping[str, Any]) -> None:
        """Give up a pod that has not started."""
        self._cluster.remove(str(pod["metadata"]["name"]))

    def _peak_memory_mb(self, loop: Loop, run: str) -> float | None:
        """The highest memory that the training told of."""
        usage = loop.training(run).usage()
        return usage.peak_memory_mb if usage else None

    def _memory_of(self, loop: Loop, run: str, pod: str) -> str:
        return next((attempt.memory for attempt in read_attempts(loop.store, loop.name, run) if attempt.pod == pod), "")

    def _close(self, loop: Loop, run: str, name: str, end: End, pod: Mapping[str, Any] | None) -> Attempt | None:
        """Note how a pod ended."""
        attempt = next((noted for noted in read_attempts(loop.store, loop.name, run) if noted.pod == name), None)
        if attempt is None:
            return None
        statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or [{}]
        facts = {
            "node": ((pod or {}).get("spec") or {}).get("nodeName") or self.seen.get("node"),
            "image_id": statuses[0].get("imageID") or self.seen.get("image_id"),
            "peak_memory_mb": self._peak_memory_mb(loop, run),
        }
        closed = ended(attempt, end.ending, end.words, **facts)
        note_attempt(loop.store, loop.name, run, closed)
        return closed

    def _fail(self, loop: Loop, context: Context, attempt: Attempt | None, end: End) -> None:
        """Fail the try; at once, with no other to follow, where none can help."""
        words, again = end.words, end.again
        if end.ending is Ending.MEMORY and attempt is not None:
            if attempt.peak_memory_mb:
                words += f", the last reported peak {attempt.peak_memory_mb:,.0f} MiB"
            compute = self._asked(loop, load_deployment(loop.settings.deployment).kubernetes)
            again = worth_another(attempt, compute)
            if again:
                training_alerts.more_memory(loop, run_id(context), dag_url(context), words)
            else:
                words += "; raise training.compute.memory (and memory_cap), or make the window smaller"
        deliver_alerts(loop)
        if again:
            raise AirflowException(f"{end.ending}: {words}")
        raise AirflowFailException(f"{end.ending}: {words}")

    def _no_node(self, loop: Loop, context: Context, pod: Mapping[str, Any], waits: str) -> Any:
        """No node within the limit: wait on, fall back to CPU, or fail; on-call hears of it once."""
        name, run = str(pod["metadata"]["name"]), run_id(context)
        asked = self._asked(loop, load_deployment(loop.settings.deployment).kubernetes)
        seen = next((attempt for attempt in read_attempts(loop.store, loop.name, run) if attempt.pod == name), None)
        does = without_node(asked, seen)
        limit = shown_duration(asked.wait_at_most)
        self.log.warning("No node within %s: %s; it %s", limit, waits, does.value)
        training_alerts.no_node(loop, run, dag_url(context), waits, does, limit)
        deliver_alerts(loop)
        self.pod = self.hook.get_pod(name, self.namespace)
        if does is WithoutNode.WAIT:
            return self.invoke_defer_method(context=context)
        self.patch_already_checked(self.pod)
        self._discard(pod)
        again = does is WithoutNode.USE_CPU
        self._close(loop, run, name, End(Ending.NO_GPU, f"no node within {limit}: {waits}", again), pod)
        if not again:
            raise AirflowFailException(f"no node within {limit}: {waits}")
        self.pod = self.pod_request_obj = None
        return self.execute(context)

    def _remove_pods(self, loop: Loop, run: str) -> None:
        """Remove what an earlier try of this run left."""
        self._configure(loop)
        for pod in self._cluster.pods(f"{RUN}={run_label(run)}"):
            self._cluster.remove(pod["metadata"]["name"])
            self.log.info("Removed pod %s: the result is there", pod["metadata"]["name"])

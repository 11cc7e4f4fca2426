"""`train_model` by several pods, or through a queue: an Indexed Job whose first pod is watched as a single one would be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.sdk.log import mask_secret

from updraft.jobs.group import new_token
from updraft.loop.alerting import training_alerts
from updraft.pods.attempts import Ending, WithoutNode, without_node
from updraft.pods.endings import End, end_of
from updraft.spec.part import shown_duration
from updraft_airflow.deployment import open_loop
from updraft_airflow.hooks.slack import deliver_alerts
from updraft_airflow.operators.pod import TrainInPod
from updraft_airflow.operators.step import dag_url, fails_at_once
from updraft_airflow.operators.train import run_id
from updraft_airflow.pods import JOB, RUN, WORKER_INDEX, group_policy, meeting_service, run_label, training_job
from updraft_airflow.triggers.job import JobStartTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.loop.context import Loop

_ENDED = ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet")
_SOON_SECONDS = 10.0
"""In which the cluster makes the pods of a Job that need not wait in a queue."""


class TrainInGroup(TrainInPod):
    """Runs the request in the pods of a Job. When one of them is lost the Job ends, and the next try's goes on from the checkpoint.

    Airflow's KubernetesJobOperator would wait for the Job alone: without live logs, and with a worker held until a queue admits it.
    """

    def get_or_create_pod(self, pod_request_obj: Any, context: Context) -> Any:
        """The first worker's pod, as soon as there is one; the task waits without a worker while a queue holds the Job back."""
        job = self._job(pod_request_obj, context)
        name = str(job["metadata"]["name"])
        deadline = time.monotonic() + (0.0 if job["spec"].get("suspend") else _SOON_SECONDS)
        while not (pods := self._cluster.pods(f"{JOB}={name},{WORKER_INDEX}=0")):
            if time.monotonic() > deadline:
                self.log.info(
                    "Job %s waits for its pods%s", name, " in its queue" if job["spec"].get("suspend") else ""
                )
                self._wait_for_start(name, time.time() + float(self.schedule_timeout_seconds or 0))
            time.sleep(0.2)
        return self._noted(PodGenerator.deserialize_model_dict(pods[0]), context)

    def started(self, context: Context, event: Mapping[str, Any]) -> Any:
        """The Job has a pod, or is gone: go on as at the start, which finds the one and makes up for the other."""
        self.log.info("Job %s: %s", event["name"], event["status"])
        if event["status"] == "late":
            with fails_at_once(), self._opened(context) as loop:
                self._late(loop, context, str(event["name"]))
        return self.execute(context)

    def _wait_for_start(self, job: str, late_at: float | None) -> None:
        trigger = JobStartTrigger(job, str(self.namespace), str(self.kubernetes_conn_id), late_at)
        super(TrainInPod, self).defer(trigger=trigger, method_name="started")

    def _late(self, loop: Loop, context: Context, job: str) -> None:
        """Not admitted within the limit: on-call hears of it, and it waits on, or gives up where the policy says so."""
        asked = self._asked(loop, self._configure(loop))
        limit, waits = shown_duration(asked.wait_at_most), f"queue {asked.queue} has not admitted Job {job}"
        does = without_node(asked, None)
        training_alerts.no_node(loop, run_id(context), dag_url(context), waits, does, limit)
        deliver_alerts(loop)
        if does is WithoutNode.GIVE_UP:
            self._cluster.remove_job(job)
            raise AirflowFailException(f"not started within {limit}: {waits}")
        self._wait_for_start(job, None)

    def on_kill(self) -> None:
        """Remove the Job, and so every worker."""
        super().on_kill()
        if self.pod is not None:
            self._cluster.remove_job(self.pod.metadata.labels[JOB])

    def _job(self, pod: Any, context: Context) -> dict[str, Any]:
        """The Job of this run that is under way, or a new one; Jobs that have ended, or are about to, are removed."""
        alive = None
        for job in self._jobs(run_id(context)):
            name = str(job["metadata"]["name"])
            conditions = job.get("status", {}).get("conditions") or []
            over = any(condition["type"] in _ENDED and condition["status"] == "True" for condition in conditions)
            # A pod that was told to end takes its Job along: of a cleared task, say.
            if over or any(pod["metadata"].get("deletionTimestamp") for pod in self._cluster.pods(f"{JOB}={name}")):
                self._cluster.remove_job(name)
            elif not job["metadata"].get("deletionTimestamp"):
                alive = job
        if alive is None:
            loop = open_loop(self.project)
            compute = self._next(loop, self._configure(loop), run_id(context)).compute
            token = new_token()
            mask_secret(token)
            alive = self._cluster.create_job(
                training_job(self.client.api_client.sanitize_for_serialization(pod), compute, token)
            )
            self.log.info("Job %s: %d workers", alive["metadata"]["name"], compute.workers)
        self._cluster.create_service(meeting_service(alive))
        self._cluster.create_network_policy(group_policy(alive))
        return alive

    def _jobs(self, run: str) -> list[dict[str, Any]]:
        return self._cluster.jobs(f"{RUN}={run_label(run)}")

    def _take(
        self, loop: Loop, context: Context, event: dict[str, Any], pod: Mapping[str, Any] | None, events: list[Any]
    ) -> None:
        """As of a single pod; the Job goes then, and with it every worker."""
        try:
            super()._take(loop, context, event, pod, events)
        except TaskDeferred:  # the pod still runs
            raise
        except BaseException:
            self._remove_jobs(run_id(context))
            raise
        self._remove_jobs(run_id(context))

    def _end(self, loop: Loop, context: Context, name: str, pod: Mapping[str, Any] | None, events: list[Any]) -> End:
        """How the group ended: the first worker only knows that another one is lost; that one's pod knows why."""
        end = super()._end(loop, context, name, pod, events)
        if end.ending not in (Ending.INTERRUPTED, Ending.LOST, Ending.UNKNOWN):
            return end
        run = run_id(context)
        memory, training = self._memory_of(loop, run, name), loop.training(run)
        for other in self._cluster.pods(f"{RUN}={run_label(run)}"):
            pod_name = str(other["metadata"]["name"])
            if pod_name == name:
                continue
            number = str(other["metadata"]["labels"].get(WORKER_INDEX, "?"))
            failure = training.failure(pod_name, int(number)) if number.isdigit() else None
            cause = end_of(other, self._cluster.events(pod_name), memory=memory, failure=failure)
            if cause.ending in (Ending.MEMORY, Ending.TRAINING, Ending.IMAGE, Ending.REFUSED):
                return End(cause.ending, f"worker {number}: {cause.words}", cause.again)
        return end

    def _peak_memory_mb(self, loop: Loop, run: str) -> float | None:
        """Of the worker that needs most: all get the same."""
        number = self._wishes(loop).workers
        told = [loop.training(run).usage(rank) for rank in range(1, number)]
        peaks = [super()._peak_memory_mb(loop, run), *(usage.peak_memory_mb for usage in told if usage)]
        return max((peak for peak in peaks if peak is not None), default=None)

    def _discard(self, pod: Mapping[str, Any]) -> None:
        self._cluster.remove_job(pod["metadata"]["labels"][JOB])

    def _remove_pods(self, loop: Loop, run: str) -> None:
        super()._remove_pods(loop, run)
        self._remove_jobs(run)

    def _remove_jobs(self, run: str) -> None:
        for job in self._jobs(run):
            self._cluster.remove_job(job["metadata"]["name"])

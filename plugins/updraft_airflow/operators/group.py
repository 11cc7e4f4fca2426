"""`train_model` by several pods, or through a queue: an Indexed Job whose first pod is watched as a single one would be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.sdk.exceptions import TaskDeferred

from updraft.pods.endings import End, end_of
from updraft_airflow.deployment import open_loop
from updraft_airflow.operators.pod import TrainInPod
from updraft_airflow.operators.train import run_id
from updraft_airflow.pods import RUN, WORKER_INDEX, meeting_service, run_label, training_job
from updraft_airflow.triggers.job import JobStartTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.loop.context import Loop

_JOB = "batch.kubernetes.io/job-name"
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
        while not (found := self._cluster.pods(f"{_JOB}={name},{WORKER_INDEX}=0")):
            if time.monotonic() > deadline:
                self.log.info(
                    "Job %s waits for its pods%s", name, " in its queue" if job["spec"].get("suspend") else ""
                )
                trigger = JobStartTrigger(name, str(self.namespace), str(self.kubernetes_conn_id))
                super(TrainInPod, self).defer(trigger=trigger, method_name="started")
            time.sleep(0.2)
        return self._noted(PodGenerator.deserialize_model_dict(found[0]), context)

    def started(self, context: Context, event: Mapping[str, Any]) -> Any:
        """The Job has a pod, or is gone: go on as at the start, which finds the one and makes up for the other."""
        self.log.info("Job %s: %s", event["name"], event["status"])
        return self.execute(context)

    def on_kill(self) -> None:
        """Remove the Job, and so every worker."""
        super().on_kill()
        if self.pod is not None:
            self._cluster.remove_job(self.pod.metadata.labels[_JOB])

    def _job(self, pod: Any, context: Context) -> dict[str, Any]:
        """The Job of this run that is under way, or a new one; Jobs that have ended are removed."""
        alive = None
        for job in self._jobs(run_id(context)):
            conditions = job.get("status", {}).get("conditions") or []
            if any(each["type"] in _ENDED and each["status"] == "True" for each in conditions):
                self._cluster.remove_job(job["metadata"]["name"])
            elif not job["metadata"].get("deletionTimestamp"):
                alive = job
        if alive is None:
            loop = open_loop(self.project)
            compute = self._next(loop, self._configure(loop), run_id(context)).compute
            alive = self._cluster.create_job(
                training_job(self.client.api_client.sanitize_for_serialization(pod), compute)
            )
            self.log.info("Job %s: %d workers", alive["metadata"]["name"], compute.workers)
        self._cluster.create_service(meeting_service(alive))
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
        if end.ending not in ("interrupted", "lost", "unknown"):
            return end
        memory = self._memory_of(loop, run_id(context), name)
        for other in self._cluster.pods(f"{RUN}={run_label(run_id(context))}"):
            if other["metadata"]["name"] == name:
                continue
            found = end_of(other, self._cluster.events(other["metadata"]["name"]), memory=memory)
            if found.ending in ("memory", "training", "image", "refused"):
                number = other["metadata"]["labels"].get(WORKER_INDEX, "?")
                return End(found.ending, f"worker {number}: {found.words}", found.again)
        return end

    def _discard(self, pod: Mapping[str, Any]) -> None:
        self._cluster.remove_job(pod["metadata"]["labels"][_JOB])

    def _remove_pods(self, loop: Loop, run: str) -> None:
        super()._remove_pods(loop, run)
        self._remove_jobs(run)

    def _remove_jobs(self, run: str) -> None:
        for job in self._jobs(run):
            self._cluster.remove_job(job["metadata"]["name"])

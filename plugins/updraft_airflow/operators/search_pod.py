"""`search_trial` in a pod. The pod reaches no database: asking for parameters and noting the loss happen here, around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from updraft.loop.search import end_trial
from updraft.spec.compute import pod_compute
from updraft.spec.deployment import load_deployment
from updraft_airflow.deployment import open_loop, settings
from updraft_airflow.operators.group import TrainInGroup
from updraft_airflow.operators.pod import TrainInPod
from updraft_airflow.operators.search import begin, conclude, search_run
from updraft_airflow.operators.step import fails_at_once

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from updraft.loop.context import Loop
    from updraft.spec.compute import Compute
    from updraft.spec.model import Project

POOL = "gpu"
"""Counts GPUs, deferred tasks included; `airflow_settings.yaml` says how many."""


def trials_in_pods(project: Project, arguments: dict[str, Any], numbers: Any) -> BaseOperator:
    """The tasks `search_trial`, each with as many slots of the pool as its pod has GPUs; without a GPU only `parallel` counts."""
    defaults = load_deployment(settings().deployment).kubernetes.defaults
    compute = pod_compute(project.spec.training.compute, defaults)
    counted = {"pool": POOL, "pool_slots": compute.gpu} if compute.gpu else {}
    kind = TrialInQueue if compute.queue else TrialInPod
    return kind.partial(**arguments, **counted, retries=TrainInPod.RETRIES).expand(number=numbers)


class _Trial(TrainInPod):
    """One trial of a search, by one worker: trials run side by side instead.

    :param number: of the trial.
    """

    def __init__(self, *, number: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def execute(self, context: Context) -> Any:
        """Write the trial's request, then wait for its pod without a worker."""
        with fails_at_once():
            begin(open_loop(self.project), context, self.number)
        super().execute(context)
        self._conclude(context)

    def flow(self, loop: Loop, context: Context) -> None:
        """Nothing: of a trial its losses are kept, and no model."""

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """The pod has ended: note what it found."""
        super().trigger_reentry(context, event)
        self._conclude(context)

    def _wishes(self, loop: Loop) -> Compute:
        return super()._wishes(loop).model_copy(update={"workers": 1})

    def _conclude(self, context: Context) -> None:
        with fails_at_once():
            handed = conclude(context, end_trial(open_loop(self.project), search_run(context), self.number))
        context["ti"].xcom_push(key="return_value", value=handed)


class TrialInPod(_Trial):
    """Runs one trial in a pod."""


class TrialInQueue(_Trial, TrainInGroup):
    """Runs one trial in the pod of a Job that a queue lets start."""

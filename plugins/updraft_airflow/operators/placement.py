"""Where the trainings of a project run, by its policy: in a process of this machine, or in pods.

The operators for pods are imported here alone, and only where a project asks for them: Airflow's Kubernetes provider takes a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from updraft.spec.compute import pod_compute
from updraft.spec.deployment import load_deployment
from updraft_airflow.deployment import settings
from updraft_airflow.operators.search import TASK, SearchTrial
from updraft_airflow.operators.train import TrainModel

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from updraft.spec.model import Project


def train_model(project: Project) -> BaseOperator:
    """The task `train_model`."""
    if project.spec.training.compute.backend == "local":
        return TrainModel(task_id="train_model", project=project.name, pool="training")
    from updraft_airflow.operators.group import TrainInGroup
    from updraft_airflow.operators.pod import TrainInPod

    compute = pod_compute(project.spec.training.compute, load_deployment(settings().deployment).kubernetes.defaults)
    kind = TrainInGroup if compute.workers > 1 or compute.queue else TrainInPod
    return kind(task_id="train_model", project=project.name, retries=TrainInPod.RETRIES)


def search_trials(project: Project, numbers: Any) -> BaseOperator:
    """The tasks `search_trial`, one for each number.

    :param numbers: what `plan_search` returns.
    """
    training = project.spec.training
    arguments: dict[str, Any] = {
        "task_id": TASK,
        "project": project.name,
        "map_index_template": "{{ trial }}",
        "max_active_tis_per_dagrun": training.search.parallel if training.search else 1,
    }
    if training.compute.backend == "local":
        return SearchTrial.partial(**arguments, pool="training", retries=1).expand(number=numbers)
    from updraft_airflow.operators.search_pod import trials_in_pods

    return trials_in_pods(project, arguments, numbers)

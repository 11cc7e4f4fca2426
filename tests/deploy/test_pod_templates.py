"""Which template the pod of a task is made from, where each task is a pod (KubernetesExecutor)."""

from __future__ import annotations

import runpy

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from tests.support.chart import values

from updraft.stack.environment import AIRFLOW_CONFIG
from updraft_airflow.operators.loop import DecideRemedies, ScorePartition
from updraft_airflow.operators.pod import TrainInPod
from updraft_airflow.operators.release import CheckStaging
from updraft_airflow.operators.search import SearchTrial
from updraft_airflow.operators.train import TrainModel

FILE = str(AIRFLOW_CONFIG / "airflow_local_settings.py")


@pytest.fixture
def policy(monkeypatch):
    """The policy as Airflow finds it."""
    monkeypatch.setenv("UPDRAFT_POD_TEMPLATES", "/templates")
    module = runpy.run_path(FILE)
    assert module["__all__"] == ["task_policy"]
    return module["task_policy"]


def template(task):
    return task.executor_config["pod_template_file"]


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("heavy", lambda: ScorePartition(task_id="score_partition", project="p")),
        ("heavy", lambda: DecideRemedies(task_id="decide_remedies", project="p")),
        ("heavy", lambda: TrainModel(task_id="train_model", project="p")),
        ("launcher", lambda: TrainInPod(task_id="train_model", project="p")),
        ("light", lambda: CheckStaging(task_id="check_staging", project="p")),
    ],
)
def test_a_task_s_pod_is_made_by_its_kind_and_each_kind_has_a_template(policy, kind, task):
    made = task()
    policy(made)
    assert template(made) == f"/templates/{kind}.yaml"
    assert kind in values("values.yaml")["updraft"]["tasks"]


def test_a_mapped_task_has_one_too(policy):
    mapped = SearchTrial.partial(task_id="search_trial", project="p").expand(number=[1, 2])
    policy(mapped)
    assert template(mapped) == "/templates/heavy.yaml"


def test_a_task_of_a_team_s_own_keeps_the_chart_s_template_and_a_choice_of_one_s_own_wins(policy):
    own = EmptyOperator(task_id="train_model")
    policy(own)
    assert not own.executor_config
    chosen = TrainModel(task_id="train_model", project="p", executor_config={"pod_template_file": "/mine.yaml"})
    policy(chosen)
    assert template(chosen) == "/mine.yaml"


def test_elsewhere_no_policy_is_there(monkeypatch):
    monkeypatch.delenv("UPDRAFT_POD_TEMPLATES", raising=False)
    assert runpy.run_path(FILE)["__all__"] == []

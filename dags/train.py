"""
# train

Freezes the data, trains, holds the proof against what serves, and registers the model: as challenger, or refused with its reason.

**Cadence:** started by `watch` (the run id is the episode's), or by hand with the form: another trainer or other parameters make it a `change`,
which is proved in shadow before it serves. A training that follows a refit trial of `monitor` takes over its proof, and learns the model alone.

**What you see:** `train_model` runs in a process of this machine or in a pod (`training.compute.backend`), and links to the MLflow run and the
pod, `evaluate_model` to the model card, `register_model` to the version. When the gates refuse the model, `register_model` is skipped and says
why; the version stays in MLflow.

**When it fails:** clear the failed task. A training that was killed goes on from its checkpoint; the request is fixed by `snapshot_data`, so a
cleared run trains on what the first one saw. An unknown parameter is named.
"""

from airflow.sdk import Param

from updraft_airflow.operators.placement import train_model
from updraft_airflow.operators.train import EvaluateModel, RegisterModel, SnapshotData
from updraft_airflow.operators.trigger import TriggerOnce
from updraft_airflow.wiring import projects, stage_dag

for project in projects("train"):
    trainers = [trainer.name for trainer in project.spec.training.trainers]
    form = {
        "partition": Param(
            None,
            type=["null", "string"],
            title="Partition",
            description="train at the tick of this key; empty: the newest",
        ),
        "trainer": Param(trainers[0], enum=trainers, title="Trainer"),
        "parameters": Param(
            {}, type="object", title="Parameters that differ", description='such as {"max_depth": 4}; makes it a change'
        ),
        "reason": Param(None, type=["null", "string"], title="Reason", description="for the record"),
        "episode": Param(None, type=["null", "string"], title="Episode", description="set by watch"),
        "search": Param(None, type=["null", "string"], title="Search", description="set by search"),
    }
    with stage_dag(project, "train", __doc__, schedule=None, params=form, max_active_runs=1) as dag:
        snapshot = SnapshotData(task_id="snapshot_data", project=project.name)
        train = train_model(project)
        evaluate = EvaluateModel(task_id="evaluate_model", project=project.name)
        register = RegisterModel(task_id="register_model", project=project.name)
        start = TriggerOnce(
            task_id="start_release",
            trigger_dag_id=f"{project.name}.release",
            trigger_run_id="{{ ti.xcom_pull(task_ids='register_model')['release'] }}",
            conf={"release": "{{ ti.xcom_pull(task_ids='register_model')['release'] }}"},
        )
        snapshot >> train >> evaluate >> register >> start
    globals()[dag.dag_id] = dag

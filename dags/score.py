"""
# score

Scores a partition with the champion, and in shadow with whatever is being proved against it.

**Cadence:** starts by itself when `ingest` has published a partition (asset `features`), with the same partition key, one at a time.

**What you see:** `score_partition` links to the model version in MLflow. Before the first champion it scores nothing and succeeds.

**When it fails:** a champion that is not what was signed is never loaded: the task fails at once and on-call is told. A shadow that cannot be
scored stops nothing: its release is closed, with the reason. Otherwise clear the task: a partition that has been scored keeps what was served,
whoever is champion by now.
"""

from airflow.sdk import Asset, PartitionedAssetTimetable

from updraft_airflow.operators.loop import ScorePartition
from updraft_airflow.wiring import asset_name, projects, stage_dag

for project in projects("score"):
    features = Asset(name=asset_name(project.name, "features"), uri=f"updraft://{project.name}/features")
    predictions = Asset(name=asset_name(project.name, "predictions"), uri=f"updraft://{project.name}/predictions")
    with stage_dag(
        project, "score", __doc__, schedule=PartitionedAssetTimetable(assets=features), max_active_runs=1
    ) as dag:
        ScorePartition(task_id="score_partition", project=project.name, outlets=[predictions])
    globals()[dag.dag_id] = dag

"""
# watch

Waits until the policy calls for a remedy that is a training, and starts it: once per episode.

**Cadence:** continuously, one run at a time. `await_remedy` is deferred: it holds no worker while it waits.

**What you see:** the run that waits is normal and never ends by itself. When it fires, `start_training` links to the run of `train`, whose id
is the episode's.

**When it fails:** the next run starts by itself. A store that is away is waited for. Clearing a finished run starts nothing twice.
"""

from datetime import timedelta

from updraft_airflow.operators.train import NoteStart
from updraft_airflow.operators.trigger import TriggerOnce
from updraft_airflow.sensors.store import DriftSensor
from updraft_airflow.wiring import projects, stage_dag

EPISODE = "{{ ti.xcom_pull(task_ids='await_remedy')['episode'] }}"

for project in projects("watch"):
    with stage_dag(project, "watch", __doc__, schedule="@continuous", max_active_runs=1) as dag:
        remedy = DriftSensor(task_id="await_remedy", project=project.name, retries=10, retry_delay=timedelta(seconds=2))
        start = TriggerOnce(
            task_id="start_training",
            trigger_dag_id=f"{project.name}.train",
            trigger_run_id=EPISODE,
            conf="{{ ti.xcom_pull(task_ids='await_remedy')['form'] | tojson }}",
        )
        note = NoteStart(task_id="note_start", project=project.name, episode=EPISODE)
        remedy >> start >> note
    globals()[dag.dag_id] = dag

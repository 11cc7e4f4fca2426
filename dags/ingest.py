"""
# ingest

Reads one partition of the project's sources, holds it against the data contract, and publishes it.

**Cadence:** the project's `data.schedule` (cron, UTC). The tick closes the partition [previous tick, tick); the partition key is the tick,
such as `2013-01-07T0500`. History is loaded by Airflow's own backfill, or partition by partition with a key in the trigger form.

**What you see:** `extract_partition` is deferred, and holds no worker, while a file is not there yet: until the next tick. On-call is told once
that it is late, by `data.sources.NAME.wait`. `validate_partition` links to the data docs. Rows in breach are quarantined with their reason and the
rest is published; an empty partition is skipped.

**When it fails:** *refused* means that more rows broke the contract than `data.refuse_above` allows, or the table as a whole did: nothing was
published. Mend the source or the contract, then clear the run, so that the source is read again: every task may be run again, and changes
nothing where nothing changed. A missing column is named in the log. A file that had not come by the next tick is read when the run is cleared.
"""

from airflow.sdk import DAG, Asset, BaseOperator

from updraft_airflow.operators.broken import ShowProblems
from updraft_airflow.operators.ingest import ExtractPartition, PublishPartition, ValidatePartition
from updraft_airflow.wiring import (
    asset_name,
    broken_projects,
    end_date,
    partition_timetable,
    placeholder_dag,
    projects,
    stage_dag,
)

for project in projects("ingest"):
    timetable = partition_timetable(project)
    with stage_dag(
        project, "ingest", __doc__, schedule=timetable, end_date=end_date(project), max_active_runs=1
    ) as dag:
        extract: BaseOperator = ExtractPartition(task_id="extract_partition", project=project.name)
        validate = ValidatePartition(task_id="validate_partition", project=project.name)
        features = Asset(name=asset_name(project.name, "features"), uri=f"updraft://{project.name}/features")
        publish = PublishPartition(task_id="publish_partition", project=project.name, outlets=[features])
        extract >> validate >> publish
    globals()[dag.dag_id] = dag

for broken in broken_projects():
    placeholder: DAG = placeholder_dag(broken)
    with placeholder:
        ShowProblems(task_id="show_problems", problems=[str(problem) for problem in broken.problems])
    globals()[placeholder.dag_id] = placeholder

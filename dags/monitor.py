"""
# monitor

Measures what served on the labels that have matured, adds evidence to open releases, refits the calibration layer, and decides on remedies.

**Cadence:** starts by itself when `score` has finished a partition (asset `predictions`), with the same partition key, one at a time.

**What you see:** metrics in the log of `measure_performance`; in `decide_remedies` the diagnosis; `write_report` links to the Evidently report,
which says what was decided of drift and shows the columns.
`updraft status` tells the same in words. A partition whose feed looks broken (nulls, new categories, another unit, stale) starts no training, and
none learns from it: mend the source and clear its run of `ingest`, or say that it is right as it is with `updraft readmit`. A sign that lasts
becomes a question to on-call, and so does a training that is overdue, with what holds it back.

**When it fails:** clear the task. Each task writes its part once; a second run finds it written. The report is a picture: when it fails,
everything else has been decided already.
"""

from airflow.sdk import Asset, PartitionedAssetTimetable

from updraft_airflow.operators.loop import DecideRemedies, MeasurePerformance, RecalibrateModels, WriteReport
from updraft_airflow.wiring import asset_name, projects, stage_dag

for project in projects("monitor"):
    predictions = Asset(name=asset_name(project.name, "predictions"), uri=f"updraft://{project.name}/predictions")
    with stage_dag(
        project, "monitor", __doc__, schedule=PartitionedAssetTimetable(assets=predictions), max_active_runs=1
    ) as dag:
        measure = MeasurePerformance(task_id="measure_performance", project=project.name)
        recalibrate = RecalibrateModels(task_id="recalibrate_models", project=project.name)
        decide = DecideRemedies(task_id="decide_remedies", project=project.name)
        [measure, recalibrate] >> decide >> WriteReport(task_id="write_report", project=project.name)
    globals()[dag.dag_id] = dag

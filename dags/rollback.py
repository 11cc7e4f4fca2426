"""
# rollback

Lets a version serve again that served before, by a form: takes back what serves for an earlier version, or reinstates a version that was taken back.

**Cadence:** started by hand. Leave *Version* empty for the one that served before the champion.

**What you see:** `compare_versions` shows both versions' recent losses on the same rows, what the version's gates said, and what speaks against it.
`confirm_return` asks with the same words under *Required actions*, and waits a day. `return_version` decides it, in the name of whoever said yes:
recorded with the reason, told to on-call. What was taken back does not come back by itself.

**When it fails:** the log says what is wrong with the form, or that something else serves by now: start it again. A decision that was written stays.
"""

from datetime import timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param

from updraft_airflow.operators.returning import CompareVersions, ReturnVersion
from updraft_airflow.wiring import projects, stage_dag

for project in projects("rollback"):
    form = {
        "version": Param(
            None,
            type=["null", "string"],
            title="Version",
            description="that is to serve; empty: what served before the champion",
        ),
        "reinstate": Param(
            False,
            type="boolean",
            title="Reinstate",
            description="the version was taken back, and is to serve again",
        ),
        "reason": Param(type="string", minLength=1, title="Reason", description="why, for the record"),
    }
    with stage_dag(project, "rollback", __doc__, schedule=None, params=form, max_active_runs=1) as dag:
        compare = CompareVersions(task_id="compare_versions", project=project.name)
        confirm = ApprovalOperator(
            task_id="confirm_return",
            subject="{{ ti.xcom_pull(task_ids='compare_versions')['question'] }}",
            body="{{ ti.xcom_pull(task_ids='compare_versions')['words'] }}",
            response_timeout=timedelta(days=1),
            defaults="Reject",
        )
        compare >> confirm >> ReturnVersion(task_id="return_version", project=project.name)
    globals()[dag.dag_id] = dag

"""
# release

Brings a registered version into service through its lane, and takes it back when it is shown worse.

* **change** (other code, features or parameters): shadow until the verdict, a person's approval, then promotion.
* **refresh** (same recipe, newer data): promoted at once on its proof; the previous champion stays in shadow behind it, and is put back when the
  new one is shown worse.

**Cadence:** started by `train` (the run id is the release's), or by hand with the id of a release.

**What you see:** `await_verdict` and `await_probation` are deferred while evidence comes in, for weeks if need be; they link to the picture of the
evidence. `approve_change` waits for an answer under *Required actions*; a question that is void, as its release was closed meanwhile, is withdrawn
and skipped.

**When it fails:** an approval that came too late says why, and nothing is to be done. Else clear the failed task. Promotion,
answer and rollback are each written once; clearing does not repeat them.
"""

from airflow.sdk import Param, TriggerRule

from updraft_airflow.operators.release import RELEASE, ApproveRelease, CheckStaging, ChooseLane, PromoteModel
from updraft_airflow.sensors.store import EvidenceSensor
from updraft_airflow.wiring import projects, stage_dag

for project in projects("release"):
    name, policy = project.name, project.spec.release
    form = {
        "release": Param(
            f"{name}-v1", type="string", pattern=rf"^{name}-v\d+$", title="Release", description="id of a release"
        )
    }
    with stage_dag(project, "release", __doc__, schedule=None, params=form, max_active_runs=16) as dag:
        staging = CheckStaging(task_id="check_staging", project=name)
        lane = ChooseLane(
            task_id="choose_lane", project=name, lanes={"change": "await_verdict", "refresh": "await_shadow"}
        )
        ask = {
            "subject": "Promote {{ params.release }}?",
            "body": "The evidence shows that it is good enough: see the picture behind the link *Evidence* of `await_verdict`, "
            "and the model card in MLflow.",
            "response_timeout": policy.change.approval_timeout,
            "defaults": "Reject",
        }
        verdict = EvidenceSensor(task_id="await_verdict", project=name, subject=RELEASE)
        approve = ApproveRelease(task_id="approve_change", project=name, **ask)
        promote_change = PromoteModel(task_id="promote_change", project=name)
        staging >> lane >> verdict >> approve >> promote_change

        shadow = EvidenceSensor(task_id="await_shadow", project=name, subject=RELEASE)
        promote_refresh = PromoteModel(task_id="promote_refresh", project=name)
        probation = EvidenceSensor(
            task_id="await_probation", project=name, subject=RELEASE, trigger_rule=TriggerRule.ALL_SUCCESS
        )
        lane >> shadow
        if policy.sensitive:
            shadow >> ApproveRelease(task_id="approve_refresh", project=name, **ask) >> promote_refresh
        else:
            shadow >> promote_refresh
        promote_refresh >> probation
    globals()[dag.dag_id] = dag

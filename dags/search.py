"""
# search

Looks for better parameters: many trainings of the proof alone, side by side, each learning from those before it. Where one is better than
today's parameters, a training with them follows: a `change`, which is proved in shadow before it serves.

**Cadence:** by hand. It is there for projects that say under `training.search` which parameters to try.

**What you see:** one task `search_trial` for each trial, named after its parameters and its loss, with a link to its MLflow run; its log shows the
loss by round. One that was given up early, as it was worse than the median of those before it, is skipped. `choose_parameters` links to the
table of all. Trial 0 has today's parameters: the others have to beat it.

**When it fails:** clear the failed task. Trials that are done keep their results, one that was killed goes on from its checkpoint. A trial
that fails for good leaves the others alone; the best of those is taken.
"""

from airflow.sdk import Param

from updraft_airflow.operators.placement import search_trials
from updraft_airflow.operators.search import ChooseParameters, PlanSearch
from updraft_airflow.operators.trigger import TriggerOnce
from updraft_airflow.wiring import projects, stage_dag

for project in projects("search"):
    search = project.spec.training.search
    if search is None:
        continue
    form = {
        "partition": Param(
            None,
            type=["null", "string"],
            title="Partition",
            description="search at the tick of this key; empty: the newest",
        ),
        "trials": Param(search.trials, type="integer", minimum=2, maximum=500, title="Trials"),
        "train": Param(True, type="boolean", title="Train", description="start a training with what is found"),
        "reason": Param(None, type=["null", "string"], title="Reason", description="for the record"),
    }
    with stage_dag(project, "search", __doc__, schedule=None, params=form, max_active_runs=1) as dag:
        plan = PlanSearch(task_id="plan_search", project=project.name)
        trials = search_trials(project, plan.output)
        choose = ChooseParameters(task_id="choose_parameters", project=project.name, trigger_rule="all_done")
        start = TriggerOnce(
            task_id="start_training",
            trigger_dag_id=f"{project.name}.train",
            trigger_run_id="search-{{ run_id }}",
            conf="{{ ti.xcom_pull(task_ids='choose_parameters')['form'] | tojson }}",
        )
        plan >> trials >> choose >> start
    globals()[dag.dag_id] = dag

"""
# maintenance

Daily upkeep of all projects: MLflow's aliases follow the store, the chains of decisions are held against their anchors, on-call is told of a
project whose last training is too old and what holds the next one back, alerts that Slack did not take are sent, the week that ended is summed up
in one message a project (the digest), and leftovers of killed tasks are
removed, pods of trainings that are over and raw copies beyond their retention included. Pseudonym keys that were rotated are destroyed when their
time is over.

**Cadence:** daily at 03:17 UTC.

**When it fails:** the log names the project. A broken chain of decisions means that somebody changed the store by hand: treat it as a security
event. `updraft audit verify PROJECT` names every decision that is missing, changed or not ours. Everything else may be cleared and run again.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from updraft_airflow.notifiers.failure import MendedNotifier, UpdraftNotifier
from updraft_airflow.operators.maintenance import (
    DestroyOldKeys,
    ReconcileAliases,
    RemoveLeftovers,
    RemovePods,
    SendAlerts,
    VerifyDecisions,
    WatchLearning,
)

with DAG(
    dag_id="maintenance",
    description="Daily upkeep of all projects",
    doc_md=__doc__,
    schedule="17 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=False,
    tags=["updraft"],
    default_args={
        "owner": "updraft",
        "retries": 1,
        "retry_delay": timedelta(minutes=1),
        "on_failure_callback": UpdraftNotifier(),
        "on_success_callback": MendedNotifier(),
    },
) as dag:
    ReconcileAliases(task_id="reconcile_aliases")
    VerifyDecisions(task_id="verify_decisions")
    WatchLearning(task_id="watch_learning")
    SendAlerts(task_id="send_alerts")
    RemoveLeftovers(task_id="remove_leftovers")
    DestroyOldKeys(task_id="destroy_old_keys")
    RemovePods(task_id="remove_pods")

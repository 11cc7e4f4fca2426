"""Starting another DAG once, whatever is retried or cleared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class TriggerOnce(TriggerDagRunOperator):
    """Starts a run with a fixed id; a run of that id that is there already counts as started."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(logical_date=None, wait_for_completion=False, **kwargs)

    def execute(self, context: Context) -> None:
        """Start the run, unless it is there."""
        run = str(self.trigger_run_id)
        if context["ti"].get_dr_count(dag_id=self.trigger_dag_id, run_ids=[run]):
            self.log.info("%s %s is there already", self.trigger_dag_id, run)
            context["ti"].xcom_push(key="trigger_run_id", value=run)
            return
        super().execute(context)

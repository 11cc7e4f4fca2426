"""The search for better parameters: plan it, try, choose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException

from updraft_airflow.links import RunLink, SearchLink
from updraft_airflow.operators.step import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.loop.context import Loop
    from updraft.loop.search import Ended

TASK = "search_trial"
AGAIN = timedelta(seconds=5)
"""After which a trial that waits for others looks again; it happens when one of them is tried once more."""
OVER = frozenset({"failed", "upstream_failed", "removed", "skipped"})


def search_run(context: Context) -> str:
    """The id under which the lake and the study know this search."""
    return str(context["dag_run"].run_id)


class PlanSearch(StepOperator):
    """Fixes what is searched: space, trials, seed, and the rows that they learn from."""

    def step(self, loop: Loop, context: Context) -> Any:
        """The numbers of the trials."""
        from updraft.loop.search import plan_search

        form = context["params"]
        plan = plan_search(
            loop,
            search_run(context),
            form.get("partition"),
            trials=form.get("trials"),
            reason=str(form.get("reason") or ""),
        )
        self.log.info(
            "%d trials of %s on %d partitions to %s; the holdout is left out",
            plan.search.trials, plan.request.trainer, len(plan.request.window), plan.request.window[-1],
        )  # fmt: skip
        return plan.numbers


class SearchTrial(StepOperator):
    """Runs one trial, as ``updraft train run REQUEST.json`` does; a killed one goes on from its checkpoint.

    :param number: of the trial.
    """

    operator_extra_links = (RunLink(),)

    def __init__(self, *, number: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Its loss; a trial that was given up early ends as skipped."""
        from updraft.lake.places import trial_run
        from updraft.loop.search import end_trial
        from updraft.loop.train import train_here

        begin(loop, context, self.number)
        train_here(loop, trial_run(search_run(context), self.number))
        return conclude(context, end_trial(loop, search_run(context), self.number))


def begin(loop: Loop, context: Context, number: int) -> str:
    """The URL of a trial's request; waits, without a worker, for the trials that it learns from.

    :raises AirflowSkipException: when the search is out of time.
    :raises AirflowRescheduleException: when it has to wait.
    """
    from updraft.loop.search import Waits, begin_trial, give_up_trials

    run = search_run(context)
    begun = begin_trial(loop, run, number)
    if isinstance(begun, Waits):
        states = trial_states(context)
        give_up_trials(
            loop, run, {earlier: "its task failed" for earlier in begun.numbers if states.get(earlier) in OVER}
        )
        begun = begin_trial(loop, run, number)
    if isinstance(begun, Waits):
        _named(context, f"{number}: waits for {', '.join(map(str, begun.numbers))}")
        raise AirflowRescheduleException(datetime.now(UTC) + AGAIN)
    if begun is None:
        _named(context, f"{number}: out of time")
        raise AirflowSkipException("the search's timeout has passed; no trial starts any more")
    return begun


def trial_states(context: Context) -> dict[int, str]:
    """State of each trial's task."""
    run = context["dag_run"]
    states = context["ti"].get_task_states(dag_id=run.dag_id, task_ids=[TASK], run_ids=[run.run_id])
    numbered = {name.rpartition("_")[2]: str(state) for name, state in states.get(run.run_id, {}).items()}
    return {int(number): state for number, state in numbered.items() if number.isdigit()}


def conclude(context: Context, trial: Ended) -> dict[str, Any]:
    """What a trial hands over.

    :raises AirflowSkipException: for one that was given up, so that it is seen at a glance.
    """
    from updraft_airflow.deployment import registry

    _named(context, trial.words)
    handed = {
        "mlflow_url": registry().run_url(trial.mlflow_run_id) if trial.mlflow_run_id else None,
        "loss": trial.loss,
        "rounds": trial.rounds,
        "params": trial.params,
    }
    if trial.pruned:
        context["ti"].xcom_push(key="return_value", value=handed)  # for the link: a skipped task returns nothing
        raise AirflowSkipException(trial.words)
    return handed


def _named(context: Context, words: str) -> None:
    """What the UI calls the mapped task."""
    named: Any = context
    named["trial"] = words


class ChooseParameters(StepOperator):
    """Chooses the best trial; where it is better than today's parameters, a training with them follows."""

    operator_extra_links = (SearchLink(), RunLink())

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """The form that `train` is started with. Nothing better, or no wish to train, ends the run here."""
        from updraft.loop.search import plan_of
        from updraft.loop.search_result import conclude_search, page_of
        from updraft_airflow.deployment import registry

        run = search_run(context)
        result, plan = conclude_search(loop, run), plan_of(loop, run)
        self.log.info("%s", result.words)
        if result.best.mlflow_run_id:
            registry().log_html(result.best.mlflow_run_id, page_of(loop, run), "search.html")
        handed: dict[str, Any] = {
            "search": run,
            "mlflow_url": registry().run_url(result.best.mlflow_run_id) if result.best.mlflow_run_id else None,
            "form": {
                "trainer": plan.request.trainer,
                "parameters": result.params,
                "reason": f"search: {result.words}",
                "search": run,
            },
        }
        if not result.better or not context["params"].get("train", True):
            context["ti"].xcom_push(key="return_value", value=handed)  # for the links: a skipped task returns nothing
            raise AirflowSkipException(result.words)
        return handed

"""Base of the operators: open the loop, take one step, tell on-call, hand over small references."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException
from structlog.contextvars import bound_contextvars

from updraft.errors import IntegrityError, UpdraftError, passes
from updraft.loop.alerting.telling import tampered
from updraft.loop.auditing import tell_head
from updraft_airflow.deployment import open_loop, registry, settings
from updraft_airflow.hooks.slack import deliver_alerts
from updraft_airflow.openlineage import TellsLineage

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.loop.context import Loop

log = logging.getLogger(__name__)


@contextmanager
def fails_at_once() -> Iterator[None]:
    """End a task for good on what a person must mend; everything else is tried again.

    :raises AirflowFailException: with the error's own words.
    """
    try:
        yield
    except UpdraftError as error:
        if passes(error):
            raise
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error


@contextmanager
def tells_tampering(loop: Loop, task: str, context: Context) -> Iterator[None]:
    """Tell on-call when something is not what was signed or hashed.

    :raises IntegrityError: on, after it was told.
    """
    try:
        yield
    except IntegrityError as error:
        tampered(loop, f"what {task} was to use", dag_url(context), str(error))
        deliver_alerts(loop)
        raise


@contextmanager
def log_fields(project: str, context: Context | None = None) -> Iterator[None]:
    """Name project, partition and episode in every line that is logged meanwhile, beside the DAG, task and run that Airflow names.

    :param context: of the task; None where it is about no one run of the project.
    """
    fields: dict[str, Any] = {"project": project}
    if context is not None:
        form = context.get("params") or {}
        fields["partition"] = context.get("partition_key") or form.get("partition")
        fields["episode"] = form.get("episode")
    with bound_contextvars(**{name: value for name, value in fields.items() if value is not None}):
        yield


class StepOperator(TellsLineage, BaseOperator):
    """Takes one step of a project's loop.

    :param project: the project's name.
    """

    ui_color = "#e8f4ea"

    def __init__(self, *, project: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.project = project

    def step(self, loop: Loop, context: Context) -> dict[str, Any] | None:
        """The step itself; what it returns goes to XCom and must be small.

        :raises UpdraftError: when it cannot be taken.
        """
        raise NotImplementedError(type(self).__name__)

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Take the step. What a person must mend fails at once; everything else is tried again."""
        return self.taken(context, self.step)

    def taken(self, context: Context, step: Callable[[Loop, Context], dict[str, Any] | None]) -> dict[str, Any] | None:
        """Take a step of this task: its own, or that with which it goes on after a wait."""
        with log_fields(self.project, context):
            with fails_at_once():
                loop = open_loop(self.project)
                with tells_tampering(loop, self.task_id, context):
                    try:
                        result = step(loop, context)
                    finally:  # a step that ends in a skip has decided something too
                        _tell_head(loop)
            deliver_alerts(loop)
        return result


def _tell_head(loop: Loop) -> None:
    """Tell MLflow what was decided. The log in the lake counts: whatever MLflow says to this, the step ends as it did."""
    try:
        tell_head(loop, registry())
    except Exception:
        log.exception("MLflow was not told the newest decision")


def dag_url(context: Context) -> str:
    """The run's page, for an alert."""
    run = context["dag_run"]
    return f"{settings().airflow}/dags/{run.dag_id}/runs/{run.run_id}"


def partition_key(context: Context) -> str:
    """The partition of this run.

    :raises AirflowFailException: when the run was started without one.
    """
    key = context.get("partition_key")
    if not key:
        raise AirflowFailException(
            "this run has no partition key; start it with one, such as 2013-01-07T0500, or by a backfill"
        )
    return str(key)

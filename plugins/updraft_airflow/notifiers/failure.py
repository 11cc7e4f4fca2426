"""The failure of a task or of a DAG run, told to on-call; and that it is over."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier
from airflow.sdk.exceptions import AirflowFailException

from updraft.alerts import messages
from updraft.alerts.alert import Alert
from updraft.errors import PartitionRefused, UpdraftError

if TYPE_CHECKING:
    import sqlalchemy as sa
    from airflow.sdk import Context

    from updraft.settings import Settings
    from updraft.spec.model import ProjectSpec


log = logging.getLogger(__name__)


class AlreadyTold(AirflowFailException):
    """Ends a task for good of which on-call has heard already: its failure is no news."""


class UpdraftNotifier(BaseNotifier):
    """Records a failure in the store and delivers it. For `on_failure_callback` of tasks and of DAGs.

    The same failure told twice (by the task and by its DAG) is one alert; the same task failing in later runs follows in
    its thread. A partition that was refused has been told as such, with its rule: it is sent, and not told again as a failure.

    :param project: the project's name; from the DAG's id when None. A DAG of no project (`maintenance`) is told in
        each channel that a project names.
    """

    def __init__(self, project: str | None = None) -> None:
        super().__init__()
        self.project = project

    def notify(self, context: Context) -> None:
        """Record and deliver. Never raises: a failure of telling stands in the log beside the failure that was to be told."""
        from updraft.alerts import untold
        from updraft_airflow.deployment import settings, store
        from updraft_airflow.hooks.slack import send_alerts

        if isinstance(dict(context).get("exception"), AlreadyTold):
            return

        try:
            name, here = self.project or project_of(context), settings()
        except Exception:
            log.exception("a failure could not be told: this deployment's settings, or the run's DAG, are not known")
            return
        try:
            audience = audience_of(here, name)
        except Exception:
            log.exception(
                "%s: whose channel hears of this failure could not be found out; it stands in the store", name
            )
            audience = []
        for project in () if was_refused(context) else [spec.name for spec in audience] or [name]:
            alert = alert_or_less(context, project=project, airflow=here.airflow)
            untold.record_or_keep(lambda: store().engine, here.home, alert)
        for spec in audience:
            try:
                send_alerts(here, store().engine, spec)
            except Exception:
                log.exception("alerts of %s could not be delivered now; they wait for the next task", spec.name)


class MendedNotifier(BaseNotifier):
    """Marks what was told of a task's failure as resolved. For `on_success_callback` and `on_skipped_callback` of tasks.

    :param project: as for :class:`UpdraftNotifier`.
    """

    def __init__(self, project: str | None = None) -> None:
        super().__init__()
        self.project = project

    def notify(self, context: Context) -> None:
        """Look for what stands open of this task and this partition or run. Never raises."""
        from updraft_airflow.deployment import settings, store
        from updraft_airflow.hooks.slack import send_alerts

        try:
            here, engine = settings(), store().engine
            name = self.project or project_of(context)
            failure = failure_alert(context, project=name)
            if self.project is None:
                mended = [
                    spec for spec in audience_of(here, name) if resolve(engine, spec.name, failure, every_run=True)
                ]
            else:
                mended = audience_of(here, name) if resolve(engine, name, failure) else []
            for spec in mended:
                send_alerts(here, engine, spec)
        except Exception:
            log.exception("that a failure is over could not be told; its message stands as it is")


def resolve(engine: sa.Engine, project: str, failure: Alert, *, every_run: bool = False) -> bool:
    """Mark what a project's alerts tell of a task and its partition or run as resolved; whether there was any.

    :param every_run: whether the task that ended well has done what its earlier runs have not, as upkeep does.
    """
    from updraft.alerts import outbox

    if failure.incident is None:
        return False
    words = f"{failure.incident.removeprefix('failure:')} ended well for {failure.key or failure.part}."
    part = None if every_run else failure.part
    return outbox.resolve(engine, project, failure.incident, part, words=words, key=failure.key)


def was_refused(context: Context) -> bool:
    """Whether the task failed as its partition was refused."""
    values: dict[str, Any] = dict(context)
    return isinstance(getattr(values.get("exception"), "__cause__", None), PartitionRefused)


def project_of(context: Context) -> str:
    """The project that a run belongs to, by its DAG's id `<project>.<stage>`."""
    dag: Any = context["dag"]
    return str(dag.dag_id).rpartition(".")[0] or str(dag.dag_id)


def audience_of(settings: Settings, project: str) -> list[ProjectSpec]:
    """Whom a failure concerns: the project; for a DAG of no project one project for each channel.

    Empty when the project is broken: its channel cannot be known, so the alert stands in the store.
    """
    from updraft.alerts.audience import one_per_channel
    from updraft.spec.load import load_projects
    from updraft.spec.model import Project

    known = load_projects(settings.projects, settings.environment)
    if project in known:
        own = known[project]
        return [own.spec] if isinstance(own, Project) else []
    return one_per_channel(project.spec for project in known.values() if isinstance(project, Project))


def alert_or_less(context: Context, *, project: str, airflow: str) -> Alert:
    """The failure's alert; where Airflow's context is not what it should be, one that says no more than that it happened."""
    try:
        return failure_alert(context, project=project, airflow=airflow)
    except Exception as error:
        log.exception("%s: a failure could not be told in full", project)
        values: dict[str, Any] = dict(context)
        return messages.untold(
            project, what="a failed run", subject=str(values.get("run_id", "")), error=type(error).__name__
        )


def failure_alert(context: Context, *, project: str, airflow: str = "") -> Alert:
    """The alert of a failed task or run.

    :param context: what Airflow gives to a failure callback: of a task in its process (with `exception`), of a task
        that was killed or of a DAG run (in the DAG processor, without it).
    :param airflow: base URL of the Airflow UI.
    """
    values: dict[str, Any] = dict(context)
    dag = str(values["dag"].dag_id)
    instance = values.get("ti") or values.get("task_instance")
    dag_run = values.get("dag_run")
    run = str(values.get("run_id") or getattr(instance, "run_id", None) or getattr(dag_run, "run_id", ""))
    task = str(getattr(instance, "task_id", ""))
    mapped = getattr(instance, "map_index", None)
    attempt = int(getattr(instance, "try_number", None) or 1)
    key = values.get("partition_key") or getattr(dag_run, "partition_key", None)
    return messages.failure(
        project,
        dag=dag,
        task=f"{task}[{mapped}]" if isinstance(mapped, int) and mapped >= 0 else task,
        run=run,
        error=_error(values),
        attempt=attempt,
        passes=not isinstance(values.get("exception"), AirflowFailException),
        key=None if key is None else str(key),
        log=_log_url(airflow, dag, run, instance, attempt),
    )


def _error(values: dict[str, Any]) -> str:
    error = values.get("exception")
    if error is None:
        return str(values.get("reason") or "")
    if isinstance(error, str):
        return error
    return in_words(error)


def in_words(error: BaseException) -> str:
    """An error as on-call may read it. Errors of libraries may quote data, so of them only the name is told; the log has the rest."""
    name = type(error).__name__
    unread = f"{name}; its words are in the log"
    try:
        words = str(error)
    except Exception:  # noqa: BLE001  an error that cannot even be printed has failed its task all the same
        return unread
    if isinstance(error, AirflowFailException):
        return words  # Updraft's operators have put the name of the error before its words
    return f"{name}: {words}" if isinstance(error, UpdraftError) else unread


def _log_url(airflow: str, dag: str, run: str, instance: Any, attempt: int) -> str:
    if not airflow:
        return str(getattr(instance, "log_url", "") or "")
    page = f"{airflow}/dags/{dag}/runs/{quote(run, safe='', errors='replace')}"
    task = getattr(instance, "task_id", None)
    if task is None:
        return page
    mapped = getattr(instance, "map_index", None)
    which = f"/mapped/{mapped}" if isinstance(mapped, int) and mapped >= 0 else ""
    return f"{page}/tasks/{task}{which}?try_number={attempt}"

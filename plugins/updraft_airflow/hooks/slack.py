"""Slack by an Airflow connection, through Airflow's provider."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from updraft.alerts import known, outbox, slack, untold
from updraft.errors import UpdraftError

if TYPE_CHECKING:
    from slack_sdk import WebClient

    from updraft.loop.context import Loop
    from updraft.settings import Settings
    from updraft.spec.model import ProjectSpec

CONNECTION = "slack_api_default"
OTHERS = 3
"""Other projects that a task sends for at most: it has its own work."""

log = logging.getLogger(__name__)


def slack_client(conn_id: str = CONNECTION) -> WebClient | None:
    """Slack's client by an Airflow connection of type `slack`; None when there is none, or no token in it.

    The token is the connection's password. Its extra may hold `base_url`, `proxy` and `timeout` (seconds), as Airflow's
    provider reads them.
    """
    from airflow.providers.slack.hooks.slack import SlackHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        connection = SlackHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None
    if not connection.password:
        log.error("connection %s holds no token; put Slack's bot token into its password", conn_id)
        return None
    if not re.fullmatch(
        r"[\x21-\x7e]+", connection.password.strip()
    ):  # Slack's client would log the header that it cannot send
        log.error(
            "the token of connection %s holds white space or characters that no token has; paste it anew", conn_id
        )
        return None
    # The connection's own timeout must win, and Airflow's hook lets its argument win.
    timeout = None if connection.extra_dejson.get("timeout") else slack.TIMEOUT_SECONDS
    hook = SlackHook(slack_conn_id=conn_id, timeout=timeout, retry_handlers=slack.retry_handlers())
    client: WebClient = hook.client
    return client


def deliver_alerts(loop: Loop) -> slack.DeliveryReport:
    """The same as :func:`send_alerts` for a task that has something else to do. Never raises: it leaves that task's outcome alone."""
    try:
        return send_alerts(loop.settings, loop.store.engine, loop.spec)
    except Exception as error:
        log.exception("alerts of %s could not be delivered now; they wait for the next task", loop.name)
        return slack.DeliveryReport(problem=f"Alerts wait: {type(error).__name__}, see the log")


def send_alerts(settings: Settings, engine: sa.Engine, spec: ProjectSpec) -> slack.DeliveryReport:
    """Send what a project's outbox holds; first record what a store that was away has not taken, and what is over.

    Messages of other projects that Slack asked to send later are sent as well, now that it is later: nobody sleeps
    for them, and their own project may run next week. What Slack or the network does stands in the store and in the
    report.

    :raises SQLAlchemyError: when the store is away.
    """
    kept = _brought_up_to_date(settings, engine)
    report = deliver(settings, engine, spec)
    later = outbox.overdue(engine, now=datetime.now(UTC), limit=OTHERS)
    for name in dict.fromkeys((*kept, *later)):
        if name != spec.name:
            _deliver_other(settings, engine, name)
    return report


def _brought_up_to_date(settings: Settings, engine: sa.Engine) -> tuple[str, ...]:
    """Record what is kept beside the store, and that programs of the stack do not die any more; the projects that it was about."""
    from updraft.stack import restarts

    kept = untold.record_kept(engine, settings.home)
    try:
        return (*kept, *restarts.tell_mended(engine, settings.home, datetime.now(UTC)))
    except (OSError, sa.exc.SQLAlchemyError):
        log.exception("that programs of the stack live well again could not be told now; the next task does")
        return kept


def keep_up_alerts(settings: Settings, engine: sa.Engine, spec: ProjectSpec) -> slack.DeliveryReport:
    """What is done once a day: what waits is sent, the week that ended is summed up, and what Airflow knows of Slack is noted.

    :raises SQLAlchemyError: when the store is away.
    """
    _brought_up_to_date(settings, engine)
    before = deliver(settings, engine, spec, daily=True)
    now = datetime.now(UTC)
    monday = datetime.combine(now.date() - timedelta(days=now.weekday()), time.min, UTC)
    if spec.alerts.slack is None or outbox.sum_up_week(engine, spec.name, until=monday) is None:
        return before
    return deliver(settings, engine, spec)


def deliver(settings: Settings, engine: sa.Engine, spec: ProjectSpec, *, daily: bool = False) -> slack.DeliveryReport:
    """Send what a project's outbox holds. Looks up the connection only when there is something to send now, or once a day."""
    if spec.alerts.slack is None or not (daily or slack.due(engine, spec)):
        return slack.DeliveryReport()
    client = slack_client()
    known.note(settings.home, connected=client is not None)
    report = slack.deliver(engine, client, spec, airflow=settings.airflow)
    log.info("%s", report)
    return report


def _deliver_other(settings: Settings, engine: sa.Engine, name: str) -> None:
    from updraft.spec.load import load_project, project_names

    try:
        if name in project_names(settings.projects):
            deliver(settings, engine, load_project(settings.projects / name, settings.environment).spec)
    except UpdraftError as error:  # a broken project names no channel: its alerts stand in the store
        log.warning("alerts of %s wait: %s", name, error)

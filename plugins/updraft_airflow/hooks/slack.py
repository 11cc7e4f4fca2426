"""Slack by an Airflow connection, through Airflow's provider."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from updraft.alerts import slack

if TYPE_CHECKING:
    import sqlalchemy as sa
    from slack_sdk import WebClient

    from updraft.loop.context import Loop
    from updraft.spec.model import ProjectSpec

CONNECTION = "slack_api_default"

_log = logging.getLogger(__name__)


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
        _log.error("connection %s holds no token; put Slack's bot token into its password", conn_id)
        return None
    # The connection's own timeout must win, and Airflow's hook lets its argument win.
    timeout = None if connection.extra_dejson.get("timeout") else slack.TIMEOUT_SECONDS
    hook = SlackHook(slack_conn_id=conn_id, timeout=timeout, retry_handlers=slack.retry_handlers())
    client: WebClient = hook.client
    return client


def deliver_alerts(loop: Loop) -> slack.DeliveryReport:
    """Send what a project's outbox holds. What Slack or the network does never raises: it stands in the store."""
    return deliver(loop.store.engine, loop.spec)


def deliver(engine: sa.Engine, spec: ProjectSpec) -> slack.DeliveryReport:
    """The same for a spec and an engine. Looks up the connection only when there is something to send now."""
    if not slack.due(engine, spec):
        return slack.DeliveryReport()
    report = slack.deliver(engine, slack_client(), spec)
    _log.info("%s", report)
    return report

"""Slack for a process that is no task of Airflow: by the variable in which Airflow reads a connection, where a deployment sets it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from updraft.alerts.slack import TIMEOUT_SECONDS, retry_handlers

if TYPE_CHECKING:
    from slack_sdk import WebClient

VARIABLE = "AIRFLOW_CONN_SLACK_API_DEFAULT"
"""A connection as JSON or as a URI. One that stands in Airflow's own database is known to Airflow's processes alone."""


def slack_client(env: Mapping[str, str]) -> WebClient | None:
    """Slack's client by the environment; None where it names no connection, or one without a token."""
    token, extra = _connection(env.get(VARIABLE, ""))
    if not token:
        return None
    from slack_sdk import WebClient

    options: dict[str, Any] = {name: extra[name] for name in ("base_url", "proxy") if extra.get(name)}
    seconds = int(extra.get("timeout") or TIMEOUT_SECONDS)
    return WebClient(token=token, timeout=seconds, retry_handlers=retry_handlers(), **options)


def _connection(text: str) -> tuple[str, dict[str, Any]]:
    """(token, extra) of a connection; no token where it does not read."""
    if not text.lstrip().startswith("{"):
        parts = urlsplit(text)
        return unquote(parts.password or "").strip(), dict(parse_qsl(parts.query))
    try:
        connection = json.loads(text)
        extra = connection.get("extra") or {}
        extra = json.loads(extra) if isinstance(extra, str) else extra
    except (ValueError, AttributeError):
        return "", {}
    return str(connection.get("password") or "").strip(), dict(extra) if isinstance(extra, dict) else {}

"""An alert laid out as Slack's Block Kit (https://docs.slack.dev/reference/block-kit/blocks)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from updraft.alerts import runbook
from updraft.alerts.alert import Alert

HEADER_LENGTH = 150
SECTION_LENGTH = 3000
TEXT_LENGTH = 4000  # of the message's own text, which notifications and screen readers show
DETAIL_LENGTH = 2000
BLOCKS = 50
LINKS = 10

_SIGNS = {
    "failure": ":red_circle:",
    "quarantine": ":warning:",
    "drift": ":chart_with_downwards_trend:",
    "verdict": ":scales:",
    "approval": ":raised_hand:",
    "rollback": ":rewind:",
    "integrity": ":rotating_light:",
    "summary": ":memo:",
}
_RESOLVED = ":white_check_mark:"


def blocks(
    alert: Alert,
    *,
    count: int = 1,
    mention: str | None = None,
    resolved_at: datetime | None = None,
    airflow: str = "",
) -> list[dict[str, Any]]:
    """Header, what happened, what Updraft does, what you need to do, links, and a line of context with the entry of the runbook.

    :param count: events that the message stands for; above 1 it says so.
    :param mention: Slack's markup of whom to call, from :func:`updraft.alerts.policy.mention`.
    :param resolved_at: when what it tells was mended: the headline says so, and nothing is left to do.
    :param airflow: base URL of the Airflow UI, which shows the runbook.
    """
    times = f" ×{count}" if count > 1 else ""
    over = resolved_at is not None or alert.entry == "resolved"
    title = f"{_RESOLVED if over else _SIGNS[alert.kind]} {_headline(alert, resolved_at)}"
    title = _clipped(title, HEADER_LENGTH - len(times)) + times
    told: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": title, "emoji": True}}]
    if alert.text:  # Slack refuses a section without text, and the whole message with it
        told.append(_section(escaped(alert.text, SECTION_LENGTH)))
    if alert.detail:
        told.append(_section(f"```{escaped(alert.detail.replace('```', '` ` `'), DETAIL_LENGTH)}```"))
    if alert.does:
        told.append(_section(f"*Updraft:* {escaped(alert.does, SECTION_LENGTH - 20)}"))
    if alert.needs and resolved_at is None:
        call = f"{mention} " if mention else ""
        told.append(_section(f"*You:* {call}{escaped(alert.needs, SECTION_LENGTH - 20 - len(call))}"))
    if links := _links(alert):
        told.append(_section(links))
    about = [f"*{escaped(alert.project, 100)}*"]
    about += [f"partition {escaped(alert.key, 100)}"] if alert.key else []
    about += [f"{count} times; this is the latest"] if count > 1 else []
    about += [f"resolved {resolved_at:%Y-%m-%d %H:%M} UTC"] if resolved_at is not None else []
    about += [_runbook(alert.entry, airflow)] if alert.entry else []
    told.append({"type": "context", "elements": [{"type": "mrkdwn", "text": " · ".join(about)}]})
    return told[:BLOCKS]


def fallback(alert: Alert, *, count: int = 1, mention: str | None = None, resolved_at: datetime | None = None) -> str:
    """The message's own text: what a notification shows. Escaped like the blocks."""
    times = f" (×{count})" if count > 1 else ""
    call = f"{mention} " if mention and alert.needs and resolved_at is None else ""
    over = "resolved: " if resolved_at is not None else ""
    return call + escaped(f"{alert.project}: {over}{alert.summary()}{times}", TEXT_LENGTH - len(call))


def _headline(alert: Alert, resolved_at: datetime | None) -> str:
    return f"Resolved: {alert.title}" if resolved_at is not None else alert.title


def _runbook(entry: str, airflow: str) -> str:
    where = runbook.link(entry, airflow)
    return f"<{_escape(where)}|Runbook>" if airflow else f"runbook: {escaped(where, 200)}"


def escaped(text: str, limit: int) -> str:
    """The text with Slack's three control characters escaped, at most ``limit`` long afterwards.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    whole = _escape(text)
    if len(whole) <= limit:
        return whole
    parts: list[str] = []
    left = limit - 1  # for the ellipsis
    for character in text:  # an entity must not be cut in the middle
        entity = _escape(character)
        if len(entity) > left:
            break
        parts.append(entity)
        left -= len(entity)
    return "".join(parts) + "…"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _links(alert: Alert) -> str:
    """Links on one line; one that would not fit is left out whole, as half a link leads nowhere."""
    line = ""
    for label, url in list(alert.links.items())[:LINKS]:
        address = _escape(url).replace("|", "%7C").replace(" ", "%20")
        link = f"<{address}|{escaped(label.replace('|', '/'), 75)}>"
        longer = f"{line}  ·  {link}" if line else link
        if len(longer) <= SECTION_LENGTH:
            line = longer
    return line

"""An alert laid out as Slack's Block Kit (https://docs.slack.dev/reference/block-kit/blocks)."""

from __future__ import annotations

from typing import Any

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
}


def blocks(alert: Alert, *, count: int = 1, mention: str | None = None) -> list[dict[str, Any]]:
    """Header, what happened, what Updraft does, what you need to do, links, and a line of context.

    :param count: events that the message stands for; above 1 it says so.
    :param mention: Slack's markup of whom to call, from :func:`updraft.alerts.policy.mention`.
    """
    times = f" ×{count}" if count > 1 else ""
    title = _clipped(f"{_SIGNS[alert.kind]} {alert.title}", HEADER_LENGTH - len(times)) + times
    told: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": title, "emoji": True}}]
    if alert.text:  # Slack refuses a section without text, and the whole message with it
        told.append(_section(escaped(alert.text, SECTION_LENGTH)))
    if alert.detail:
        told.append(_section(f"```{escaped(alert.detail.replace('```', '` ` `'), DETAIL_LENGTH)}```"))
    if alert.does:
        told.append(_section(f"*Updraft:* {escaped(alert.does, SECTION_LENGTH - 20)}"))
    if alert.needs:
        call = f"{mention} " if mention else ""
        told.append(_section(f"*You:* {call}{escaped(alert.needs, SECTION_LENGTH - 20 - len(call))}"))
    if links := _links(alert):
        told.append(_section(links))
    about = [f"*{escaped(alert.project, 100)}*"]
    about += [f"partition {escaped(alert.key, 100)}"] if alert.key else []
    about += [f"{count} times; this is the latest"] if count > 1 else []
    told.append({"type": "context", "elements": [{"type": "mrkdwn", "text": " · ".join(about)}]})
    return told[:BLOCKS]


def fallback(alert: Alert, *, count: int = 1, mention: str | None = None) -> str:
    """The message's own text: what a notification shows. Escaped like the blocks."""
    times = f" (×{count})" if count > 1 else ""
    call = f"{mention} " if mention and alert.needs else ""
    return call + escaped(f"{alert.project}: {alert.summary()}{times}", TEXT_LENGTH - len(call))


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

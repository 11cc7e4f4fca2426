"""Which alerts go out, whom they call, how long events fold together, and what Slack's refusals mean."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from updraft.alerts.alert import Alert, Kind
from updraft.spec.model import Slack

FOLD_WINDOW = timedelta(hours=24)
"""An event joins a message of its fold that is at most this old: an older one has scrolled out of sight."""
STALE_AFTER = timedelta(hours=26)
"""An alert that could not be sent for so long stands in the store only: a channel is no place for old news.

Longer than a day: what no other task has sent meanwhile, the daily maintenance has tried to.
"""
INCIDENT_LASTS = timedelta(days=30)
"""An alert of an incident joins the thread of one that is at most this old: nobody reads an older thread."""
FAILED_IS_TOLD_FOR = timedelta(days=7)
"""How long `updraft status` tells of a message that Slack did not take."""
_FIRST_WAIT = timedelta(seconds=15)
_LONGEST_WAIT = timedelta(minutes=5)
_LONGEST_ASKED = timedelta(hours=1)

Refusal = Literal["passing", "uncertain", "configuration", "message", "thread", "gone"]

CONFIGURATION = {
    "invalid_auth": "Slack does not know the token: put a valid bot token into the Airflow connection",
    "not_authed": "no token was sent: put a bot token into the password of the Airflow connection",
    "account_inactive": "the token's user or workspace is gone: make a new token",
    "token_revoked": "the token was revoked: make a new one",
    "token_expired": "the token has expired: make a new one",
    "missing_scope": "the app lacks a scope: give it chat:write (and channels:history) and install it again",
    "not_allowed_token_type": "the token is of the wrong type: use a bot token (xoxb)",
    "channel_not_found": "there is no such channel, or it is private and the app is not in it: "
    "correct alerts.slack.channel or invite the app",
    "not_in_channel": "the app is not in the channel: invite it (/invite)",
    "is_archived": "the channel is archived: name another one in alerts.slack.channel",
    "restricted_action": "the workspace does not let the app post there: ask its administrator",
    "no_permission": "the workspace does not let the app post there: ask its administrator",
    "ekm_access_denied": "administrators have suspended posting: ask them",
}
"""Slack's error code to what a person has to do. Nothing is lost meanwhile: alerts wait."""

NO_ANSWER = "no_answer"
NO_CONNECTION = "no_connection"
UNREADABLE = {"missing_scope", "channel_not_found", "not_in_channel", "no_permission", "thread_not_found"}
"""Codes by which Slack does not let the app read a channel that it may still write to."""
_PASSING = {"ratelimited", "rate_limited", "request_timeout", "team_added_to_org", "accesslimited"}
# "It's possible some aspect of the operation succeeded before the error was raised" (Slack's reference).
_UNCERTAIN = {"internal_error", "fatal_error", "service_unavailable"}
_MESSAGE = {
    "msg_too_long",
    "msg_blocks_too_long",
    "no_text",
    "invalid_blocks",
    "invalid_blocks_format",
    "invalid_metadata_format",
    "invalid_metadata_schema",
    "metadata_too_large",
    "too_many_attachments",
}
_THREAD = {"thread_not_found", "cannot_reply_to_message"}
_GONE = {"message_not_found", "cant_update_message", "edit_window_closed", "update_failed"}


def wanted(slack: Slack, kind: Kind) -> bool:
    """Whether the project sends alerts of this kind. A breach of integrity always goes out, and what sums up others."""
    return kind in ("integrity", "summary") or kind in slack.on


def broadcast(alert: Alert) -> bool:
    """Whether a reply in a thread is shown in the channel too: what needs a person must not hide in a thread."""
    return bool(alert.needs) or alert.kind == "integrity" or alert.entry == "rollback"


def mention(slack: Slack, alert: Alert) -> str | None:
    """Slack's markup of whom the alert calls; None when nobody has to do anything.

    A member is ``U…`` or ``W…``, a user group ``S…``, as the spec allows; ``here`` and ``channel`` call who is there.
    """
    if not slack.mention or not alert.needs:
        return None
    name = slack.mention.lstrip("@")
    if name in ("here", "channel", "everyone"):
        return f"<!{name}>"
    if name.startswith("S"):
        return f"<!subteam^{name}>"
    return f"<@{name}>"


def wait_after(attempts: int) -> timedelta:
    """How long to leave Slack alone after so many attempts in vain: 15 s, doubled each time, at most 5 minutes."""
    doubled: int = 2 ** min(max(attempts - 1, 0), 10)
    return min(_FIRST_WAIT * doubled, _LONGEST_WAIT)


def asked_wait(header: str | None) -> timedelta | None:
    """How long Slack's ``Retry-After`` (seconds) asks to be left alone, at most an hour: a proxy may say anything.

    None when it says nothing that can be read; then :func:`wait_after` counts.
    """
    if header is None or not re.fullmatch(r"[0-9]{1,9}", header.strip()):
        return None
    return min(timedelta(seconds=int(header)), _LONGEST_ASKED)


def refusal(code: str) -> Refusal:
    """What kind of refusal a Slack error code is.

    ``passing``: not sent, try again. ``uncertain``: perhaps sent, look before trying again. ``configuration``: a person
    has to mend the connection or the channel; also every code that is not known, so that no alert is dropped for it.
    ``message``: this alert can never be sent as it is. ``thread``: its thread is gone. ``gone``: the message to update
    is gone or can no longer be edited.
    """
    if code == NO_ANSWER or code.startswith("http_"):
        return "uncertain"
    kinds: tuple[tuple[Refusal, set[str]], ...] = (
        ("passing", _PASSING),
        ("uncertain", _UNCERTAIN),
        ("message", _MESSAGE),
        ("thread", _THREAD),
        ("gone", _GONE),
    )
    return next((kind for kind, codes in kinds if code in codes), "configuration")


def explained(code: str) -> str:
    """An error of a stored alert in words, with what to do."""
    if code in CONFIGURATION:
        return f"Slack refuses ({code}): {CONFIGURATION[code]}"
    words: dict[Refusal, str] = {
        "passing": "Slack asks to wait; Updraft tries again by itself",
        "uncertain": "no answer from Slack; Updraft looks whether the message is there, then tries again by itself",
        "message": "Slack does not take this message; read it here",
    }
    if code == NO_CONNECTION:
        return (
            "Alerts stand in the store: there is no Slack connection; give Airflow the connection `slack_api_default`"
        )
    otherwise = "mend the Slack connection or the channel; alerts wait until then"
    return f"Slack ({code}): {words.get(refusal(code), otherwise)}"

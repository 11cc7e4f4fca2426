"""Delivery to Slack, as near to exactly once as Slack allows.

Slack knows no idempotency key. So a row is put into the state ``sending`` before its message leaves, the message
carries the row's mark in its metadata, and a row that is found in that state (its sender died, or the answer never
came) is looked for in the channel before it is sent again. Two cases remain in which a message may come twice: the app
may not read the channel (no ``channels:history``), or it was the very first message to a channel that the project names
by name (Slack wants the channel's id to read it). An alert that comes twice is better than one that never comes.

Nothing here raises for what Slack or the network does: it is recorded in the row and told in the report.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from updraft.alerts import outbox, policy
from updraft.alerts.blocks import blocks, fallback
from updraft.alerts.outbox import Stored
from updraft.spec.model import ProjectSpec, Slack

if TYPE_CHECKING:
    import sqlalchemy as sa
    from slack_sdk import WebClient
    from slack_sdk.errors import SlackApiError
    from slack_sdk.http_retry import RetryHandler
    from slack_sdk.web import SlackResponse

_log = logging.getLogger(__name__)

EVENT_TYPE = "updraft_alert"
TIMEOUT_SECONDS = 10
_CLOCKS_DIFFER_BY = timedelta(minutes=10)
_PAGE = 200
_PAGES = 10
_PASSES = 20


@dataclass(frozen=True, kw_only=True)
class DeliveryReport:
    """What one delivery did."""

    sent: int = 0
    updated: int = 0
    found: int = 0
    """Messages of a sender that died, found in the channel."""
    quiet: int = 0
    failed: int = 0
    waiting: int = 0
    problem: str | None = None
    """Why something waits, in words, with what to do."""

    def __str__(self) -> str:
        numbers = {
            "sent": self.sent,
            "updated": self.updated,
            "found again": self.found,
            "kept quiet": self.quiet,
            "refused": self.failed,
            "waiting": self.waiting,
        }
        told = ", ".join(f"{count} {name}" for name, count in numbers.items() if count) or "nothing to send"
        return f"Slack: {told}" + (f". {self.problem}" if self.problem else "")


class _Stop(Exception):
    """What stopped this alert would stop the next one too: the pass ends here."""


@dataclass(eq=False)
class _Refused(Exception):
    """Slack did not do what it was asked to, or did not answer."""

    code: str
    kind: policy.Refusal
    wait: timedelta | None = None
    """How long Slack asks to be left alone."""


def retry_handlers() -> list[RetryHandler]:
    """None. On a broken connection the message may have got through; and when Slack asks to wait (429), its client's
    handler would sleep in the task. The message waits in the store instead, until the time that Slack said.
    """
    return []


def due(engine: sa.Engine, spec: ProjectSpec, *, now: datetime | None = None) -> bool:
    """Whether :func:`deliver` would have anything to do now; cheaper than looking up a connection for nothing."""
    if spec.alerts.slack is None:
        return False
    rows = outbox.pending(engine, spec.name)
    return bool(rows) and not _rests(rows[0], now or datetime.now(UTC))


def deliver(
    engine: sa.Engine,
    client: WebClient | None,
    spec: ProjectSpec,
    *,
    airflow: str = "",
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> DeliveryReport:
    """Send what the project's outbox holds, in order. Without a client, or without ``alerts.slack``, it stays there.

    Safe to call from any number of processes at once: one sends, the others leave it to that one.

    :param client: slack_sdk's client with :func:`retry_handlers`, or None when there is no connection.
    :param airflow: base URL of the Airflow UI, where messages find the runbook.
    """
    slack = spec.alerts.slack
    if slack is None:
        waiting = len(outbox.pending(engine, spec.name))
        why = "Alerts stand in the store: the project has no alerts.slack"
        return DeliveryReport(waiting=waiting, problem=why if waiting else None)
    delivery = _Delivery(engine, client, spec, slack, airflow, now)
    for _ in range(_PASSES):
        with outbox.alone(engine, spec.name) as mine:
            if not mine:
                break
            delivery.run()
        # Somebody may have recorded an alert and left it to this sender just before it stopped being one.
        if delivery.stopped or not delivery.untried():
            break
    waiting = len(outbox.pending(engine, spec.name))
    return replace(delivery.report, waiting=waiting, problem=delivery.report.problem if waiting else None)


def _rests(row: Stored, now: datetime) -> bool:
    """Whether Slack asked to wait longer, or the row was tried in vain so lately that Slack is left alone."""
    until = row.not_before
    if until is None and row.error and row.tried_at:
        until = row.tried_at + policy.wait_after(row.attempts)
    return until is not None and now < until


def _version(row: Stored) -> tuple[int, int, bool]:
    """What a message shows: the same is tried once in a delivery."""
    return row.id, row.count, row.resolved_at is not None


class _Delivery:
    """One sender's work on one project."""

    def __init__(
        self,
        engine: sa.Engine,
        client: WebClient | None,
        spec: ProjectSpec,
        slack: Slack,
        airflow: str,
        now: Callable[[], datetime],
    ) -> None:
        self.engine = engine
        self.project = spec.name
        self.routine = spec.alerts.routine
        self.slack = slack
        self.airflow = airflow
        self.now = now
        self.report = DeliveryReport()
        self.stopped = False
        self._client = client
        self._tried: set[tuple[int, int, bool]] = set()

    @property
    def client(self) -> WebClient:
        """Slack's client.

        :raises _Refused: when there is no connection.
        """
        if self._client is None:
            raise _Refused(policy.NO_CONNECTION, "configuration")
        return self._client

    def untried(self) -> list[Stored]:
        """What is pending and has not been tried by this sender."""
        return [row for row in outbox.pending(self.engine, self.project) if _version(row) not in self._tried]

    def run(self) -> None:
        """Send everything that is pending, until something would stop the rest as well."""
        self._sort_out()
        for row in sorted(self.untried(), key=lambda row: (row.alert.entry != "backlog", row.id)):
            if _rests(row, self.now()):
                self._stop(row.error or "")
                return
            self._tried.add(_version(row))
            try:
                if self._client is None:
                    self._refused(row, _Refused(policy.NO_CONNECTION, "configuration"))
                self._deliver(row)
            except _Stop:
                return

    def _sort_out(self) -> None:
        """Set aside what is not to be sent by itself: what the project does not ask for, what is routine, what is too old."""
        rows = self.untried()
        unasked = [row for row in rows if not policy.wanted(self.slack, row.alert.kind)]
        asked = [row for row in rows if policy.wanted(self.slack, row.alert.kind)]
        routine = [row for row in asked if row.alert.routine and not row.ts and self.routine != "post"]
        if self.routine == "drop":
            unasked += routine
        elif routine:
            outbox.mark_digest(self.engine, routine)
        if unasked:
            outbox.mark_quiet(self.engine, unasked)
            self._count(quiet=len(unasked))
        set_aside = {row.id for row in (*unasked, *routine)}
        self._sum_up_backlog([row for row in asked if row.id not in set_aside and not row.ts])

    def _sum_up_backlog(self, unsent: list[Stored]) -> None:
        """Let one message stand for what is too old to be sent; without a connection it grows old in silence and is told later."""
        unsent = [row for row in unsent if row.alert.entry != "backlog"]
        old = [row for row in unsent if self.now() - row.written_at > policy.STALE_AFTER]
        if self._client is None:
            if old:
                outbox.mark_unsent(self.engine, old)
                self._count(quiet=len(old))
            return
        follow = [row for row in unsent if row not in old]
        stood = [row for row in follow if row.error == policy.NO_CONNECTION]
        old += outbox.stood_unsent(self.engine, self.project)
        if old or len(stood) > 1:
            outbox.sum_up_backlog(self.engine, self.project, old=old, follow=follow, now=self.now())
            self._count(quiet=len(old))

    def _deliver(self, row: Stored) -> None:
        if row.ts and row.channel_id:
            self._update(row, row.ts, row.channel_id)
            return
        thread = outbox.thread_ts(self.engine, row, channel=self.slack.channel)
        if row.state == "sending" and (posted := self._find(row, thread)):
            channel_id, ts = posted
            # Which count it shows is not known any more; 0 has it updated when there is more than one.
            shown = 1 if row.count == 1 and row.resolved_at is None else 0
            outbox.mark_sent(self.engine, row, ts=ts, channel=self.slack.channel, channel_id=channel_id, shown=shown)
            self._count(found=1)
            return
        self._post(row, thread)

    def _post(self, row: Stored, thread: str | None) -> None:
        outbox.claim(self.engine, row)
        try:
            answer = self._call(
                self.client.chat_postMessage,
                channel=self.slack.channel,
                thread_ts=thread,
                reply_broadcast=policy.broadcast(row.alert) if thread else None,
                unfurl_links=False,
                **self._content(row),
            )
            if not {"ts", "channel"} <= answer.keys():  # a proxy's answer: what became of the message is not known
                raise _Refused(policy.NO_ANSWER, "uncertain")
        except _Refused as refused:
            if refused.kind == "thread" and thread:  # somebody deleted the thread: the news counts, not its place
                self._post(row, None)
                return
            self._refused(row, refused)
            return
        outbox.mark_sent(
            self.engine, row, ts=answer["ts"], channel=self.slack.channel, channel_id=answer["channel"], shown=row.count
        )
        self._count(sent=1)

    def _update(self, row: Stored, ts: str, channel_id: str) -> None:
        try:
            self._call(self.client.chat_update, channel=channel_id, ts=ts, **self._content(row))
        except _Refused as refused:
            if refused.kind == "gone":
                outbox.mark_anew(self.engine, row)
                self._post(replace(row, ts=None), outbox.thread_ts(self.engine, row, channel=self.slack.channel))
                return
            # An update that came through twice is the same update.
            again = _Refused(refused.code, "passing", refused.wait)
            self._refused(row, again if refused.kind == "uncertain" else refused)
            return
        channel = row.channel or self.slack.channel
        outbox.mark_sent(self.engine, row, ts=ts, channel=channel, channel_id=channel_id, shown=row.count)
        self._count(updated=1)

    def _content(self, row: Stored) -> dict[str, Any]:
        mention = policy.mention(self.slack, row.alert)
        return {
            "text": fallback(row.alert, count=row.count, mention=mention, resolved_at=row.resolved_at),
            "blocks": blocks(
                row.alert, count=row.count, mention=mention, resolved_at=row.resolved_at, airflow=self.airflow
            ),
            "metadata": {"event_type": EVENT_TYPE, "event_payload": {"id": row.mark}},
        }

    def _find(self, row: Stored, thread: str | None) -> tuple[str, str] | None:
        """Channel and id of the message that a sender who died has left; None when it is not to be found."""
        channel_id = outbox.channel_id(self.engine, self.slack.channel)
        if channel_id is None:
            channel_id = self.slack.channel if self.slack.channel[:1] in ("C", "G", "D") else None
        if channel_id is None:
            _log.warning("alert %s of %s may come twice: the channel's id is not known yet", row.id, self.project)
            return None
        since = f"{(row.written_at - _CLOCKS_DIFFER_BY).timestamp():.6f}"
        cursor: str | None = None
        for _ in range(_PAGES):
            page = self._page(row, thread, channel=channel_id, oldest=since, cursor=cursor)
            for message in page.get("messages") or []:
                if ((message.get("metadata") or {}).get("event_payload") or {}).get("id") == row.mark:
                    return channel_id, str(message["ts"])
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
        return None

    def _page(self, row: Stored, thread: str | None, **arguments: Any) -> dict[str, Any]:
        """One page of the channel or of a thread; nothing when Slack does not let the app read it."""
        arguments |= {"limit": _PAGE, "include_all_metadata": True}
        try:
            if thread:
                return self._call(self.client.conversations_replies, ts=thread, **arguments)
            return self._call(self.client.conversations_history, **arguments)
        except _Refused as refused:
            if refused.code not in policy.UNREADABLE:
                self._refused(row, _Refused(refused.code, "uncertain", refused.wait))
            _log.warning(
                "alert %s of %s may come twice: the app may not read the channel (%s)",
                row.id,
                self.project,
                refused.code,
            )
            return {}

    def _refused(self, row: Stored, refused: _Refused) -> None:
        if refused.kind == "message":
            outbox.mark_failed(self.engine, row, error=refused.code)
            self._count(failed=1)
            _log.error("alert %s of %s: %s", row.id, self.project, policy.explained(refused.code))
            return
        # What may have got through stays so, whatever is in the way of looking for it.
        uncertain = refused.kind == "uncertain" or (row.state == "sending" and refused.code == policy.NO_CONNECTION)
        now = self.now()
        later = None if refused.wait is None else now + refused.wait
        outbox.mark_waiting(self.engine, row, error=refused.code, now=now, uncertain=uncertain, not_before=later)
        _log.warning("alert %s of %s waits: %s", row.id, self.project, policy.explained(refused.code))
        self._stop(refused.code)
        raise _Stop

    def _stop(self, code: str) -> None:
        self.stopped = True
        self.report = replace(self.report, problem=policy.explained(code))

    def _count(self, **more: int) -> None:
        self.report = replace(self.report, **{name: getattr(self.report, name) + count for name, count in more.items()})

    @staticmethod
    def _call(method: Callable[..., SlackResponse], **arguments: Any) -> dict[str, Any]:
        """Call Slack.

        :raises _Refused: with Slack's error code alone: the errors of the client quote what was sent.
        """
        from slack_sdk.errors import SlackApiError

        try:
            answer = method(**{name: value for name, value in arguments.items() if value is not None})
            return dict(answer.data) if isinstance(answer.data, dict) else {}
        except SlackApiError as error:
            raise _refused_by(error) from None
        except Exception as error:  # noqa: BLE001  whatever the client or a proxy does: its words may quote what was sent
            _log.warning("no answer from Slack: %s", type(error).__name__)
            raise _Refused(policy.NO_ANSWER, "uncertain") from None


def _refused_by(error: SlackApiError) -> _Refused:
    """Slack's code, never its words; from the HTTP status when a proxy answered in Slack's place."""
    answer = error.response
    status = int(getattr(answer, "status_code", 200))
    code = str(answer.get("error") or "")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers = {str(name).lower(): value for name, value in (getattr(answer, "headers", None) or {}).items()}
        return _Refused("ratelimited", "passing", policy.asked_wait(headers.get("retry-after")))
    if not re.fullmatch(r"[a-z0-9_]{1,64}", code):
        code = f"http_{status}"
        return _Refused(code, "uncertain")
    return _Refused(code, "uncertain" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else policy.refusal(code))

"""A local HTTP server that speaks the part of Slack's Web API that Updraft uses, as strictly as Slack does.

Reference: https://docs.slack.dev/reference/methods (chat.postMessage, chat.update, conversations.history,
conversations.replies, auth.test).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from slack_sdk import WebClient

from updraft.alerts import slack

TOKEN = "xoxb-1234567890-very-secret-token"


@dataclass(frozen=True)
class Fault:
    """What the server does to one call instead of its work, or after it."""

    error: str | None = None
    status: int = 200
    retry_after: int | str | None = None
    hang_up: bool = False
    hold: float = 0.0
    """Seconds before the answer."""
    after_work: bool = False
    """The call is done first, and only then its answer is lost: the caller cannot know."""


@dataclass
class SlackServer:
    """The server's state; tests read ``messages`` and ``calls`` and plan faults."""

    token: str = TOKEN
    channels: dict[str, str] = field(default_factory=lambda: {"#flight-ops-ml": "C0000000001", "#other": "C0000000002"})
    scopes: set[str] = field(default_factory=lambda: {"chat:write", "channels:history"})
    messages: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""
    _faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _clock: int = 0

    def plan(self, method: str, *faults: Fault) -> None:
        """The next calls of a method meet these faults, one each."""
        self._faults[method].extend(faults)

    def count(self, method: str) -> int:
        """Calls of a method so far."""
        return sum(name == method for name, _ in self.calls)

    def roots(self) -> list[dict[str, Any]]:
        """Messages that stand in a channel rather than in a thread."""
        return [message for message in self.messages if message["thread_ts"] is None]

    def delete(self, ts: str) -> None:
        """A person deletes a message."""
        self.messages = [message for message in self.messages if message["ts"] != ts]

    def answer(self, method: str, token: str, body: dict[str, Any]) -> tuple[Fault, dict[str, Any] | None]:
        """One call: the fault that it meets and what it answers; no answer when the work was not done."""
        with self._lock:
            self.calls.append((method, body))
            fault = self._faults[method].popleft() if self._faults[method] else Fault()
            if (fault.error or fault.hang_up or fault.status != 200) and not fault.after_work:
                return fault, None
            try:
                if token != self.token:
                    raise _Error("invalid_auth")
                work = getattr(self, "_" + method.replace(".", "_"), None)
                if work is None:
                    raise _Error("unknown_method")
                return fault, {"ok": True, **work(body)}
            except _Error as error:
                return fault, {"ok": False, "error": str(error)}

    def _auth_test(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"user": "updraft", "team": "Test"}

    def _chat_postMessage(self, body: dict[str, Any]) -> dict[str, Any]:
        self._need("chat:write")
        channel = self.channels.get(body["channel"], body["channel"])
        if channel not in self.channels.values():
            raise _Error("channel_not_found")
        thread = body.get("thread_ts")
        if thread is not None and not any(m["ts"] == thread and m["channel"] == channel for m in self.messages):
            raise _Error("thread_not_found")
        _check(body)
        self._clock += 1
        ts = f"{1_900_000_000 + self._clock}.000100"  # newer than any `oldest` that the tests ask for
        self.messages.append(
            {
                "ts": ts,
                "channel": channel,
                "thread_ts": thread,
                "text": body["text"],
                "blocks": body.get("blocks", []),
                "metadata": body.get("metadata"),
                "broadcast": bool(body.get("reply_broadcast")),
                "edits": 0,
            }
        )
        return {"ts": ts, "channel": channel, "message": {"text": body["text"]}}

    def _chat_update(self, body: dict[str, Any]) -> dict[str, Any]:
        self._need("chat:write")
        if body["channel"] not in self.channels.values():  # names are not taken here
            raise _Error("channel_not_found")
        _check(body)
        for message in self.messages:
            if message["ts"] == body["ts"] and message["channel"] == body["channel"]:
                message |= {name: body[name] for name in ("text", "blocks", "metadata") if name in body}
                message["edits"] += 1
                return {"ts": body["ts"], "channel": body["channel"], "text": body["text"]}
        raise _Error("message_not_found")

    def _conversations_history(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._page(body, [message for message in self.messages if message["thread_ts"] is None])

    def _conversations_replies(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._page(body, [m for m in self.messages if body["ts"] in (m["ts"], m["thread_ts"])])

    def _page(self, body: dict[str, Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
        self._need("channels:history")
        if body["channel"] not in self.channels.values():
            raise _Error("channel_not_found")
        found = [m for m in messages if m["channel"] == body["channel"] and float(m["ts"]) >= float(body["oldest"])]
        found.sort(key=lambda message: message["ts"], reverse=True)
        start, limit = int(body.get("cursor") or 0), int(body["limit"])
        shown = [dict(message) for message in found[start : start + limit]]
        if body.get("include_all_metadata") not in ("1", "true"):
            for message in shown:
                message.pop("metadata")
        cursor = str(start + limit) if start + limit < len(found) else ""
        return {"messages": shown, "has_more": bool(cursor), "response_metadata": {"next_cursor": cursor}}

    def _need(self, scope: str) -> None:
        if scope not in self.scopes:
            raise _Error("missing_scope")


_CONTROLS = re.compile(r"[\x00-\x08\x7f\ud800-\udfff]|\\u00[01]")
"""Control characters (which JSON escapes) and halves of surrogate pairs."""


class _Error(Exception):
    """A Slack error code."""


def _check(body: dict[str, Any]) -> None:
    """Slack's limits: https://docs.slack.dev/reference/block-kit/blocks."""
    if not body.get("text"):
        raise _Error("no_text")
    if len(body["text"]) > 40_000:
        raise _Error("msg_too_long")
    if _CONTROLS.search(json.dumps([body["text"], body.get("blocks", [])], ensure_ascii=False)):
        raise _Error("invalid_blocks")
    told = body.get("blocks", [])
    if len(told) > 50:
        raise _Error("invalid_blocks")
    for block in told:
        if block["type"] == "header":
            fits = block["text"]["type"] == "plain_text" and 0 < len(block["text"]["text"]) <= 150
        elif block["type"] == "section":
            fits = 0 < len(block["text"]["text"]) <= 3000
        elif block["type"] == "context":
            fits = 0 < len(block["elements"]) <= 10
        else:
            fits = False
        if not fits:
            raise _Error("invalid_blocks")


class _Handler(BaseHTTPRequestHandler):
    slack: SlackServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if (self.headers.get("Content-Type") or "").startswith("application/json"):
            body = json.loads(raw or "{}")
        else:
            body = {name: values[0] for name, values in parse_qs(raw).items()}
            for name in ("blocks", "metadata"):
                if name in body:
                    body[name] = json.loads(body[name])
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        fault, answer = self.slack.answer(self.path.rsplit("/", 1)[-1], token, body)
        time.sleep(fault.hold)
        if fault.hang_up:
            self.close_connection = True
            self.connection.close()
            return
        if fault.error or fault.status != 200 or answer is None:
            answer = {"ok": False, "error": fault.error or "unknown"}
        self._send(fault, answer)

    def _send(self, fault: Fault, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode() if fault.status in (200, 429) else b"<html>Bad gateway</html>"
        with suppress(ConnectionError):  # the caller may be dead by now
            self._write(fault, content)

    def _write(self, fault: Fault, content: bytes) -> None:
        self.send_response(fault.status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        if fault.retry_after is not None:
            self.send_header("Retry-After", str(fault.retry_after))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: what was asked is in ``SlackServer.calls``."""


def web_client(token: str, *, base_url: str, timeout: int = slack.TIMEOUT_SECONDS) -> WebClient:
    """Slack's own client as the hook makes it from a connection: it tries nothing again by itself."""
    return WebClient(token=token, base_url=base_url, timeout=timeout, retry_handlers=slack.retry_handlers())


@contextmanager
def running_slack() -> Iterator[SlackServer]:
    """Serve on a free port of the loopback. ``url`` is the API's base URL."""
    server_state = SlackServer()
    handler = type("Handler", (_Handler,), {"slack": server_state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server_state.url = f"http://127.0.0.1:{server.server_address[1]}/api/"
    try:
        yield server_state
    finally:
        server.shutdown()
        server.server_close()

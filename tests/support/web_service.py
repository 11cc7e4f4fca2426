"""A web service on this machine that gives rows page by page, in every way that sources are asked, and fails where a test says so."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class WebService:
    """``/rows`` gives ``rows`` whose ``at`` lies in [since, until); what else a test sets, it does."""

    url: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    by: str = "number"
    sizes: list[int] = field(default_factory=lambda: [7])
    """Records of each page in turn; the last size counts for all that follow."""
    wrong: dict[int, Any] = field(default_factory=dict)
    """What the n-th request (from 1) gets instead: a status, a pair of status and headers, or bytes."""
    secret: str = ""
    """Header that a request must have, ``Name: value``."""
    token_lasts: float | None = None
    """Seconds of a token; None where none is asked for."""
    asked: list[tuple[float, str]] = field(default_factory=list)
    """Moment and path of each request for rows."""
    tokens: dict[str, float] = field(default_factory=dict)

    def page(self, query: dict[str, list[str]]) -> tuple[dict[str, Any], str | None]:
        """An answer, and where the next page is."""
        since, until = query.get("since", [""])[0], query.get("until", ["9"])[0]
        rows = [row for row in self.rows if since <= row["at"] < until]
        numbers = {"number": "page", "offset": "skip", "cursor": "after", "link": "skip"}
        asked = query.get(numbers[self.by], ["0"])[0]
        number = int(asked) - 1 if self.by == "number" else 0
        start = sum(self.size(n) for n in range(number)) if self.by == "number" else int(asked)
        size = self.size(number if self.by == "number" else len(self.asked) - 1)
        records = rows[start : start + size]
        more = start + size < len(rows)
        answer: dict[str, Any] = {
            "data": {"items": records},
            "next": str(start + size) if more and self.by == "cursor" else None,
        }
        return answer, f"/rows?since={since}&until={until}&skip={start + size}" if more and self.by == "link" else None

    def size(self, number: int) -> int:
        return self.sizes[min(number, len(self.sizes) - 1)]


@contextmanager
def running_service(**settings: Any) -> Iterator[WebService]:
    """The service on a free port."""
    service = WebService(**settings)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                self._get()

        def _get(self) -> None:
            service.asked.append((time.monotonic(), self.path))
            wrong = service.wrong.get(len(service.asked))
            if isinstance(wrong, bytes):
                self._send(200, wrong)
                return
            if wrong is not None:
                status, headers = wrong if isinstance(wrong, tuple) else (wrong, {})
                self._send(status, b"{}", headers)
                return
            if service.secret:
                name, _, value = service.secret.partition(": ")
                if self.headers.get(name) != value:
                    self._send(401, b"{}")
                    return
            if service.token_lasts is not None:
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                if time.monotonic() >= service.tokens.get(token, 0.0):
                    self._send(401, b"{}")
                    return
            parts = urlsplit(self.path)
            if parts.path != "/rows":
                self._send(404, b"{}")
                return
            answer, link = service.page(parse_qs(parts.query))
            self._send(200, json.dumps(answer).encode(), {"Link": f'<{link}>; rel="next"'} if link else {})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = b64decode((self.headers.get("Authorization") or "Basic ").removeprefix("Basic ")).decode()
            if given != "ada:lovelace":
                self._send(401, b"{}")
                return
            token = f"token-{len(service.tokens)}"
            service.tokens[token] = time.monotonic() + (service.token_lasts or 0)
            self._send(200, json.dumps({"access_token": token, "expires_in": 3600}).encode())

        def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()

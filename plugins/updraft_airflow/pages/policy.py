"""What a browser lets a page do: nothing, or, of the control room, what its own script does.

What a page of the lake shows comes from feeds and trainings, so it is a stranger on Airflow's origin: a browser lets it read no
cookie, call no API and load nothing, whatever stands in it.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STILL = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Policy of a page that needs no script. The sandbox gives it an origin of its own."""
DRAWN = f"{STILL}; script-src 'unsafe-inline'; font-src data:"
"""Policy of a report: the scripts that stand in it draw it. They reach nothing."""
ROOM = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
"""Policy of the control room's own pages. Nothing that comes from a feed stands in them but as a text: they are drawn on the server, run the
one script that belongs to them, and speak with this Airflow alone."""
HEADERS = {
    "Content-Security-Policy": STILL,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",  # Airflow's own pages may show one in a frame
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
"""Of every answer, refusals included, where a route says nothing else."""


class Guarded:
    """Puts :data:`HEADERS` on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, guarded)

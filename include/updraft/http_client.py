"""An httpx client of a server on this machine or of a team's own: without proxies, and patient where that is asked for."""

from __future__ import annotations

import ssl
import time
from functools import cache

import httpx

_IDLE = 2.0
"""Seconds for which a connection is kept: uvicorn and gunicorn close one after five and two, so that a request rarely meets its end."""
_PAUSE = 1.0
_AWAY = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError)


class PatientTransport(httpx.HTTPTransport):
    """Asks again, once a second, while the server is away: it cannot be reached, breaks off, or answers with 5xx.

    Whoever is patient sends only what may arrive twice: a broken connection does not say whether the request was taken.
    """

    def __init__(self, patience: float) -> None:
        """
        :param patience: seconds after the first failure in which a request is sent again; then its failure is the caller's.
        """
        super().__init__(
            verify=_certificates(), trust_env=False, retries=1, limits=httpx.Limits(keepalive_expiry=_IDLE)
        )
        self._patience = patience

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request until the server takes it, or patience ends."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                response = super().handle_request(request)
                if response.status_code < 500 or time.monotonic() >= deadline:
                    return response
                response.close()
            except _AWAY:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(max(0.0, min(_PAUSE, deadline - time.monotonic())))


@cache
def _certificates() -> ssl.SSLContext:
    """The authorities that this machine trusts. Reading them takes 70 ms."""
    return ssl.create_default_context()


def open_client(*, seconds: float, patience: float = 0.0) -> httpx.Client:
    """A client that asks no proxy, whatever the environment says: loopback is not theirs.

    :param seconds: the longest wait for an answer, each time that it is asked.
    :param patience: seconds for which the server may be away.
    """
    return httpx.Client(transport=PatientTransport(patience), timeout=seconds, trust_env=False)

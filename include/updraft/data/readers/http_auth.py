"""How a request to a web service is signed in, by what its connection holds."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import httpx

from updraft.connections import Connection
from updraft.errors import SettingsError

_EARLY = 30.0
"""Seconds before its end in which a token is not used any more."""
_UNTOLD = 300.0
"""Seconds that a token is taken to last when the server does not say."""
KINDS = ("none", "basic", "bearer", "header", "client_credentials")


def sign_in(connection: Connection | None) -> httpx.Auth:
    """The way that ``auth`` in the connection's extra names; else basic with a login, bearer with a password alone, and none without.

    ``header`` sends the password in the header that ``header`` in extra names. ``client_credentials`` (RFC 6749, section 4.4) asks
    ``token_url`` in extra for a token with login and password, and again before it ends, or when it is refused.

    :raises SettingsError: when the connection lacks what its way needs.
    """
    if connection is None:
        return httpx.Auth()
    login, secret, extra = connection.login, connection.password, connection.extra
    way = str(extra.get("auth") or ("basic" if login else "bearer" if secret else "none"))
    if way not in KINDS:
        raise SettingsError(f"connection {connection.id!r}: auth in extra is none of {', '.join(KINDS)}")
    if way == "basic":
        return httpx.BasicAuth(login, secret)
    if way == "client_credentials":
        if not extra.get("token_url"):
            raise SettingsError(f"connection {connection.id!r}: auth client_credentials needs token_url in extra")
        return ClientCredentials(str(extra["token_url"]), login, secret, str(extra.get("scope") or ""))
    if way == "none":
        return httpx.Auth()
    if not secret:
        raise SettingsError(f"connection {connection.id!r}: auth {way} needs the secret as its password")
    if way == "header":
        return _Header(str(extra.get("header") or "X-Api-Key"), secret)
    return _Header("Authorization", f"Bearer {secret}")


class _Header(httpx.Auth):
    def __init__(self, name: str, value: str) -> None:
        self._name, self._value = name, value

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers[self._name] = self._value
        yield request


class TokenRefused(Exception):
    """The server of tokens gave none."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server of tokens answered with status {status}")
        self.status = status


class ClientCredentials(httpx.Auth):
    """A token that is asked for when there is none, when it ends, and once more when the service refuses it.

    :raises TokenRefused: when there is none to be had.
    """

    requires_response_body = True

    def __init__(self, token_url: str, login: str, secret: str, scope: str) -> None:
        self._token_url, self._login, self._secret, self._scope = token_url, login, secret, scope
        self._token, self._ends = "", 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See httpx, "Custom authentication schemes"."""
        is_new = False
        if time.monotonic() >= self._ends:
            self._keep((yield self._asking()))
            is_new = True
        request.headers["Authorization"] = f"Bearer {self._token}"
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED and not is_new:
            self._keep((yield self._asking()))
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request

    def _asking(self) -> httpx.Request:
        form = {"grant_type": "client_credentials", **({"scope": self._scope} if self._scope else {})}
        request = httpx.Request("POST", self._token_url, data=form)
        return next(httpx.BasicAuth(self._login, self._secret).auth_flow(request))

    def _keep(self, response: httpx.Response) -> None:
        try:
            told: Any = response.json() if response.is_success else {}
            token, lasts = str(told["access_token"]), float(told.get("expires_in") or _UNTOLD)
        except (ValueError, KeyError, TypeError, AttributeError):
            token, lasts = "", 0.0
        if not token:
            raise TokenRefused(response.status_code)
        self._token, self._ends = token, time.monotonic() + max(lasts - min(_EARLY, lasts / 2), 0.0)

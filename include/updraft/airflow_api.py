"""Airflow's REST API, as one signed-in user."""

from __future__ import annotations

import math
import time
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from updraft.errors import StackError

if TYPE_CHECKING:
    import httpx

_LONGEST_ANSWER = 30.0
"""Seconds."""


def get(url: str, *, seconds: float = 10.0, patience: float = 0.0) -> bytes | None:
    """The body of a page; None when it does not answer, or answers with an error.

    :param seconds: the longest wait for one answer.
    :param patience: seconds for which the server may be away.
    """
    import httpx

    from updraft.http_client import open_client

    try:
        with open_client(seconds=seconds, patience=patience) as client:
            response = client.get(url, follow_redirects=True)
    except (httpx.RequestError, httpx.InvalidURL):
        return None
    return response.content if response.is_success else None


class AirflowRefused(StackError):
    """Airflow answered with an error; ``status`` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Signer:
    """What an Airflow signs its tokens with. Who holds it is whoever they say they are."""

    secret: str = field(repr=False)
    issuer: str
    audience: str = "apache-airflow"


@dataclass(frozen=True, kw_only=True)
class AirflowApi:
    """One user's access to one Airflow."""

    base: str
    token: str = field(repr=False)
    lasts: float = math.inf
    """Seconds for which the token is good, where that is short."""
    patience: float = 0.0
    """Seconds for which the server may be away during a call."""

    @classmethod
    def login(cls, base: str, user: str, password: str, *, patience: float = 0.0) -> AirflowApi:
        """Log in with a password.

        :raises StackError: when Airflow does not answer or refuses.
        """
        from updraft.http_client import open_client

        with open_client(seconds=_LONGEST_ANSWER, patience=patience) as client:
            answer = _send(client, patience, "POST", f"{base}/auth/token", {"username": user, "password": password}, {})
        return cls(base=base, token=str(answer["access_token"]), patience=patience)

    @classmethod
    def signed(cls, base: str, user: str, role: str, signer: Signer, *, lasts: float) -> AirflowApi:
        """Access with a token signed here, as Airflow's SimpleAuthManager would: the user needs no account and no password.

        :param role: a role of that manager: viewer, user, op or admin.
        :param lasts: seconds.
        """
        import jwt

        now = int(time.time())
        claims: dict[str, Any] = {"sub": user, "role": role, "teams": [], "iss": signer.issuer, "aud": signer.audience}
        claims |= {"jti": uuid.uuid4().hex, "iat": now, "nbf": now, "exp": now + int(lasts)}
        token = jwt.encode(claims, signer.secret, algorithm="HS512")
        return cls(base=base, token=token, lasts=lasts)

    @property
    def headers(self) -> dict[str, str]:
        """What signs a request."""
        return {"Authorization": f"Bearer {self.token}"}

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Call ``/api/v2{path}`` and return the decoded answer.

        :raises AirflowRefused: when Airflow refuses, with what it said.
        :raises StackError: when it does not answer.
        """
        url = f"{self.base}/api/v2{path}"
        return _send(self._client, self.patience, method, url, body, query, self.headers)

    @cached_property
    def _client(self) -> httpx.Client:
        from updraft.http_client import open_client  # httpx takes 0.2 s to import, and no pod that trains has it

        return open_client(seconds=_LONGEST_ANSWER, patience=self.patience)


def _send(
    client: httpx.Client,
    patience: float,
    method: str,
    url: str,
    body: Any,
    query: dict[str, Any],
    headers: dict[str, str] | None = None,
) -> Any:
    import httpx

    within = f" within {patience:.0f} s" if patience else ""
    try:
        # Without parameters httpx must be given None: an empty mapping takes away those that stand in the URL.
        response = client.request(method, url, json=body, params=query or None, headers=headers)
        if response.is_success:
            return response.json() if response.content else None
    except (httpx.RequestError, httpx.InvalidURL, ValueError) as error:
        words = str(error) or type(error).__name__
        raise StackError(f"Airflow did not answer {method} {url}{within}: {words}; see `make status`") from error
    status, words = response.status_code, response.text[:1000]
    raise AirflowRefused(f"Airflow refused {method} {url}{within} (HTTP {status}): {words}", status)

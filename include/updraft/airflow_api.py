"""Airflow's REST API, as one signed-in user."""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass, field
from typing import Any

from updraft.errors import StackError

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Loopback is not asked of a proxy."""


def get(url: str, *, seconds: float = 10.0) -> bytes | None:
    """The body of a page; None when it does not answer, or answers with an error."""
    try:
        with _DIRECT.open(url, timeout=seconds) as response:
            return bytes(response.read())
    except OSError:  # URLError and HTTPError are OSErrors
        return None


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

    @classmethod
    def login(cls, base: str, user: str, password: str) -> AirflowApi:
        """Log in with a password.

        :raises StackError: when Airflow does not answer or refuses.
        """
        answer = _send("POST", f"{base}/auth/token", {"username": user, "password": password}, {})
        return cls(base=base, token=str(answer["access_token"]))

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
        return cls(base=base, token=jwt.encode(claims, signer.secret, algorithm="HS512"), lasts=lasts)

    @property
    def headers(self) -> dict[str, str]:
        """What signs a request."""
        return {"Authorization": f"Bearer {self.token}"}

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Call ``/api/v2{path}`` and return the decoded answer.

        :raises AirflowRefused: when Airflow refuses, with what it said.
        :raises StackError: when it does not answer.
        """
        asked = f"?{urllib.parse.urlencode(query)}" if query else ""
        return _send(method, f"{self.base}/api/v2{path}{asked}", body, self.headers)


def _send(method: str, url: str, body: Any, headers: dict[str, str]) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data=data, method=method, headers={"Content-Type": "application/json", **headers}
    )
    try:
        with _DIRECT.open(request, timeout=30) as response:
            return json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:1000]
        raise AirflowRefused(f"Airflow refused {method} {url} (HTTP {error.code}): {said}", error.code) from error
    except (OSError, ValueError) as error:
        raise StackError(f"Airflow did not answer {method} {url}: {error}; see `make status`") from error

"""Addresses and secrets of the servers that sources read from, by the id of an Airflow connection.

In Airflow the plugin gives those that Airflow knows. Elsewhere, on a command line, they stand in the environment, written as Airflow
reads them (Airflow, "Managing Connections"): ``AIRFLOW_CONN_<ID>`` as a URI or as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from updraft.errors import ConnectionUnknown, SettingsError

VARIABLE = "AIRFLOW_CONN_"
"""Begins the name of a variable that holds a connection."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where a server is and how to sign in to it. Its secrets are masked in ``repr``."""

    id: str
    kind: str
    """What Airflow calls its type, such as ``postgres`` or ``http``."""
    host: str = ""
    port: int | None = None
    login: str = ""
    password: str = field(default="", repr=False)
    schema: str = ""
    """The database, or the scheme of a web service."""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_text(cls, id: str, text: str) -> Connection:
        """Read a URI (``postgresql://ada:secret@db.example.org:5432/shop?sslmode=require``) or a JSON object.

        :raises SettingsError: when it is neither; its words do not quote it, as it holds a secret.
        """
        try:
            return cls._from_json(id, text) if text.lstrip().startswith("{") else cls._from_uri(id, text)
        except (ValueError, TypeError, AttributeError):
            wrong = SettingsError(
                f"{VARIABLE}{id.upper()} does not read as a connection; write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
                "with @, : and / in a password as %40, %3A and %2F, or as JSON with conn_type, host, login and password"
            )
        raise wrong

    @classmethod
    def _from_uri(cls, id: str, text: str) -> Connection:
        parts = urlsplit(text)
        if not parts.scheme:
            raise ValueError("no scheme")
        extra: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
        if "__extra__" in extra:
            extra = json.loads(extra["__extra__"])
        return cls(
            id=id,
            kind=parts.scheme.replace("-", "_"),
            host=unquote(parts.hostname or ""),
            port=parts.port,
            login=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            schema=unquote(parts.path.lstrip("/")),
            extra=extra,
        )

    @classmethod
    def _from_json(cls, id: str, text: str) -> Connection:
        told = json.loads(text)
        extra = told.get("extra") or {}
        return cls(
            id=id,
            kind=str(told["conn_type"]) if "conn_type" in told else "",
            host=str(told.get("host") or ""),
            port=int(told["port"]) if told.get("port") else None,
            login=str(told.get("login") or ""),
            password=str(told.get("password") or ""),
            schema=str(told.get("schema") or ""),
            extra=json.loads(extra) if isinstance(extra, str) else dict(extra),
        )


class Connections(Protocol):
    """What knows connections."""

    def get(self, id: str) -> Connection:
        """The connection with an id.

        :raises ConnectionUnknown: when there is none.
        """
        ...


@dataclass(frozen=True)
class EnvironmentConnections:
    """Those of the environment, looked up when they are needed: as S3's and MLflow's clients look for their secrets."""

    def get(self, id: str) -> Connection:
        """The connection of ``AIRFLOW_CONN_<ID>``.

        :raises ConnectionUnknown: when the variable is not set.
        :raises SettingsError: when it does not read.
        """
        text = os.environ.get(f"{VARIABLE}{id.upper()}")
        if not text:
            raise ConnectionUnknown(
                f"there is no connection {id!r}; add it in Airflow (Admin, Connections), or set {VARIABLE}{id.upper()}"
            )
        return Connection.from_text(id, text)


@dataclass(frozen=True)
class GivenConnections:
    """Those that somebody has looked up before."""

    by_id: Mapping[str, Connection] = field(repr=False)

    def get(self, id: str) -> Connection:
        """The connection with an id, of the environment where it was not given."""
        return self.by_id[id] if id in self.by_id else EnvironmentConnections().get(id)

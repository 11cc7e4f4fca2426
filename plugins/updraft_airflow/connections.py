"""The connections that Airflow knows, for the sources of projects: looked up by whoever needs one, in a task or a trigger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft.connections import Connection, GivenConnections
from updraft.errors import ConnectionUnknown

if TYPE_CHECKING:
    from airflow.sdk import Connection as AirflowConnection

    from updraft.spec.model import ProjectSpec


@dataclass(frozen=True)
class AirflowConnections:
    """Those that this task may ask Airflow for: from its database, a secrets backend or the environment."""

    def get(self, id: str) -> Connection:
        """The connection with an id.

        :raises ConnectionUnknown: when Airflow has none.
        """
        from airflow.sdk import BaseHook
        from airflow.sdk.exceptions import AirflowNotFoundException

        try:
            return _ours(id, BaseHook.get_connection(id))
        except AirflowNotFoundException:
            raise _unknown(id) from None


async def connections_of(spec: ProjectSpec) -> GivenConnections:
    """Those that a project's sources name, for a trigger: its event loop asks for them, and its threads use them.

    :raises ConnectionUnknown: when Airflow lacks one.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    given = {}
    for id in _named(spec):
        try:
            given[id] = _ours(id, await BaseHook.aget_connection(id))
        except AirflowNotFoundException:
            raise _unknown(id) from None
    return GivenConnections(given)


def _named(spec: ProjectSpec) -> Iterable[str]:
    return dict.fromkeys(source.connection for source in spec.data.sources.values() if source.connection)


def _unknown(id: str) -> ConnectionUnknown:
    return ConnectionUnknown(
        f"Airflow has no connection {id!r}; add it (Admin, Connections), or set AIRFLOW_CONN_{id.upper()}"
    )


def _ours(id: str, theirs: AirflowConnection) -> Connection:
    return Connection(
        id=id,
        kind=theirs.conn_type or "",
        host=theirs.host or "",
        port=theirs.port,
        login=theirs.login or "",
        password=theirs.password or "",
        schema=theirs.schema or "",
        extra=theirs.extra_dejson,
    )

"""How far `monitor` and the deferred sensors have come."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from updraft.store import tables as t
from updraft.store.base import Base


class Sensors(Base):
    """What sensors of projects have seen."""

    def mark_seen(self, project: str, sensor: str, key: str) -> None:
        """A deferred sensor has looked at everything up to and with ``key``."""
        self._write(
            t.seen, {"project": project, "sensor": sensor, "key": key}, change=("key",), where=t.seen.c.key < key
        )

    def seen(self, project: str, sensors: Sequence[str] = ()) -> dict[str, str]:
        """Last key by sensor: of some sensors, or of every one that there ever was."""
        query = sa.select(t.seen).where(t.seen.c.project == project)
        if sensors:
            query = query.where(t.seen.c.sensor.in_(sensors))
        return {row["sensor"]: row["key"] for row in self._rows(query)}

    def seen_by(self, project: str, sensor: str) -> str | None:
        """Last key that a sensor has looked at; None before its first look."""
        return self.seen(project, (sensor,)).get(sensor)

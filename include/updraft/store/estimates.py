"""Estimates of what partitions will have lost. No part of :class:`updraft.store.store.Store`: what decides has no way to read them."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from updraft.store import tables as t
from updraft.store.base import Base, as_record
from updraft.store.records import EstimateRow, PerformanceRow, Role

_CHAMPION: Role = "champion"
_MEASURED = [t.performance.c[name] for name in PerformanceRow.__dataclass_fields__]


class Estimates(Base):
    """Estimates of projects, each beside what came true."""

    def record(self, project: str, row: EstimateRow) -> None:
        """Record an estimate. The first one stays: what was estimated is history."""
        self._write(t.estimates, {"project": project, **asdict(row)})

    def newest(
        self, project: str, *, newest: int, until: str | None = None, key: str | None = None
    ) -> list[tuple[EstimateRow, PerformanceRow | None]]:
        """The newest estimates in order of their partitions, each with the newest measurement of the champion there; None before there is one.

        :param newest: how many at most.
        :param until: only those of partitions up to and with this one.
        :param key: only that of this partition.
        """
        e, m = t.estimates.c, t.performance.c
        chosen = sa.select(t.estimates).where(e.project == project)
        if until is not None:
            chosen = chosen.where(e.key <= until)
        if key is not None:
            chosen = chosen.where(e.key == key)
        estimates = {
            row["key"]: as_record(EstimateRow, row) for row in self._rows(chosen.order_by(e.key.desc()).limit(newest))
        }
        measured = sa.select(*_MEASURED).where(m.project == project, m.role == _CHAMPION, m.key.in_(list(estimates)))
        measurements = {row["key"]: as_record(PerformanceRow, row) for row in self._rows(measured.order_by(m.as_of))}
        return [(estimates[at], measurements.get(at)) for at in sorted(estimates)]

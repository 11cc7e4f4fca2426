"""What models said of partitions, how good it was, and the evidence on releases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import sqlalchemy as sa

from updraft.store import tables as t
from updraft.store.base import Base, as_record, upsert
from updraft.store.episodes import condemned
from updraft.store.records import EvidenceRow, FiguresRow, PerformanceRow, PredictionRow, ScoredSpan


class Measurements(Base):
    """Predictions, performance and evidence of projects."""

    def record_predictions(self, project: str, row: PredictionRow) -> PredictionRow:
        """Record who scored a partition in a role. The first record stays: what was served is history."""
        self._write(t.predictions, {"project": project, **asdict(row)})
        return self.predictions(project, row.key)[row.role]

    def replace_predictions(self, project: str, row: PredictionRow) -> None:
        """Let another file take the place of a prediction's, as it holds rows no more that are to be forgotten. Nothing else changes history."""
        self._write(t.predictions, {"project": project, **asdict(row)}, change=("url", "sha256", "rows"))

    def predictions(self, project: str, key: str) -> dict[str, PredictionRow]:
        """Predictions of a partition by role."""
        query = sa.select(t.predictions).where(t.predictions.c.project == project, t.predictions.c.key == key)
        return {row["role"]: as_record(PredictionRow, row) for row in self._rows(query)}

    def predictions_of(
        self, project: str, version: str, *, until: str, newest: int, without: Iterable[str] = ()
    ) -> list[PredictionRow]:
        """The newest partitions that a version has scored, in whatever role, one row a partition, in order.

        Without those whose feed was found broken and that nobody has readmitted, though it may be mended by now.

        :param newest: how many partitions at most.
        :param without: keys of partitions to leave out beside them.
        """
        p = t.predictions.c
        scored = sa.and_(p.project == project, p.version == version)
        keys = (
            sa.select(p.key)
            .where(scored, p.key <= until, ~condemned(p.project, p.key), p.key.not_in(list(without)))
            .distinct()
            .order_by(p.key.desc())
            .limit(newest)
        )
        query = sa.select(t.predictions).where(scored, p.key.in_(keys)).order_by(p.key, p.role)
        return list({row["key"]: as_record(PredictionRow, row) for row in self._rows(query)}.values())

    def scored_by(self, project: str, version: str) -> list[ScoredSpan]:
        """Which partitions a version has scored, by role, in the order in which it took the roles."""
        p = t.predictions.c
        first = sa.func.min(p.key).label("first")
        query = sa.select(
            p.role,
            sa.func.count().label("partitions"),
            first,
            sa.func.max(p.key).label("last"),
            sa.func.sum(p.rows).label("rows"),
        ).where(p.project == project, p.version == version)
        rows = self._rows(query.group_by(p.role).order_by(first, p.role))
        return [as_record(ScoredSpan, {**row, "rows": int(row["rows"])}) for row in rows]

    def performance_of(self, project: str, version: str) -> list[PerformanceRow]:
        """The newest measurement of each partition that a version has scored, in each role, in order of the partitions."""
        p, m = t.predictions.c, t.performance.c
        of = sa.and_(m.project == p.project, m.key == p.key, m.role == p.role, m.version == p.version)
        scored = t.performance.join(t.predictions, of)
        query = sa.select(t.performance).select_from(scored).where(p.project == project, p.version == version)
        rows = self._rows(query.order_by(m.key, m.role, m.as_of))
        return list({(row["key"], row["role"]): as_record(PerformanceRow, row) for row in rows}.values())

    def record_performance(self, project: str, row: PerformanceRow) -> None:
        """Record metrics of matured rows, once."""
        self._write(t.performance, {"project": project, **asdict(row)})

    def performance(
        self,
        project: str,
        *,
        role: str = "champion",
        until: str | None = None,
        key: str | None = None,
        newest: int | None = None,
    ) -> list[PerformanceRow]:
        """The newest measurement of each partition in a role, in order of the partitions.

        :param until: the last tick whose measurements count.
        :param key: only that of this partition.
        :param newest: only those of the newest so many partitions.
        """
        p = t.performance.c
        measured = sa.and_(p.project == project, p.role == role)
        if until is not None:
            measured = sa.and_(measured, p.as_of <= until)
        if key is not None:
            measured = sa.and_(measured, p.key == key)
        query = sa.select(t.performance).where(measured)
        if newest is not None:
            query = query.where(
                p.key.in_(sa.select(p.key).where(measured).distinct().order_by(p.key.desc()).limit(newest))
            )
        rows = self._rows(query.order_by(p.key, p.as_of))
        return list({row["key"]: as_record(PerformanceRow, row) for row in rows}.values())

    def record_figures(self, project: str, row: FiguresRow) -> FiguresRow:
        """Record the business figures of a partition. The first record stays: what on-call was told is history."""
        self._write(t.business_figures, {"project": project, **asdict(row)})
        [recorded] = self.figures(project, key=row.key)
        return recorded

    def figures(self, project: str, *, key: str | None = None, newest: int | None = None) -> list[FiguresRow]:
        """Business figures by partition, in order.

        :param key: only those of this partition. :param newest: only those of the newest so many partitions.
        """
        f = t.business_figures.c
        query = sa.select(t.business_figures).where(f.project == project).order_by(f.key.desc())
        if key is not None:
            query = query.where(f.key == key)
        if newest is not None:
            query = query.limit(newest)
        return [as_record(FiguresRow, row) for row in reversed(self._rows(query))]

    def record_evidence(self, project: str, release: str, rows: Sequence[EvidenceRow]) -> None:
        """Add clusters to a release's evidence; a cluster that is there stays as it was when it was looked at."""
        with self.engine.begin() as connection:
            for row in rows:
                upsert(connection, t.evidence, {"project": project, "release": release, **asdict(row)})

    def evidence(self, project: str, release: str, *, until: str | None = None) -> list[EvidenceRow]:
        """Clusters of a release in the order in which they came."""
        query = sa.select(t.evidence).where(t.evidence.c.project == project, t.evidence.c.release == release)
        if until is not None:
            query = query.where(t.evidence.c.key <= until)
        rows = self._rows(query.order_by(t.evidence.c.key, t.evidence.c.cluster))
        return [
            as_record(
                EvidenceRow, {**row, "slices": {name: (int(n), float(g)) for name, (n, g) in row["slices"].items()}}
            )
            for row in rows
        ]

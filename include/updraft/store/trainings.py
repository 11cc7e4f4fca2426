"""Trainings, what each run was asked for and left, and the feature code that they were prepared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from updraft.store import tables as t
from updraft.store.base import Base, as_record, upsert
from updraft.store.records import CHALLENGER, RecordKind, TrainingRow

_CHANGED = ("key", "request_sha256", "state", "version", "result")
_TRIED: tuple[str, ...] = ("registered", "refused", "failed")


def _of_champion() -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """That an episode asked for a training for what serves: the refresh of a change in shadow is of no budget, and starts no cooldown."""
    c, e = t.trainings.c, t.episodes.c
    return c.episode.is_not(None), ~sa.exists().where(e.id == c.episode, e.project == c.project, e.cause == CHALLENGER)


class Trainings(Base):
    """Trainings and runs of projects."""

    def record_training(self, row: TrainingRow) -> TrainingRow:
        """Record a training, or what has become of it."""
        open_still = t.trainings.c.state.in_(("running", "failed"))
        self._write(t.trainings, asdict(row), change=_CHANGED, where=open_still)
        return self.training(row.project, row.id) or row

    def training(self, project: str, run: str) -> TrainingRow | None:
        """One training by its run id."""
        rows = self._rows(sa.select(t.trainings).where(t.trainings.c.project == project, t.trainings.c.id == run))
        return as_record(TrainingRow, rows[0]) if rows else None

    def training_of(self, project: str, version: str | None) -> TrainingRow | None:
        """The training that a version came of; None of no version, and of one that no training is known of."""
        if version is None:
            return None
        c = t.trainings.c
        query = sa.select(t.trainings).where(c.project == project, c.version == version)
        rows = self._rows(query.order_by(c.key, c.written_at).limit(1))
        return as_record(TrainingRow, rows[0]) if rows else None

    def versions(self, project: str) -> list[str]:
        """The versions that trainings have brought, in the order of their partitions."""
        c = t.trainings.c
        query = sa.select(c.version).where(c.project == project, c.version.is_not(None))
        return list(dict.fromkeys(row["version"] for row in self._rows(query.order_by(c.key, c.written_at))))

    def learnt_at(self, project: str, versions: Sequence[str]) -> dict[str, str]:
        """The tick of the training that a version came of, by version; without those that no training is known of."""
        c = t.trainings.c
        query = sa.select(c.version, c.key).where(c.project == project, c.version.in_(versions))
        return {row["version"]: row["key"] for row in self._rows(query.order_by(c.key, c.written_at))}

    def trainings(self, project: str) -> list[TrainingRow]:
        """Trainings in the order of their partitions."""
        query = (
            sa.select(t.trainings)
            .where(t.trainings.c.project == project)
            .order_by(t.trainings.c.key, t.trainings.c.written_at)
        )
        return [as_record(TrainingRow, row) for row in self._rows(query)]

    def newest_trainings(self, project: str, *, after: str, most: int) -> list[TrainingRow]:
        """The newest trainings with a later key than ``after`` that brought a model, the newest first."""
        c = t.trainings.c
        brought = sa.select(t.trainings).where(
            c.project == project, c.key > after, c.state.in_(("registered", "refused"))
        )
        query = brought.order_by(c.key.desc(), c.written_at.desc()).limit(most)
        return [as_record(TrainingRow, row) for row in self._rows(query)]

    def last_trained(self, project: str, *, until: str, states: Sequence[str] = _TRIED) -> str | None:
        """Key of the newest training up to ``until`` that an episode asked for and that came to one of some states."""
        query = self._asked_for(project, until, states).order_by(t.trainings.c.key.desc()).limit(1)
        key = self._scalar(query)
        return None if key is None else str(key)

    def newest_attempt(self, project: str) -> TrainingRow | None:
        """The newest training that an episode asked for and that is over, whatever came of it; None when there is none."""
        key = self.last_trained(project, until="~")
        c = t.trainings.c
        if key is None:
            return None
        tried = sa.select(t.trainings).where(c.project == project, c.key == key, *_of_champion())
        rows = self._rows(tried.where(c.state.in_(_TRIED)).order_by(c.written_at.desc()).limit(1))
        return as_record(TrainingRow, rows[0]) if rows else None

    def budget_key(self, project: str, budget: int, *, until: str = "~") -> str | None:
        """Key of the oldest of the newest so many trainings that count for the budget; None when there were fewer.

        :param until: only of those of partitions up to and with this key.
        """
        c = t.trainings.c
        brought = self._asked_for(project, until, ("registered", "refused"))
        key = self._scalar(brought.order_by(c.key.desc()).offset(budget - 1).limit(1))
        return None if key is None else str(key)

    def newest_training(self, project: str) -> str | None:
        """Key of the newest training that brought a model, whoever asked for it; None when none did."""
        c = t.trainings.c
        brought = sa.select(c.key).where(c.project == project, c.state.in_(("registered", "refused")))
        key = self._scalar(brought.order_by(c.key.desc()).limit(1))
        return None if key is None else str(key)

    def count_failed_trainings(self, project: str, *, after: str) -> int:
        """Number of trainings with a later key than ``after`` that brought nothing, as it stands."""
        c = t.trainings.c
        failed = sa.select(sa.func.count()).where(c.project == project, c.key > after, c.state == "failed")
        return int(self._scalar(failed))

    def count_trainings(self, project: str, *, after: str, until: str) -> int:
        """Number of trainings with ``after < key <= until`` that an episode asked for and that brought a model."""
        brought = self._asked_for(project, until, ("registered", "refused")).where(t.trainings.c.key > after)
        return int(self._scalar(sa.select(sa.func.count()).select_from(brought.subquery())))

    def fruitless_trainings(self, project: str, *, until: str) -> int:
        """How many of the last trainings in a row that brought a model came to nothing: refused, rejected, or rolled back."""
        c, r = t.trainings.c, t.releases.c
        taken_back = sa.exists().where(
            r.project == c.project, r.version == c.version, r.outcome.in_(("rejected", "rolled_back"))
        )
        fruitful = self._asked_for(project, until, ("registered",)).where(~taken_back)
        last = self._scalar(fruitful.order_by(c.key.desc()).limit(1))
        return self.count_trainings(project, after=last or "", until=until)

    def _asked_for(self, project: str, until: str, states: Sequence[str]) -> sa.Select[tuple[Any]]:
        c = t.trainings.c
        return sa.select(c.key).where(c.project == project, c.key <= until, c.state.in_(states), *_of_champion())

    def record_run(
        self, project: str, run: str, kind: RecordKind, body: Mapping[str, Any], *, replace: bool = False
    ) -> dict[str, Any]:
        """Keep what a run was to do, or what came of it: in the lake it could be changed by whoever writes there.

        :param replace: whether it takes the place of what was kept before; else the first one stays.
        :return: what is kept.
        """
        values = {"project": project, "run": run, "kind": kind, "body": dict(body)}
        self._write(t.run_records, values, change=("body",) if replace else ())
        return self.run_record(project, run, kind) or dict(body)

    def record_asked(self, project: str, run: str, plan: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        """Keep what a run was asked for with the plan behind it: both or none, and of two calls the first one's."""
        bodies: dict[RecordKind, Mapping[str, Any]] = {"request": request, "plan": plan}
        with self.engine.begin() as connection:
            for kind, body in bodies.items():
                values = {"project": project, "run": run, "kind": kind, "body": dict(body)}
                if not upsert(connection, t.run_records, values):
                    return

    def run_record(self, project: str, run: str, kind: RecordKind) -> dict[str, Any] | None:
        """What was kept of a run; None when nothing was."""
        r = t.run_records.c
        rows = self._rows(sa.select(r.body).where(r.project == project, r.run == run, r.kind == kind))
        return dict(rows[0]["body"]) if rows else None

    def record_feature_code(self, project: str, sha256: str, source: bytes) -> None:
        """Keep the source of a feature function under its hash."""
        self._write(t.feature_code, {"project": project, "sha256": sha256, "source": source})

    def feature_code(self, project: str, sha256: str) -> bytes | None:
        """The source of a feature function that a training was prepared with, by its hash; None when none was."""
        f = t.feature_code.c
        rows = self._rows(sa.select(f.source).where(f.project == project, f.sha256 == sha256))
        return bytes(rows[0]["source"]) if rows else None

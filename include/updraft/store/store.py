"""The store: what was published, measured, decided. Every write is idempotent by its key; the first one stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from updraft.errors import ReleaseClosed, StoreError
from updraft.files import canonical_hash
from updraft.store import tables as t
from updraft.store.records import (
    Decision,
    EpisodeRow,
    EvidenceRow,
    IngestedPartition,
    Outcome,
    PartitionRow,
    PerformanceRow,
    PredictionRow,
    ReleaseRow,
    ReleaseState,
    Serving,
    TrainingRow,
)

GENESIS = "0" * 64
_PARTITION_ROW = [t.partitions.c[name] for name in PartitionRow.__dataclass_fields__]


class Store:
    """One project's or many projects' history behind one SQLAlchemy engine."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, url: str) -> Store:
        """Connect to a store whose schema is there already (``updraft.store.migrations.upgrade``)."""
        return cls(sa.create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=4))

    @classmethod
    def in_memory(cls) -> Store:
        """A store of this process alone, for a backtest."""
        engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
        t.metadata.create_all(engine)
        return cls(engine)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    # -- writing ---------------------------------------------------------------------------------------------------

    def _insert_once(self, connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> bool:
        """Insert unless the key is there; True when this call wrote the row."""
        insert = sqlite.insert(table) if self.engine.dialect.name == "sqlite" else postgresql.insert(table)
        return bool(connection.execute(insert.values(**values).on_conflict_do_nothing()).rowcount)

    def _once(self, table: sa.Table, **values: Any) -> bool:
        with self.engine.begin() as connection:
            return self._insert_once(connection, table, values)

    @contextmanager
    def _chain(self, project: str) -> Iterator[sa.Connection]:
        """A transaction that is alone in writing the project's chain."""
        with self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"updraft:{project}"))))
            yield connection

    # -- partitions ------------------------------------------------------------------------------------------------

    def record_partition(self, project: str, row: IngestedPartition) -> IngestedPartition:
        """Record what ingestion did with a partition; a later ingestion of the same partition replaces it.

        The predictions, decisions and trainings made from the older content keep the hash of what they used.
        """
        values = {"project": project, **asdict(row)}
        insert = (
            sqlite.insert(t.partitions) if self.engine.dialect.name == "sqlite" else postgresql.insert(t.partitions)
        )
        changed = {name: insert.excluded[name] for name in values if name not in ("project", "key")}
        with self.engine.begin() as connection:
            connection.execute(
                insert.values(**values).on_conflict_do_update(index_elements=["project", "key"], set_=changed)
            )
        return row

    def partition(self, project: str, key: str) -> IngestedPartition | None:
        """One partition, or None before its ingestion."""
        found = self._rows(sa.select(t.partitions).where(t.partitions.c.project == project, t.partitions.c.key == key))
        return _as(IngestedPartition, found[0]) if found else None

    def partition_row(self, project: str, key: str) -> PartitionRow | None:
        """One partition without what was found in it, which is large."""
        found = self._rows(
            sa.select(*_PARTITION_ROW).where(t.partitions.c.project == project, t.partitions.c.key == key)
        )
        return _as(PartitionRow, found[0]) if found else None

    def partitions(
        self, project: str, *, until: str | None = None, state: str | None = "published"
    ) -> list[PartitionRow]:
        """Partitions in order of their keys, up to and with ``until``."""
        query = sa.select(*_PARTITION_ROW).where(t.partitions.c.project == project).order_by(t.partitions.c.key)
        if state is not None:
            query = query.where(t.partitions.c.state == state)
        if until is not None:
            query = query.where(t.partitions.c.key <= until)
        return [_as(PartitionRow, row) for row in self._rows(query)]

    # -- predictions, performance, evidence ------------------------------------------------------------------------

    def record_predictions(self, project: str, row: PredictionRow) -> PredictionRow:
        """Record who scored a partition in a role. The first record stays: what was served is history."""
        self._once(t.predictions, project=project, **asdict(row))
        return self.predictions(project, row.key)[row.role]

    def predictions(self, project: str, key: str) -> dict[str, PredictionRow]:
        """Predictions of a partition by role."""
        query = sa.select(t.predictions).where(t.predictions.c.project == project, t.predictions.c.key == key)
        return {row["role"]: _as(PredictionRow, row) for row in self._rows(query)}

    def predictions_of(self, project: str, version: str, *, until: str) -> list[PredictionRow]:
        """Every partition that a version has scored, in whatever role, one row a partition, in order."""
        query = (
            sa.select(t.predictions)
            .where(t.predictions.c.project == project, t.predictions.c.version == version, t.predictions.c.key <= until)
            .order_by(t.predictions.c.key, t.predictions.c.role)
        )
        return list({row["key"]: _as(PredictionRow, row) for row in self._rows(query)}.values())

    def record_performance(self, project: str, row: PerformanceRow) -> None:
        """Record metrics of matured rows, once."""
        self._once(t.performance, project=project, **asdict(row))

    def performance(self, project: str, *, role: str = "champion", until: str | None = None) -> list[PerformanceRow]:
        """The newest measurement of each partition in a role, in order of the partitions."""
        query = sa.select(t.performance).where(t.performance.c.project == project, t.performance.c.role == role)
        if until is not None:
            query = query.where(t.performance.c.as_of <= until)
        rows = self._rows(query.order_by(t.performance.c.key, t.performance.c.as_of))
        return list({row["key"]: _as(PerformanceRow, row) for row in rows}.values())

    def record_evidence(self, project: str, release: str, rows: Sequence[EvidenceRow]) -> None:
        """Add clusters to a release's evidence; a cluster that is there stays as it was when it was looked at."""
        with self.engine.begin() as connection:
            for row in rows:
                self._insert_once(connection, t.evidence, {"project": project, "release": release, **asdict(row)})

    def evidence(self, project: str, release: str, *, until: str | None = None) -> list[EvidenceRow]:
        """Clusters of a release in the order in which they came."""
        query = sa.select(t.evidence).where(t.evidence.c.project == project, t.evidence.c.release == release)
        if until is not None:
            query = query.where(t.evidence.c.key <= until)
        rows = self._rows(query.order_by(t.evidence.c.key, t.evidence.c.cluster))
        return [
            _as(EvidenceRow, {**row, "slices": {name: (int(n), float(g)) for name, (n, g) in row["slices"].items()}})
            for row in rows
        ]

    # -- decisions -------------------------------------------------------------------------------------------------

    def decide(self, project: str, *, key: str, kind: str, subject: str, body: Mapping[str, Any]) -> Decision:
        """Append a decision to the project's chain, or return the one that (project, kind, subject) already has."""
        with self._chain(project) as connection:
            return self._decide(connection, project, key=key, kind=kind, subject=subject, body=body)

    def _decide(
        self, connection: sa.Connection, project: str, *, key: str, kind: str, subject: str, body: Mapping[str, Any]
    ) -> Decision:
        if (there := self._decided(connection, project, kind, subject)) is not None:
            return there
        d = t.decisions.c
        last = connection.execute(
            sa.select(d.seq, d.sha256).where(d.project == project).order_by(d.seq.desc()).limit(1)
        ).first()
        link = {
            "project": project,
            "seq": last.seq + 1 if last else 1,
            "key": key,
            "kind": kind,
            "subject": subject,
            "body": dict(body),
            "previous_sha256": last.sha256 if last else GENESIS,
        }
        decision = _as(Decision, {**link, "sha256": canonical_hash(link)})
        connection.execute(sa.insert(t.decisions).values(**asdict(decision)))
        return decision

    def _decided(self, connection: sa.Connection, project: str, kind: str, subject: str) -> Decision | None:
        d = t.decisions.c
        query = sa.select(t.decisions).where(d.project == project, d.kind == kind, d.subject == subject)
        there = connection.execute(query).mappings().first()
        return _as(Decision, dict(there)) if there is not None else None

    def decisions(self, project: str, *, kinds: Sequence[str] = (), since: int = 0) -> list[Decision]:
        """The chain in order, or the links of some kinds."""
        query = sa.select(t.decisions).where(t.decisions.c.project == project, t.decisions.c.seq > since)
        if kinds:
            query = query.where(t.decisions.c.kind.in_(kinds))
        return [_as(Decision, row) for row in self._rows(query.order_by(t.decisions.c.seq))]

    def verify_chain(self, project: str) -> int:
        """Recompute every hash of the chain and return its length.

        :raises StoreError: naming the first decision whose content or place was changed.
        """
        previous = GENESIS
        chain = self.decisions(project)
        for expected, decision in enumerate(chain, start=1):
            link = asdict(decision)
            found = link.pop("sha256")
            if decision.seq != expected or decision.previous_sha256 != previous or canonical_hash(link) != found:
                raise StoreError(
                    f"{project}: decision {decision.seq} ({decision.kind} {decision.subject}) was changed after it was written"
                )
            previous = found
        return len(chain)

    def serving(self, project: str, *, before: str | None = None) -> Serving:
        """What serves, from the chain alone.

        :param before: a key; calibration layers that were fitted at its tick or later are left out.
        """
        champion = previous = since = None
        layers: dict[str, dict[str, float] | None] = {}
        for decision in self.decisions(project, kinds=("promote", "roll_back", "recalibrate")):
            if decision.kind == "recalibrate":
                if before is None or decision.key < before:
                    layers[decision.body["version"]] = decision.body["layer"]
            else:
                champion, previous, since = decision.body["version"], decision.body["previous"], decision.key
        return Serving(champion, previous, since, layers)

    # -- releases --------------------------------------------------------------------------------------------------

    def open_release(self, row: ReleaseRow) -> ReleaseRow:
        """Open a release, once by its id."""
        self._once(t.releases, **asdict(row))
        return self.release(row.id)

    def release(self, release: str) -> ReleaseRow:
        """One release.

        :raises StoreError: when there is none of that id.
        """
        found = self._rows(sa.select(t.releases).where(t.releases.c.id == release))
        if not found:
            raise StoreError(f"no release {release!r}")
        return _as(ReleaseRow, found[0])

    def releases(self, project: str, *, states: Sequence[ReleaseState] = ()) -> list[ReleaseRow]:
        """Releases in the order of their opening."""
        query = sa.select(t.releases).where(t.releases.c.project == project)
        if states:
            query = query.where(t.releases.c.state.in_(states))
        return [
            _as(ReleaseRow, row)
            for row in self._rows(query.order_by(t.releases.c.opened_at, t.releases.c.written_at, t.releases.c.id))
        ]

    def promote(
        self, release: ReleaseRow, *, key: str, to: ReleaseState, reason: str, body: Mapping[str, Any]
    ) -> Decision:
        """Make the release's version champion: decision, state and superseded releases in one transaction.

        :raises ReleaseClosed: when it was closed meanwhile.
        """
        with self._chain(release.project) as connection:
            if (there := self._decided(connection, release.project, "promote", release.id)) is not None:
                return there  # what followed from it is done, and newer promotions may have come since
            now = connection.execute(
                sa.select(t.releases.c.state, t.releases.c.reason)
                .where(t.releases.c.id == release.id)
                .with_for_update()
            ).one()
            if now.state == "closed":
                raise ReleaseClosed(f"{release.id} is closed: {now.reason}")
            serving = self._serving(connection, release.project)
            decision = self._decide(
                connection,
                release.project,
                key=key,
                kind="promote",
                subject=release.id,
                body={"version": release.version, "previous": serving, "lane": release.lane, "reason": reason, **body},
            )
            r = t.releases.c
            others = sa.update(t.releases).where(
                r.project == release.project, r.state == "probation", r.id != release.id
            )
            connection.execute(
                others.values(state="closed", outcome="superseded", closed_at=key, reason=f"superseded by {release.id}")
            )
            done = {"outcome": "promoted", "closed_at": key} if to == "closed" else {}
            connection.execute(
                sa.update(t.releases)
                .where(r.id == release.id, r.state.in_(("shadow", "approval")))
                .values(state=to, reason=reason, against=decision.body["previous"], **done)
            )
            return decision

    def roll_back(self, release: ReleaseRow, *, key: str, reason: str, body: Mapping[str, Any]) -> Decision:
        """Put the version back that served before the release, in one transaction.

        :raises StoreError: when something else was promoted since, or there was nothing before.
        """
        with self._chain(release.project) as connection:
            if (there := self._decided(connection, release.project, "roll_back", release.id)) is not None:
                return there
            before = release.against
            if before is None:
                raise StoreError(f"{release.id}: nothing served before it, so there is nothing to roll back to")
            serving = self._serving(connection, release.project)
            if serving != release.version:
                raise StoreError(f"{release.id}: version {serving} serves by now; roll that one back")
            content = {"version": before, "previous": release.version, "reason": reason, **body}
            decision = self._decide(
                connection, release.project, key=key, kind="roll_back", subject=release.id, body=content
            )
            connection.execute(
                sa.update(t.releases)
                .where(t.releases.c.id == release.id)
                .values(state="closed", outcome="rolled_back", closed_at=key, reason=reason)
            )
            return decision

    def move_release(
        self,
        release: str,
        *,
        to: ReleaseState,
        key: str,
        outcome: Outcome | None = None,
        reason: str | None = None,
        only: Sequence[ReleaseState] = ("shadow", "approval", "probation"),
    ) -> None:
        """Move an open release on; a closed one stays as it is, and so does one that is in none of the states ``only``."""
        values: dict[str, Any] = {"state": to}
        if reason is not None:
            values["reason"] = reason
        if to == "closed":
            values |= {"outcome": outcome, "closed_at": key}
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(t.releases).where(t.releases.c.id == release, t.releases.c.state.in_(only)).values(**values)
            )

    def _serving(self, connection: sa.Connection, project: str) -> str | None:
        d = t.decisions.c
        last = connection.execute(
            sa.select(d.body)
            .where(d.project == project, d.kind.in_(("promote", "roll_back")))
            .order_by(d.seq.desc())
            .limit(1)
        ).scalar()
        return last["version"] if last else None

    # -- episodes and trainings ------------------------------------------------------------------------------------

    def open_episode(self, row: EpisodeRow) -> EpisodeRow:
        """Open an episode, once by its id."""
        self._once(t.episodes, **asdict(row))
        [found] = self._rows(sa.select(t.episodes).where(t.episodes.c.id == row.id))
        return _as(EpisodeRow, found)

    def episodes(self, project: str, *, states: Sequence[str] = ()) -> list[EpisodeRow]:
        """Episodes in the order of their opening."""
        query = sa.select(t.episodes).where(t.episodes.c.project == project)
        if states:
            query = query.where(t.episodes.c.state.in_(states))
        return [_as(EpisodeRow, row) for row in self._rows(query.order_by(t.episodes.c.opened_at, t.episodes.c.id))]

    def start_episode(self, episode: str) -> None:
        """The remedy was started; a closed episode stays closed."""
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(t.episodes)
                .where(t.episodes.c.id == episode, t.episodes.c.state == "due")
                .values(state="started")
            )

    def close_episode(self, episode: str, *, key: str, outcome: str) -> None:
        """Close an episode with its outcome; the first closing stays."""
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(t.episodes)
                .where(t.episodes.c.id == episode, t.episodes.c.state != "closed")
                .values(state="closed", outcome=outcome, closed_at=key)
            )

    def record_training(self, row: TrainingRow) -> TrainingRow:
        """Record a training, or what has become of it."""
        insert = sqlite.insert(t.trainings) if self.engine.dialect.name == "sqlite" else postgresql.insert(t.trainings)
        values = asdict(row)
        changed = {name: insert.excluded[name] for name in ("request_sha256", "state", "version", "result")}
        with self.engine.begin() as connection:
            connection.execute(
                insert.values(**values).on_conflict_do_update(
                    index_elements=["project", "id"], set_=changed, where=t.trainings.c.state.in_(("running", "failed"))
                )
            )
        return self.training(row.project, row.id) or row

    def training(self, project: str, run: str) -> TrainingRow | None:
        """One training by its run id."""
        found = self._rows(sa.select(t.trainings).where(t.trainings.c.project == project, t.trainings.c.id == run))
        return _as(TrainingRow, found[0]) if found else None

    def trainings(self, project: str) -> list[TrainingRow]:
        """Trainings in the order of their partitions."""
        query = (
            sa.select(t.trainings)
            .where(t.trainings.c.project == project)
            .order_by(t.trainings.c.key, t.trainings.c.written_at)
        )
        return [_as(TrainingRow, row) for row in self._rows(query)]

    # -- sensors ---------------------------------------------------------------------------------------------------

    def mark_seen(self, project: str, sensor: str, key: str) -> None:
        """A deferred sensor has looked at everything up to and with ``key``."""
        insert = sqlite.insert(t.seen) if self.engine.dialect.name == "sqlite" else postgresql.insert(t.seen)
        with self.engine.begin() as connection:
            connection.execute(
                insert.values(project=project, sensor=sensor, key=key).on_conflict_do_update(
                    index_elements=["project", "sensor"], set_={"key": key}, where=t.seen.c.key < key
                )
            )

    def seen(self, project: str) -> dict[str, str]:
        """Last key by sensor."""
        return {row["sensor"]: row["key"] for row in self._rows(sa.select(t.seen).where(t.seen.c.project == project))}

    def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


T = TypeVar("T")


def _as(kind: type[T], row: Mapping[str, Any]) -> T:
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: row[name] for name in names})

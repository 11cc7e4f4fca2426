"""The store: what was published, measured, decided. Every write is idempotent by its key; the first one stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from updraft.errors import IntegrityError, ReleaseClosed, StoreError
from updraft.files import canonical_hash
from updraft.store import tables as t
from updraft.store.clean import clean_value
from updraft.store.records import (
    Decision,
    EpisodeRow,
    EvidenceRow,
    IngestedPartition,
    Outcome,
    PartitionRow,
    PerformanceRow,
    PredictionRow,
    RecordKind,
    ReleaseRow,
    ReleaseState,
    Serving,
    TrainingRow,
)

GENESIS = "0" * 64
_FORM = 2
"""Of new links of a chain: with the time in the hash."""
_PARTITION_ROW = [t.partitions.c[name] for name in PartitionRow.__dataclass_fields__]


class Witness(Protocol):
    """Who attests decisions outside of the database (:mod:`updraft.store.anchors`)."""

    def intend(self, decision: Decision) -> None:
        """A decision is about to be committed. What is raised here takes the decision back."""
        ...

    def confirm(self, decision: Decision) -> None:
        """It was committed."""
        ...


class Store:
    """One project's or many projects' history behind one SQLAlchemy engine."""

    def __init__(self, engine: sa.Engine, witness: Witness | None = None) -> None:
        self.engine = engine
        self.witness = witness

    @classmethod
    def open(cls, url: str, witness: Witness | None = None) -> Store:
        """Connect to a store whose schema is there already (``updraft.store.migrations.upgrade``).

        :param witness: of every decision; whoever decides in a deployment has one.
        """
        return cls(sa.create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=4), witness)

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
    def _chain(self, project: str) -> Iterator[_Writing]:
        """A transaction that is alone in writing the project's chain. Its decisions are witnessed before they count and after."""
        with self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"updraft:{project}"))))
            writing = _Writing(connection)
            yield writing
            if self.witness is not None:
                for decision in writing.decisions:
                    self.witness.intend(decision)
        if self.witness is not None:
            for decision in writing.decisions:
                self.witness.confirm(decision)

    def _replace(self, table: sa.Table, key: Sequence[str], values: Mapping[str, Any]) -> None:
        """Insert a row, or put its values in the place of those of the row with the same key."""
        insert = sqlite.insert(table) if self.engine.dialect.name == "sqlite" else postgresql.insert(table)
        changed = {name: insert.excluded[name] for name in values if name not in key}
        with self.engine.begin() as connection:
            connection.execute(insert.values(**values).on_conflict_do_update(index_elements=list(key), set_=changed))

    # -- partitions ------------------------------------------------------------------------------------------------

    def record_partition(self, project: str, row: IngestedPartition) -> IngestedPartition:
        """Record what ingestion did with a partition; a later ingestion of the same partition replaces it.

        The predictions, decisions and trainings made from the older content keep the hash of what they used.
        """
        self._replace(t.partitions, ("project", "key"), {"project": project, **asdict(row)})
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
        with self._chain(project) as writing:
            return self._decide(writing, project, key=key, kind=kind, subject=subject, body=body)

    def _decide(
        self, writing: _Writing, project: str, *, key: str, kind: str, subject: str, body: Mapping[str, Any]
    ) -> Decision:
        connection = writing.connection
        if (there := self._decided(connection, project, kind, subject)) is not None:
            return there
        d = t.decisions.c
        last = connection.execute(
            sa.select(d.seq, d.sha256).where(d.project == project).order_by(d.seq.desc()).limit(1)
        ).first()
        now = datetime.now(UTC)
        link = clean_value(
            {
                "project": project,
                "seq": last.seq + 1 if last else 1,
                "key": key,
                "kind": kind,
                "subject": subject,
                "body": dict(body),
                "previous_sha256": last.sha256 if last else GENESIS,
                "form": _FORM,
                "written_at": _iso(now),
            }
        )
        decision = Decision(**link, sha256=link_hash(link))
        connection.execute(sa.insert(t.decisions).values(**{**asdict(decision), "written_at": now}))
        writing.decisions.append(decision)
        return decision

    def _decided(self, connection: sa.Connection, project: str, kind: str, subject: str) -> Decision | None:
        d = t.decisions.c
        query = sa.select(t.decisions).where(d.project == project, d.kind == kind, d.subject == subject)
        there = connection.execute(query).mappings().first()
        return _decision(dict(there)) if there is not None else None

    def decisions(self, project: str, *, kinds: Sequence[str] = (), since: int = 0) -> list[Decision]:
        """The chain in order, or the links of some kinds."""
        query = sa.select(t.decisions).where(t.decisions.c.project == project, t.decisions.c.seq > since)
        if kinds:
            query = query.where(t.decisions.c.kind.in_(kinds))
        return [_decision(row) for row in self._rows(query.order_by(t.decisions.c.seq))]

    def verify_chain(self, project: str) -> int:
        """Recompute every hash of the chain and return its length. :mod:`updraft.store.anchors` also knows what is missing.

        :raises IntegrityError: naming the first decision whose content or place was changed.
        """
        chain = self.decisions(project)
        if problem := chain_problem(chain):
            raise IntegrityError(f"{project}: {problem}")
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
        with self._chain(release.project) as writing:
            connection = writing.connection
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
                writing,
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
        with self._chain(release.project) as writing:
            connection = writing.connection
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
                writing, release.project, key=key, kind="roll_back", subject=release.id, body=content
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

    def episode(self, project: str, episode: str) -> EpisodeRow | None:
        """One episode of a project; None when it has none of that id."""
        e = t.episodes.c
        rows = self._rows(sa.select(t.episodes).where(e.project == project, e.id == episode))
        return _as(EpisodeRow, rows[0]) if rows else None

    def start_episode(self, project: str, episode: str) -> None:
        """The remedy was started; a closed episode stays closed, and that of another project stays as it is."""
        e = t.episodes.c
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(t.episodes)
                .where(e.project == project, e.id == episode, e.state == "due")
                .values(state="started")
            )

    def close_episode(self, project: str, episode: str, *, key: str, outcome: str) -> None:
        """Close an episode with its outcome; the first closing stays, and that of another project stays as it is."""
        e = t.episodes.c
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(t.episodes)
                .where(e.project == project, e.id == episode, e.state != "closed")
                .values(state="closed", outcome=outcome, closed_at=key)
            )

    def record_training(self, row: TrainingRow) -> TrainingRow:
        """Record a training, or what has become of it."""
        insert = sqlite.insert(t.trainings) if self.engine.dialect.name == "sqlite" else postgresql.insert(t.trainings)
        values = asdict(row)
        changed = {name: insert.excluded[name] for name in ("key", "request_sha256", "state", "version", "result")}
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

    def record_run(
        self, project: str, run: str, kind: RecordKind, body: Mapping[str, Any], *, replace: bool = False
    ) -> dict[str, Any]:
        """Keep what a run was to do, or what came of it: in the lake it could be changed by whoever writes there.

        :param replace: whether it takes the place of what was kept before; else the first one stays.
        :return: what is kept.
        """
        values = {"project": project, "run": run, "kind": kind, "body": dict(body)}
        if replace:
            self._replace(t.run_records, ("project", "run", "kind"), values)
        else:
            self._once(t.run_records, **values)
        return self.run_record(project, run, kind) or dict(body)

    def record_asked(self, project: str, run: str, plan: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        """Keep what a run was asked for with the plan behind it: both or none, and of two calls the first one's."""
        bodies: dict[RecordKind, Mapping[str, Any]] = {"request": request, "plan": plan}
        with self.engine.begin() as connection:
            for kind, body in bodies.items():
                values = {"project": project, "run": run, "kind": kind, "body": dict(body)}
                if not self._insert_once(connection, t.run_records, values):
                    return

    def run_record(self, project: str, run: str, kind: RecordKind) -> dict[str, Any] | None:
        """What was kept of a run; None when nothing was."""
        r = t.run_records.c
        rows = self._rows(sa.select(r.body).where(r.project == project, r.run == run, r.kind == kind))
        return dict(rows[0]["body"]) if rows else None

    def record_feature_code(self, project: str, sha256: str, source: bytes) -> None:
        """Keep the source of a feature function under its hash."""
        self._once(t.feature_code, project=project, sha256=sha256, source=source)

    def feature_code(self, project: str, sha256: str) -> bytes | None:
        """The source of a feature function that a training was prepared with, by its hash; None when none was."""
        f = t.feature_code.c
        rows = self._rows(sa.select(f.source).where(f.project == project, f.sha256 == sha256))
        return bytes(rows[0]["source"]) if rows else None

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


@dataclass(frozen=True)
class _Writing:
    """A transaction on a chain, and the decisions that it writes."""

    connection: sa.Connection
    decisions: list[Decision] = field(default_factory=list)


def link_hash(link: Mapping[str, Any]) -> str:
    """Hash of a link of the chain; links of the first form are hashed without their time, as they were written."""
    hashed = {name: value for name, value in link.items() if name != "sha256"}
    if link["form"] == 1:
        hashed = {name: value for name, value in hashed.items() if name not in ("form", "written_at")}
    return canonical_hash(hashed)


def chain_problem(chain: Sequence[Decision]) -> str:
    """What is wrong with the first broken link of a whole chain, in words; empty when it is whole."""
    previous, form = GENESIS, 1
    for expected, decision in enumerate(chain, start=1):
        whole = decision.sha256 == link_hash(asdict(decision)) and decision.form >= form
        if decision.seq != expected or decision.previous_sha256 != previous or not whole:
            return f"decision {decision.seq} ({decision.kind} {decision.subject}) was changed after it was written, or one before it is missing"
        previous, form = decision.sha256, decision.form
    return ""


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _decision(row: Mapping[str, Any]) -> Decision:
    moment = row["written_at"]
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment  # SQLite keeps no zone
    return _as(Decision, {**row, "written_at": _iso(utc)})


T = TypeVar("T")


def _as(kind: type[T], row: Mapping[str, Any]) -> T:
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: row[name] for name in names})

"""Partitions: what ingestion did with each, and which of them a training may learn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa

from updraft.store import tables as t
from updraft.store.base import Base, as_record, in_utc, lock, upsert
from updraft.store.episodes import condemned
from updraft.store.records import (
    FailedIngestion,
    IngestedPartition,
    KeptOut,
    PartitionCounts,
    PartitionRow,
    RecordKind,
)

_PARTITION_ROW = [t.partitions.c[name] for name in PartitionRow.__dataclass_fields__]
_INGESTED = tuple(name for name in IngestedPartition.__dataclass_fields__ if name != "key")
_KEPT_OUT = condemned(t.partitions.c.project, t.partitions.c.key, t.partitions.c.sha256)
"""Of a row of ``partitions``: its content was found broken, and nobody has readmitted it."""
_INGESTION: RecordKind = "ingestion"


class Partitions(Base):
    """Partitions of projects."""

    def record_partition(self, project: str, row: IngestedPartition) -> IngestedPartition:
        """Record what ingestion did with a partition; a later ingestion of the same partition replaces it.

        The predictions, decisions and trainings made from the older content keep the hash of what they used. A try that failed before
        is forgotten.
        """
        p, r = t.partitions.c, t.run_records.c
        with self.engine.begin() as connection:
            lock(connection, partitions_lock(project))  # the counts follow from the row that is replaced
            replaced = connection.execute(
                sa.select(p.state, p.quarantined).where(p.project == project, p.key == row.key)
            ).first()
            upsert(connection, t.partitions, {"project": project, **asdict(row)}, change=_INGESTED)
            if replaced is not None:
                _count(connection, project, replaced.state, -1, -replaced.quarantined)
            _count(connection, project, row.state, 1, row.quarantined)
            failed = sa.and_(r.project == project, r.run == row.key, r.kind == _INGESTION)
            connection.execute(sa.delete(t.run_records).where(failed))
        return row

    def record_failed_ingestion(self, project: str, failed: FailedIngestion) -> None:
        """Keep that the last try to ingest a partition failed, and why."""
        body = {name: value for name, value in asdict(failed).items() if name != "key"}
        self._write(
            t.run_records, {"project": project, "run": failed.key, "kind": _INGESTION, "body": body}, change=("body",)
        )

    def failed_ingestions(self, project: str, *, since: str, until: str) -> dict[str, FailedIngestion]:
        """The last tries that failed, of partitions with ``since <= key <= until``, by key."""
        r = t.run_records.c
        query = sa.select(r.run, r.body).where(
            r.project == project, r.run >= since, r.run <= until, r.kind == _INGESTION
        )
        return {row["run"]: FailedIngestion(row["run"], **row["body"]) for row in self._rows(query.order_by(r.run))}

    def refusals(self, project: str, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Why some partitions were refused, by key; without those that were not."""
        p = t.partitions.c
        query = sa.select(p.key, p.checks).where(p.project == project, p.key.in_(list(keys)), p.state == "refused")
        return {row["key"]: tuple(row["checks"].get("refusals", ())) for row in self._rows(query)}

    def partition(self, project: str, key: str) -> IngestedPartition | None:
        """One partition, or None before its ingestion."""
        rows = self._rows(sa.select(t.partitions).where(t.partitions.c.project == project, t.partitions.c.key == key))
        return as_record(IngestedPartition, rows[0]) if rows else None

    def partition_row(self, project: str, key: str) -> PartitionRow | None:
        """One partition without what was found in it, which is large."""
        return self.partition_rows(project, [key]).get(key)

    def partition_rows(self, project: str, keys: Iterable[str]) -> dict[str, PartitionRow]:
        """Some partitions by their keys; without those that were not ingested."""
        p = t.partitions.c
        query = sa.select(*_PARTITION_ROW).where(p.project == project, p.key.in_(list(keys)))
        return {row["key"]: as_record(PartitionRow, row) for row in self._rows(query)}

    def partitions(
        self,
        project: str,
        *,
        since: str | None = None,
        after: str | None = None,
        until: str | None = None,
        state: str | None = "published",
        newest: int | None = None,
        learnable: bool = False,
        but: Iterable[str] = (),
        quarantined: bool = False,
    ) -> list[PartitionRow]:
        """Partitions in order of their keys.

        :param since: only those from this key on.
        :param after: only those with a later key than this.
        :param until: only those up to and with this key.
        :param state: only those in this state; None takes all.
        :param newest: only the newest so many of them.
        :param learnable: without those that are kept out, as their feed was found broken.
        :param but: keys that are not kept out, whatever was found.
        :param quarantined: only those with rows in quarantine.
        """
        p = t.partitions.c
        query = sa.select(*_PARTITION_ROW).where(p.project == project)
        if state is not None:
            query = query.where(p.state == state)
        if since is not None:
            query = query.where(p.key >= since)
        if after is not None:
            query = query.where(p.key > after)
        if until is not None:
            query = query.where(p.key <= until)
        if quarantined:
            query = query.where(p.quarantined > 0)
        if learnable:
            excepted = list(but)
            query = query.where(sa.or_(p.key.in_(excepted), ~_KEPT_OUT) if excepted else ~_KEPT_OUT)
        if newest is not None:
            query = query.order_by(p.key.desc()).limit(newest)
            return [as_record(PartitionRow, row) for row in reversed(self._rows(query))]
        return [as_record(PartitionRow, row) for row in self._rows(query.order_by(p.key))]

    def newest_partition(
        self, project: str, *, until: str | None = None, state: str | None = "published"
    ) -> str | None:
        """Key of the newest partition up to and with ``until``; None when there is none."""
        rows = self.partitions(project, until=until, state=state, newest=1)
        return rows[0].key if rows else None

    def neighbour(self, project: str, key: str, *, later: bool) -> str | None:
        """Key of the ingested partition next to another one, before or after it; None when there is none."""
        p = t.partitions.c
        beyond, order = (p.key > key, p.key) if later else (p.key < key, p.key.desc())
        neighbour = self._scalar(sa.select(p.key).where(p.project == project, beyond).order_by(order).limit(1))
        return None if neighbour is None else str(neighbour)

    def ingested_at(self, project: str, key: str) -> datetime | None:
        """When ingestion first finished with a partition, by the clock; None before."""
        p = t.partitions.c
        moment = self._scalar(sa.select(p.written_at).where(p.project == project, p.key == key))
        return None if moment is None else in_utc(moment)

    def oldest_partition(self, project: str) -> str | None:
        """Key of the oldest published partition; None when there is none."""
        p = t.partitions.c
        query = sa.select(p.key).where(p.project == project, p.state == "published").order_by(p.key).limit(1)
        key = self._scalar(query)
        return None if key is None else str(key)

    def count_published(self, project: str, *, after: str = "", until: str) -> int:
        """Number of published partitions with ``after < key <= until``."""
        p = t.partitions.c
        published = sa.select(sa.func.count()).where(p.project == project, p.state == "published")
        if after:
            return int(self._scalar(published.where(p.key > after, p.key <= until)))
        # From the beginning: the number of all is kept, and those after ``until`` are few.
        c = t.partition_counts.c
        query = sa.select(
            sa.func.coalesce(
                sa.select(c.partitions).where(c.project == project, c.state == "published").scalar_subquery(), 0
            )
            - published.where(p.key > until).scalar_subquery()
        )
        return int(self._scalar(query))

    def count_ingested(self, project: str, *, after: str) -> dict[str, int]:
        """Number of partitions with a later key than ``after``, by state."""
        p = t.partitions.c
        query = sa.select(p.state, sa.func.count().label("rows")).where(p.project == project, p.key > after)
        return {row["state"]: int(row["rows"]) for row in self._rows(query.group_by(p.state))}

    def partition_counts(self, project: str) -> PartitionCounts:
        """Number of partitions by state, and of the rows that were quarantined in all of them."""
        c = t.partition_counts.c
        rows = self._rows(sa.select(t.partition_counts).where(c.project == project))
        return PartitionCounts(
            {row["state"]: row["partitions"] for row in rows}, sum(int(row["quarantined"]) for row in rows)
        )

    def kept_out(self, project: str, *, since: str = "", until: str) -> frozenset[str]:
        """Published partitions with ``since <= key <= until`` whose content was found broken and not readmitted."""
        p = t.partitions.c
        query = sa.select(p.key).where(
            p.project == project, p.state == "published", p.key >= since, p.key <= until, _KEPT_OUT
        )
        return frozenset(row["key"] for row in self._rows(query))

    def keeping_out(self, project: str, *, since: str = "", until: str) -> list[KeptOut]:
        """The same partitions in the order of their keys, each with the episode that keeps its content out."""
        p, e = t.partitions.c, t.episodes.c
        keeps = sa.and_(e.project == p.project, e.opened_at == p.key, e.content == p.sha256)
        query = (
            sa.select(p.key, p.sha256, e.diagnosis)
            .select_from(t.partitions.join(t.episodes, keeps))
            .where(p.project == project, p.state == "published", p.key >= since, p.key <= until)
            .where(e.remedy == "quarantine", e.readmitted.is_(None))
            .order_by(p.key, e.id)
        )
        rows = {row["key"]: row for row in self._rows(query)}
        return [KeptOut(row["key"], row["sha256"], row["diagnosis"]) for row in rows.values()]

    def label_files(
        self, project: str, wholes: Mapping[str, str], until: str
    ) -> dict[str, list[tuple[str, str | None]]]:
        """Of each partition URL and hash of the files of labels from its tick on, in order, with the first one from ``whole`` on as the last.

        :param wholes: by the key of a partition, ``whole``: the first key by whose tick all its labels are known.
        :param until: the last key that is looked at.
        """
        if not wholes:
            return {}
        p = t.partitions.c
        ends = {key: max(key, whole) for key, whole in wholes.items()}
        there = sa.select(p.key, p.labels_url, p.labels_sha256).where(
            p.project == project, p.labels_url.is_not(None), p.key <= until
        )
        first_after = there.where(p.key >= max(ends.values())).order_by(p.key).limit(1).subquery()
        between = there.where(p.key >= min(wholes), p.key < max(ends.values()))
        rows = self._rows(sa.union_all(between, sa.select(first_after)).order_by("key"))
        files: dict[str, list[tuple[str, str | None]]] = {}
        for key, end in ends.items():
            before = [row for row in rows if key <= row["key"] < end]
            last = next((row for row in rows if row["key"] >= end), None)
            files[key] = [(row["labels_url"], row["labels_sha256"]) for row in (*before, *([last] if last else ()))]
        return files


def partitions_lock(project: str) -> str:
    """Name of the lock of whoever writes a project's partitions and their counts."""
    return f"updraft partitions:{project}"


def _count(connection: sa.Connection, project: str, state: str, partitions: int, quarantined: int) -> None:
    """Add to the kept counts of a state."""
    c = t.partition_counts.c
    added = {"partitions": c.partitions + partitions, "quarantined": c.quarantined + quarantined}
    upsert(connection, t.partition_counts, {"project": project, "state": state, "partitions": 0, "quarantined": 0})
    connection.execute(sa.update(t.partition_counts).where(c.project == project, c.state == state).values(**added))

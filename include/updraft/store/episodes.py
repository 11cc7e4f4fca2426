"""Episodes, and which contents of partitions they keep out of what is learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from updraft.store import tables as t
from updraft.store.base import as_record, upsert
from updraft.store.chain import Chain
from updraft.store.records import EpisodeRow
from updraft.store.state import readmission


def condemned(
    project: sa.ColumnElement[str], key: sa.ColumnElement[str], content: sa.ColumnElement[str | None] | None = None
) -> sa.Exists:
    """Whether the feed of a partition was found broken and nobody has readmitted it, as a condition of a query.

    :param content: hash of the content that is asked about; any content of the partition when None.
    """
    e = t.episodes.alias("condemning").c
    of = [e.project == project, e.opened_at == key, e.remedy == "quarantine", e.readmitted.is_(None)]
    if content is not None:
        of.append(e.content == content)
    return sa.exists().where(*of)


class Episodes(Chain):
    """Episodes of projects."""

    def open_episode(self, row: EpisodeRow) -> EpisodeRow:
        """Open an episode, once by its id. That of a broken feed keeps its partition's content out from then on."""
        values = asdict(row)
        with self.writing(row.project) as writing:
            if row.remedy == "quarantine":
                content = row.diagnosis.get("content")
                values["content"] = content
                if content is not None:
                    subject = readmission(row.opened_at, content)
                    decision = self._decided(writing.connection, row.project, "readmit", subject)
                    values["readmitted"] = decision.seq if decision else None
            upsert(writing.connection, t.episodes, values)
        [kept] = self._rows(sa.select(t.episodes).where(t.episodes.c.id == row.id))
        return as_record(EpisodeRow, kept)

    def follow_content(self, project: str, key: str, before: str, after: str) -> None:
        """Let an episode that keeps a partition's content out speak of the content that takes its place when rows are forgotten."""
        e = t.episodes.c
        about = (e.project == project, e.opened_at == key, e.remedy == "quarantine", e.content == before)
        with self.engine.begin() as connection:
            rows = connection.execute(sa.select(e.id, e.diagnosis).where(*about, e.readmitted.is_(None))).all()
            for row in rows:
                diagnosis = {**row.diagnosis, "content": after}
                connection.execute(
                    sa.update(t.episodes).where(e.id == row.id).values(content=after, diagnosis=diagnosis)
                )

    def episodes(
        self,
        project: str,
        *,
        states: Sequence[str] = (),
        cause: str | None = None,
        opened_at: str | None = None,
        until: str | None = None,
        newest: int | None = None,
    ) -> list[EpisodeRow]:
        """Episodes in the order of their opening.

        :param opened_at: only those of this tick.
        :param until: only those up to and with this tick.
        :param newest: only the newest so many of them.
        """
        e = t.episodes.c
        query = sa.select(t.episodes).where(e.project == project)
        if states:
            query = query.where(e.state.in_(states))
        if cause is not None:
            query = query.where(e.cause == cause)
        if opened_at is not None:
            query = query.where(e.opened_at == opened_at)
        if until is not None:
            query = query.where(e.opened_at <= until)
        if newest is None:
            rows = self._rows(query.order_by(e.opened_at, e.id))
        else:
            rows = self._rows(query.order_by(e.opened_at.desc(), e.id.desc()).limit(newest))[::-1]
        return [as_record(EpisodeRow, row) for row in rows]

    def episode(self, project: str, episode: str) -> EpisodeRow | None:
        """One episode of a project; None when it has none of that id."""
        e = t.episodes.c
        rows = self._rows(sa.select(t.episodes).where(e.project == project, e.id == episode))
        return as_record(EpisodeRow, rows[0]) if rows else None

    def scored_broken(self, project: str, *, since: str = "", until: str) -> frozenset[str]:
        """Keys from ``since`` up to ``until`` of partitions with a feed that was found broken in whatever content, and not readmitted."""
        e = t.episodes.c
        query = sa.select(e.opened_at).where(
            e.project == project,
            e.opened_at >= since,
            e.opened_at <= until,
            e.remedy == "quarantine",
            e.readmitted.is_(None),
        )
        return frozenset(row["opened_at"] for row in self._rows(query))

    def readmitted(self, project: str, *, since: str) -> list[tuple[EpisodeRow, int]]:
        """Episodes of broken feeds, from the tick ``since`` on, whose partition a person has readmitted, with the number of that decision."""
        e = t.episodes.c
        query = sa.select(t.episodes).where(
            e.project == project, e.opened_at >= since, e.remedy == "quarantine", e.readmitted.is_not(None)
        )
        return [
            (as_record(EpisodeRow, row), int(row["readmitted"]))
            for row in self._rows(query.order_by(e.opened_at, e.id))
        ]

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

"""The chain of decisions: each link holds the hash of the one before it, and is taken once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from updraft.errors import IntegrityError
from updraft.files import canonical_hash
from updraft.store import state
from updraft.store import tables as t
from updraft.store.base import Base, as_record, in_utc, lock
from updraft.store.clean import clean_value
from updraft.store.records import Decision

GENESIS = "0" * 64
_FORM = 2
"""Of new links of a chain: with the time in the hash."""


@dataclass(frozen=True)
class Writing:
    """A transaction on a chain, and the decisions that it writes."""

    connection: sa.Connection
    decisions: list[Decision] = field(default_factory=list)


class Chain(Base):
    """Decisions of projects."""

    @contextmanager
    def writing(self, project: str) -> Iterator[Writing]:
        """A transaction that is alone in writing the project's chain. Its decisions are witnessed before they count and after."""
        with self.engine.begin() as connection:
            lock(connection, f"updraft:{project}")
            writing = Writing(connection)
            yield writing
            if self.witness is not None:
                for decision in writing.decisions:
                    self.witness.intend(decision)
        if self.witness is not None:
            for decision in writing.decisions:
                self.witness.confirm(decision)

    def decide(self, project: str, *, key: str, kind: str, subject: str, body: Mapping[str, Any]) -> Decision:
        """Append a decision to the project's chain, or return the one that (project, kind, subject) already has."""
        with self.writing(project) as writing:
            return self.append(writing, project, key=key, kind=kind, subject=subject, body=body)

    def append(
        self, writing: Writing, project: str, *, key: str, kind: str, subject: str, body: Mapping[str, Any]
    ) -> Decision:
        """Append a decision and what follows from it for the kept state, in one transaction."""
        connection = writing.connection
        if (taken := self._decided(connection, project, kind, subject)) is not None:
            return taken
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
        state.follow(connection, decision)
        writing.decisions.append(decision)
        return decision

    def _decided(self, connection: sa.Connection, project: str, kind: str, subject: str) -> Decision | None:
        d = t.decisions.c
        query = sa.select(t.decisions).where(d.project == project, d.kind == kind, d.subject == subject)
        row = connection.execute(query).mappings().first()
        return as_decision(row) if row is not None else None

    def decision(self, project: str, kind: str, subject: str) -> Decision | None:
        """The decision of a kind about a subject; None when there is none."""
        with self.engine.connect() as connection:
            return self._decided(connection, project, kind, subject)

    def decisions(self, project: str, *, kinds: Sequence[str] = (), since: int = 0) -> list[Decision]:
        """The chain in order, or the links of some kinds.

        :param since: number of a link; those after it.
        """
        with self.engine.connect() as connection:
            return self._links(connection, project, kinds, since)

    def _links(
        self, connection: sa.Connection, project: str, kinds: Sequence[str] = (), since: int = 0
    ) -> list[Decision]:
        d = t.decisions.c
        query = sa.select(t.decisions).where(d.project == project, d.seq > since)
        if kinds:
            query = query.where(d.kind.in_(kinds))
        return [as_decision(row) for row in connection.execute(query.order_by(d.seq)).mappings()]

    def decisions_about(self, project: str, subject: str, kinds: Sequence[str]) -> list[Decision]:
        """The decisions of some kinds about one subject, in order."""
        d = t.decisions.c
        query = sa.select(t.decisions).where(d.project == project, d.kind.in_(kinds), d.subject == subject)
        return [as_decision(row) for row in self._rows(query.order_by(d.seq))]

    def newest_decisions(
        self, project: str, kinds: Sequence[str], number: int, *, before: int | None = None
    ) -> list[Decision]:
        """The newest so many decisions of some kinds, in order. Each kind is read from its newest one back, and no further.

        :param before: number of a link; those before it.
        """
        d = t.decisions.c
        newest: list[Decision] = []
        for kind in kinds:
            query = sa.select(t.decisions).where(d.project == project, d.kind == kind)
            if before is not None:
                query = query.where(d.seq < before)
            newest += [as_decision(row) for row in self._rows(query.order_by(d.seq.desc()).limit(number))]
        return sorted(newest, key=lambda decision: decision.seq)[-number:] if number > 0 else []

    def link(self, project: str, seq: int) -> Decision | None:
        """A decision by its number in the chain; None when there is none."""
        d = t.decisions.c
        rows = self._rows(sa.select(t.decisions).where(d.project == project, d.seq == seq))
        return as_decision(rows[0]) if rows else None

    def last_seq(self, project: str) -> int:
        """Number of the chain's last link; 0 of an empty chain."""
        d = t.decisions.c
        return int(self._scalar(sa.select(d.seq).where(d.project == project).order_by(d.seq.desc()).limit(1)) or 0)

    def verify_chain(self, project: str) -> int:
        """Recompute every hash of the chain and return its length. :mod:`updraft.store.anchors` also knows what is missing.

        :raises IntegrityError: naming the first decision whose content or place was changed.
        """
        chain = self.decisions(project)
        if problem := chain_problem(chain):
            raise IntegrityError(f"{project}: {problem}")
        return len(chain)


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


def as_decision(row: Mapping[Any, Any]) -> Decision:
    """A link as it was hashed, of its row."""
    return as_record(Decision, {**row, "written_at": _iso(in_utc(row["written_at"]))})

"""Moves of releases: the decision, the release's row and the rows of those that give way, written in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from updraft.errors import ReleaseMoved, StoreError
from updraft.store import tables as t
from updraft.store.chain import Writing
from updraft.store.records import Decision, Outcome, ReleaseRow, ReleaseState
from updraft.store.state import read_champion
from updraft.store.store import Store

SUPERSEDED = "superseded"
"""Kind of the decision about a release that ends as another one takes its place."""


class Act(StrEnum):
    """What is next for a release."""

    WAIT = "wait"
    """For more evidence."""
    PROVE = "prove"
    """A change was shown good enough in shadow: the verdict is written, its promotion is next."""
    ASK = "ask"
    """A person has to say whether it is promoted."""
    APPROVE = "approve"
    """A person said yes: the answer is written, the promotion is next."""
    PROMOTE = "promote"
    REJECT = "reject"
    """It is closed before it served."""
    SUPERSEDE = "supersede"
    """It is closed before it served, as a newer release of its lane takes its place."""
    KEEP = "keep"
    """Its probation is over, and its version stays champion."""
    ROLL_BACK = "roll_back"
    """The version that served before it serves again."""
    REINSTATE = "reinstate"
    """Its version, which was taken back, serves again."""
    DONE = "done"
    """Nothing: its version was promoted, and what followed from that is decided."""
    GONE = "gone"
    """Nothing: it was closed before its version served."""


@dataclass(frozen=True)
class Transition:
    """One step of a release, as :func:`updraft.release.states.advance` decides it and :func:`apply` writes it."""

    release: ReleaseRow
    """As it was when the step was decided. Where it is in another state by now, nothing is written."""
    act: Act
    key: str
    """The tick at which it happens."""
    reason: str
    to: ReleaseState | None = None
    """The state after it; None when the row stays as it is."""
    outcome: Outcome | None = None
    """Of a release that is closed."""
    kind: str | None = None
    """Of the decision that is written; None when there is none."""
    body: Mapping[str, Any] | None = None
    subject: str | None = None
    """Of the decision, where it is not the release's id."""
    champion: str | None = None
    """The version that served when the step was decided. Checked for what changes what serves alone; None before the first promotion."""
    supersedes: tuple[str, ...] = ()
    """Ids of the releases on probation that end with it."""

    def __post_init__(self) -> None:
        if self.to == "closed" and self.kind is None:
            raise StoreError(f"{self.release.id}: it would end without a decision ({self.act.value}: {self.reason})")

    @property
    def writes(self) -> bool:
        """Whether there is anything to write."""
        return self.to is not None or self.kind is not None


def apply(store: Store, transition: Transition) -> Decision | None:
    """Write a transition whole or not at all; the decision that stands, None where the step leaves none.

    A decision of the same kind about the same release that is there already stays, as in :meth:`Store.decide`.

    :raises ReleaseMoved: when the release is in another state than the one from which the step was decided, or something else
        serves by now: look again. Nothing was written.
    """
    if not transition.writes:
        return None
    row, decision = transition.release, None
    with store.writing(row.project) as writing:
        _check_unmoved(writing.connection, row)
        if transition.act in (Act.PROMOTE, Act.ROLL_BACK, Act.REINSTATE):
            champion = read_champion(writing.connection, row.project)
            serving = champion.version if champion is not None else None
            if serving != transition.champion:
                raise ReleaseMoved(f"{row.id}: version {serving} serves by now")
        if transition.kind is not None:
            decision = store.append(
                writing,
                row.project,
                key=transition.key,
                kind=transition.kind,
                subject=transition.subject or row.id,
                body=transition.body or {},
            )
        _write_row(writing.connection, transition)
        _supersede(store, writing, transition)
    return decision


def open_release(
    store: Store, row: ReleaseRow, superseding: Sequence[Transition] = (), *, continuing: str | None = None
) -> ReleaseRow:
    """Open a release and close those that give way to it, in one transaction; once by its id: the row that stands.

    :param superseding: the steps that close the others.
    :param continuing: one of the others, whose evidence counts for this release too.
    :raises ReleaseMoved: when one of the others is in another state by now: look again. Nothing was written.
    """
    with store.writing(row.project) as writing:
        known = sa.select(t.releases.c.id).where(t.releases.c.id == row.id)
        if writing.connection.execute(known).first() is None:
            writing.connection.execute(sa.insert(t.releases).values(**asdict(row)))
            for transition in superseding:
                _check_unmoved(writing.connection, transition.release)
                _write_row(writing.connection, transition)
                store.append(
                    writing,
                    row.project,
                    key=transition.key,
                    kind=SUPERSEDED,
                    subject=transition.release.id,
                    body=transition.body or {},
                )
            if continuing is not None:
                _take_over_evidence(writing.connection, row, continuing)
    return store.release(row.id)


def _take_over_evidence(connection: sa.Connection, row: ReleaseRow, earlier: str) -> None:
    columns = [column.name for column in t.evidence.c if column.name not in ("release", "written_at")]
    there = sa.select(sa.literal(row.id), *(t.evidence.c[name] for name in columns))
    there = there.where(t.evidence.c.project == row.project, t.evidence.c.release == earlier)
    connection.execute(sa.insert(t.evidence).from_select(["release", *columns], there))


def _check_unmoved(connection: sa.Connection, row: ReleaseRow) -> None:
    """Lock the release's row, and see that it is in the state that was looked at."""
    r = t.releases.c
    now = connection.execute(sa.select(r.state, r.reason).where(r.id == row.id).with_for_update()).one()
    if now.state != row.state:
        raise ReleaseMoved(f"{row.id} was in state {row.state} and is in state {now.state} by now: {now.reason}")


def _write_row(connection: sa.Connection, transition: Transition) -> None:
    if transition.to is None:
        return
    values: dict[str, Any] = {"state": transition.to, "reason": transition.reason}
    if transition.act in (Act.PROMOTE, Act.REINSTATE):
        values["against"] = transition.champion
    if transition.to == "closed":
        values |= {"outcome": transition.outcome, "closed_at": transition.key}
    connection.execute(sa.update(t.releases).where(t.releases.c.id == transition.release.id).values(**values))


def _supersede(store: Store, writing: Writing, transition: Transition) -> None:
    """Close the releases on probation that end with what serves from now on; one that was closed meanwhile stays as it is."""
    r, project = t.releases.c, transition.release.project
    for other in transition.supersedes:
        reason = superseded_by(transition.release)
        ended = sa.update(t.releases).where(r.id == other, r.state == "probation").returning(r.version)
        version = writing.connection.execute(
            ended.values(state="closed", outcome="superseded", closed_at=transition.key, reason=reason)
        ).scalar()
        if version is not None:
            body = {"version": version, "reason": reason, "from": "probation"}
            store.append(writing, project, key=transition.key, kind=SUPERSEDED, subject=other, body=body)


def superseded_by(newer: ReleaseRow) -> str:
    """Why a release ends that a newer one takes the place of."""
    return f"superseded by {newer.id}"


def continued_by(newer: ReleaseRow) -> str:
    """Why a shadow ends whose recipe has learnt again: the newer release goes on with its evidence."""
    return f"continued by {newer.id}, the same recipe on newer data"

"""The state that follows from the chain, kept in tables so that no tick has to read the chain: what serves, and with which layers.

It is written in the transaction of the decision that changes it (:func:`follow`). The chain stays the truth: :func:`fold` gives the
state from the chain alone, and :func:`differences` holds what is kept against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from updraft.store import tables as t
from updraft.store.base import upsert
from updraft.store.records import Decision

RETURNS = ("roll_back", "reinstate")
"""Kinds of decisions by which a version that had served serves again."""
SERVING = ("promote", *RETURNS)
"""Kinds of decisions that change what serves."""
CHANGING = (*SERVING, "recalibrate", "readmit")
"""Kinds of decisions that change the state."""


@dataclass(frozen=True)
class Champion:
    """What serves."""

    version: str
    previous: str | None
    since: str
    """Key of the tick at which it began to serve."""
    seq: int
    """Number of the decision that put it there, which says by whom and why."""


@dataclass(frozen=True)
class LayerInForce:
    """The calibration layer of a version after its newest recalibration."""

    layer: dict[str, float] | None
    """None is the identity."""
    key: str
    """The tick at which it was fitted."""
    seq: int


@dataclass
class State:
    """What follows from a project's chain."""

    champion: Champion | None = None
    layers: dict[str, LayerInForce] = field(default_factory=dict)
    """By version."""
    taken_back: dict[str, int] = field(default_factory=dict)
    """Number of the decision by which a person took a version back that nobody has reinstated, by version."""
    readmitted: dict[str, int] = field(default_factory=dict)
    """Number of the decision that readmitted a partition's content, by its subject (:func:`readmission`)."""


def fold(chain: Iterable[Decision]) -> State:
    """The state from the chain alone."""
    state = State()
    for decision in chain:
        body = decision.body
        match decision.kind:
            case "promote" | "roll_back" | "reinstate":
                state.champion = _champion(decision)
                if decision.kind in RETURNS:
                    state.taken_back.pop(body["version"], None)
                if (version := _taken_back(decision)) is not None:
                    state.taken_back[version] = decision.seq
            case "recalibrate":
                state.layers[body["version"]] = LayerInForce(body["layer"], decision.key, decision.seq)
            case "readmit":
                state.readmitted[decision.subject] = decision.seq
    return state


def follow(connection: sa.Connection, decision: Decision) -> None:
    """Write what a new decision changes, in the decision's own transaction."""
    project, body = decision.project, decision.body
    match decision.kind:
        case "promote" | "roll_back" | "reinstate":
            champion = _champion(decision)
            row: dict[str, Any] = {"champion": champion.version, "previous": champion.previous}
            row |= {"since": champion.since, "seq": champion.seq}
            upsert(connection, t.serving, {"project": project, **row}, change=tuple(row))
            _follow_return(connection, decision)
        case "recalibrate":
            layer = {"layer": body["layer"], "key": decision.key, "seq": decision.seq}
            upsert(connection, t.layers, {"project": project, "version": body["version"], **layer}, change=tuple(layer))
        case "readmit":
            e = t.episodes.c
            key, _, content = decision.subject.partition("@")
            connection.execute(
                sa.update(t.episodes)
                .where(e.project == project, e.opened_at == key, e.remedy == "quarantine", e.content == content)
                .values(readmitted=decision.seq)
            )


def _follow_return(connection: sa.Connection, decision: Decision) -> None:
    """What serves by a return is taken back no more; what a person took back for it is, from now on."""
    project, c = decision.project, t.taken_back.c
    if decision.kind in RETURNS:
        connection.execute(sa.delete(t.taken_back).where(c.project == project, c.version == decision.body["version"]))
    if (version := _taken_back(decision)) is not None:
        upsert(connection, t.taken_back, {"project": project, "version": version, "seq": decision.seq}, change=("seq",))


def _taken_back(decision: Decision) -> str | None:
    """The version that a person takes back with this decision; what the evidence rolls back may be promoted again."""
    return str(decision.body["previous"]) if decision.kind == "roll_back" and decision.body.get("by") else None


def readmission(key: str, content: str) -> str:
    """Subject of the decision that readmits a partition's content."""
    return f"{key}@{content}"


def _champion(decision: Decision) -> Champion:
    return Champion(decision.body["version"], decision.body["previous"], decision.key, decision.seq)


def read_champion(connection: sa.Connection, project: str) -> Champion | None:
    """What serves, as it is kept."""
    row = connection.execute(sa.select(t.serving).where(t.serving.c.project == project)).mappings().first()
    return Champion(row["champion"], row["previous"], row["since"], row["seq"]) if row is not None else None


def read_layers(
    connection: sa.Connection, project: str, versions: Iterable[str] | None = None
) -> dict[str, LayerInForce]:
    """The layers in force of some versions, or of all, as they are kept."""
    c = t.layers.c
    query = sa.select(t.layers).where(c.project == project)
    if versions is not None:
        query = query.where(c.version.in_(list(versions)))
    rows = connection.execute(query).mappings()
    return {row["version"]: LayerInForce(row["layer"], row["key"], row["seq"]) for row in rows}


def read_taken_back(connection: sa.Connection, project: str) -> dict[str, int]:
    """Number of the decision that took a version back, of every version that is taken back, as it is kept."""
    c = t.taken_back.c
    rows = connection.execute(sa.select(c.version, c.seq).where(c.project == project))
    return {row.version: row.seq for row in rows}


def differences(connection: sa.Connection, project: str, chain: Iterable[Decision]) -> list[str]:
    """In what the kept state differs from what it follows from, in words; nothing when it is equal.

    :param connection: in a transaction that sees one state of the store, the same from which the chain was read.
    """
    state = fold(chain)
    problems = []
    kept = read_champion(connection, project)
    if kept != state.champion:
        problems.append(f"what serves is kept as {_words(kept)}, and the decisions say {_words(state.champion)}")
    layers = read_layers(connection, project)
    problems += [
        f"the layer of version {version} is kept as {layers.get(version)}, and the decisions say {state.layers.get(version)}"
        for version in sorted({*layers, *state.layers})
        if layers.get(version) != state.layers.get(version)
    ]
    taken = read_taken_back(connection, project)
    problems += [
        f"version {version} is kept as {_taken(taken.get(version))}, and the decisions say {_taken(state.taken_back.get(version))}"
        for version in sorted({*taken, *state.taken_back})
        if taken.get(version) != state.taken_back.get(version)
    ]
    e = t.episodes.c
    condemned = sa.select(e.id, e.opened_at, e.diagnosis, e.content, e.readmitted).where(
        e.project == project, e.remedy == "quarantine"
    )
    for row in connection.execute(condemned):
        content = row.diagnosis.get("content")
        readmitted = state.readmitted.get(readmission(row.opened_at, content)) if content else None
        if (row.content, row.readmitted) != (content, readmitted):
            problems.append(
                f"episode {row.id} keeps out content {row.content} ({_readmission(row.readmitted)}); "
                f"it was opened about {content} ({_readmission(readmitted)})"
            )
    return problems + _miscounted(connection, project)


def rewrite(connection: sa.Connection, project: str, chain: Iterable[Decision]) -> None:
    """Write the kept state anew as it follows from the chain, the episodes and the partitions; for a person who knows why it differs."""
    for table in (t.serving, t.layers, t.taken_back, t.partition_counts):
        connection.execute(sa.delete(table).where(table.c.project == project))
    e, p = t.episodes.c, t.partitions.c
    condemned = sa.select(e.id, e.diagnosis).where(e.project == project, e.remedy == "quarantine")
    for row in connection.execute(condemned).all():
        content = row.diagnosis.get("content")
        connection.execute(sa.update(t.episodes).where(e.id == row.id).values(content=content, readmitted=None))
    for decision in chain:
        follow(connection, decision)
    counted = sa.select(p.project, p.state, sa.func.count(), sa.func.sum(p.quarantined)).where(p.project == project)
    columns = ["project", "state", "partitions", "quarantined"]
    connection.execute(sa.insert(t.partition_counts).from_select(columns, counted.group_by(p.project, p.state)))


def _miscounted(connection: sa.Connection, project: str) -> list[str]:
    """States whose kept number of partitions is not their number."""
    p, c = t.partitions.c, t.partition_counts.c
    counted = sa.select(p.state, sa.func.count(), sa.func.sum(p.quarantined)).where(p.project == project)
    kept = sa.select(c.state, c.partitions, c.quarantined).where(c.project == project)
    actual = {state: (rows, int(bad)) for state, rows, bad in connection.execute(counted.group_by(p.state))}
    known = {state: (rows, int(bad)) for state, rows, bad in connection.execute(kept) if rows or bad}
    return [
        f"{state} partitions and their quarantined rows are kept as {known.get(state, (0, 0))}, and are {actual.get(state, (0, 0))}"
        for state in sorted({*actual, *known})
        if known.get(state) != actual.get(state)
    ]


def _words(champion: Champion | None) -> Any:
    return "nothing" if champion is None else champion


def _taken(seq: int | None) -> str:
    return "not taken back" if seq is None else f"taken back by decision {seq}"


def _readmission(seq: int | None) -> str:
    return "not readmitted" if seq is None else f"readmitted by decision {seq}"

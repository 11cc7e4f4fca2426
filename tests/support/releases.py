"""Releases brought into a state, as the loop brings them there: by writing transitions."""

from __future__ import annotations

from updraft.errors import StoreError
from updraft.store.records import Decision, Outcome, ReleaseRow, ReleaseState
from updraft.store.store import Store
from updraft.store.transitions import SUPERSEDED, Act, Transition, apply


def approval(store: Store, release: str, *, key: str, reason: str) -> None:
    """A release that was proved and waits for an answer."""
    apply(store, Transition(store.release(release), Act.ASK, key, reason, to="approval"))


def closed(store: Store, release: str, *, key: str, outcome: Outcome, reason: str) -> None:
    """A release that was closed before it served."""
    row = store.release(release)
    body = {"version": row.version, "reason": reason, "from": row.state}
    closing = Transition(row, Act.SUPERSEDE, key, reason, to="closed", outcome=outcome, kind=SUPERSEDED, body=body)
    apply(store, closing)


def promoted(
    store: Store, release: str, *, key: str, to: ReleaseState = "closed", reason: str = "it passed"
) -> Decision:
    """A release whose version serves; other releases on probation end with it."""
    row = store.release(release)
    before = store.serving(row.project).champion
    decision = apply(store, promotion(row, before, key=key, to=to, reason=reason, ends=_on_probation(store, row)))
    assert decision is not None
    return decision


def rolled_back(store: Store, release: str, *, key: str, reason: str = "worse") -> None:
    """A release whose version is taken back: what served before it serves again."""
    row = store.release(release)
    if row.against is None:
        raise StoreError(f"{release}: nothing served before it")
    body: dict[str, object] = {"version": row.against, "previous": row.version, "reason": reason}
    step = Transition(
        row,
        Act.ROLL_BACK,
        key,
        reason,
        to="closed",
        outcome="rolled_back",
        kind="roll_back",
        body=body,
        champion=row.version,
    )
    apply(store, step)


def promotion(
    row: ReleaseRow,
    before: str | None,
    *,
    key: str,
    to: ReleaseState = "closed",
    reason: str,
    ends: tuple[str, ...] = (),
) -> Transition:
    """The step that makes a release's version champion."""
    body: dict[str, object] = {
        "version": row.version,
        "previous": before,
        "lane": row.lane,
        "reason": reason,
        "evidence": {},
    }
    outcome: Outcome | None = "promoted" if to == "closed" else None
    return Transition(
        row,
        Act.PROMOTE,
        key,
        reason,
        to=to,
        outcome=outcome,
        kind="promote",
        body=body,
        champion=before,
        supersedes=ends,
    )


def _on_probation(store: Store, row: ReleaseRow) -> tuple[str, ...]:
    return tuple(other.id for other in store.releases(row.project, states=("probation",)) if other.id != row.id)

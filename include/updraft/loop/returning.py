"""A version that served before serves again, says a person: what is to be known before, and what is refused.

``updraft rollback``, ``updraft reinstate`` and the DAG `rollback` go this way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from updraft.errors import InputError, StoreError, TrainingError
from updraft.loop.alerting import release_alerts
from updraft.loop.context import Loop
from updraft.loop.release import reinstate_by_hand, release_id, roll_back_by_hand, taken_back_words
from updraft.loop.side_by_side import SideBySide, side_by_side
from updraft.loop.version_history import gates_outcome, no_such_version
from updraft.store.records import ReleaseRow


@dataclass(frozen=True)
class Return:
    """A version that is to serve again in place of the champion."""

    project: str
    version: str
    serving: str
    reinstates: bool
    """Whether it was taken back, and comes back; else what serves is taken back for it."""
    losses: SideBySide
    gates: str
    """What its gates said of it."""
    warnings: tuple[str, ...]
    """What speaks against it."""

    @property
    def question(self) -> str:
        """What a person is asked."""
        what = f"Reinstate version {self.version}" if self.reinstates else f"Roll back to version {self.version}"
        return f"{self.project}: {what} in place of version {self.serving}?"

    @property
    def done(self) -> str:
        """What is told when it is done."""
        fate = "stays at hand" if self.reinstates else "was taken back"
        return f"{self.project}: version {self.version} serves again; version {self.serving} {fate}"

    def lines(self) -> Iterator[str]:
        """For a person: both versions' losses, the gates, and each warning."""
        yield from self.losses.lines()
        yield f"version {self.version} at its gates: {self.gates}"
        yield from (f"WARNING: {warning}" for warning in self.warnings)
        if not self.reinstates:
            yield f"version {self.serving} does not come back by itself: `updraft reinstate {self.project} {self.serving}` brings it back"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "project": self.project,
            "version": self.version,
            "serving": self.serving,
            "losses": self.losses.as_dict(),
            "gates": self.gates,
            "warnings": list(self.warnings),
        }


def plan_rollback(loop: Loop, to: str | None = None) -> Return:
    """A rollback, looked at beforehand; nothing is decided.

    :param to: the version that is to serve; None for the one that served before the champion.
    :raises InputError: when it is no version of the project, serves already, or was taken back; or when nothing served before.
    :raises IntegrityError: when the version is not what was signed.
    """
    serving = _serving(loop)
    if to is None:
        known = _release(loop, serving)
        to = known.against if known is not None else None
    if to is None:
        raise InputError(f"{loop.name}: there is no previous champion to roll back to; name a version with --to")
    _check_version(loop, to, serving)
    if (taken := loop.store.taken_back(loop.name, [to]).get(to)) is not None:
        raise InputError(f"{loop.name}: {taken_back_words(loop, taken)}")
    return _looked_at(loop, to, serving, reinstates=False)


def plan_reinstatement(loop: Loop, version: str) -> Return:
    """A reinstatement, looked at beforehand; nothing is decided.

    :raises InputError: when it is no version of the project, serves already, or was not taken back.
    :raises IntegrityError: when the version is not what was signed.
    """
    serving = _serving(loop)
    _check_version(loop, version, serving)
    known = _release(loop, version)
    if known is None or known.outcome != "rolled_back":
        raise InputError(
            f"{loop.name}: version {version} was not taken back, so there is nothing to reinstate; "
            f"`updraft rollback {loop.name} --to {version}` lets it serve"
        )
    return _looked_at(loop, version, serving, reinstates=True)


def carry_out(loop: Loop, planned: Return, *, by: str, reason: str) -> dict[str, str | None]:
    """Decide what was planned, and tell it; the aliases as the store has them.

    :raises InputError: when no reason is given.
    :raises ReleaseMoved: when something else serves by now.
    """
    if not reason.strip():
        raise InputError(f"{loop.name}: give a reason: it is kept in the decision")
    if planned.reinstates:
        known = reinstate_by_hand(loop, serving=planned.serving, version=planned.version, by=by, reason=reason)
    else:
        known = roll_back_by_hand(loop, serving=planned.serving, to=planned.version, by=by, reason=reason)
    release_alerts.of_release(loop, release_id(loop, planned.version if planned.reinstates else planned.serving))
    return known


def _serving(loop: Loop) -> str:
    champion = loop.store.serving(loop.name).champion
    if champion is None:
        raise InputError(f"{loop.name}: nothing serves yet, so there is no previous champion and nothing to reinstate")
    return champion


def _release(loop: Loop, version: str) -> ReleaseRow | None:
    try:
        row = loop.store.release(release_id(loop, version))
    except StoreError:
        return None
    return row if row.project == loop.name else None


def _check_version(loop: Loop, version: str, serving: str) -> None:
    if version == serving:
        raise InputError(f"{loop.name}: version {version} serves already")
    if loop.store.training_of(loop.name, version) is not None or _release(loop, version) is not None:
        return
    try:
        other = loop.store.release(version)
    except StoreError:
        raise InputError(no_such_version(loop, version)) from None
    whose = "another model" if other.project != loop.name else "this model: its version is meant"
    raise InputError(f"{loop.name}: {version} is the release of version {other.version} of {other.project}, {whose}")


def _looked_at(loop: Loop, version: str, serving: str, *, reinstates: bool) -> Return:
    losses = side_by_side(loop, serving, version)
    training, release = loop.store.training_of(loop.name, version), _release(loop, version)
    gates = dict((training.result.get("gates") if training else None) or {})
    warnings = [*_loading(loop, version)]
    if gates and not gates.get("passed", True):
        warnings.append(f"version {version} was {gates_outcome(gates)}")
    elif (lost := _lost(gates, losses.metric)) > 0:
        warnings.append(f"version {version} lost {lost:.4f} {losses.metric} at its gates")
    if release is not None and release.outcome in ("rejected", "rolled_back") and gates.get("passed", True):
        warnings.append(f"version {version} was {release.outcome.replace('_', ' ')}: {release.reason}")
    if losses.other_is_worse and losses.gain is not None:
        shown = "is shown to do" if losses.gain.upper < 0 else "did"
        warnings.append(f"version {version} {shown} worse than version {serving} on the same rows")
    told = gates_outcome(gates) if gates else "nothing is known"
    return Return(loop.name, version, serving, reinstates, losses, told, tuple(warnings))


def _loading(loop: Loop, version: str) -> Iterator[str]:
    """Load the version as scoring would; a warning where its store is away.

    :raises IntegrityError: when it is not what was signed.
    """
    try:
        loop.models.load(version)
    except TrainingError as error:
        yield f"version {version} could not be loaded now to be verified: {error}"


def _lost(gates: dict[str, Any], metric: str) -> float:
    """By how much it cost more at its gates than what it was held against."""
    measured = (gates.get("metrics") or {}).get(metric) or {}
    return float(measured.get("candidate", 0.0)) - float(measured.get("against", 0.0))

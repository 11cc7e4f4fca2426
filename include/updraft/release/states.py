"""The states of a release, and the one function that decides how it moves from one to the next.

::

    shadow ── shown good enough (change), to be asked about (refresh) ──▶ approval ──┐
      │                                                                     │        │ promoted
      │ refresh that nobody has to approve ─────────────────────────────────┼────────┤
      │ shown worse, not shown in time, not scorable, a newer one           │ no     ▼
      └──────────────────────────────▶ closed ◀──────────────────────────────┴──  probation (refresh), else closed
                                         ▲                                           │
                                         └── kept, rolled back, a newer one serves ──┘

Beside these, a person takes back what serves, whatever its state, and reinstates a version that was taken back. Whatever ends a release leaves a
decision; one that is closed moves no more, but for these two.

It decides from frozen data alone: the release's row, what was seen of it, and the policy. :func:`updraft.store.transitions.apply`
writes what it decided. The DAG `release` and the loop in one process call these two, and nothing else moves a release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from updraft.release.verdict import (
    Champion,
    ClusterGain,
    Judgement,
    Verdict,
    is_better_so_far,
    judge_change,
    judge_probation,
)
from updraft.store.records import Lane, ReleaseRow, Role
from updraft.store.transitions import SUPERSEDED, Act, Transition, continued_by, superseded_by

if TYPE_CHECKING:
    from updraft.spec.model import ProjectSpec, Release, SliceGate


@dataclass(frozen=True)
class Policy:
    """What a project says about its releases."""

    release: Release
    guard: SliceGate | None = None
    """Slices on which a change must not be shown worse."""

    @classmethod
    def of(cls, spec: ProjectSpec) -> Policy:
        """The policy of a project."""
        return cls(spec.release, spec.gates.slices)

    def asks(self, lane: Lane) -> bool:
        """Whether a person has to approve a release of this lane before it is promoted."""
        return self.release.sensitive if lane == "refresh" else self.release.change.approval == "required"


@dataclass(frozen=True)
class Answer:
    """What a person said when asked whether a release is promoted."""

    approved: bool
    by: str | None
    """None when nobody answered in time."""
    reason: str = ""
    """Why, where the person said so."""

    @property
    def given(self) -> dict[str, str]:
        """The reason for a decision's body; nothing without one."""
        return {"said": self.reason} if self.reason else {}


@dataclass(frozen=True)
class Asked:
    """A person is about to be asked, whatever the evidence says so far: somebody let the release past the task that waits for it."""


@dataclass(frozen=True)
class Unscorable:
    """A version of the release cannot be scored any more, and so there will be no more evidence."""

    role: Role
    """Of that version: ``previous`` when it is the one that served before."""
    why: str


@dataclass(frozen=True)
class TakenBack:
    """A person wants another version to serve in place of the release's."""

    by: str
    reason: str
    to: str


@dataclass(frozen=True)
class Reinstated:
    """A person wants the release's version back, which was taken back."""

    by: str
    reason: str
    serving: str
    """What it takes the place of."""


@dataclass(frozen=True)
class Newer:
    """Another release was opened."""

    release: ReleaseRow


_PROVED = "its proof on the holdout passed the gates"

Event = Answer | Asked | Unscorable | TakenBack | Reinstated | Newer
"""What somebody does or says at the moment of a look."""


@dataclass(frozen=True)
class Look:
    """What was seen of a release at one moment."""

    tick: str | None
    """The newest tick that was monitored; None before the first."""
    champion: str | None
    """The version that serves."""
    since: str | None = None
    """The tick since which it serves."""
    promoted: bool = False
    """Whether the release's version was promoted, now or earlier."""
    partitions: int = 0
    """Monitored since it is in shadow, or on probation."""
    gains: tuple[ClusterGain, ...] = ()
    """The evidence so far, in time order."""
    worse_than_none: str | None = None
    """Why the version, on probation, is worse than no model; None while that is not shown."""
    approval: Answer | None = None
    """The answer that was written down. It stays: a later one changes nothing."""
    on_probation: tuple[str, ...] = ()
    """Ids of the project's releases on probation."""
    taken_back: Mapping[str, str] = field(default_factory=dict)
    """Of the release's version and of what it is held against: what a person took back and nobody has reinstated, each with what is to be known."""
    returns: int = 0
    """How often the release's version was taken back or reinstated so far."""
    event: Event | None = None


def advance(row: ReleaseRow, look: Look, policy: Policy) -> Transition:
    """The next step of a release. It reads nothing else and writes nothing.

    :param row: the release, with its state and lane.
    :param look: what was seen of it.
    :param policy: of its project.
    """
    return _Step(row, look, policy).taken()


@dataclass(frozen=True)
class _Step:
    row: ReleaseRow
    look: Look
    policy: Policy

    def taken(self) -> Transition:
        match self.look.event:
            case TakenBack() as wish if self.look.champion == self.row.version != wish.to:
                return self._taken_back(wish)
            case Reinstated() as wish if self.row.outcome == "rolled_back" and self.look.champion == wish.serving:
                return self._reinstate(wish)
        match self.row.state:
            case "shadow":
                return self._in_shadow()
            case "approval":
                return self._awaiting_approval()
            case "probation":
                return self._on_probation()
            case "closed":
                return self._nothing()

    # -- one method a state ----------------------------------------------------------------------------------------

    def _in_shadow(self) -> Transition:
        if (ended := self._ended_before_it_served()) is not None:
            return ended
        if self.row.lane == "refresh":
            return self._refresh_in_shadow()
        judgement = judge_change(
            self.look.gains,
            self.policy.release,
            self.policy.guard,
            partitions=self.look.partitions,
            champion=self._compared_with,
        )
        if judgement.verdict is Verdict.PROMOTE:
            return self._prove(judgement)
        if self._is_to_be_asked():
            return self._ask(f"asked before the evidence decided: {judgement.reason}")
        if judgement.verdict is Verdict.REJECT:
            return self._reject(judgement.reason, _figures(judgement))
        return self._stay(Act.WAIT, judgement.reason)

    def _refresh_in_shadow(self) -> Transition:
        seen, wanted = self.look.partitions, self.policy.release.refresh.shadow
        if seen < wanted and not self._is_to_be_asked():
            return self._stay(Act.WAIT, f"{seen} of {wanted} partitions in shadow")
        reason = f"proved on the holdout, then {seen} partitions in shadow" if wanted else _PROVED
        return self._ask(reason) if self.policy.asks(self.row.lane) else self._promote(reason)

    def _awaiting_approval(self) -> Transition:
        if (ended := self._ended_before_it_served()) is not None:
            return ended
        answer = self._answer()
        if answer is None and self.policy.asks(self.row.lane):
            return self._stay(Act.ASK, self.row.reason or "waits for an answer")
        if answer is not None and answer is not self.look.approval:
            return self._approve(answer)
        approved = f"approved by {answer.by}" if answer is not None and self.row.lane == "change" else None
        return self._promote(self.row.reason or approved or _PROVED)

    def _on_probation(self) -> Transition:
        if isinstance(self.look.event, Unscorable) and self.look.event.role == "previous":
            reason = f"its probation ends early: {self.look.event.why}"
            return self._keep(reason, {"early": True})
        if self.look.worse_than_none and self._can_go_back() and not is_better_so_far(self.look.gains):
            return self._roll_back(self.look.worse_than_none, {"guard": True})
        judgement = judge_probation(
            self.look.gains, self.policy.release, self.policy.guard, partitions=self.look.partitions
        )
        if judgement.verdict is Verdict.ROLL_BACK and self._can_go_back():
            return self._roll_back(judgement.reason, {"evidence": judgement.as_dict()})
        seen, lane = self.look.partitions, self.policy.release.refresh
        if judgement.verdict is Verdict.KEEP and seen >= lane.probation:
            return self._keep(judgement.reason, _figures(judgement))
        if seen >= lane.longest_probation:
            return self._keep(
                f"could not be judged in {seen} partitions: {judgement.reason}",
                {"unjudged": True, **_figures(judgement)},
            )
        extended = f"extended after {lane.probation} partitions; " if seen >= lane.probation else ""
        return self._stay(Act.WAIT, f"{extended}{judgement.reason}")

    def _nothing(self) -> Transition:
        return self._stay(Act.DONE if self.look.promoted else Act.GONE, self.row.reason or str(self.row.outcome))

    # -- what is shared by several states --------------------------------------------------------------------------

    def _taken_back(self, wish: TakenBack) -> Transition:
        return self._roll_back(f"{wish.reason} (by {wish.by})", {"by": wish.by}, to=wish.to)

    def _can_go_back(self) -> bool:
        serves = self.look.promoted and self.look.champion == self.row.version
        return serves and self.row.against is not None and self.row.against not in self.look.taken_back

    def _is_to_be_asked(self) -> bool:
        return isinstance(self.look.event, Asked) and self.policy.asks(self.row.lane)

    def _answer(self) -> Answer | None:
        """The answer in force: the one that was written down, else the one that is given now."""
        given = self.look.event
        return self.look.approval or (given if isinstance(given, Answer) else None)

    def _ended_before_it_served(self) -> Transition | None:
        answer, event = self._answer(), self.look.event
        if answer is not None and not answer.approved:
            why = f": {answer.reason}" if answer.reason else ""
            reason = "rejected: nobody answered in time" if answer.by is None else f"rejected by {answer.by}{why}"
            return self._reject(reason, {"by": answer.by, **answer.given})
        if isinstance(event, Unscorable) and event.role != "previous":
            return self._reject(event.why, {})
        if isinstance(event, Newer) and _gives_way(self.row, event.release):
            return self._give_way(event.release)
        return None

    # -- the steps -------------------------------------------------------------------------------------------------

    def _promote(self, reason: str) -> Transition:
        row, before = self.row, self.look.champion
        if (taken := self.look.taken_back.get(row.version)) is not None:
            return self._reject(f"it does not come back by itself: {taken}", {})
        probation = row.lane == "refresh" and self.policy.release.refresh.probation > 0 and before is not None
        body: dict[str, Any] = {
            "version": row.version,
            "previous": before,
            "lane": row.lane,
            "reason": reason,
            "evidence": {},
        }
        return Transition(
            row,
            Act.PROMOTE,
            self._key,
            reason,
            to="probation" if probation else "closed",
            outcome=None if probation else "promoted",
            kind="promote",
            body=body,
            champion=before,
            supersedes=tuple(other for other in self.look.on_probation if other != row.id),
        )

    def _approve(self, answer: Answer) -> Transition:
        body = {"version": self.row.version, "approved": True, "by": answer.by, **answer.given}
        reason = self.row.reason or f"approved by {answer.by}"
        return Transition(self.row, Act.APPROVE, self._key, reason, kind="approval", body=body)

    def _roll_back(self, reason: str, beside: Mapping[str, Any], to: str | None = None) -> Transition:
        body = {"version": to or self.row.against, "previous": self.row.version, "reason": reason, **beside}
        return Transition(
            self.row,
            Act.ROLL_BACK,
            self._key,
            reason,
            to="closed",
            outcome="rolled_back",
            kind="roll_back",
            body=body,
            subject=self._returned,
            champion=self.row.version,
        )

    def _reinstate(self, wish: Reinstated) -> Transition:
        reason = f"{wish.reason} (by {wish.by})"
        body = {"version": self.row.version, "previous": self.look.champion, "reason": reason, "by": wish.by}
        return Transition(
            self.row,
            Act.REINSTATE,
            self._key,
            reason,
            to="closed",
            outcome="reinstated",
            kind="reinstate",
            body=body,
            subject=self._returned,
            champion=self.look.champion,
            supersedes=tuple(other for other in self.look.on_probation if other != self.row.id),
        )

    def _reject(self, reason: str, beside: Mapping[str, Any]) -> Transition:
        body = {"version": self.row.version, "reason": reason, "evidence": {}, **beside}
        return Transition(
            self.row, Act.REJECT, self._key, reason, to="closed", outcome="rejected", kind="rejected", body=body
        )

    def _give_way(self, newer: ReleaseRow) -> Transition:
        continued = self.row.version in newer.continues
        key, reason = newer.opened_at, continued_by(newer) if continued else superseded_by(newer)
        body = {"version": self.row.version, "reason": reason, "from": self.row.state}
        body |= {"continued_by": newer.version} if continued else {}
        return Transition(
            self.row, Act.SUPERSEDE, key, reason, to="closed", outcome="superseded", kind=SUPERSEDED, body=body
        )

    def _keep(self, reason: str, beside: Mapping[str, Any]) -> Transition:
        body = {"version": self.row.version, "reason": reason, "evidence": {}, **beside}
        return Transition(self.row, Act.KEEP, self._key, reason, to="closed", outcome="kept", kind="kept", body=body)

    def _prove(self, judgement: Judgement) -> Transition:
        reason = judgement.reason
        body = {"version": self.row.version, "verdict": "promote", "reason": reason, **_figures(judgement)}
        return Transition(self.row, Act.PROVE, self._key, reason, to="approval", kind="verdict", body=body)

    def _ask(self, reason: str) -> Transition:
        return Transition(self.row, Act.ASK, self._key, reason, to="approval")

    def _stay(self, act: Act, reason: str) -> Transition:
        return Transition(self.row, act, self._key, reason)

    @property
    def _compared_with(self) -> Champion | None:
        look = self.look
        return Champion(look.champion, look.since) if look.champion is not None and look.since is not None else None

    @property
    def _returned(self) -> str:
        """Subject of a return. There is one decision of a kind about a subject, and a version may be taken back again after it was reinstated."""
        return f"{self.row.id}@{self.look.returns}" if self.look.returns else self.row.id

    @property
    def _key(self) -> str:
        """The tick of the step: the newest one that was monitored, but none before that of the opening."""
        return max(self.look.tick or "", self.row.opened_at)


def _gives_way(row: ReleaseRow, newer: ReleaseRow) -> bool:
    """Whether an unpromoted release ends with the opening of another one."""
    return row.id != newer.id and row.lane == newer.lane and row.opened_at <= newer.opened_at


def _figures(judgement: Judgement) -> dict[str, Any]:
    return {"evidence": judgement.as_dict()}

"""The states of a release, and the one function that decides how it moves from one to the next.

::

    shadow ── shown good enough (change), to be asked about (refresh) ──▶ approval ──┐
      │                                                                     │        │ promoted
      │ refresh that nobody has to approve ─────────────────────────────────┼────────┤
      │ shown worse, not shown in time, not scorable, a newer one           │ no     ▼
      └──────────────────────────────▶ closed ◀──────────────────────────────┴──  probation (refresh), else closed
                                         ▲                                           │
                                         └── kept, rolled back, a newer one serves ──┘

It decides from frozen data alone: the release's row, what was seen of it, and the policy. :func:`updraft.store.transitions.apply`
writes what it decided. The DAG `release` and the loop in one process call these two, and nothing else moves a release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from updraft.release.verdict import ClusterGain, Judgement, Verdict, judge_change, judge_probation
from updraft.store.records import Lane, ReleaseRow, Role
from updraft.store.transitions import Act, Transition

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
    """A person wants the version back that served before."""

    by: str
    reason: str


@dataclass(frozen=True)
class Newer:
    """Another release was opened."""

    release: ReleaseRow


_PROVED = "its proof on the holdout passed the gates"

Event = Answer | Asked | Unscorable | TakenBack | Newer
"""What somebody does or says at the moment of a look."""


@dataclass(frozen=True)
class Look:
    """What was seen of a release at one moment."""

    tick: str | None
    """The newest tick that was monitored; None before the first."""
    champion: str | None
    """The version that serves."""
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
        if isinstance(self.look.event, TakenBack) and self._can_go_back():
            return self._taken_back(self.look.event)
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
            self.look.gains, self.policy.release, self.policy.guard, partitions=self.look.partitions
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
        if self.look.worse_than_none and self._can_go_back():
            return self._roll_back(self.look.worse_than_none, {"guard": True})
        judgement = judge_probation(
            self.look.gains, self.policy.release, self.policy.guard, partitions=self.look.partitions
        )
        if judgement.verdict is Verdict.ROLL_BACK and self._can_go_back():
            return self._roll_back(judgement.reason, {"evidence": judgement.as_dict()})
        if self.look.partitions >= self.policy.release.refresh.probation:
            return self._keep(f"not shown worse in {self.look.partitions} partitions", _figures(judgement))
        return self._stay(Act.WAIT, judgement.reason)

    def _nothing(self) -> Transition:
        return self._stay(Act.DONE if self.look.promoted else Act.GONE, self.row.reason or str(self.row.outcome))

    # -- what is shared by several states --------------------------------------------------------------------------

    def _taken_back(self, wish: TakenBack) -> Transition:
        return self._roll_back(f"{wish.reason} (by {wish.by})", {"by": wish.by})

    def _can_go_back(self) -> bool:
        return self.look.promoted and self.look.champion == self.row.version and self.row.against is not None

    def _is_to_be_asked(self) -> bool:
        return isinstance(self.look.event, Asked) and self.policy.asks(self.row.lane)

    def _answer(self) -> Answer | None:
        """The answer in force: the one that was written down, else the one that is given now."""
        given = self.look.event
        return self.look.approval or (given if isinstance(given, Answer) else None)

    def _ended_before_it_served(self) -> Transition | None:
        answer, event = self._answer(), self.look.event
        if answer is not None and not answer.approved:
            reason = "rejected: nobody answered in time" if answer.by is None else f"rejected by {answer.by}"
            return self._reject(reason, {"by": answer.by})
        if isinstance(event, Unscorable) and event.role != "previous":
            return self._reject(event.why, {})
        if isinstance(event, Newer) and _gives_way(self.row, event.release):
            reason = f"superseded by {event.release.id}"
            key = event.release.opened_at
            return Transition(self.row, Act.SUPERSEDE, key, reason, to="closed", outcome="superseded")
        return None

    # -- the steps -------------------------------------------------------------------------------------------------

    def _promote(self, reason: str) -> Transition:
        row, before = self.row, self.look.champion
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
        body = {"version": self.row.version, "approved": True, "by": answer.by}
        reason = self.row.reason or f"approved by {answer.by}"
        return Transition(self.row, Act.APPROVE, self._key, reason, kind="approval", body=body)

    def _roll_back(self, reason: str, beside: Mapping[str, Any]) -> Transition:
        body = {"version": self.row.against, "previous": self.row.version, "reason": reason, **beside}
        return Transition(
            self.row,
            Act.ROLL_BACK,
            self._key,
            reason,
            to="closed",
            outcome="rolled_back",
            kind="roll_back",
            body=body,
            champion=self.row.version,
        )

    def _reject(self, reason: str, beside: Mapping[str, Any]) -> Transition:
        body = {"version": self.row.version, "reason": reason, "evidence": {}, **beside}
        return Transition(
            self.row, Act.REJECT, self._key, reason, to="closed", outcome="rejected", kind="rejected", body=body
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
    def _key(self) -> str:
        """The tick of the step: the newest one that was monitored, but none before that of the opening."""
        return max(self.look.tick or "", self.row.opened_at)


def _gives_way(row: ReleaseRow, newer: ReleaseRow) -> bool:
    """Whether an unpromoted release ends with the opening of another one."""
    return row.id != newer.id and row.lane == newer.lane and row.opened_at <= newer.opened_at


def _figures(judgement: Judgement) -> dict[str, Any]:
    return {"evidence": judgement.as_dict()}

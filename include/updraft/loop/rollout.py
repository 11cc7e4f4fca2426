"""The rollout of a registered model through its lane: what the `release` DAG does, step by step."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

from updraft.data.columns import CLUSTER, EVENT_TIME, ROW
from updraft.errors import ApprovalMissing, IntegrityError, ReleaseClosed, StoreError, TrainingError
from updraft.loop.context import Loop
from updraft.loop.evidence import gains
from updraft.loop.monitor import MONITOR, refit_layer
from updraft.release.verdict import Judgement, judge_change, judge_probation
from updraft.store.records import Decision, Lane, ReleaseRow, Role

log = logging.getLogger(__name__)


def release_id(loop: Loop, version: str) -> str:
    """One release a version."""
    return f"{loop.name}-v{version}"


def open_release(loop: Loop, version: str, lane: Lane, key: str) -> ReleaseRow:
    """Open the release of a version; an open one of the same lane that was still being proved gives way to it.

    :param key: the tick of its training. The release opens then, or now when the training was about an earlier tick.
    """
    new = release_id(loop, version)
    key = max(key, loop.store.seen(loop.name).get(MONITOR, key))
    row = loop.store.open_release(
        ReleaseRow(
            new, loop.name, lane, version, loop.store.serving(loop.name).champion, "shadow", None, None, key, None
        )
    )
    for other in loop.store.releases(loop.name, states=("shadow", "approval")):
        if other.id != new and other.lane == lane and other.opened_at <= row.opened_at and row.state != "closed":
            loop.store.move_release(
                other.id,
                to="closed",
                key=row.opened_at,
                outcome="superseded",
                reason=f"superseded by {new}",
                only=("shadow", "approval"),
            )
    return row


def check_staging(loop: Loop, release: str) -> dict[str, Any]:
    """Load the version as scoring would, verified, and let it score the newest partition.

    :raises IntegrityError: when it is not what was signed, or gives a score that is no number.
    """
    import numpy as np

    row = loop.store.release(release)
    model = loop.models.load(row.version)
    newest = loop.store.partitions(loop.name)[-1].key
    frame = loop.feature_frame(newest, loop.features_of(model)).drop(columns=[ROW, EVENT_TIME, CLUSTER])
    margin = model.margin(frame)
    if not np.isfinite(margin).all():
        raise IntegrityError(
            f"{release}: version {row.version} gives {int((~np.isfinite(margin)).sum())} scores that are no numbers on {newest}"
        )
    return {"version": row.version, "partition": newest, "rows": len(frame)}


def promote(loop: Loop, release: str, key: str, reason: str, evidence: dict[str, Any] | None = None) -> str:
    """Make the release's version champion; it starts with a calibration layer from what it had not seen.

    A refresh goes on probation when its policy has one and something served before it; everything else is done.

    :raises ReleaseClosed: when the release was closed before it could be promoted.
    """
    row = loop.store.release(release)
    if was_promoted(loop, release):  # run again, perhaps ticks later: what followed from it is done
        point_aliases(loop)
        return reason
    if row.state == "closed":
        raise ReleaseClosed(f"{release} is closed: {row.outcome}, {row.reason}")
    probation = (
        row.lane == "refresh"
        and loop.spec.release.refresh.probation > 0
        and loop.store.serving(loop.name).champion is not None
    )
    refit_layer(loop, row.version, key)
    loop.store.promote(
        row, key=key, to="probation" if probation else "closed", reason=reason, body={"evidence": evidence or {}}
    )
    point_aliases(loop)
    return reason


def was_promoted(loop: Loop, release: str) -> bool:
    """Whether the release's version served at some time."""
    return any(decision.subject == release for decision in loop.store.decisions(loop.name, kinds=("promote",)))


def promotion_key(loop: Loop, row: ReleaseRow) -> str:
    """The tick at which a release is promoted: the newest one that was monitored, or that of its opening."""
    return max(loop.store.seen(loop.name).get(MONITOR, row.opened_at), row.opened_at)


def point_aliases(loop: Loop) -> dict[str, str | None]:
    """Set MLflow's aliases to what the store says; they are for people and tools, the store decides."""
    serving = loop.store.serving(loop.name)
    shadow = loop.store.releases(loop.name, states=("shadow", "approval"))
    wanted = {
        "champion": serving.champion,
        "previous": serving.previous,
        "challenger": shadow[-1].version if shadow else None,
    }
    loop.models.point(wanted)
    return wanted


@dataclass(frozen=True)
class Look:
    """One look at a release's evidence."""

    key: str | None
    """The tick up to which evidence was seen; None before the first."""
    act: Literal["wait", "promote", "reject", "keep", "roll_back", "gone"]
    reason: str
    judgement: Judgement | None = None


def look(loop: Loop, release: str) -> Look:
    """Judge a release on the evidence so far. Looking changes nothing."""
    row = loop.store.release(release)
    key = loop.store.seen(loop.name).get(MONITOR)
    if row.state == "closed":
        return Look(key, "gone", row.reason or str(row.outcome))
    if row.state == "approval":
        return Look(key, "promote", row.reason or "proved; waits for an answer")
    clusters = gains(loop, release)
    since = _since(loop, row)
    partitions = sum(1 for one in loop.store.partitions(loop.name, until=key) if one.key > since) if key else 0
    policy, guard = loop.spec.release, loop.spec.gates.slices
    if row.state == "probation":
        judgement = judge_probation(clusters, policy, guard, partitions=partitions)
        if judgement.verdict == "roll_back":
            return Look(key, "roll_back", judgement.reason, judgement)
        if partitions >= policy.refresh.probation:
            return Look(key, "keep", f"not shown worse in {partitions} partitions", judgement)
        return Look(key, "wait", judgement.reason, judgement)
    if row.lane == "refresh":
        if partitions >= policy.refresh.shadow:
            return Look(key, "promote", f"proved on the holdout, then {partitions} partitions in shadow")
        return Look(key, "wait", f"{partitions} of {policy.refresh.shadow} partitions in shadow")
    judgement = judge_change(clusters, policy, guard, partitions=partitions)
    act: Literal["promote", "reject", "wait"] = "wait"
    if judgement.verdict == "promote":
        act = "promote"
    elif judgement.verdict == "reject":
        act = "reject"
    return Look(key, act, judgement.reason, judgement)


def _since(loop: Loop, row: ReleaseRow) -> str:
    """The tick from which partitions count: of the promotion for a probation, of the opening for a shadow."""
    if row.state != "probation":
        return row.opened_at
    promotions = loop.store.decisions(loop.name, kinds=("promote",))
    return next(decision.key for decision in promotions if decision.subject == row.id)


def conclude(loop: Loop, release: str, found: Look, key: str) -> None:
    """Write what a look concluded: a kept probation, a rejection, a rollback. Promotion is :func:`promote`."""
    row = loop.store.release(release)
    figures = found.judgement.as_dict() if found.judgement else {}
    if found.act == "roll_back":
        loop.store.roll_back(row, key=key, reason=found.reason, body={"evidence": figures})
    elif found.act in ("keep", "reject"):
        outcome: Literal["kept", "rejected"] = "kept" if found.act == "keep" else "rejected"
        body = {"version": row.version, "reason": found.reason, "evidence": figures}
        loop.store.decide(loop.name, key=key, kind=outcome, subject=release, body=body)
        loop.store.move_release(release, to="closed", key=key, outcome=outcome, reason=found.reason)
    point_aliases(loop)


def close_unscorable(loop: Loop, version: str, role: Role, key: str, why: str) -> str:
    """Close the open release of a version, as a shadow cannot be scored any more; the release.

    :param role: of the shadow: without its previous champion a probation ends as if it had lasted, and says so.
    """
    release = release_id(loop, version)
    outcome: Literal["kept", "rejected"] = "kept" if role == "previous" else "rejected"
    reason = f"its probation ends early: {why}" if role == "previous" else why
    body: dict[str, Any] = {
        "version": version,
        "verdict": "keep" if role == "previous" else "reject",
        "reason": reason,
        "evidence": {},
    }
    loop.store.decide(loop.name, key=key, kind="unscorable", subject=release, body=body)
    loop.store.move_release(release, to="closed", key=key, outcome=outcome, reason=reason)
    _point_aliases_or_later(loop)
    return release


def _point_aliases_or_later(loop: Loop) -> dict[str, str | None]:
    """Set the aliases where MLflow lets us; what was decided counts all the same. As the store has them."""
    try:
        return point_aliases(loop)
    except TrainingError as error:
        log.warning("This is decided; MLflow's aliases follow with `maintenance`: %s", error)
        serving = loop.store.serving(loop.name)
        return {"champion": serving.champion, "previous": serving.previous}


def record_verdict(loop: Loop, release: str, found: Look, key: str) -> None:
    """Write the verdict of a shadow, once: the approval that follows refers to it."""
    row = loop.store.release(release)
    figures = found.judgement.as_dict() if found.judgement else {}
    body = {"version": row.version, "verdict": found.act, "reason": found.reason, "evidence": figures}
    loop.store.decide(loop.name, key=key, kind="verdict", subject=release, body=body)
    if found.act == "promote":
        loop.store.move_release(release, to="approval", key=key, reason=found.reason)
    elif found.act == "reject":
        loop.store.move_release(release, to="closed", key=key, outcome="rejected", reason=found.reason)
        point_aliases(loop)


def record_approval(loop: Loop, release: str, *, approved: bool, by: str, key: str) -> bool:
    """Write a person's answer, once: the first one stays, whatever is cleared in Airflow. Returns the answer in force."""
    row = loop.store.release(release)
    body = {"version": row.version, "approved": approved, "by": by}
    decision = loop.store.decide(loop.name, key=key, kind="approval", subject=release, body=body)
    answer = bool(decision.body["approved"])
    if not answer:
        reason = f"rejected by {decision.body['by']}"
        loop.store.move_release(release, to="closed", key=key, outcome="rejected", reason=reason)
        point_aliases(loop)
    return answer


def asks_for_approval(loop: Loop, row: ReleaseRow) -> bool:
    """Whether the policy wants a person's answer before the release is promoted."""
    policy = loop.spec.release
    return policy.sensitive if row.lane == "refresh" else policy.change.approval == "required"


def approval_of(loop: Loop, release: str) -> Decision | None:
    """The answer to a release, as the store has it; None while there is none."""
    approvals = loop.store.decisions(loop.name, kinds=("approval",))
    return next((decision for decision in approvals if decision.subject == release), None)


def need_approval(loop: Loop, release: str) -> None:
    """Let a release through whose answer is in the store, or that needs none.

    Whoever may mark a task as a success in Airflow gets past the task that asks, not past this.

    :raises ApprovalMissing: when nobody approved it.
    """
    row = loop.store.release(release)
    if was_promoted(loop, release) or not asks_for_approval(loop, row):
        return
    answer = approval_of(loop, release)
    if answer is None or not answer.body["approved"]:
        state = "nobody has answered" if answer is None else f"rejected by {answer.body['by']}"
        raise ApprovalMissing(
            f"{release}: {state}, and the policy asks for an approval in lane {row.lane}; "
            "clear the task that asks for it, and let somebody answer who may"
        )


def roll_back_by_hand(loop: Loop, *, by: str, reason: str) -> dict[str, str | None]:
    """Put the version back now that served before the champion was promoted. After a rollback that is the one before it again.

    The decision counts, whatever MLflow's aliases say: when it does not take them, `maintenance` sets them.

    :return: the aliases as the store has them.
    :raises StoreError: when nothing served before.
    """
    champion = loop.store.serving(loop.name).champion
    row = loop.store.release(release_id(loop, champion)) if champion else None
    if row is None or row.against is None:
        raise StoreError(f"{loop.name}: there is no previous champion to roll back to")
    newest = loop.store.partitions(loop.name)[-1].key
    loop.store.roll_back(row, key=newest, reason=f"{reason} (by {by})", body={"by": by})
    return _point_aliases_or_later(loop)

"""The tasks of the DAG `release`, and whatever else moves a release: one function each, for the DAG and the loop in one process.

Each looks at the release, lets :func:`updraft.release.states.advance` decide, and writes the step that is its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from updraft.errors import (
    ApprovalMissing,
    IntegrityError,
    NotProved,
    ReleaseClosed,
    ReleaseMoved,
    TrainingError,
)
from updraft.loop.alerting import release_alerts
from updraft.loop.context import Loop
from updraft.loop.evidence import gains
from updraft.loop.monitor import MONITOR, refit_layer
from updraft.release.states import Answer, Asked, Event, Look, Newer, Policy, Reinstated, TakenBack, Unscorable, advance
from updraft.store.records import Decision, Lane, ReleaseRow, ReleaseState
from updraft.store.transitions import Act, Transition, apply
from updraft.store.transitions import open_release as write_opening

log = logging.getLogger(__name__)

_UNPROMOTED: tuple[ReleaseState, ...] = ("shadow", "approval")


def release_id(loop: Loop, version: str) -> str:
    """One release a version."""
    return f"{loop.name}-v{version}"


# -- looking: nothing is changed ---------------------------------------------------------------------------------------


def look(loop: Loop, row: ReleaseRow, event: Event | None = None) -> Look:
    """Everything that the next step of a release depends on."""
    store = loop.store
    tick, serving = store.seen_by(loop.name, MONITOR), store.serving(loop.name)
    champion = serving.champion
    promotion = store.decision(loop.name, "promote", row.id)
    seen = Look(tick, champion, serving.since, promoted=promotion is not None, event=event)
    if isinstance(event, TakenBack | Reinstated):
        seen = replace(seen, returns=len(store.returns(loop.name, row.id)), on_probation=_on_probation(loop))
    if row.state == "closed":
        return seen
    taken = store.taken_back(loop.name, [version for version in (row.version, row.against) if version is not None])
    seen = replace(seen, taken_back={version: taken_back_words(loop, taken[version]) for version in taken})
    since = promotion.key if row.state == "probation" and promotion is not None else row.counted_from
    monitored = store.count_published(loop.name, after=since, until=tick) if tick is not None else 0
    seen = replace(seen, partitions=monitored)
    if row.state == "probation" or (row.state == "shadow" and row.lane == "change"):
        seen = replace(seen, gains=tuple(gains(loop, row.id)))
    if row.state == "probation" and row.version == champion and tick is not None:
        seen = replace(seen, worse_than_none=_guarded(loop, row.version, tick))
    if row.state in _UNPROMOTED:
        answer = store.decision(loop.name, "approval", row.id)
        seen = replace(
            seen,
            approval=Answer(bool(answer.body["approved"]), answer.body["by"]) if answer is not None else None,
            on_probation=_on_probation(loop),
        )
    return seen


def _on_probation(loop: Loop) -> tuple[str, ...]:
    return tuple(other.id for other in loop.store.releases(loop.name, states=("probation",)))


def taken_back_words(loop: Loop, decision: Decision) -> str:
    """Of a version that a person took back: when, why, and what brings it back."""
    version = decision.body["previous"]
    return (
        f"version {version} was taken back at {decision.key}: {decision.body['reason']}; "
        f"`updraft reinstate {loop.name} {version}` brings it back"
    )


def _guarded(loop: Loop, version: str, tick: str) -> str | None:
    """What `monitor` found at a tick of a version that is worse than no model."""
    diagnosed = loop.store.decision(loop.name, "diagnose", tick)
    guarded = diagnosed.body.get("guard") if diagnosed else None
    return str(guarded["words"]) if guarded and guarded["version"] == version else None


def next_step(loop: Loop, release: str, event: Event | None = None, *, tick: str | None = None) -> Transition:
    """What is next for a release.

    :param event: what somebody says or does about it now.
    :param tick: at which it happens; None for the newest one that was monitored.
    """
    row = loop.store.release(release)
    seen = look(loop, row, event)
    return advance(row, seen if tick is None else replace(seen, tick=tick), Policy.of(loop.spec))


def _take(
    loop: Loop, release: str, acts: frozenset[Act], event: Event | None = None, *, tick: str | None = None
) -> Transition:
    """Write the next step of a release if it is one of ``acts``; the step, written or not. Moved meanwhile, it is looked at again."""
    while True:
        step = next_step(loop, release, event, tick=tick)
        if step.act not in acts or not step.writes:
            return step
        try:
            apply(loop.store, step)
        except ReleaseMoved as error:
            log.info("Looking again: %s", error)
            continue
        _tell_ended(loop, step.supersedes)
        point_aliases_or_later(loop)
        return step


# -- the tasks of the DAG ----------------------------------------------------------------------------------------------


def check_staging(loop: Loop, release: str) -> dict[str, Any]:
    """Load the version as scoring would, verified, and let it score the newest partition.

    :raises IntegrityError: when it is not what was signed, or gives a score that is no number.
    """
    row = loop.store.release(release)
    scorer = loop.scorer(row.version)
    newest = str(loop.store.newest_partition(loop.name))
    frame = loop.feature_frame(newest, scorer.features)
    if broken := scorer.score_features(frame).broken:
        raise IntegrityError(
            f"{release}: version {row.version} gives {len(broken)} scores that are no numbers on {newest}"
        )
    return {"version": row.version, "partition": newest, "rows": len(frame)}


def conclude(loop: Loop, release: str) -> Transition:
    """Write what the evidence says of a release, if it says anything; the step, :attr:`Act.WAIT` while it does not.

    A promotion is left to :func:`promote`.
    """
    return _take(loop, release, frozenset({Act.PROVE, Act.ASK, Act.REJECT, Act.KEEP, Act.ROLL_BACK}))


def ask_for_approval(loop: Loop, release: str) -> Transition:
    """Let a release wait for an answer where the policy wants one; the step after that, :attr:`Act.ASK` when a person is to be asked."""
    _take(
        loop, release, frozenset({Act.PROVE, Act.ASK, Act.REJECT}), Asked()
    )  # a no that was written down, and no more
    return next_step(loop, release, Asked())


def answer(loop: Loop, release: str, given: Answer) -> bool:
    """Write an answer, once: the first one stays, whatever is cleared in Airflow. A no closes the release.

    :return: whether the release may be promoted.
    """
    _take(loop, release, frozenset({Act.APPROVE, Act.REJECT}), given)
    return next_step(loop, release).act in (Act.PROMOTE, Act.DONE)


def promote(loop: Loop, release: str) -> Decision:
    """Make the release's version champion; it starts with a calibration layer from what it had not seen. The promotion's decision.

    A refresh goes on probation when its policy has one and something served before it; everything else is done. Run again, perhaps
    ticks later, it changes nothing: what followed from the promotion is done. Whoever may mark a task as a success in Airflow gets
    past the tasks that wait and ask, not past this.

    :raises ApprovalMissing: when a person has to approve it and nobody did.
    :raises NotProved: when its evidence does not show it good enough.
    :raises ReleaseClosed: when it was closed before it could be promoted.
    """
    while (decision := loop.store.decision(loop.name, "promote", release)) is None:
        step = next_step(loop, release)
        _check_promotable(step)
        if step.act is Act.PROMOTE:
            refit_layer(loop, step.release.version, step.key)
        try:
            apply(loop.store, step)
        except ReleaseMoved as error:
            log.info("Looking again: %s", error)
            continue
        _tell_ended(loop, step.supersedes)
    point_aliases(loop)
    return decision


def is_approved(loop: Loop, release: str) -> bool:
    """Whether a person has said yes to a release."""
    given = loop.store.decision(loop.name, "approval", release)
    return given is not None and bool(given.body["approved"])


def _check_promotable(step: Transition) -> None:
    release, lane = step.release.id, step.release.lane
    match step.act:
        case Act.PROMOTE | Act.PROVE:
            return
        case Act.ASK:
            raise ApprovalMissing(
                f"{release}: nobody has answered, and the policy asks for an approval in lane {lane}; "
                "clear the task that asks for it, and let somebody answer who may"
            )
        case Act.GONE:
            raise ReleaseClosed(f"{release} is closed: {step.release.outcome}, {step.reason}")
    raise NotProved(f"{release}: {step.reason}; clear the task that waits for its evidence")


# -- what else moves a release -----------------------------------------------------------------------------------------


def open_release(loop: Loop, version: str, lane: Lane, key: str) -> ReleaseRow:
    """Open the release of a version; an open one of the same lane that was still being proved gives way to it.

    A change whose recipe is in shadow already goes on with what that shadow has shown.

    :param key: the tick of its training. The release opens then, or now when the training was about an earlier tick.
    """
    key = max(key, loop.store.seen_by(loop.name, MONITOR) or key)
    champion = loop.store.serving(loop.name).champion
    row = ReleaseRow(
        release_id(loop, version),
        loop.name,
        lane,
        version,
        champion,
        "shadow",
        None,
        None,
        opened_at=key,
        closed_at=None,
    )
    policy = Policy.of(loop.spec)
    while True:
        others = loop.store.releases(loop.name, states=_UNPROMOTED)
        earlier = same_recipe(loop, row, others)
        opening = row
        if earlier is not None:
            opening = replace(row, since=earlier.counted_from, continues=(*earlier.continues, earlier.version))
        steps = [advance(other, look(loop, other, Newer(opening)), policy) for other in others]
        ended = [step for step in steps if step.act is Act.SUPERSEDE]
        try:
            opened = write_opening(loop.store, opening, ended, continuing=earlier.id if earlier is not None else None)
        except ReleaseMoved as error:
            log.info("Looking again: %s", error)
            continue
        _tell_ended(loop, [step.release.id for step in ended])
        return opened


def same_recipe(loop: Loop, row: ReleaseRow, others: Iterable[ReleaseRow]) -> ReleaseRow | None:
    """The change among unpromoted releases that a newer release of the same recipe goes on with; None when there is none."""
    recipe = _recipe(loop, row.version)
    if row.lane != "change" or recipe is None:
        return None
    changes = [other for other in others if other.lane == "change" and other.id != row.id]
    return next((other for other in changes if _recipe(loop, other.version) == recipe), None)


def _recipe(loop: Loop, version: str) -> str | None:
    training = loop.store.training_of(loop.name, version)
    return (
        str(training.result["recipe_sha256"]) if training is not None and "recipe_sha256" in training.result else None
    )


def _tell_ended(loop: Loop, releases: Iterable[str]) -> None:
    """Tell of releases that end as another one takes their place. A process that is killed before: their own runs of the DAG tell it."""
    for release in releases:
        release_alerts.of_release(loop, release)


def end_unscorable(loop: Loop, version: str, event: Unscorable, key: str) -> str:
    """Close the open release of a version, as a shadow cannot be scored any more at a tick; the release.

    Without its previous champion a probation ends as if it had lasted, and says so.
    """
    release = release_id(loop, version)
    _take(loop, release, frozenset({Act.REJECT, Act.KEEP}), event, tick=key)
    return release


def roll_back_by_hand(loop: Loop, *, serving: str, to: str, by: str, reason: str) -> dict[str, str | None]:
    """Let another version serve now in place of the champion, which does not come back by itself any more.

    The decision counts, whatever MLflow's aliases say: when it does not take them, `maintenance` sets them.

    :param serving: what serves as far as the person knows.
    :return: the aliases as the store has them.
    :raises ReleaseMoved: when something else serves by now.
    """
    _open_for(loop, to)
    _returned(loop, _open_for(loop, serving).id, TakenBack(by, reason, to), serving, Act.ROLL_BACK)
    return aliases(loop)


def reinstate_by_hand(loop: Loop, *, serving: str, version: str, by: str, reason: str) -> dict[str, str | None]:
    """Let a version serve again that was taken back; from now on it is a version like any other.

    :param serving: what serves as far as the person knows.
    :return: the aliases as the store has them.
    :raises ReleaseMoved: when something else serves by now, or the version was not taken back.
    """
    _returned(loop, release_id(loop, version), Reinstated(by, reason, serving), serving, Act.REINSTATE)
    return aliases(loop)


def _returned(loop: Loop, release: str, wish: TakenBack | Reinstated, serving: str, act: Act) -> None:
    champion = loop.store.serving(loop.name).champion
    newest = loop.store.newest_partition(loop.name)
    if champion == serving and _take(loop, release, frozenset({act}), wish, tick=newest).act is act:
        return
    raise ReleaseMoved(f"{release}: version {champion} serves by now, and version {serving} did; look again")


def _open_for(loop: Loop, version: str) -> ReleaseRow:
    """The release of a version; a closed one is made for a version that has none, as its gates refused it."""
    id_, key = release_id(loop, version), loop.store.newest_partition(loop.name) or ""
    training = loop.store.training_of(loop.name, version)
    lane: Lane = "change" if training is not None and training.result.get("lane") == "change" else "refresh"
    row = ReleaseRow(id_, loop.name, lane, version, None, "closed", "rejected", "refused by its gates", key, key)
    return write_opening(loop.store, row)


# -- MLflow's aliases --------------------------------------------------------------------------------------------------


def aliases(loop: Loop) -> dict[str, str | None]:
    """Versions by alias, as the store has them."""
    serving = loop.store.serving(loop.name)
    unpromoted = loop.store.releases(loop.name, states=_UNPROMOTED)
    challenger = unpromoted[-1].version if unpromoted else None
    return {"champion": serving.champion, "previous": serving.previous, "challenger": challenger}


def point_aliases(loop: Loop) -> dict[str, str | None]:
    """Set MLflow's aliases to what the store says; they are for people and tools, the store decides."""
    wanted = aliases(loop)
    loop.models.point(wanted)
    return wanted


def point_aliases_or_later(loop: Loop) -> None:
    """Set the aliases where MLflow lets us; what was decided counts all the same."""
    try:
        point_aliases(loop)
    except TrainingError as error:
        log.warning("This is decided; MLflow's aliases follow with `maintenance`: %s", error)

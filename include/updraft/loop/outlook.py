"""What happens next to a project, and why nothing is trained now.

What the store knows is read into :class:`Standing`; :func:`outlook` makes of it one line for the next tick, one for the next training, and one
for each open release. Ticks that are still to come are named by the schedule: a partition that is refused or missing by then moves them on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

from updraft.data.partitions import KEY_FORMAT, end_of_history, keys_after, tick_of
from updraft.errors import DataError
from updraft.loop.context import Loop
from updraft.loop.monitor import MONITOR, past
from updraft.loop.policy_limits import YEAR
from updraft.loop.release import next_step
from updraft.loop.stopping import stopped_remedies
from updraft.monitoring.remedies import NextTraining, Past, next_training
from updraft.spec.model import FixedLimit, ProjectSpec, Retrain
from updraft.store.records import Decision, EpisodeRow, ReleaseRow, TrainingRow
from updraft.store.transitions import Act

_COUNTED = 100
"""Ticks that are counted one by one; those after them are told by the pace of these."""


@dataclass(frozen=True)
class OpenRelease:
    """A release that is under way."""

    row: ReleaseRow
    act: Act
    """What is next for it, by what has been seen so far."""
    reason: str
    partitions: int
    """Monitored since it is in its state."""


@dataclass(frozen=True)
class Standing:
    """What the store knows of a project at one moment."""

    now: datetime
    newest: str | None
    """The newest partition that was ingested; None before the first."""
    published: str | None
    """The newest one that was published."""
    monitored: str | None
    """The newest one that `monitor` has looked at."""
    past: Past | None
    """As of the newest published partition; None before the first, and where the schedule does not tick at it any more."""
    episodes: tuple[EpisodeRow, ...] = ()
    """That call for a training, and have not ended."""
    attempt: TrainingRow | None = None
    """The last training that an episode asked for."""
    budget_from: str | None = None
    """Tick of the training that has to be a year old before the budget allows the next one."""
    kept_out: int = 0
    """Partitions of the newest training window from which nothing is learnt."""
    releases: tuple[OpenRelease, ...] = ()
    stopped: Decision | None = None
    """By which a person stopped the remedies; None while they go on."""


def read_standing(loop: Loop, now: datetime) -> Standing:
    """Ask the store, by key and by range, for what :func:`outlook` is told from.

    :param now: of the clock.
    """
    store, name, spec = loop.store, loop.name, loop.spec
    window = store.partitions(name, newest=spec.training.window)
    published = window[-1].key if window else None
    retrain = spec.monitoring.remedies.retrain
    monitored = store.seen_by(name, MONITOR)
    return Standing(
        now=now,
        newest=store.newest_partition(name, state=None),
        published=published,
        monitored=monitored,
        past=_past(loop, published),
        episodes=tuple(row for row in store.episodes(name, states=("due", "started")) if row.remedy == "retrain"),
        attempt=store.newest_attempt(name),
        budget_from=store.budget_key(name, retrain.per_year) if retrain else None,
        kept_out=len(store.kept_out(name, since=window[0].key, until=window[-1].key)) if window else 0,
        releases=tuple(_open_release(loop, row, monitored) for row in store.open_releases(name)),
        stopped=stopped_remedies(store, name),
    )


def _past(loop: Loop, key: str | None) -> Past | None:
    try:
        return None if key is None else past(loop, key)
    except DataError:  # the schedule was changed, and no partition of the new one has come
        return None


def _open_release(loop: Loop, row: ReleaseRow, monitored: str | None) -> OpenRelease:
    step = next_step(loop, row.id)
    promotion = loop.store.decision(loop.name, "promote", row.id) if row.state == "probation" else None
    since = promotion.key if promotion is not None else row.counted_from
    seen = loop.store.count_published(loop.name, after=since, until=monitored) if monitored is not None else 0
    return OpenRelease(row, step.act, step.reason, seen)


def outlook(spec: ProjectSpec, standing: Standing) -> list[str]:
    """What happens next, one line each. It reads nothing else."""
    return [*_next_tick(spec, standing), *_training(spec, standing), *_releases(spec, standing)]


def training_outlook(spec: ProjectSpec, standing: Standing) -> str:
    """The next training and what holds it back, of :func:`outlook` that line alone."""
    return "; ".join(_training(spec, standing))


def release_outlook(spec: ProjectSpec, release: OpenRelease, standing: Standing) -> str:
    """What becomes of an open release, of :func:`outlook` that line alone."""
    return _release(spec, release, standing.monitored or release.row.opened_at)


def _next_tick(spec: ProjectSpec, standing: Standing) -> Iterator[str]:
    ended = end_of_history(spec)
    if standing.published is not None and (standing.monitored or "") < standing.published:
        yield f"{spec.name}.score and {spec.name}.monitor look at partition {standing.published}"
    if ended is not None and ended <= standing.now:
        begins = datetime.combine(spec.data.start, datetime.min.time(), UTC)
        key = next(keys_after(spec, tick_of(standing.newest) if standing.newest else begins), None)
        if key is None:
            yield f"no partition comes any more: the history ends with {spec.data.end} (data.end)"
        else:
            yield f"partition {key}, when it is loaded by a backfill or a replay: the history has ended by the clock ({spec.data.end}, data.end)"
        return
    key = next(keys_after(spec, standing.now), None)
    if key is None:
        yield f"no partition comes any more: the history ends with {spec.data.end} (data.end)"
        return
    yield f"partition {key} is ingested {_in(tick_of(key) - standing.now)}"


def _in(left: timedelta) -> str:
    """How long it takes, in words."""
    minutes = int(left / timedelta(minutes=1)) + 1
    if minutes < 2 * 60:
        return f"in {minutes} minutes"
    return f"in {minutes // 60} hours" if minutes < 2 * 24 * 60 else f"in {minutes // (24 * 60)} days"


def _training(spec: ProjectSpec, standing: Standing) -> Iterator[str]:
    """The next training, and everything that holds it back."""
    name, retrain = spec.name, spec.monitoring.remedies.retrain
    if retrain is None:
        yield f"no training by itself: the policy never retrains (monitoring.remedies.retrain is null); start {name}.train by hand"
        return
    if (stop := standing.stopped) is not None:
        yield (
            f"no training: {stop.body['by']} stopped the remedies at {stop.written_at[:16].replace('T', ' ')} ({stop.body['reason']}); "
            f"`updraft remedies resume {name} --reason WHY` lets them go on"
        )
        return
    if standing.episodes:
        for row in standing.episodes:
            yield _called_for(name, row)
        return
    before = standing.past
    coming = next_training(spec.monitoring.remedies, before, first_after=spec.training.first_after) if before else None
    if before is None or coming is None:
        yield f"the first training, when {spec.training.first_after} partitions with known labels are there (training.first_after)"
        return
    yield "; ".join([_when(spec, standing, retrain, before, coming), *_beside(spec, standing, before)])


def _called_for(name: str, row: EpisodeRow) -> str:
    words = str(row.diagnosis.get("words", row.cause))
    if row.state == "due":
        return f"training, as soon as {name}.watch starts it, for episode {row.id}: {words}"
    return (
        f"the training of episode {row.id} ends, or has failed: see its run of {name}.train. No other one starts before; one that has "
        f"failed is closed when {name}.monitor looks at the next partition ({words})"
    )


def _when(spec: ProjectSpec, standing: Standing, retrain: Retrain, before: Past, coming: NextTraining) -> str:
    where, published = "monitoring.remedies.retrain", str(standing.published)
    if coming.budget_spent:
        until = f"before {tick_of(standing.budget_from) + YEAR:%Y-%m-%d}" if standing.budget_from else "for now"
        return f"no training {until}, unless the champion is worse than none: the budget of {retrain.per_year} a year is spent ({where}.per_year)"
    first = "" if before.champion else "the first "
    counted = "" if coming.partitions is None else f"{first}training {_after(spec, published, coming.partitions)}"
    if not before.champion and not coming.cooldown:
        needs = f"it needs {spec.training.first_after} partitions with known labels (training.first_after), and {before.published} are there"
        return f"{counted}: {needs}"
    on = ", ".join(_trigger(trigger) for trigger in retrain.on) if before.champion else ""
    triggered = f"when a trigger calls for one ({on})" if on else ""
    called_for = ", or before, ".join(filter(None, (counted, triggered)))
    if not counted:
        called_for = f"training {triggered}" if on else f"no training: {where} has neither every nor a trigger"
    if not coming.cooldown:
        return called_for
    limit = f"{where}.at_most: {retrain.at_most}" if coming.rated else f"{where}.cooldown: {retrain.cooldown}"
    cooling = (
        f"no training, unless the champion is worse than none, within {limit}, which is over "
        f"{_after(spec, published, coming.cooldown)}"
    )
    return f"{cooling}; then {called_for}" if coming.partitions != coming.cooldown else cooling


def _trigger(trigger: str | FixedLimit) -> str:
    return f"{trigger.metric} {trigger.side} {trigger.value:g}" if isinstance(trigger, FixedLimit) else trigger


def _beside(spec: ProjectSpec, standing: Standing, before: Past) -> Iterator[str]:
    """What is to be known of the last training and of what the next one may learn from."""
    last = standing.attempt
    if last is not None and last.state == "failed":
        yield f"the last one, of {last.key}, failed: see its run {last.id} of {spec.name}.train"
    elif last is not None and last.state == "refused":
        yield f"the last one, of {last.key}, made version {last.version}, which its gates refused"
    if before.fruitless > 1:
        yield f"the last {before.fruitless} came to nothing"
    if standing.kept_out:
        yield f"{standing.kept_out} of the newest partitions are kept out of it"


def _after(spec: ProjectSpec, key: str, partitions: int) -> str:
    """When so many more partitions after one will have come, if each tick brings one."""
    ticks = [*islice(keys_after(spec, tick_of(key)), min(partitions, _COUNTED))]
    if len(ticks) < min(partitions, _COUNTED):
        named = "past data.end"
    elif partitions <= _COUNTED:
        named = ticks[-1]
    else:
        named = _far_tick(spec, [tick_of(tick) for tick in ticks], partitions)
    return f"after {partitions} more partition{'' if partitions == 1 else 's'} ({named})"


def _far_tick(spec: ProjectSpec, ticks: Sequence[datetime], partitions: int) -> str:
    """The tick so many partitions on, from the first ones of them: to count thousands of ticks of a cron expression takes seconds."""
    gaps = {later - earlier for earlier, later in pairwise(ticks)}
    mean = (ticks[-1] - ticks[0]) / (len(ticks) - 1)
    moment, ended = ticks[-1] + mean * (partitions - len(ticks)), end_of_history(spec)
    if ended is not None and moment > ended:
        return "past data.end"
    return moment.strftime(KEY_FORMAT) if len(gaps) == 1 else f"about {moment:%Y-%m-%d}"


def _releases(spec: ProjectSpec, standing: Standing) -> Iterator[str]:
    for release in standing.releases:
        yield release_outlook(spec, release, standing)


def _release(spec: ProjectSpec, release: OpenRelease, monitored: str) -> str:
    row, policy = release.row, spec.release
    what = f"version {row.version} ({row.lane})"
    if release.act is Act.ASK and row.state == "approval":
        days = policy.change.approval_timeout / timedelta(days=1)
        return (
            f"a person promotes or rejects {what} in {spec.name}.release; unanswered for {days:g} days it is rejected"
        )
    if release.act is not Act.WAIT:
        return f"{spec.name}.release takes {what} on ({release.act.value.replace('_', ' ')}): {release.reason}"
    if row.state == "probation":
        earliest = max(policy.refresh.probation - release.partitions, 1)
        latest = max(policy.refresh.longest_probation - release.partitions, 1)
        soonest = "" if earliest >= latest else f"{_after(spec, monitored, earliest)} at the earliest and "
        return (
            f"the probation of {what} ends {soonest}{_after(spec, monitored, latest)} at the latest, or with the next refresh; "
            f"so far {release.reason}"
        )
    if row.lane == "refresh":
        left = max(policy.refresh.shadow - release.partitions, 1)
        return f"the shadow of {what} ends {_after(spec, monitored, left)}; so far {release.reason}"
    latest = max(policy.change.shadow.at_most - release.partitions, 1)
    earliest = max(policy.change.shadow.at_least - release.partitions, 1)
    soonest = "" if earliest >= latest else f"{_after(spec, monitored, earliest)} at the earliest and "
    return (
        f"the verdict on {what} comes {soonest}{_after(spec, monitored, latest)} at the latest; so far {release.reason}"
    )

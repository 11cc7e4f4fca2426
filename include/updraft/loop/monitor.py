"""What `monitor` does at a tick: measure, gather evidence, recalibrate, and decide on remedies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from updraft.data.columns import CLUSTER, LABEL, ROW, SCORE
from updraft.data.partitions import KEY_FORMAT
from updraft.data.vectors import as_values
from updraft.loop.challenger import aged_challenger, plan_remedy
from updraft.loop.context import Loop, rounded
from updraft.loop.evidence import gains
from updraft.loop.feature_drift import Drifting, broken_feed, look_for_drift
from updraft.loop.figures import record_figures
from updraft.loop.kept_out import lasting_signs
from updraft.loop.labelled import guard, matured, newly_known, unseen_by
from updraft.loop.plan import count_labelled
from updraft.loop.stopping import stopped_remedies
from updraft.loop.trials import refit_trial, why_no_refit_trial
from updraft.monitoring.calibration import Matured, refit
from updraft.monitoring.faults import FeedFault
from updraft.monitoring.jump import loss_jump
from updraft.monitoring.remedies import Diagnosis, Past, Signs, diagnose, wants_refit_trial
from updraft.release.verdict import is_better_so_far
from updraft.store.records import (
    Decision,
    EpisodeRow,
    EvidenceRow,
    FiguresRow,
    PerformanceRow,
    PredictionRow,
    ReleaseRow,
    TrainingRow,
)

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

MONITOR = "monitor"
"""Name under which `monitor` notes in the store how far it has come."""


_GAIN, _AGAINST = "_gain", "_against"
"""Columns of evidence beside those of the project, whose names never begin so."""
_ANSWERED_WITHIN = 2
"""Ticks after a cooldown at which a jump within it still starts a training: one may bring a broken feed."""

Ended = Callable[[str], str | None]
"""Why a training run brings nothing any more, by its id; None while it may."""


@dataclass(frozen=True)
class Measured:
    """What `measure_performance` wrote at a tick."""

    performance: tuple[PerformanceRow, ...] = ()
    clusters: dict[str, int] = field(default_factory=dict)
    """Clusters of evidence added, by release."""
    figures: tuple[FiguresRow, ...] = ()


@dataclass(frozen=True)
class Decided:
    """What `decide_remedies` decided at a tick."""

    closed: dict[str, str] = field(default_factory=dict)
    """Episodes whose training failed for good, each with the reason."""
    episode: EpisodeRow | None = None
    """The tick's episode."""
    drift: Drifting | None = None
    """None when the tick was decided before, or comes late."""


def measure_performance(loop: Loop, key: str) -> Measured:
    """The task of that name: measure what served on the labels that matured, and add the paired losses to every open release."""
    return Measured(measure(loop, key), gather_evidence(loop, key), figure(loop, key))


def measure(loop: Loop, key: str) -> tuple[PerformanceRow, ...]:
    """Metrics of every role on the partitions whose labels became known at this tick.

    A partition that comes late is measured on what is known by now: the ticks at which its labels matured have passed.
    """
    measured = []
    as_of = str(loop.store.seen_by(loop.name, MONITOR)) if is_late(loop, key) else key
    targets = {key} if as_of != key else set(newly_known(loop, key))
    for target in sorted(targets):
        for _, prediction in sorted(loop.store.predictions(loop.name, target).items()):
            rows = matured(loop, prediction, as_of)
            if not len(rows):
                continue
            label, score = rows[LABEL].to_numpy(float), as_values(rows[SCORE])
            metrics = loop.spec.task_type.measure(label, score)
            row = PerformanceRow(target, as_of, prediction.role, prediction.version, len(rows), rounded(metrics))
            loop.store.record_performance(loop.name, row)
            measured.append(row)
    return tuple(measured)


def figure(loop: Loop, key: str) -> tuple[FiguresRow, ...]:
    """Business figures of what served, of the partitions whose labels are all known with this tick; nothing is read where none is declared.

    Unlike a loss, a sum over half of the labels means nothing, so each is computed once, when all are known.
    """
    if not loop.spec.monitoring.figures:
        return ()
    as_of = str(loop.store.seen_by(loop.name, MONITOR)) if is_late(loop, key) else key
    return record_figures(loop, key, as_of)


def has_passed(loop: Loop, key: str) -> bool:
    """Whether a later tick has been monitored already: what this one brings now (late, or cleared) decides nothing any more."""
    return (loop.store.seen_by(loop.name, MONITOR) or "") > key


def is_late(loop: Loop, key: str) -> bool:
    """Whether a later tick has been monitored already and this one had not: a partition that was refused and mended, or a backfill."""
    if not has_passed(loop, key):
        return False
    decided = _diagnosed(loop, key)
    return decided is None or bool(decided.body.get("late"))


def _diagnosed(loop: Loop, key: str) -> Decision | None:
    return loop.store.decision(loop.name, "diagnose", key)


def gather_evidence(loop: Loop, key: str) -> dict[str, int]:
    """Add this tick's clusters to every open release: paired losses of the older and the newer model on the same rows."""
    if has_passed(loop, key):
        return {}
    added = {}
    fresh = newly_known(loop, key)
    for release in loop.store.open_releases(loop.name):
        if release.opened_at >= key:
            continue
        rows = _clusters(loop, release, fresh, key)
        loop.store.record_evidence(loop.name, release.id, rows)
        added[release.id] = len(rows)
    return added


def _pair(loop: Loop, release: ReleaseRow, target: str) -> tuple[PredictionRow, PredictionRow] | None:
    """(older, newer) predictions of a partition for a release, when both are there."""
    there = loop.store.predictions(loop.name, target)
    champion = there.get("champion")
    if release.state == "probation":
        other = there.get("previous")
        if champion is None or other is None or champion.version != release.version or other.version != release.against:
            return None
        return other, champion
    other = there.get("challenger" if release.lane == "change" else "refresh")
    # Labels of what an earlier version of the same recipe scored may come after a younger one has taken its place.
    return (champion, other) if champion and other and other.version in (*release.continues, release.version) else None


def _clusters(loop: Loop, release: ReleaseRow, fresh: Mapping[str, frozenset[int]], key: str) -> list[EvidenceRow]:
    """One row a cluster. Rows of a cluster may come from two partitions: the tick lies within a day."""
    import pandas as pd

    frames = [_gains(loop, release, target, rows, key) for target, rows in sorted(fresh.items())]
    labelled = [frame for frame in frames if frame is not None]
    if not labelled:
        return []
    guarded = loop.spec.gates.slices
    return [
        _evidence(str(name), key, frame, guarded.by if guarded else ())
        for name, frame in pd.concat(labelled, ignore_index=True).groupby(CLUSTER, sort=True)
    ]


def _gains(loop: Loop, release: ReleaseRow, target: str, fresh: frozenset[int], key: str) -> pd.DataFrame | None:
    """ROW, CLUSTER, ``_GAIN``, ``_AGAINST`` and the guarded columns of the rows of a partition whose labels became known at this tick."""
    pair = _pair(loop, release, target)
    if pair is None:
        return None
    older, newer = (matured(loop, prediction, key) for prediction in pair)
    older, newer = older[older[ROW].isin(fresh)], newer[newer[ROW].isin(fresh)]
    if not len(older):
        return None
    loss = loop.spec.task_type.loss_named(loop.spec.release.metric)
    gain = loss(older[LABEL].to_numpy(float), as_values(older[SCORE])) - loss(
        newer[LABEL].to_numpy(float), as_values(newer[SCORE])
    )
    rows = older[[ROW, CLUSTER]].copy()
    rows[_GAIN], rows[_AGAINST] = gain, pair[0].version
    guarded = loop.spec.gates.slices
    return rows.merge(loop.lookup(target, guarded.by), on=ROW, how="left") if guarded else rows


def _evidence(cluster: str, key: str, rows: pd.DataFrame, by: tuple[str, ...]) -> EvidenceRow:
    slices = {
        f"{column}={value}": (len(frame), float(frame[_GAIN].mean()))
        for column in by
        for value, frame in rows.groupby(column, sort=True)
    }
    return EvidenceRow(cluster, key, len(rows), float(rows[_GAIN].mean()), slices, str(rows[_AGAINST].iloc[-1]))


def recalibrate(loop: Loop, key: str) -> dict[str, str]:
    """The task `recalibrate_models`: refit the calibration layer of every version that scores, where the policy says it is due.

    :return: what became of each version's layer.
    """
    policy = loop.spec.monitoring.remedies.recalibrate
    if policy is None or not _turn(loop, key, policy.every) or has_passed(loop, key):
        return {}
    if stopped_remedies(loop.store, loop.name) is not None:
        return {}
    serving = loop.store.serving(loop.name)
    versions = {serving.champion} | {row.version for row in loop.store.predictions(loop.name, key).values()}
    broken = frozenset({key} if broken_feed(loop, key) else ())  # its episode is opened after this
    return {version: refit_layer(loop, version, key, broken) for version in sorted(v for v in versions if v)}


def refit_layer(loop: Loop, version: str, key: str, without: frozenset[str] = frozenset()) -> str:
    """Refit one version's layer at a tick, less some partitions, and write the decision; returns its reason."""
    policy = loop.spec.monitoring.remedies.recalibrate
    if policy is None:
        return "the policy has no recalibration"
    outcome = refit(loop.spec.task_type, unseen_by(loop, version, key, without), policy.window)
    body: dict[str, Any] = {
        "version": version,
        "layer": outcome.layer.as_dict() if outcome.in_force else None,
        "trial": outcome.trial.as_dict() if outcome.trial else None,
        "reason": outcome.reason,
        **({"strength": outcome.strength} if outcome.strength is not None else {}),
        **({"too_few": True} if outcome.too_few else {}),
    }
    decision = loop.store.decide(loop.name, key=key, kind="recalibrate", subject=f"{version}@{key}", body=body)
    return str(decision.body["reason"])


def _turn(loop: Loop, key: str, every: int) -> bool:
    return every == 1 or loop.store.count_published(loop.name, until=key) % every == 0


def past(loop: Loop, key: str) -> Past:
    """What has been done for the project up to this tick."""
    store = loop.store
    trained = store.last_trained(loop.name, until=key, states=("registered", "refused"))
    tried = store.last_trained(loop.name, until=key)
    year_ago = (loop.partition(key).tick - timedelta(days=365)).strftime(KEY_FORMAT)
    return Past(
        published=count_labelled(loop, key),
        since_training=store.count_published(loop.name, after=trained, until=key) if trained else None,
        since_attempt=store.count_published(loop.name, after=tried, until=key) if tried else None,
        trained_this_year=store.count_trainings(loop.name, after=year_ago, until=key),
        fruitless=store.fruitless_trainings(loop.name, until=key),
        champion=loop.store.serving(loop.name).champion is not None,
        since_jump=_since_jump(loop, key),
        open_episode=any(row.remedy == "retrain" for row in loop.store.episodes(loop.name, states=("due", "started"))),
        stopped=stopped_remedies(store, loop.name) is not None,
        since_first_of_rate=_since_first_of_rate(loop, key),
    )


def _since_first_of_rate(loop: Loop, key: str) -> int | None:
    """Partitions since the oldest of the trainings that ``retrain.at_most`` allows; None while there were fewer of them, or it says nothing."""
    retrain = loop.spec.monitoring.remedies.retrain
    if retrain is None or retrain.at_most is None:
        return None
    first = loop.store.budget_key(loop.name, retrain.at_most.trainings, until=key)
    return None if first is None else loop.store.count_published(loop.name, after=first, until=key)


def _since_jump(loop: Loop, key: str) -> int | None:
    jumps = loop.store.episodes(loop.name, cause="jump", newest=1)
    return loop.store.count_published(loop.name, after=jumps[0].opened_at, until=key) if jumps else None


def _jump(loop: Loop, key: str, parts: Sequence[Matured]) -> str | None:
    """Words of a jump of the champion's loss on a partition whose labels became known at this tick; without its layer, which follows the loss.

    :param parts: what the champion had not seen, in order.
    """
    task, parts = loop.spec.task_type, [part for part in parts if len(part.label)]
    if not parts or parts[-1].key not in newly_known(loop, key):
        return None
    jump = loss_jump([task.mean_margin_loss(part.label, part.margin) for part in parts])
    return jump.words(parts[-1].key, task.headline.name) if jump else None


def _jump_in_cooldown(loop: Loop, before: Past) -> str | None:
    """Words of a jump since the last training that cooldown or rate held back: the first ticks after them answer it. None when there was none.

    What serves by now was learnt just before the jump, and the newest partition is no jump beside the last one.
    """
    retrain, since = loop.spec.monitoring.remedies.retrain, before.since_attempt
    if retrain is None or since is None:
        return None
    over = {"the cooldown": since - retrain.cooldown}
    if retrain.at_most is not None and before.since_first_of_rate is not None:
        over[f"at_most: {retrain.at_most}"] = before.since_first_of_rate - retrain.at_most.of
    limit, ago = min(over.items(), key=lambda item: item[1])
    if not 0 <= ago <= _ANSWERED_WITHIN or since - ago < 2:
        return None
    held = loop.store.newest_decisions(loop.name, ("diagnose",), since - 1)[: since - 1 - ago]
    words = [str(decision.body["jump"]) for decision in held if decision.body.get("jump")]
    return f"{words[0]}; {limit} held its training back" if words else None


def _is_on_probation(loop: Loop, version: str | None) -> bool:
    """Whether a version that is worse than no model is taken back instead of trained anew: unless what served before it does worse."""
    return any(
        release.version == version and not is_better_so_far(gains(loop, release.id))
        for release in loop.store.releases(loop.name, states=("probation",))
    )


def _unfinished_trainings(loop: Loop, key: str) -> list[EpisodeRow]:
    """Episodes from before this tick whose training was started and has brought nothing yet."""
    return [row for row in loop.store.episodes(loop.name, states=("started",)) if row.opened_at < key]


def _close_failed_training(loop: Loop, episode: EpisodeRow, key: str, why: str) -> None:
    """A training that failed for good is over, so that the next one can become due after the cooldown. Mended later, it still counts."""
    there = loop.store.training(loop.name, episode.id)
    row = there or TrainingRow(episode.id, loop.name, episode.opened_at, episode.id, None, "running", None, {})
    loop.store.record_training(replace(row, state="failed"))
    loop.store.decide(loop.name, key=key, kind="training_ended", subject=episode.id, body={"reason": why})
    loop.store.close_episode(loop.name, episode.id, key=key, outcome=why)


def decide_remedies(loop: Loop, key: str, ended: Ended) -> Decided:
    """The task of that name: close what failed, diagnose the project, and note that this tick has been monitored.

    :param ended: tells of a training that was started whether it is over without a model.
    """
    closed = {}
    for unfinished in _unfinished_trainings(loop, key):
        if (why := ended(unfinished.id)) is not None:
            _close_failed_training(loop, unfinished, key, why)
            closed[unfinished.id] = why
    episode, drift = _remedy(loop, key)
    loop.store.mark_seen(loop.name, MONITOR, key)
    return Decided(closed, episode, drift)


def _remedy(loop: Loop, key: str) -> tuple[EpisodeRow | None, Drifting | None]:
    """Diagnose the project at this tick and open an episode when something is to be done; the same tick decides once.

    :return: the tick's episode, and what was found of drift; None of it when the tick has been decided before, or comes late.
    """
    policy, first_after = loop.spec.monitoring.remedies, loop.spec.training.first_after
    if _diagnosed(loop, key) is not None:
        if (again := _still_broken(loop, key)) is not None:
            return again, None
        return next(iter(loop.store.episodes(loop.name, opened_at=key)), None), None
    if is_late(loop, key):
        body: dict[str, Any] = {"diagnosis": None, "episode": None}
        body["late"] = loop.store.seen_by(loop.name, MONITOR)
        loop.store.decide(loop.name, key=key, kind="diagnose", subject=key, body=body)
        return None, None
    drift = look_for_drift(loop, key)
    before = past(loop, key)
    serving = loop.store.serving(loop.name)
    parts = unseen_by(loop, serving.champion, key) if serving.champion else []
    layer = loop.store.decision(loop.name, "recalibrate", f"{serving.champion}@{key}")
    worse = guard(loop, serving.champion, key) if serving.champion else None
    measured = loop.store.performance(loop.name, until=key, key=key)
    jump = _jump(loop, key, parts)
    jump_seen = jump or _jump_in_cooldown(loop, before)
    wanted = wants_refit_trial(policy, before, first_after, jump_seen)
    without = why_no_refit_trial(loop.spec) if wanted else None
    if without:
        log.warning("%s: %s", loop.name, without)
    signs = Signs(
        refit=refit_trial(loop, plan_remedy(loop, key)) if wanted and not without else None,
        worse_than_none=None if _is_on_probation(loop, serving.champion) else worse,
        jump=jump_seen,
        recalibration=layer.body["trial"] if layer else None,
        drift=drift.alarm_words,
        feed_faults=tuple(drift.fault_words),
        metrics=measured[-1].metrics if measured else {},
        challenger=aged_challenger(loop),
    )
    diagnosis = diagnose(policy, before, signs, first_after=first_after)
    episode = _open(loop, key, diagnosis, _content(loop, key, drift.feed_faults)) if diagnosis else None
    body = {"diagnosis": diagnosis.as_dict() if diagnosis else None, "episode": episode.id if episode else None}
    body |= {"refit": signs.refit.as_dict() if signs.refit else None, "drift": drift.as_dict()}
    body |= {"jump": jump} if jump else {}
    body |= {"guard": {"version": serving.champion, "words": worse}} if worse else {}
    body |= {"no_refit_trial": without} if without else {}
    loop.store.decide(loop.name, key=key, kind="diagnose", subject=key, body=body)
    return episode, drift


def _still_broken(loop: Loop, key: str) -> EpisodeRow | None:
    """The episode of a partition that was found broken and ingested anew, and is no better; None when it is, or was never broken."""
    content = loop.published(key).sha256
    known = [row for row in loop.store.episodes(loop.name, opened_at=key) if row.remedy == "quarantine"]
    if not known or any(row.diagnosis.get("content") == content for row in known):
        return None
    faults = broken_feed(loop, key)
    diagnosis = diagnose(
        loop.spec.monitoring.remedies,
        past(loop, key),
        Signs(feed_faults=tuple(fault.words for fault in faults)),
        first_after=loop.spec.training.first_after,
    )
    return _open(loop, key, diagnosis, _content(loop, key, faults), f"-{content}"[:9]) if faults and diagnosis else None


def _content(loop: Loop, key: str, faults: Sequence[FeedFault]) -> dict[str, Any]:
    """What a broken feed's episode keeps beside its words: of which content it speaks, the signs, and since when each has lasted."""
    if not faults:
        return {}
    signs = [(fault.kind, fault.column) for fault in faults]
    lasting = [run.as_dict() for run in lasting_signs(loop.store, loop.name, key, signs)]
    return {"content": loop.published(key).sha256, "signs": [list(sign) for sign in signs], "lasting": lasting}


def _open(loop: Loop, key: str, diagnosis: Diagnosis, beside: Mapping[str, Any], suffix: str = "") -> EpisodeRow:
    needs_action = diagnosis.remedy == "retrain"
    return loop.store.open_episode(
        EpisodeRow(
            id=f"{loop.name}-{key}-{diagnosis.cause}{suffix}",
            project=loop.name,
            opened_at=key,
            cause=diagnosis.cause,
            remedy=diagnosis.remedy,
            state="due" if needs_action else "closed",
            diagnosis=diagnosis.as_dict() | dict(beside),
            outcome=None if needs_action else diagnosis.words,
            closed_at=None if needs_action else key,
        )
    )


def monitor_partition(loop: Loop, key: str, ended: Ended) -> Decided:
    """All tasks of the DAG `monitor` in order, less its report. Each writes once; running them again changes nothing."""
    measure_performance(loop, key)
    recalibrate(loop, key)
    return decide_remedies(loop, key, ended)

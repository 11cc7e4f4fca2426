"""What `monitor` does at a tick: measure, gather evidence, recalibrate, and decide on remedies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from updraft.data.columns import CLUSTER, LABEL, ROW, SCORE
from updraft.evaluation.metrics import all_metrics, row_loss
from updraft.loop.context import Loop, rounded
from updraft.loop.drifting import Drifting, broken_feed, look_for_drift
from updraft.loop.matured import matured, newly_known, unseen_by
from updraft.loop.plan import labelled_partitions, plan_training
from updraft.loop.trials import refit_trial
from updraft.monitoring.calibration import refit, walk_forward
from updraft.monitoring.corp import decompose
from updraft.monitoring.faults import FeedFault
from updraft.monitoring.remedies import Diagnosis, Past, Signs, diagnose, wants_refit_trial
from updraft.store.records import (
    Decision,
    EpisodeRow,
    EvidenceRow,
    PerformanceRow,
    PredictionRow,
    ReleaseRow,
    TrainingRow,
)

if TYPE_CHECKING:
    import pandas as pd

MONITOR = "monitor"
"""Name under which `monitor` notes in the store how far it has come."""


@dataclass(frozen=True)
class Monitored:
    """What was found at a tick."""

    key: str
    performance: tuple[PerformanceRow, ...] = ()
    clusters: dict[str, int] = field(default_factory=dict)
    """Clusters of evidence added, by release."""
    layers: dict[str, str] = field(default_factory=dict)
    """What became of each version's calibration layer."""
    drift: Drifting | None = None
    episode: EpisodeRow | None = None


def measure(loop: Loop, key: str) -> tuple[PerformanceRow, ...]:
    """Metrics of every role on the partitions whose labels became known at this tick.

    A partition that comes late is measured on what is known by now: the ticks at which its labels matured have passed.
    """
    found = []
    as_of = loop.store.seen(loop.name)[MONITOR] if is_late(loop, key) else key
    targets = {key} if as_of != key else set(newly_known(loop, key))
    for target in sorted(targets):
        for _, prediction in sorted(loop.store.predictions(loop.name, target).items()):
            rows = matured(loop, prediction, as_of)
            if not len(rows):
                continue
            label, score = rows[LABEL].to_numpy(float), rows[SCORE].to_numpy(float)
            metrics = all_metrics(loop.spec.task, label, score)
            metrics |= (
                {name: getattr(decompose(label, score), name) for name in ("mcb", "dsc", "unc")}
                if loop.spec.task == "binary"
                else {}
            )
            row = PerformanceRow(target, as_of, prediction.role, prediction.version, len(rows), rounded(metrics))
            loop.store.record_performance(loop.name, row)
            found.append(row)
    return tuple(found)


def has_passed(loop: Loop, key: str) -> bool:
    """Whether a later tick has been monitored already: what this one brings now (late, or cleared) decides nothing any more."""
    return loop.store.seen(loop.name).get(MONITOR, "") > key


def is_late(loop: Loop, key: str) -> bool:
    """Whether a later tick has been monitored already and this one had not: a partition that was refused and mended, or a backfill."""
    if not has_passed(loop, key):
        return False
    decided = _diagnosed(loop, key)
    return decided is None or bool(decided.body.get("late"))


def _diagnosed(loop: Loop, key: str) -> Decision | None:
    return next((one for one in loop.store.decisions(loop.name, kinds=("diagnose",)) if one.subject == key), None)


def gather_evidence(loop: Loop, key: str) -> dict[str, int]:
    """Add this tick's clusters to every open release: paired losses of the older and the newer model on the same rows."""
    if has_passed(loop, key):
        return {}
    added = {}
    fresh = newly_known(loop, key)
    for release in loop.store.releases(loop.name, states=("shadow", "approval", "probation")):
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
    return (champion, other) if champion and other and other.version == release.version else None


def _clusters(loop: Loop, release: ReleaseRow, fresh: Mapping[str, frozenset[int]], key: str) -> list[EvidenceRow]:
    """One row a cluster. Rows of a cluster may come from two partitions: the tick lies within a day."""
    import pandas as pd

    frames = [_gains(loop, release, target, rows, key) for target, rows in sorted(fresh.items())]
    found = [frame for frame in frames if frame is not None]
    if not found:
        return []
    guarded = loop.spec.gates.slices
    return [
        _evidence(str(name), key, frame, guarded.by if guarded else ())
        for name, frame in pd.concat(found, ignore_index=True).groupby(CLUSTER, sort=True)
    ]


def _gains(loop: Loop, release: ReleaseRow, target: str, fresh: frozenset[int], key: str) -> pd.DataFrame | None:
    """ROW, CLUSTER, ``gain`` and the guarded columns of the rows of a partition whose labels became known at this tick."""
    pair = _pair(loop, release, target)
    if pair is None:
        return None
    older, newer = (matured(loop, prediction, key) for prediction in pair)
    older, newer = older[older[ROW].isin(fresh)], newer[newer[ROW].isin(fresh)]
    if not len(older):
        return None
    metric = loop.spec.release.metric
    gain = row_loss(metric, older[LABEL].to_numpy(float), older[SCORE].to_numpy(float)) - row_loss(
        metric, newer[LABEL].to_numpy(float), newer[SCORE].to_numpy(float)
    )
    rows = older[[ROW, CLUSTER]].assign(gain=gain)
    guarded = loop.spec.gates.slices
    return rows.merge(loop.lookup(target, guarded.by), on=ROW, how="left") if guarded else rows


def _evidence(cluster: str, key: str, rows: pd.DataFrame, by: tuple[str, ...]) -> EvidenceRow:
    slices = {
        f"{column}={value}": (len(frame), float(frame["gain"].mean()))
        for column in by
        for value, frame in rows.groupby(column, sort=True)
    }
    return EvidenceRow(cluster, key, len(rows), float(rows["gain"].mean()), slices)


def recalibrate(loop: Loop, key: str) -> dict[str, str]:
    """Refit the calibration layer of every version that scores, where the policy says it is due."""
    policy = loop.spec.monitoring.remedies.recalibrate
    if policy is None or not _turn(loop, key, policy.every) or has_passed(loop, key):
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
    found = refit(loop.spec.task, unseen_by(loop, version, key, without), policy.window)
    body: dict[str, Any] = {
        "version": version,
        "layer": found.layer.as_dict() if found.in_force else None,
        "trial": found.trial.as_dict() if found.trial else None,
        "reason": found.reason,
    }
    decision = loop.store.decide(loop.name, key=key, kind="recalibrate", subject=f"{version}@{key}", body=body)
    return str(decision.body["reason"])


def _turn(loop: Loop, key: str, every: int) -> bool:
    return len(loop.store.partitions(loop.name, until=key)) % every == 0


def past(loop: Loop, key: str) -> Past:
    """What has been done for the project up to this tick."""
    keys = [row.key for row in loop.store.partitions(loop.name, until=key)]
    tried = [
        row
        for row in loop.store.trainings(loop.name)
        if row.key <= key and row.state != "running" and row.episode is not None
    ]
    trainings = [row for row in tried if row.state != "failed"]
    year = loop.partition(key).tick.replace(tzinfo=None)
    recent = [row for row in trainings if (year - loop.partition(row.key).tick.replace(tzinfo=None)).days < 365]
    closed = {row.version: row.outcome for row in loop.store.releases(loop.name)}
    fruitless = 0
    for row in reversed(trainings):
        if row.state == "refused" or closed.get(row.version or "") in ("rejected", "rolled_back"):
            fruitless += 1
        else:
            break
    return Past(
        published=len(labelled_partitions(loop, key)),
        since_training=sum(1 for k in keys if k > trainings[-1].key) if trainings else None,
        since_attempt=sum(1 for k in keys if k > tried[-1].key) if tried else None,
        trained_this_year=len(recent),
        fruitless=fruitless,
        champion=loop.store.serving(loop.name).champion is not None,
        open_episode=any(row.remedy == "retrain" for row in loop.store.episodes(loop.name, states=("due", "started"))),
    )


def unfinished_trainings(loop: Loop, key: str) -> list[EpisodeRow]:
    """Episodes from before this tick whose training was started and has brought nothing yet."""
    return [row for row in loop.store.episodes(loop.name, states=("started",)) if row.opened_at < key]


def close_failed_training(loop: Loop, episode: EpisodeRow, key: str, why: str) -> None:
    """A training that failed for good is over, so that the next one can become due after the cooldown. Mended later, it still counts."""
    there = loop.store.training(loop.name, episode.id)
    row = there or TrainingRow(episode.id, loop.name, episode.opened_at, episode.id, None, "running", None, {})
    loop.store.record_training(replace(row, state="failed"))
    loop.store.close_episode(loop.name, episode.id, key=key, outcome=why)


def decide_remedies(loop: Loop, key: str) -> tuple[EpisodeRow | None, Drifting | None]:
    """Diagnose the project at this tick and open an episode when something is to be done; the same tick decides once.

    :return: the tick's episode, and what was found of drift; None of it when the tick has been decided before, or comes late.
    """
    policy, first_after = loop.spec.monitoring.remedies, loop.spec.training.first_after
    if _diagnosed(loop, key) is not None:
        if (again := _still_broken(loop, key)) is not None:
            return again, None
        return next((row for row in loop.store.episodes(loop.name) if row.opened_at == key), None), None
    if is_late(loop, key):
        body: dict[str, Any] = {"diagnosis": None, "episode": None, "late": loop.store.seen(loop.name)[MONITOR]}
        loop.store.decide(loop.name, key=key, kind="diagnose", subject=key, body=body)
        return None, None
    drift = look_for_drift(loop, key)
    before = past(loop, key)
    serving = loop.store.serving(loop.name)
    parts = unseen_by(loop, serving.champion, key) if serving.champion else []
    window = policy.recalibrate.window if policy.recalibrate else 2
    measured = [row for row in loop.store.performance(loop.name, until=key) if row.key == key]
    signs = Signs(
        refit=refit_trial(loop, plan_training(loop, key)) if wants_refit_trial(policy, before, first_after) else None,
        recalibration=walk_forward(loop.spec.task, parts, window) if len(parts) > 1 else None,
        drift=drift.alarm_words,
        feed_faults=tuple(drift.fault_words),
        metrics=measured[-1].metrics if measured else {},
    )
    found = diagnose(policy, before, signs, first_after=first_after)
    episode = _open(loop, key, found, _content(loop, key, drift.feed_faults)) if found else None
    body = {"diagnosis": found.as_dict() if found else None, "episode": episode.id if episode else None}
    body |= {"refit": signs.refit.as_dict() if signs.refit else None, "drift": drift.as_dict()}
    loop.store.decide(loop.name, key=key, kind="diagnose", subject=key, body=body)
    return episode, drift


def _still_broken(loop: Loop, key: str) -> EpisodeRow | None:
    """The episode of a partition that was found broken and ingested anew, and is no better; None when it is, or was never broken."""
    content = loop.published(key).sha256
    known = [row for row in loop.store.episodes(loop.name) if row.opened_at == key and row.remedy == "quarantine"]
    if not known or any(row.diagnosis.get("content") == content for row in known):
        return None
    faults = broken_feed(loop, key)
    found = diagnose(
        loop.spec.monitoring.remedies,
        past(loop, key),
        Signs(feed_faults=tuple(fault.words for fault in faults)),
        first_after=loop.spec.training.first_after,
    )
    return _open(loop, key, found, _content(loop, key, faults), f"-{content}"[:9]) if faults and found else None


def _content(loop: Loop, key: str, faults: Sequence[FeedFault]) -> dict[str, Any]:
    """What a broken feed's episode keeps beside its words: of which content it speaks, and the signs."""
    signs = [[fault.kind, fault.column] for fault in faults]
    return {"content": loop.published(key).sha256, "signs": signs} if faults else {}


def _open(loop: Loop, key: str, found: Diagnosis, beside: Mapping[str, Any], suffix: str = "") -> EpisodeRow:
    needs_action = found.remedy == "retrain"
    return loop.store.open_episode(
        EpisodeRow(
            id=f"{loop.name}-{key}-{found.cause}{suffix}",
            project=loop.name,
            opened_at=key,
            cause=found.cause,
            remedy=found.remedy,
            state="due" if needs_action else "closed",
            diagnosis=found.as_dict() | dict(beside),
            outcome=None if needs_action else found.words,
            closed_at=None if needs_action else key,
        )
    )


def monitor_partition(loop: Loop, key: str) -> Monitored:
    """All of it, in order, and the note that this tick has been seen. Each part writes once; running it again changes nothing."""
    performance = measure(loop, key)
    clusters = gather_evidence(loop, key)
    layers = recalibrate(loop, key)
    episode, drift = decide_remedies(loop, key)
    loop.store.mark_seen(loop.name, MONITOR, key)
    return Monitored(key, performance, clusters, layers, drift, episode)

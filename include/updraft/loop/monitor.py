"""What `monitor` does at a tick: measure, gather evidence, recalibrate, and decide on remedies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from updraft.data.columns import CLUSTER, LABEL, PARTITION, ROW, SCORE
from updraft.evaluation.metrics import all_metrics, row_loss
from updraft.loop.context import Loop, evidence_body
from updraft.loop.drifting import Drifting, look_for_drift
from updraft.loop.matured import matured, unseen_by
from updraft.loop.plan import labelled_partitions, plan_training
from updraft.loop.trials import refit_trial
from updraft.monitoring.calibration import refit, walk_forward
from updraft.monitoring.corp import decompose
from updraft.monitoring.remedies import Diagnosis, Past, Signs, diagnose, wants_refit_trial
from updraft.store.records import EpisodeRow, EvidenceRow, PerformanceRow, PredictionRow, ReleaseRow

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
    """Metrics of every role on the partitions whose labels became known at this tick."""
    found = []
    for target in fresh_partitions(loop, key):
        for _, prediction in sorted(loop.store.predictions(loop.name, target).items()):
            rows = matured(loop, prediction, key)
            if not len(rows):
                continue
            label, score = rows[LABEL].to_numpy(float), rows[SCORE].to_numpy(float)
            metrics = all_metrics(loop.spec.task, label, score)
            metrics |= (
                {name: getattr(decompose(label, score), name) for name in ("mcb", "dsc", "unc")}
                if loop.spec.task == "binary"
                else {}
            )
            row = PerformanceRow(target, key, prediction.role, prediction.version, len(rows), evidence_body(metrics))
            loop.store.record_performance(loop.name, row)
            found.append(row)
    return tuple(found)


def fresh_partitions(loop: Loop, key: str) -> list[str]:
    """Published partitions with labels that became known at the tick of ``key``."""
    since = loop.partition(key).start - loop.spec.data.label.matures_after
    return [row.key for row in loop.store.partitions(loop.name, until=key) if loop.partition(row.key).tick > since]


def gather_evidence(loop: Loop, key: str) -> dict[str, int]:
    """Add this tick's clusters to every open release: paired losses of the older and the newer model on the same rows."""
    added = {}
    for release in loop.store.releases(loop.name, states=("shadow", "approval", "probation")):
        if release.opened_at >= key:
            continue
        rows = [row for target in fresh_partitions(loop, key) for row in _clusters(loop, release, target, key)]
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


def _clusters(loop: Loop, release: ReleaseRow, target: str, key: str) -> list[EvidenceRow]:
    pair = _pair(loop, release, target)
    if pair is None:
        return []
    older, newer = (matured(loop, prediction, key) for prediction in pair)
    fresh = _newly_known(loop, target, key)
    older, newer = older[older[ROW].isin(fresh)], newer[newer[ROW].isin(fresh)]
    if not len(older):
        return []
    metric = loop.spec.release.metric
    gain = row_loss(metric, older[LABEL].to_numpy(float), older[SCORE].to_numpy(float)) - row_loss(
        metric, newer[LABEL].to_numpy(float), newer[SCORE].to_numpy(float)
    )
    rows = older[[ROW, CLUSTER]].assign(gain=gain)
    guarded = loop.spec.gates.slices
    if guarded:
        rows = rows.merge(loop.lookup(target, guarded.by), on=ROW, how="left")
    return [
        _evidence(str(name), key, frame, guarded.by if guarded else ())
        for name, frame in rows.groupby(CLUSTER, sort=True)
    ]


def _evidence(cluster: str, key: str, rows: pd.DataFrame, by: tuple[str, ...]) -> EvidenceRow:
    slices = {
        f"{column}={value}": (len(frame), float(frame["gain"].mean()))
        for column in by
        for value, frame in rows.groupby(column, sort=True)
    }
    return EvidenceRow(cluster, key, len(rows), float(rows["gain"].mean()), slices)


def _newly_known(loop: Loop, target: str, key: str) -> set[int]:
    """Rows of a partition whose labels became known at exactly this tick."""
    from updraft import files

    row = loop.store.partition(loop.name, key)
    if row is None or row.labels_url is None:
        return set()
    labels = files.read_parquet(row.labels_url, columns=[ROW, PARTITION])
    return set(labels[labels[PARTITION] == target][ROW].tolist())


def recalibrate(loop: Loop, key: str) -> dict[str, str]:
    """Refit the calibration layer of every version that scores, where the policy says it is due."""
    policy = loop.spec.monitoring.remedies.recalibrate
    if policy is None or not _turn(loop, key, policy.every):
        return {}
    serving = loop.store.serving(loop.name)
    versions = {serving.champion} | {row.version for row in loop.store.predictions(loop.name, key).values()}
    return {version: refit_layer(loop, version, key) for version in sorted(v for v in versions if v)}


def refit_layer(loop: Loop, version: str, key: str) -> str:
    """Refit one version's layer at a tick and write the decision; returns its reason."""
    policy = loop.spec.monitoring.remedies.recalibrate
    if policy is None:
        return "the policy has no recalibration"
    found = refit(loop.spec.task, unseen_by(loop, version, key), policy.window)
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
    trainings = [
        row
        for row in loop.store.trainings(loop.name)
        if row.key <= key and row.state != "running" and row.episode is not None
    ]
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
        trained_this_year=len(recent),
        fruitless=fruitless,
        champion=loop.store.serving(loop.name).champion is not None,
        open_episode=any(row.remedy == "retrain" for row in loop.store.episodes(loop.name, states=("due", "started"))),
    )


def decide_remedies(loop: Loop, key: str, drift: Drifting) -> EpisodeRow | None:
    """Diagnose the project at this tick and open an episode when something is to be done; the same tick decides once."""
    policy, first_after = loop.spec.monitoring.remedies, loop.spec.training.first_after
    earlier = loop.store.decisions(loop.name, kinds=("diagnose",))
    if any(decision.subject == key for decision in earlier):
        return next((row for row in loop.store.episodes(loop.name) if row.opened_at == key), None)
    before = past(loop, key)
    serving = loop.store.serving(loop.name)
    parts = unseen_by(loop, serving.champion, key) if serving.champion else []
    window = policy.recalibrate.window if policy.recalibrate else 2
    measured = [row for row in loop.store.performance(loop.name, until=key) if row.key == key]
    signs = Signs(
        refit=refit_trial(loop, plan_training(loop, key)) if wants_refit_trial(policy, before, first_after) else None,
        recalibration=walk_forward(loop.spec.task, parts, window) if len(parts) > 1 else None,
        drift=drift.alarm_words,
        feed_faults=drift.feed_faults,
        metrics=measured[-1].metrics if measured else {},
    )
    found = diagnose(policy, before, signs, first_after=first_after)
    episode = _open(loop, key, found) if found else None
    body = {"diagnosis": found.as_dict() if found else None, "episode": episode.id if episode else None}
    body |= {"refit": signs.refit.as_dict() if signs.refit else None, "drift": drift.as_dict()}
    loop.store.decide(loop.name, key=key, kind="diagnose", subject=key, body=body)
    return episode


def _open(loop: Loop, key: str, found: Diagnosis) -> EpisodeRow:
    needs_action = found.remedy == "retrain"
    return loop.store.open_episode(
        EpisodeRow(
            id=f"{loop.name}-{key}-{found.cause}",
            project=loop.name,
            opened_at=key,
            cause=found.cause,
            remedy=found.remedy,
            state="due" if needs_action else "closed",
            diagnosis=found.as_dict(),
            outcome=None if needs_action else found.words,
            closed_at=None if needs_action else key,
        )
    )


def monitor_partition(loop: Loop, key: str) -> Monitored:
    """All of it, in order, and the note that this tick has been seen. Each part writes once; running it again changes nothing."""
    performance = measure(loop, key)
    clusters = gather_evidence(loop, key)
    layers = recalibrate(loop, key)
    drift = look_for_drift(loop, key)
    episode = decide_remedies(loop, key, drift)
    loop.store.mark_seen(loop.name, MONITOR, key)
    return Monitored(key, performance, clusters, layers, drift, episode)

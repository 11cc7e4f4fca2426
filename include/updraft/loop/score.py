"""Score a partition: with the champion, and in shadow with whatever is being proved against it."""

from __future__ import annotations

import logging

from updraft import files
from updraft.data.columns import MARGIN, ROW, SCORE
from updraft.data.vectors import as_cells
from updraft.errors import DataError, IntegrityError, SpecError, TrainingError, Transient, UpdraftError
from updraft.loop.alerting import release_alerts
from updraft.loop.alerting.links import version_url
from updraft.loop.alerting.telling import tampered
from updraft.loop.context import Loop
from updraft.loop.estimates import estimate_loss
from updraft.loop.release import end_unscorable
from updraft.release.states import Unscorable
from updraft.store.records import PredictionRow, Role
from updraft.store.state import SERVING

log = logging.getLogger(__name__)


def roles(loop: Loop, key: str) -> dict[Role, str]:
    """Which versions score a partition, by role: none that was trained at its tick or later, and so may have learnt from it.

    That is for partitions that come late or are loaded afterwards; no training has seen the newest partition.
    """
    champion = _champion_before(loop, key)
    if champion is None:
        return {}
    versions: dict[Role, str] = {"champion": champion}
    releases = loop.store.open_releases(loop.name)
    learnt = loop.store.learnt_at(loop.name, [release.version for release in releases])
    for release in releases:
        if learnt.get(release.version, "") >= key:
            continue
        if release.state == "probation":
            if release.against is not None and release.version == champion:
                versions["previous"] = release.against
        elif release.version != champion:
            versions["challenger" if release.lane == "change" else "refresh"] = release.version
    return versions


def _champion_before(loop: Loop, key: str) -> str | None:
    """What serves, or the newest of what served that was trained before a tick; None when there is none."""
    served, before = [loop.store.serving(loop.name).champion], None
    while served:
        versions = [version for version in served if version is not None]
        learnt = loop.store.learnt_at(loop.name, versions)
        for version in versions:
            if learnt.get(version, "") < key:
                return version
        # The partition comes late: back through what served before, some decisions at a time.
        earlier = loop.store.newest_decisions(loop.name, SERVING, 16, before=before)
        served, before = (
            [str(decision.body["version"]) for decision in reversed(earlier)],
            earlier[0].seq if earlier else None,
        )
    return None


def score_partition(loop: Loop, key: str) -> list[PredictionRow]:
    """Score a published partition in every role; what was scored before stays as it was served.

    Without a champion there is nothing to do: ingestion and profiles go on. A calibration layer is used when it was fitted before the
    partition's tick. What the champion will have lost is estimated, to be told until the labels are known.

    What is being proved does not stop what serves: where the champion can be scored and a shadow cannot, on-call is told, and the shadow's
    release is closed.

    :raises StoreError: when the partition is not published.
    :raises IntegrityError: when the champion is not what was signed.
    """
    loop.published(key)
    scored_before = loop.store.predictions(loop.name, key)
    if "champion" in scored_before:  # the roles of this partition are history, whoever serves by now
        return list(scored_before.values())
    version_of = roles(loop, key)
    rows = []
    failed: dict[Role, UpdraftError] = {}
    for role in sorted(
        version_of, key=lambda role: role == "champion"
    ):  # the champion last: its row closes the partition
        if role in scored_before:
            continue
        try:
            layer = loop.store.layer(loop.name, version_of[role], before=key)
            rows.append(_scored(loop, key, role, version_of[role], layer))
        except Transient:
            raise
        except (DataError, IntegrityError, SpecError, TrainingError) as error:
            if role == "champion":  # what is wrong may be wrong for all of them, such as a key that is not there
                raise
            failed[role] = error
    for role, why in failed.items():
        _give_up(loop, role, version_of, key, why)
    return rows


def _scored(loop: Loop, key: str, role: Role, version: str, layer: dict[str, float] | None) -> PredictionRow:
    scorer = loop.scorer(version, layer)
    frame = loop.feature_frame(key, scorer.features)
    scores = scorer.score_features(frame)
    predictions = frame[[ROW]].assign(**{MARGIN: as_cells(scores.margin), SCORE: as_cells(scores.score)})
    stem = loop.lake.predictions_stem(key, role, version)
    url, sha256 = files.write_parquet_named_by_content(stem, predictions)
    row = loop.store.record_predictions(
        loop.name, PredictionRow(key, role, version, layer, url, sha256, len(predictions))
    )
    if role == "champion":
        try:
            estimate_loss(loop, key, version, layer, scores.score)
        except Exception:  # whatever it is: what serves has served, and nothing is decided by an estimate
            log.exception("%s: what version %s will have lost on %s could not be estimated", loop.name, version, key)
    return row


def _give_up(loop: Loop, role: Role, version_of: dict[Role, str], key: str, error: Exception) -> None:
    """Close the release of a shadow that cannot be scored; that of a previous champion is the champion's probation."""
    why = f"version {version_of[role]} cannot be scored: {error}"
    if isinstance(error, IntegrityError):
        what, where = f"model version {version_of[role]}", version_url(loop, version_of[role])
        tampered(loop, what, where, str(error))
    version = version_of["champion" if role == "previous" else role]
    release = end_unscorable(loop, version, Unscorable(role, why), key)
    release_alerts.of_release(loop, release)

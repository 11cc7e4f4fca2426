"""Score a partition: with the champion, and in shadow with whatever is being proved against it."""

from __future__ import annotations

from updraft import files
from updraft.data.columns import CLUSTER, EVENT_TIME, MARGIN, ROW, SCORE
from updraft.errors import DataError, IntegrityError, SpecError, TrainingError, Transient, UpdraftError
from updraft.loop import tell
from updraft.loop.context import Loop
from updraft.loop.rollout import close_unscorable
from updraft.monitoring.calibration import Layer
from updraft.store.records import PredictionRow, Role
from updraft.training.model import link


def roles(loop: Loop, key: str) -> dict[Role, str]:
    """Which versions score a partition, by role: none that was trained at its tick or later, and so may have learnt from it.

    That is for partitions that come late or are loaded afterwards; the newest one is ahead of every training.
    """
    learnt = {row.version: row.key for row in loop.store.trainings(loop.name)}
    serves = [
        str(decision.body["version"])
        for decision in loop.store.decisions(loop.name, kinds=("promote", "roll_back"))
        if learnt.get(decision.body["version"], "") < key
    ]
    if not serves:
        return {}
    champion = serves[-1]
    found: dict[Role, str] = {"champion": champion}
    for release in loop.store.releases(loop.name, states=("shadow", "approval", "probation")):
        if learnt.get(release.version, "") >= key:
            continue
        if release.state == "probation":
            if release.against is not None and release.version == champion:
                found["previous"] = release.against
        elif release.version != champion:
            found["challenger" if release.lane == "change" else "refresh"] = release.version
    return found


def score_partition(loop: Loop, key: str) -> list[PredictionRow]:
    """Score a published partition in every role; what was scored before stays as it was served.

    Without a champion there is nothing to do: ingestion and profiles go on. A calibration layer is used when it was fitted before the
    partition's tick.

    What is being proved does not stop what serves: where the champion can be scored and a shadow cannot, on-call is told, and the shadow's
    release is closed.

    :raises StoreError: when the partition is not published.
    :raises IntegrityError: when the champion is not what was signed.
    """
    loop.published(key)
    there = loop.store.predictions(loop.name, key)
    if "champion" in there:  # the roles of this partition are history, whoever serves by now
        return list(there.values())
    wanted = roles(loop, key)
    layers = loop.store.serving(loop.name, before=key).layers
    found = []
    failed: dict[Role, UpdraftError] = {}
    for role in sorted(wanted, key=lambda role: role == "champion"):  # the champion last: its row closes the partition
        if role in there:
            continue
        try:
            found.append(_scored(loop, key, role, wanted[role], layers.get(wanted[role])))
        except Transient:
            raise
        except (DataError, IntegrityError, SpecError, TrainingError) as error:
            if role == "champion":  # what is wrong may be wrong for all of them, such as a key that is not there
                raise
            failed[role] = error
    for role, why in failed.items():
        _give_up(loop, role, wanted, key, why)
    return found


def _scored(loop: Loop, key: str, role: Role, version: str, layer: dict[str, float] | None) -> PredictionRow:
    model = loop.models.load(version)
    frame = loop.feature_frame(key, loop.features_of(model))
    margin = model.margin(frame.drop(columns=[ROW, EVENT_TIME, CLUSTER]))
    predictions = frame[[ROW]].assign(**{MARGIN: margin, SCORE: link(loop.spec.task, Layer.of(layer).apply(margin))})
    stem = loop.url("predictions", key, f"{role}-v{version}")
    url, sha256 = files.write_parquet_named_by_content(stem, predictions)
    row = PredictionRow(key, role, version, layer, url, sha256, len(predictions))
    return loop.store.record_predictions(loop.name, row)


def _give_up(loop: Loop, role: Role, wanted: dict[Role, str], key: str, error: Exception) -> None:
    """Close the release of a shadow that cannot be scored; that of a previous champion is the champion's probation."""
    why = f"version {wanted[role]} cannot be scored: {error}"
    if isinstance(error, IntegrityError):
        tell.tampered(loop, f"model version {wanted[role]}", tell.version_url(loop, wanted[role]), str(error))
    release = close_unscorable(loop, wanted["champion" if role == "previous" else role], role, key, why)
    tell.of_release(loop, release)

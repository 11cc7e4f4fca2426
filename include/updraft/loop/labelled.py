"""Predictions joined with the labels that were known at a tick."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from updraft import files
from updraft.data.columns import CLUSTER, LABEL, MARGIN, PARTITION, ROW, SCORE
from updraft.data.vectors import as_values
from updraft.loop.context import LabelFile, Loop, labelled_rows, labels_of
from updraft.loop.plan import newest_labelled
from updraft.monitoring.calibration import Matured
from updraft.monitoring.guard import Served, worse_than_none
from updraft.spec.cluster_defaults import clusters_per_partition, partitions_with
from updraft.tasks.clusters import FEWEST_CLUSTERS

if TYPE_CHECKING:
    import pandas as pd

    from updraft.store.records import PredictionRow


def matured(loop: Loop, prediction: PredictionRow, as_of: str) -> pd.DataFrame:
    """ROW, CLUSTER, LABEL, MARGIN, SCORE of the rows whose labels were known at the tick of ``as_of``, in the order of ROW."""
    return matured_of(loop, [prediction], as_of)[0]


def matured_of(loop: Loop, predictions: Sequence[PredictionRow], as_of: str) -> list[pd.DataFrame]:
    """The same of several partitions, whose label files are asked for at once."""
    label_files = loop.label_files([row.key for row in predictions], as_of)
    return [_joined(row.key, row.url, row.sha256, label_files[row.key]) for row in predictions]


def _matured_parts(loop: Loop, predictions: Sequence[PredictionRow], as_of: str) -> list[Matured]:
    """The same as arrays; equal ones are one object, by which what follows from them is known again."""
    label_files = loop.label_files([row.key for row in predictions], as_of)
    return [_joined_part(row.key, row.url, row.sha256, label_files[row.key]) for row in predictions]


@lru_cache(maxsize=64)  # the same partition is looked at tick after tick; every file's name comes from its content
def _joined(key: str, url: str, sha256: str, label_files: tuple[LabelFile, ...]) -> pd.DataFrame:
    scored = files.read_parquet(url, sha256)
    return (
        labels_of(key, label_files)[[ROW, CLUSTER, LABEL]]
        .merge(scored, on=ROW, how="inner", validate="1:1")
        .sort_values(ROW, ignore_index=True)
    )


def newly_known(loop: Loop, key: str) -> dict[str, frozenset[int]]:
    """Rows by published partition whose labels became known since the published partition before this one.

    Labels also mature at ticks whose own partition was refused or empty; `monitor` does not run there, so the next published one counts them.
    """
    newest = [row.key for row in loop.store.partitions(loop.name, until=key, newest=2) if row.key < key]
    since = newest[-1] if newest else ""
    known: dict[str, frozenset[int]] = {}
    for row in loop.store.partitions(loop.name, after=since, until=key, state=None):
        if row.labels_url is None:
            continue
        for target, rows in labelled_rows(row.labels_url, row.labels_sha256).items():
            known[target] = known.get(target, frozenset()) | rows
    ingested = loop.store.partition_rows(loop.name, known)
    published = {target for target, row in ingested.items() if row.state == "published" and target < key} | {key}
    return {target: rows for target, rows in known.items() if target in published}


def unseen_by(
    loop: Loop, version: str, as_of: str, without: frozenset[str] = frozenset(), *, newest: int | None = None
) -> list[Matured]:
    """The newest partitions with known labels that a version had not learnt from: its holdout (as its proof predicted it), and what it scored.

    In order, enough of them for a refit of the calibration layer and its walk-forward trial, and none whose feed was found broken.

    :param without: keys of partitions to leave out beside them.
    :param newest: no more than so many.
    """
    recalibrate = loop.spec.monitoring.remedies.recalibrate
    per_partition = clusters_per_partition(loop.spec.data.schedule, loop.spec.release.cluster)
    look_back = max(loop.spec.task_type.calibration.look_back, partitions_with(FEWEST_CLUSTERS, per_partition))
    wanted = look_back + (recalibrate.window if recalibrate else 1)
    wanted = wanted if newest is None else min(wanted, newest)
    # Of those that may have labels: where labels mature late, the newest ones would push the matured ones and the holdout out.
    until = newest_labelled(loop.spec, as_of)
    scored = loop.store.predictions_of(loop.name, version, until=until, newest=wanted, without=without)
    parts: dict[str, Matured] = {}
    if len(scored) < wanted:
        parts |= {part.key: part for part in _proved_by(*holdout)} if (holdout := _holdout_file(loop, version)) else {}
    parts |= {part.key: part for part in _matured_parts(loop, scored, as_of)}
    return [parts[key] for key in sorted(parts)][-wanted:]


def guard(loop: Loop, version: str, as_of: str) -> str | None:
    """Why a version is worse than no model on the newest partitions that it scored, in words; None while that is not shown."""
    import numpy as np
    import pandas as pd

    per_partition = clusters_per_partition(loop.spec.data.schedule, loop.spec.release.cluster)
    task = loop.spec.task_type
    newest = max(task.calibration.look_back, partitions_with(FEWEST_CLUSTERS, per_partition))
    scored = loop.store.predictions_of(loop.name, version, until=newest_labelled(loop.spec, as_of), newest=newest)
    if not scored:
        return None
    rows = pd.concat([part[[CLUSTER, LABEL, SCORE]] for part in matured_of(loop, scored, as_of)], ignore_index=True)
    holdout = holdout_of(loop, version)
    served = Served(
        rows[LABEL].to_numpy(np.float64), as_values(rows[SCORE]), rows[CLUSTER].astype(str).to_numpy(object)
    )
    return worse_than_none(task, served, np.array([]) if holdout is None else holdout[LABEL].to_numpy(np.float64))


def holdout_of(loop: Loop, version: str) -> pd.DataFrame | None:
    """What a version's proof said of its holdout partitions; None when it had none."""
    holdout = _holdout_file(loop, version)
    return _holdout(*holdout) if holdout else None


def _holdout_file(loop: Loop, version: str) -> tuple[str, str | None] | None:
    training = loop.store.training_of(loop.name, version)
    if training is None or not training.result.get("holdout_predictions_url"):
        return None
    result = training.result
    return result["holdout_predictions_url"], result.get("holdout_predictions_sha256")


@lru_cache(maxsize=8)
def _holdout(url: str, sha256: str | None) -> pd.DataFrame:
    return files.read_parquet(url, sha256)


@lru_cache(maxsize=8)
def _proved_by(url: str, sha256: str | None) -> tuple[Matured, ...]:
    return tuple(proved(_holdout(url, sha256)))


def proved(holdout: pd.DataFrame | None) -> list[Matured]:
    """Holdout predictions by partition, in order."""
    if holdout is None or not len(holdout):
        return []
    return [
        _part(str(key), frame.sort_values(ROW, ignore_index=True))
        for key, frame in holdout.groupby(PARTITION, sort=True)
    ]


@lru_cache(maxsize=64)
def _joined_part(key: str, url: str, sha256: str, label_files: tuple[LabelFile, ...]) -> Matured:
    return _part(key, _joined(key, url, sha256, label_files))


def _part(key: str, frame: pd.DataFrame) -> Matured:
    import numpy as np

    return Matured(
        key,
        frame[LABEL].to_numpy(np.float64),
        as_values(frame[MARGIN]),
        frame[CLUSTER].astype(str).to_numpy(object),
    )

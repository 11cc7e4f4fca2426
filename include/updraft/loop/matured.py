"""Predictions joined with the labels that were known at a tick."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from updraft import files
from updraft.data.columns import CLUSTER, LABEL, MARGIN, PARTITION, ROW
from updraft.loop.context import LabelFile, Loop, label_file, labels_of
from updraft.loop.keptout import scored_broken
from updraft.monitoring.calibration import LOOK_BACK, Matured

if TYPE_CHECKING:
    import pandas as pd

    from updraft.store.records import PredictionRow


def matured(loop: Loop, prediction: PredictionRow, as_of: str) -> pd.DataFrame:
    """ROW, CLUSTER, LABEL, MARGIN, SCORE of the rows whose labels were known at the tick of ``as_of``, in the order of ROW."""
    return _joined(prediction.key, prediction.url, prediction.sha256, loop.label_files(prediction.key, as_of))


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
    earlier = [row.key for row in loop.store.partitions(loop.name, until=key) if row.key < key]
    since = earlier[-1] if earlier else ""
    published = {*earlier, key}
    found: dict[str, set[int]] = {}
    for row in loop.store.partitions(loop.name, until=key, state=None):
        if row.key <= since or row.labels_url is None:
            continue
        for target, rows in label_file(row.labels_url, row.labels_sha256).groupby(PARTITION)[ROW]:
            if target in published:
                found.setdefault(str(target), set()).update(rows.tolist())
    return {target: frozenset(rows) for target, rows in found.items()}


def unseen_by(loop: Loop, version: str, as_of: str, without: frozenset[str] = frozenset()) -> list[Matured]:
    """The newest partitions with known labels that a version had not learnt from: its holdout (as its proof predicted it), and what it scored.

    In order, enough of them for a refit of the calibration layer and its walk-forward trial, and none whose feed was found broken.

    :param without: keys of partitions to leave out beside them.
    """
    recalibrate = loop.spec.monitoring.remedies.recalibrate
    wanted = LOOK_BACK + (recalibrate.window if recalibrate else 1)
    out = without | scored_broken(loop.store, loop.name, as_of)
    scored = [row for row in loop.store.predictions_of(loop.name, version, until=as_of) if row.key not in out][-wanted:]
    parts: dict[str, Matured] = {}
    if len(scored) < wanted:
        parts |= {part.key: part for part in proved(holdout_of(loop, version))}
    parts |= {row.key: _part(row.key, matured(loop, row, as_of)) for row in scored}
    return [parts[key] for key in sorted(parts)][-wanted:]


def holdout_of(loop: Loop, version: str) -> pd.DataFrame | None:
    """What a version's proof said of its holdout partitions; None when it had none."""
    for training in loop.store.trainings(loop.name):
        if training.version == version and training.result.get("holdout_predictions_url"):
            result = training.result
            return files.read_parquet(result["holdout_predictions_url"], result.get("holdout_predictions_sha256"))
    return None


def proved(holdout: pd.DataFrame | None) -> list[Matured]:
    """Holdout predictions by partition, in order."""
    if holdout is None or not len(holdout):
        return []
    return [
        _part(str(key), frame.sort_values(ROW, ignore_index=True))
        for key, frame in holdout.groupby(PARTITION, sort=True)
    ]


def _part(key: str, frame: pd.DataFrame) -> Matured:
    import numpy as np

    return Matured(
        key,
        frame[LABEL].to_numpy(np.float64),
        frame[MARGIN].to_numpy(np.float64),
        frame[CLUSTER].astype(str).to_numpy(object),
    )

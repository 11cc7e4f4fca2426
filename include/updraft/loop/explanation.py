"""Why a version scores as it does: which features moved the scores of a partition, or of one row, from what its proof led to expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from updraft.data.columns import ROW
from updraft.errors import DataError, InputError
from updraft.loop.context import Loop
from updraft.loop.version_history import known_training
from updraft.scoring.contributions import contributions
from updraft.scoring.scorer import Scores

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from updraft.scoring.scorer import Scorer

REFERENCE_ROWS = 2_000
"""Rows of the reference, evenly among all: a draw takes one of them."""
EXPLAINED_ROWS = 500
"""Rows of a partition that are explained, evenly among all."""
ROW_DRAWS = 1_000
PARTITION_DRAWS = 64


@dataclass(frozen=True)
class FeatureContribution:
    """One feature's part."""

    feature: str
    moved: float
    """By what it moved the score, of a partition the mean score."""
    standard_error: float
    """Of :attr:`moved`: of the draws, and of a partition more rows than are explained also of their choice."""
    size: float
    """Mean of how far it moved a row's score, either way; of one row the same as ``abs(moved)``."""
    value: str | None = None
    """Of one row, what it holds there."""


@dataclass(frozen=True)
class Explanation:
    """What moved a version's scores of some rows, against the reference."""

    project: str
    version: str
    key: str
    row: int | None
    """Of the partition; None of the whole of it."""
    against: tuple[str, ...]
    """Partitions of the reference."""
    label: str | None
    """The class whose score is explained, of a task that has several."""
    rows: int
    """Rows that were explained."""
    score: float
    """Their mean score, with the calibration layer that the version had before the partition's tick."""
    expected: float
    """Mean score of the reference rows by the same version and layer."""
    features: tuple[FeatureContribution, ...]
    """Those that moved most first; their ``moved`` add up to ``score - expected``, but for the drawing of reference rows."""
    draws: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def explain(
    loop: Loop,
    version: str | None = None,
    key: str | None = None,
    *,
    row: int | None = None,
    against: str | None = None,
) -> Explanation:
    """Explain the scores of a partition, or of one of its rows. Nothing is decided; features that were not made yet are kept.

    :param version: what served the partition when None, or what serves now where nothing did.
    :param key: of a published partition; the newest one when None.
    :param row: number of a row of the partition, as its predictions have it.
    :param against: a published partition as reference; those that the version was proved on when None.
    :raises InputError: when there is no such version, row or partition, or nothing serves.
    :raises IntegrityError: when the version is not what was signed.
    """
    key = key or loop.store.newest_partition(loop.name)
    if key is None:
        raise InputError(f"{loop.name}: no partition is published yet")
    version = version or _served(loop, key)
    if version is None:
        raise InputError(f"{loop.name}: nothing serves yet, so there is no score to explain; name a version")
    training = known_training(loop, version)
    reference = (against,) if against else tuple(training.result.get("holdout") or training.result.get("window") or ())
    scorer = loop.scorer(version, loop.store.layer(loop.name, version, before=key))
    frame, others = _features(loop, key, scorer), [_features(loop, other, scorer) for other in reference]
    if not len(frame) or not any(map(len, others)):
        raise InputError(f"{loop.name}: {key if not len(frame) else ', '.join(reference)} has no row to explain by")
    return _explained(loop, scorer, version, key, frame, reference, others, row)


def _served(loop: Loop, key: str) -> str | None:
    scored = loop.store.predictions(loop.name, key).get("champion")
    return scored.version if scored is not None else loop.store.serving(loop.name).champion


def _features(loop: Loop, key: str, scorer: Scorer) -> pd.DataFrame:
    """Features of a partition by the version's own code, with ROW."""
    published = loop.store.partition_row(loop.name, key)
    if published is None or published.state != "published":
        raise InputError(f"{loop.name}: no partition {key!r} is published; `updraft status` names the newest one")
    return loop.feature_frame(key, scorer.features)


def _explained(
    loop: Loop,
    scorer: Scorer,
    version: str,
    key: str,
    frame: pd.DataFrame,
    reference: tuple[str, ...],
    others: list[pd.DataFrame],
    row: int | None,
) -> Explanation:
    import numpy as np
    import pandas as pd

    model = scorer.model
    chosen = _chosen(loop, key, frame, row)
    rest = pd.concat(others, ignore_index=True)
    rows, held = (model.encoder.encode(part) for part in (chosen, rest.iloc[_evenly(len(rest), REFERENCE_ROWS)]))

    def score(values: NDArray[np.float32]) -> NDArray[np.float64]:
        return Scores.of(model.task_type, scorer.layer, model.scorer.margin(values)).score

    scores, expected = score(rows), score(held)
    estimated = contributions(score, rows, held, draws=PARTITION_DRAWS if row is None else ROW_DRAWS)
    if not all(np.isfinite(part).all() for part in (scores, expected, estimated.mean)):
        raise DataError(
            f"{loop.name}: version {version} gives scores that are no numbers on rows of {key}, of {reference[0]}, or between them"
        )
    position = _class(scores, expected) if scores.ndim == 2 else None
    moved, errors = estimated.mean, estimated.standard_error
    if position is not None:
        moved, errors = moved[:, :, position], errors[:, :, position]
        scores, expected = scores[:, position], expected[:, position]
    return Explanation(
        project=loop.name,
        version=version,
        key=key,
        row=row,
        against=reference,
        label=None if position is None else model.classes[position],
        rows=len(chosen),
        score=float(scores.mean()),
        expected=float(expected.mean()),
        features=_by_feature(model.encoder.names, moved, errors, chosen, of=None if row is not None else len(frame)),
        draws=estimated.draws,
    )


def _chosen(loop: Loop, key: str, frame: pd.DataFrame, row: int | None) -> pd.DataFrame:
    """The rows that are explained."""
    if row is None:
        return frame.iloc[_evenly(len(frame), EXPLAINED_ROWS)]
    chosen = frame[frame[ROW] == row]
    if not len(chosen):
        raise InputError(
            f"{loop.name}: partition {key} has no row {row}; the column {ROW} of what was published, and of its predictions, numbers them"
        )
    return chosen


def _by_feature(
    names: Sequence[str],
    moved: NDArray[np.float64],
    errors: NDArray[np.float64],
    chosen: pd.DataFrame,
    *,
    of: int | None,
) -> tuple[FeatureContribution, ...]:
    """Features in the order of how far they move a row.

    :param moved: rows × features, with the standard error of each over its draws.
    :param of: rows that the explained ones were chosen among (of all of them, the draws alone leave something to chance); None of one row
        that was asked for, whose values are shown.
    """
    import numpy as np

    count = len(moved)
    of_rows = moved.var(axis=0, ddof=1) / count * (1 - count / of) if of is not None and 1 < count < of else 0.0
    error = np.sqrt((errors**2).sum(axis=0) / count**2 + of_rows)
    size = np.abs(moved).mean(axis=0)
    return tuple(
        FeatureContribution(
            feature=names[column],
            moved=float(moved[:, column].mean()),
            standard_error=float(error[column]),
            size=float(size[column]),
            value=_shown(chosen[names[column]].iloc[0]) if of is None else None,
        )
        for column in np.argsort(-size, kind="stable")
    )


def _class(scores: NDArray[np.float64], expected: NDArray[np.float64]) -> int:
    """Position of the class that is explained: of one row the one with the highest score, of several the one whose mean score moved most."""
    import numpy as np

    return int(scores[0].argmax() if len(scores) == 1 else np.abs(scores.mean(axis=0) - expected.mean(axis=0)).argmax())


def _evenly(of: int, most: int) -> NDArray[np.int64]:
    """Positions, evenly among so many."""
    import numpy as np

    return np.linspace(0, of - 1, min(of, most)).astype(np.int64)


def _shown(value: Any) -> str:
    """A cell for people."""
    import pandas as pd

    if value is None or bool(pd.isna(value)):
        return "missing"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

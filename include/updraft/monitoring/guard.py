"""The absolute guard: is what serves worse than no model at all? It needs no other model to compare with, and no policy allows for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft.monitoring.trial import paired_trial
from updraft.tasks.task_type import TaskType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GUARD_LEVEL = 0.01
"""Chance that a model that is as good as none is called worse, at one look: there is a look a tick."""


@dataclass(frozen=True, eq=False)
class Served:
    """Rows that a version scored, with labels that are known by now: arrays of shape (rows,); scores may be of shape (rows, classes)."""

    label: NDArray[np.float64]
    score: NDArray[np.float64]
    """After the layer: what was served."""
    cluster: NDArray[np.object_]


def worse_than_none(task: TaskType, served: Served, known: NDArray[np.float64]) -> str | None:
    """Why a version should not serve, in words; None while nothing like it is shown. One-sided t tests on clusters, each at 1 %.

    Its scores rank the wrong way round: within clusters, their covariance with the label is negative. Or they cost more than a constant,
    the best one for the labels that were known when it was proved.

    :param served: rows that the version had not learnt from.
    :param known: labels of its holdout; empty when it had none.
    """
    import numpy as np

    if not len(served.label):
        return None
    ranking = paired_trial(_agreement(task, served), served.cluster, GUARD_LEVEL)
    if ranking.shown_negative:
        ranked = (
            "rows with higher scores had lower labels"
            if not task.shape
            else "classes came less often where their score was higher"
        )
        return f"its scores rank the wrong way round: {ranked}, over {ranking.clusters} clusters"
    if not len(known):
        return None
    loss = task.default_loss
    constant = np.broadcast_to(task.base_rate(task.headline, known)[0], served.score.shape)
    costs, base = loss(served.label, served.score), loss(served.label, constant)
    trial = paired_trial(base - costs, served.cluster, GUARD_LEVEL)
    if not trial.shown_negative:
        return None
    return (
        f"it is worse than no model: {loss.name} {costs.mean():.4f} against {base.mean():.4f} of its holdout's base rate, "
        f"over {trial.clusters} clusters"
    )


def _agreement(task: TaskType, served: Served) -> NDArray[np.float64]:
    """Per row, what it adds to the covariance of score and outcome within its cluster; of a vector of scores, the sum over its classes."""
    import numpy as np

    _, codes = np.unique(served.cluster.astype(str), return_inverse=True)
    rows = np.bincount(codes)

    def centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
        deviations: NDArray[np.float64] = values - (np.bincount(codes, values) / rows)[codes]
        return deviations

    columns = zip(_columns(served.score), _columns(task.outcomes(served.label)), strict=True)
    return np.asarray(sum(centred(score) * centred(outcome) for score, outcome in columns), np.float64)


def _columns(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [values] if values.ndim == 1 else list(values.T)

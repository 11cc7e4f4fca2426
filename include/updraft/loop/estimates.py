"""The estimate of a partition that was just scored, and the record of earlier ones. Nothing is decided by either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft.data.partitions import KEY_FORMAT, tick_of
from updraft.loop.context import Loop
from updraft.loop.labelled import unseen_by
from updraft.loop.monitor import MONITOR
from updraft.monitoring.estimate import (
    RECENT,
    Expected,
    PastError,
    expected_of_losses,
    expected_of_probabilities,
    interval,
)
from updraft.store.estimates import Estimates
from updraft.store.records import EstimateRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_ROWS = 200_000
"""Of a larger partition every n-th row is looked at: the luck of so many labels is far below any error of calibration."""
_KNOWN = 4
"""The newest known partitions whose losses stand for those to come, of a task whose scores are no probabilities."""


@dataclass(frozen=True)
class CameTrue:
    """An estimate all of whose labels are known."""

    estimate: EstimateRow
    value: float
    """What came true, in the metric's unit."""

    @property
    def error(self) -> float:
        """What came true less what was estimated."""
        return self.value - self.estimate.value

    @property
    def held(self) -> bool | None:
        """Whether the interval held it; None where there was no interval."""
        lower, upper = self.estimate.lower, self.estimate.upper
        return None if lower is None or upper is None else lower <= self.value <= upper


def came_true(loop: Loop, before: str | None = None) -> list[CameTrue]:
    """The newest estimates that have come true, :data:`RECENT` at most, in order of their partitions.

    :param before: only what was known before the tick of this key.
    """
    as_of = loop.store.seen_by(loop.name, MONITOR)
    if before is not None:  # of a partition that comes late, ticks after its own have been monitored
        as_of = min(as_of or "", loop.store.neighbour(loop.name, before, later=False) or "")
    if not as_of:
        return []
    # The newest partition whose labels had all matured: the mean loss over some of the rows is another figure.
    whole = (tick_of(as_of) - loop.spec.data.label.matures_after).strftime(KEY_FORMAT)
    told = Estimates(loop.store.engine).newest(loop.name, until=whole, newest=RECENT)
    name = loop.spec.loss_metric.name  # where the policy has another one by now, the record begins anew
    return [
        CameTrue(estimate, measured.metrics[name])
        for estimate, measured in told
        if estimate.metric == name
        and measured is not None
        and measured.version == estimate.version
        and name in measured.metrics
    ]


def estimate_loss(
    loop: Loop, key: str, version: str, layer: dict[str, float] | None, score: NDArray[np.float64]
) -> EstimateRow | None:
    """Estimate what a champion will have lost on a partition that it has just scored, and record it; None where nothing can be said.

    :param layer: the calibration layer under which it scored.
    :param score: what is served, shape (rows,) or (rows, classes); rows whose score is no number are left out.
    """
    import numpy as np

    if not len(score):
        return None
    score = score[np.isfinite(score).reshape(len(score), -1).all(axis=1)]
    expected = _expected(loop, key, version, layer, score[:: -(-len(score) // MOST_ROWS) or 1])
    if expected is None:
        return None
    past = [PastError(row.error, row.estimate.spread) for row in came_true(loop, key)]
    within = interval(expected, past)
    row = EstimateRow(
        key=key,
        version=version,
        rows=len(score),
        metric=loop.spec.loss_metric.name,
        value=expected.value,
        spread=expected.spread,
        lower=within.lower if within else None,
        upper=within.upper if within else None,
        errors=len(past),
        figures=expected.figures,
    )
    Estimates(loop.store.engine).record(loop.name, row)
    return row


def _expected(
    loop: Loop, key: str, version: str, layer: dict[str, float] | None, score: NDArray[np.float64]
) -> Expected | None:
    """From the scores themselves where they are probabilities; else from the losses of the newest known rows that the version had not learnt from."""
    import numpy as np

    task, metric = loop.spec.task_type, loop.spec.loss_metric
    probabilities = task.probabilities(score)
    if probabilities is not None:
        return expected_of_probabilities(metric, score, probabilities, task.metrics)
    parts = unseen_by(loop, version, key, newest=_KNOWN)
    if not parts:
        return None
    # As the version would have been served with today's layer: what it lost then under another one is another error.
    known = task.link(task.calibration.layer(layer).apply(np.concatenate([part.margin for part in parts])))
    return expected_of_losses(metric, score, known, metric.loss(np.concatenate([part.label for part in parts]), known))

"""What served is expected to lose on partitions without labels yet, and how often such estimates held. For people: nothing is decided by it."""

from __future__ import annotations

from collections.abc import Sequence

from updraft.control.view import View, finite
from updraft.loop.context import Loop
from updraft.loop.estimates import CameTrue, came_true
from updraft.monitoring.estimate import FEWEST
from updraft.store.estimates import Estimates
from updraft.store.records import EstimateRow, PerformanceRow


class Estimated(View):
    """The estimate of one partition."""

    key: str
    version: str
    rows: int
    metric: str
    value: float
    lower: float | None
    upper: float | None
    """None while too few estimates had come true for an interval."""
    figures: dict[str, float]
    """What else was expected, by the name of its metric."""
    came_true: float | None
    """Over the rows whose labels are known by now; None while there are none."""
    words: str


class EstimateRecord(View):
    """Of the newest estimates that have come true with all their labels, how many held."""

    with_interval: int
    held: int
    came_true: int
    """With an interval or without."""
    mean_error: float | None
    """What came true less what was estimated: above 0 the losses were higher than expected."""
    words: str


class EstimatesView(View):
    """Of a project."""

    waiting: tuple[Estimated, ...]
    """Of the newest partitions those without a known label, in order."""
    record: EstimateRecord
    words: str | None
    """The newest estimate that waits for labels, with the record, in a sentence; None where none waits."""


def read_estimates(loop: Loop, newest: int) -> EstimatesView:
    """The estimates of a project that wait for labels, and the record.

    :param newest: how many of the newest estimates are looked at.
    """
    told = Estimates(loop.store.engine).newest(loop.name, newest=newest)
    metric, record = loop.spec.loss_metric.name, _record(came_true(loop))
    waiting = [
        _estimated(estimate, None) for estimate, measured in told if measured is None and estimate.metric == metric
    ]
    words = f"{waiting[-1].words}, no labels yet; {record.words}" if waiting else None
    return EstimatesView(waiting=tuple(waiting), record=record, words=words)


def read_estimate(loop: Loop, key: str) -> Estimated | None:
    """The estimate of one partition beside what came true; None where none was made."""
    told = Estimates(loop.store.engine).newest(loop.name, newest=1, key=key)
    return _estimated(*told[0]) if told else None


def _estimated(row: EstimateRow, measured: PerformanceRow | None) -> Estimated:
    realised = finite(measured.metrics.get(row.metric)) if measured is not None else None
    within = f" ({row.lower:.3g} to {row.upper:.3g})" if row.lower is not None and row.upper is not None else ""
    return Estimated(
        key=row.key,
        version=row.version,
        rows=row.rows,
        metric=row.metric,
        value=row.value,
        lower=row.lower,
        upper=row.upper,
        figures=row.figures,
        came_true=realised,
        words=f"estimated {row.value:.3g}{within}",
    )


def _record(newest: Sequence[CameTrue]) -> EstimateRecord:
    told = [row.held for row in newest if row.held is not None]
    held = sum(told)
    mean_error = sum(row.error for row in newest) / len(newest) if newest else None
    if told and mean_error is not None:
        words = f"of the last {len(told)} estimates {held} held what came true (mean error {mean_error:+.2g})"
    else:
        words = f"not enough record yet for an interval: {len(newest)} of {FEWEST} estimates have come true"
    return EstimateRecord(
        with_interval=len(told),
        held=held,
        came_true=len(newest),
        mean_error=mean_error,
        words=words,
    )

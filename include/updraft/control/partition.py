"""One partition on its way from source rows to loss: what was read, refused and why, published, scored by whom, and measured."""

from __future__ import annotations

from typing import Any

from updraft.control.business import BusinessFigure, figures_of
from updraft.control.estimates import Estimated, read_estimate
from updraft.control.timeline import Decided, decided
from updraft.control.view import View, finite
from updraft.errors import DataError, InputError
from updraft.loop.accounting import accounted
from updraft.loop.accounting import in_words as accounted_in_words
from updraft.loop.context import Loop
from updraft.loop.kept_out import sign_words


class Source(View):
    """What was judged of one source's file."""

    name: str
    rows: int
    quarantined: int
    outside: int
    timeless: int
    reasons: dict[str, int]
    """Rows by the reason for which they are in quarantine."""


class ScoredBy(View):
    """Who scored the partition, and how well, on the rows whose labels are known."""

    role: str
    version: str
    rows: int
    layer: dict[str, float] | None
    measured: int | None
    loss: float | None
    as_of: str | None
    """The tick by which so many labels had matured."""
    metrics: dict[str, float]


class KeptOutBy(View):
    """A sign that keeps the partition out of trainings."""

    kind: str
    column: str | None
    words: str


class PartitionView(View):
    """A partition for people."""

    project: str
    key: str
    start: str | None
    state: str
    """``published``, ``refused``, ``empty``, or ``not ingested``."""
    words: str
    refusals: tuple[str, ...]
    failed: str | None
    """Why the last try to ingest it failed."""
    read: int | None
    published: int
    quarantined: int
    sha256: str | None
    sources: tuple[Source, ...]
    labels: dict[str, Any]
    metric: str
    scored: tuple[ScoredBy, ...]
    estimate: Estimated | None
    """Of what the champion would lose, from before the labels; None where none was made."""
    business: tuple[BusinessFigure, ...]
    kept_out: tuple[KeptOutBy, ...]
    drift: str | None
    decisions: tuple[Decided, ...]
    before: str | None
    after: str | None
    """The neighbours that were ingested."""


def read_partition(loop: Loop, key: str) -> PartitionView:
    """One partition of a project.

    :raises InputError: when it was neither ingested nor tried.
    """
    store, name = loop.store, loop.name
    row = store.partition(name, key)
    failed = store.failed_ingestions(name, since=key, until=key).get(key)
    if row is None and failed is None:
        newest = store.newest_partition(name, state=None)
        raise InputError(f"{name}: partition {key!r} was not ingested; the newest one is {newest or 'none yet'}")
    account = accounted(row) if row is not None else None
    checks: dict[str, dict[str, Any]] = dict(row.checks.get("sources") or {}) if row is not None else {}
    keeping = store.keeping_out(name, since=key, until=key)
    diagnosed = store.decision(name, "diagnose", key)
    about = [diagnosed] if diagnosed is not None else []
    if row is not None and row.sha256 is not None:
        about += store.decisions_about(name, f"{key}@{row.sha256}", ("readmit",))
    about += store.decisions_about(name, key, ("pass_over",))
    return PartitionView(
        project=name,
        key=key,
        start=_start(loop, key),
        state=row.state if row is not None else "not ingested",
        words=accounted_in_words(account) if account else "nothing of it was read yet",
        refusals=store.refusals(name, [key]).get(key, ()),
        failed=f"{failed.error}: {failed.words}" if failed is not None else None,
        read=account["read"] if account else None,
        published=row.rows if row is not None else 0,
        quarantined=row.quarantined if row is not None else 0,
        sha256=row.sha256 if row is not None else None,
        sources=tuple(_source(source, of_source) for source, of_source in checks.items()),
        labels=dict(account["labels"]) if account else {},
        metric=loop.spec.loss_metric.name,
        scored=tuple(_scored(loop, key)),
        estimate=read_estimate(loop, key),
        business=tuple(figure for figures in store.figures(name, key=key) for figure in figures_of(figures)),
        kept_out=tuple(
            KeptOutBy(kind=kind, column=column, words=sign_words((kind, column)))
            for kept in keeping
            for kind, column in kept.signs
        ),
        drift=_drift_words(diagnosed.body if diagnosed is not None else {}),
        decisions=tuple(shown for decision in about if (shown := decided(decision)) is not None),
        before=store.neighbour(name, key, later=False),
        after=store.neighbour(name, key, later=True),
    )


def _start(loop: Loop, key: str) -> str | None:
    try:
        return loop.partition(key).start.isoformat()
    except (DataError, ValueError):  # the schedule does not tick at it any more
        return None


def _source(name: str, checks: dict[str, Any]) -> Source:
    return Source(
        name=name,
        rows=int(checks.get("rows", 0)),
        quarantined=int(checks.get("quarantined", 0)),
        outside=int(checks.get("outside", 0)),
        timeless=int(checks.get("timeless", 0)),
        reasons={str(reason): int(rows) for reason, rows in dict(checks.get("reasons") or {}).items()},
    )


def _scored(loop: Loop, key: str) -> list[ScoredBy]:
    metric = loop.spec.loss_metric.name
    scored = []
    for role, prediction in sorted(loop.store.predictions(loop.name, key).items()):
        measured = next(iter(loop.store.performance(loop.name, role=role, key=key)), None)
        scored.append(
            ScoredBy(
                role=role,
                version=prediction.version,
                rows=prediction.rows,
                layer=prediction.calibration,
                measured=measured.rows if measured else None,
                loss=finite(measured.metrics.get(metric)) if measured else None,
                as_of=measured.as_of if measured else None,
                metrics={
                    name: value for name, value in (measured.metrics if measured else {}).items() if finite(value)
                },
            )
        )
    return scored


def _drift_words(body: dict[str, Any]) -> str | None:
    drift = body.get("drift") or {}
    return str(drift["reason"]) if drift.get("reason") else None

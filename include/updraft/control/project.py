"""One project over time: its losses under each champion, drift by column, volume and quality, calibration, and what was decided."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from updraft.control.business import FigureSeries, series
from updraft.control.cost import Spending, read_spending
from updraft.control.delivery import MOST, Delivery, read_delivery
from updraft.control.estimates import EstimatesView, read_estimates
from updraft.control.fleet import FleetRow, LossPoint, loss_points, row_of
from updraft.control.situation import read_situation
from updraft.control.timeline import Decided, decided, telling_decisions
from updraft.control.view import View, finite
from updraft.loop.context import Loop
from updraft.loop.kept_out import sign_words
from updraft.spec.environments import environment_words
from updraft.spec.evidence import evidence_words, undecidable
from updraft.store.records import Decision, PerformanceRow

PARTITIONS = 60
"""The newest partitions that the page's charts show."""
DECISIONS = 20
"""The newest decisions that the page shows; older ones by the number of the last one."""


class Champion(View):
    """A stretch of partitions that one version scored as champion."""

    version: str
    first: str
    last: str


class DriftTick(View):
    """How far one partition was from the reference."""

    key: str
    score: float | None
    threshold: float | None
    column: str | None
    alarm: bool
    against: str
    scores: dict[str, float]
    """Standardised distance by column, the farthest ones; empty of a tick from before it was kept."""
    words: str


class Volume(View):
    """What became of the rows of one partition."""

    key: str
    state: str
    published: int
    quarantined: int
    kept_out: bool


class Quality(View):
    """Of one partition: how much of the loss is miscalibration, and how much the scores tell rows apart."""

    key: str
    miscalibration: float | None
    discrimination: float | None


class Layer(View):
    """A calibration layer that was fitted."""

    key: str
    version: str
    intercept: float | None
    slope: float | None
    """None without a layer."""
    words: str


class KeptOutSign(View):
    """A sign of a broken feed that keeps partitions out of trainings."""

    kind: str
    column: str | None
    words: str
    partitions: int
    since: str
    command: str


class ProjectView(View):
    """A project for people."""

    as_of: datetime
    row: FleetRow
    wanted: tuple[str, ...]
    next: tuple[str, ...]
    waiting: tuple[str, ...]
    evidence: str
    undecidable: tuple[str, ...]
    losses: tuple[LossPoint, ...]
    estimates: EstimatesView
    champions: tuple[Champion, ...]
    figures: dict[str, float]
    """Of the newest measured partition."""
    drift: tuple[DriftTick, ...]
    volume: tuple[Volume, ...]
    quality: tuple[Quality, ...]
    layers: tuple[Layer, ...]
    business: tuple[FigureSeries, ...]
    kept_out: tuple[KeptOutSign, ...]
    decisions: tuple[Decided, ...]
    older: int | None
    """Number of the oldest decision shown, where there may be older ones."""
    partitions: dict[str, int]
    """How many there are, by state."""
    quarantined: int
    environment: str
    """Which one holds for the project, and by which file; empty where it has none."""
    stopped: bool
    """Whether a person has stopped the remedies."""
    delivery: Delivery
    spending: Spending


def read_project(
    loop: Loop, now: datetime, *, before: int | None = None, decisions: int = DECISIONS, promotions: int = MOST
) -> ProjectView:
    """One project. What is read does not grow with the history.

    :param now: of the clock.
    :param before: number of a decision: those before it are shown.
    :param decisions: how many are shown.
    :param promotions: how many the figures of delivery look at, and trainings those of cost.
    """
    store, spec, name = loop.store, loop.spec, loop.name
    situation = read_situation(loop, now)
    performance = store.performance(name, newest=PARTITIONS)
    told = telling_decisions(store, name, decisions, before=before)
    counts = store.partition_counts(name)
    points = loss_points(performance, spec.loss_metric.name)
    return ProjectView(
        as_of=now,
        row=row_of(loop, situation),
        wanted=tuple(situation.wanted),
        next=tuple(situation.next),
        waiting=tuple(partition.words for partition in situation.unpublished if partition.fate == "waiting"),
        evidence=evidence_words(spec),
        undecidable=tuple(undecidable(spec)),
        losses=tuple(points),
        estimates=read_estimates(loop, PARTITIONS),
        champions=tuple(champions(points)),
        figures=_figures(performance),
        drift=tuple(_drift(store.newest_decisions(name, ("diagnose",), PARTITIONS))),
        volume=tuple(_volume(loop)),
        quality=tuple(_quality(performance)),
        layers=tuple(_layers(store.newest_decisions(name, ("recalibrate",), PARTITIONS), situation.serving.champion)),
        business=series(store.figures(name, newest=PARTITIONS), spec.monitoring.figures),
        kept_out=tuple(
            KeptOutSign(
                kind=sign.kind,
                column=sign.column,
                words=sign_words(sign.sign),
                partitions=sign.partitions,
                since=sign.since,
                command=command,
            )
            for sign, command in zip(situation.kept_out.signs, situation.kept_out.commands, strict=True)
        ),
        decisions=tuple(shown for decision in reversed(told) if (shown := decided(decision)) is not None),
        older=told[0].seq if len(told) == DECISIONS else None,
        partitions=dict(counts.by_state),
        quarantined=counts.quarantined,
        environment=environment_words(loop.project.folder, loop.project.environment) or "",
        stopped=situation.standing.stopped is not None,
        delivery=read_delivery(store, name, most=promotions),
        spending=read_spending(store, name, spec.loss_metric.name, loop.settings.deployment, most=promotions),
    )


def champions(points: Iterable[LossPoint]) -> list[Champion]:
    """Who served, from the measured partitions in order."""
    stretches: list[Champion] = []
    for point in points:
        if stretches and stretches[-1].version == point.version:
            stretches[-1] = stretches[-1].model_copy(update={"last": point.key})
        else:
            stretches.append(Champion(version=point.version, first=point.key, last=point.key))
    return stretches


def _figures(performance: list[PerformanceRow]) -> dict[str, float]:
    newest = performance[-1].metrics if performance else {}
    return {name: figure for name, value in newest.items() if (figure := finite(value)) is not None}


def _drift(decisions: Iterable[Decision]) -> list[DriftTick]:
    ticks = []
    for decision in decisions:
        drift: dict[str, Any] = decision.body.get("drift") or {}
        if not drift or drift.get("score") is None:
            continue
        ticks.append(
            DriftTick(
                key=decision.key,
                score=finite(drift.get("score")),
                threshold=finite(drift.get("threshold")),
                column=drift.get("column"),
                alarm=bool(drift.get("alarm")),
                against=str(drift.get("against", "")),
                scores={str(column): float(score) for column, score in (drift.get("scores") or {}).items()},
                words=str(drift.get("reason", "")),
            )
        )
    return ticks


def _volume(loop: Loop) -> list[Volume]:
    rows = loop.store.partitions(loop.name, state=None, newest=PARTITIONS)
    if not rows:
        return []
    kept_out = loop.store.kept_out(loop.name, since=rows[0].key, until=rows[-1].key)
    return [
        Volume(
            key=row.key,
            state=row.state,
            published=row.rows,
            quarantined=row.quarantined,
            kept_out=row.key in kept_out,
        )
        for row in rows
    ]


def _quality(performance: Iterable[PerformanceRow]) -> list[Quality]:
    return [
        Quality(
            key=row.key,
            miscalibration=finite(row.metrics.get("mcb")),
            discrimination=finite(row.metrics.get("dsc")),
        )
        for row in performance
        if "mcb" in row.metrics
    ]


def _layers(decisions: Iterable[Decision], champion: str | None) -> list[Layer]:
    return [
        Layer(
            key=decision.key,
            version=str(decision.body["version"]),
            intercept=finite((decision.body["layer"] or {}).get("intercept")),
            slope=finite((decision.body["layer"] or {}).get("slope")),
            words=str(decision.body.get("reason", "")),
        )
        for decision in decisions
        if decision.body["version"] == champion
    ]

"""What a project's trainings cost, by month, and what the newest one gained for it.

Processor time of a training here is what its process used; of one in pods it is what they had for themselves, cores times duration, as that is paid
for whether it is used or not; of pods that went on from one another, the last alone told its time. A training that left no model leaves no
figures either: its tries are counted, not priced. What a version that was carried here took was paid for where it was trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from updraft.control.view import View, finite
from updraft.data.partitions import KEY_FORMAT, tick_of
from updraft.loop.decision_words import CARRIED
from updraft.spec.compute import Prices
from updraft.spec.deployment import load_deployment
from updraft.spec.part import cpu_cores
from updraft.spec.problems import SpecProblems
from updraft.store.records import TrainingRow
from updraft.store.store import Store

YEAR = timedelta(days=365)
MOST = 400
"""Trainings that are looked at: the newest ones. More than one a day."""


class Spent(View):
    """What trainings took in a month, or in all of them."""

    month: str
    """``2013-03``, by the tick of the training; empty of all."""
    trainings: int
    """That brought a model, taken or refused."""
    refused: int
    """Those of them whose model the gates refused."""
    cpu_hours: float
    gpu_hours: float
    cost: float | None
    """In the deployment's currency; None without prices."""


class Gain(View):
    """The newest training that was held against a champion."""

    version: str
    key: str
    gain: float
    """Loss of the champion less that of the new model on the training's holdout; negative where it was worse."""
    cost: float | None


class Spending(View):
    """A year of trainings of one project."""

    project: str
    until: str | None
    """The newest tick of the project, with which the year ends; None before the first."""
    currency: str
    """Empty without prices."""
    unpriced: str
    """Why there are no prices; empty where there are."""
    months: tuple[Spent, ...]
    """The newest first."""
    year: Spent | None
    """All of them together; None where no training brought a model whose time is known."""
    newest: Gain | None
    failed: int
    """Trainings of the year that brought nothing; what they took is not known."""


@dataclass(frozen=True)
class _Used:
    month: str
    refused: bool
    cpu_hours: float
    gpu_hours: float


def read_spending(store: Store, project: str, loss: str, deployment: Path, *, most: int = MOST) -> Spending:
    """What the trainings of the year up to a project's newest tick took. What is read does not grow with the history.

    :param loss: name of the metric that the project's losses are told by (``ProjectSpec.loss_metric``).
    :param deployment: ``deployment.yaml``, which may have prices.
    :param most: trainings that are looked at.
    """
    prices, unpriced = _prices(deployment)
    newest = store.newest_partition(project, state=None)
    since = (tick_of(newest) - YEAR).strftime(KEY_FORMAT) if newest is not None else ""
    carried = {decision.subject for decision in store.newest_decisions(project, (CARRIED,), most)}
    trained = store.newest_trainings(project, after=since, most=most) if newest is not None else []
    rows = [row for row in trained if row.id not in carried]  # of another environment, and paid for there
    used = {row.id: usage for row in rows if (usage := _used(row)) is not None}
    months = sorted({usage.month for usage in used.values()}, reverse=True)
    return Spending(
        project=project,
        until=newest,
        currency=prices.currency if prices is not None else "",
        unpriced=unpriced,
        months=tuple(
            _spent(month, [usage for usage in used.values() if usage.month == month], prices) for month in months
        ),
        year=_spent("", tuple(used.values()), prices) if used else None,
        newest=next((gain for row in rows if (gain := _gain(row, used.get(row.id), loss, prices)) is not None), None),
        failed=store.count_failed_trainings(project, after=since) if newest is not None else 0,
    )


def _prices(deployment: Path) -> tuple[Prices | None, str]:
    """The prices, or why there are none: a page shows the rest of it however that file is."""
    try:
        prices = load_deployment(deployment).prices
    except SpecProblems as error:
        return None, str(error)
    return prices, "" if prices is not None else f"no prices in {deployment.name}"


def _used(row: TrainingRow) -> _Used | None:
    """None of a training whose time was not recorded."""
    seconds = row.result.get("seconds")
    if seconds is None:
        return None
    pods: Sequence[Mapping[str, Any]] = row.result.get("pods") or ()
    workers = int(row.result.get("workers", 1))
    if pods:  # the last of them ended the training
        cores, gpus = cpu_cores(str(pods[-1]["cpu"])) * workers, int(pods[-1]["gpu"]) * workers
        cpu_seconds = cores * float(seconds)
    else:
        own = row.result.get("cpu_seconds")
        cpu_seconds, gpus = workers * float(seconds if own is None else own), 0
    return _Used(
        month=f"{tick_of(row.key):%Y-%m}",
        refused=row.state == "refused",
        cpu_hours=cpu_seconds / 3600,
        gpu_hours=gpus * float(seconds) / 3600,
    )


def _spent(month: str, used: Sequence[_Used], prices: Prices | None) -> Spent:
    cpu_hours, gpu_hours = sum(usage.cpu_hours for usage in used), sum(usage.gpu_hours for usage in used)
    return Spent(
        month=month,
        trainings=len(used),
        refused=sum(usage.refused for usage in used),
        cpu_hours=cpu_hours,
        gpu_hours=gpu_hours,
        cost=prices.of(cpu_hours, gpu_hours) if prices is not None else None,
    )


def _gain(row: TrainingRow, used: _Used | None, loss: str, prices: Prices | None) -> Gain | None:
    gates = row.result.get("gates") or {}
    compared = (gates.get("metrics") or {}).get(loss) or {}
    against, candidate = finite(compared.get("against")), finite(compared.get("candidate"))
    if row.version is None or gates.get("against") != "champion" or against is None or candidate is None:
        return None
    return Gain(
        version=row.version,
        key=row.key,
        gain=against - candidate,
        cost=prices.of(used.cpu_hours, used.gpu_hours) if used is not None and prices is not None else None,
    )

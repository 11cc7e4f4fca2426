"""The project's trainers side by side: each learns from the same window, and is measured on the same holdout."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from updraft.data.columns import CLUSTER, LABEL, PARTITION, ROW
from updraft.data.vectors import as_values
from updraft.errors import TrainingError
from updraft.jobs.plan import Plan
from updraft.loop.context import Loop
from updraft.loop.judge import compare
from updraft.loop.plan import plan_training
from updraft.loop.trials import proof, proof_sha256
from updraft.monitoring.trial import Trial, paired_trial
from updraft.store.records import Lane
from updraft.training.trainers import learns_here

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

CHAMPION = "champion"
"""Stands for what served the holdout, beside the trainers."""


@dataclass(frozen=True)
class Contender:
    """One trainer, or what served."""

    trainer: str
    params: Mapping[str, Any]
    lane: Lane | None
    """Of a training by it; None of what served."""
    rows: int
    """Of the holdout that it is measured on: what served may lack some."""
    measured: Mapping[str, float]
    """Metrics by name."""
    seconds: float | None
    """That it took to learn and to score the holdout; None where the proof was there already, and of what served."""
    gain: Trial | None
    """Loss of the first trainer minus its own on the same rows, by cluster; None of the first, and where there is no such row."""


@dataclass(frozen=True)
class TrainerComparison:
    """What each of a project's trainers makes of the same window."""

    project: str
    key: str
    window: tuple[str, ...]
    holdout: tuple[str, ...]
    loss: str
    """Name of the loss that gains are of."""
    contenders: tuple[Contender, ...]
    """The trainers in the order of project.yaml, then what served."""
    left_out: Mapping[str, str]
    """Trainers that cannot learn here, and why."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        contenders = [
            {**asdict(contender), "gain": contender.gain.as_dict() if contender.gain else None}
            for contender in self.contenders
        ]
        return {**asdict(self), "contenders": contenders}


def compare_trainers(loop: Loop) -> TrainerComparison:
    """Let every trainer of ``training.trainers`` learn from the newest window and score the same holdout, in this process.

    Each is recalibrated across the holdout where the project recalibrates what serves. Nothing is registered and nothing started. What one of
    them has learnt is kept as that of a refit trial is: a training by the same recipe on the same partitions begins there.

    :raises TrainingError: when there is too little to learn from, or none of the trainers can learn here.
    """
    key = loop.store.newest_partition(loop.name)
    if key is None:
        raise TrainingError(f"{loop.name}: no partition is published yet, so there is nothing to learn from")
    named = [trainer.name for trainer in loop.spec.training.trainers]
    left_out = {name: "what it learns with is not installed here" for name in named if not learns_here(name)}
    plans = [plan_training(loop, key, trainer=name) for name in named if name not in left_out]
    if not plans:
        raise TrainingError(
            f"{loop.name}: none of its trainers can learn here ({', '.join(named)}): what they learn with is in the pods' image alone"
        )
    contenders = tuple(_contenders(loop, plans))
    first = plans[0]
    loss = loop.spec.task_type.default_loss.name
    return TrainerComparison(loop.name, key, first.window, first.holdout, loss, contenders, left_out)


def _contenders(loop: Loop, plans: list[Plan]) -> Iterator[Contender]:
    first: pd.DataFrame | None = None
    for plan in plans:
        known, started = proof_sha256(loop, plan) is not None, time.monotonic()
        predictions = proof(loop, plan)
        seconds = None if known else time.monotonic() - started
        rows = compare(loop, plan, predictions)
        gain = None if first is None else _gain(loop, first, rows, "candidate")
        first = rows if first is None else first
        yield _measured(loop, plan, rows, seconds, gain)
    assert first is not None
    served = first[first["champion"].notna()]
    if len(served):
        yield Contender(
            CHAMPION,
            {},
            None,
            len(served),
            _metrics(loop, served, "champion"),
            None,
            _gain(loop, first, served, "champion"),
        )


def _measured(loop: Loop, plan: Plan, rows: pd.DataFrame, seconds: float | None, gain: Trial | None) -> Contender:
    trainer = plan.trainer
    measured = _metrics(loop, rows, "candidate")
    return Contender(trainer.name, dict(trainer.params), plan.lane, len(rows), measured, seconds, gain)


def _metrics(loop: Loop, rows: pd.DataFrame, scores: str) -> dict[str, float]:
    task = loop.spec.task_type
    told = task.measure(rows[LABEL].to_numpy(float), as_values(rows[scores]))
    return {name: told[name] for name in task.metric_names if name in told}


def _gain(loop: Loop, first: pd.DataFrame, rows: pd.DataFrame, scores: str) -> Trial:
    """How much lower the loss is than the first trainer's, on the rows that both have scored."""
    both = rows[[PARTITION, ROW, CLUSTER, LABEL, scores]].rename(columns={scores: "own"})
    both = both.merge(first[[PARTITION, ROW, "candidate"]], on=[PARTITION, ROW])
    label, loss = both[LABEL].to_numpy(float), loop.spec.task_type.default_loss
    gain: NDArray[np.float64] = loss(label, as_values(both["candidate"])) - loss(label, as_values(both["own"]))
    return paired_trial(gain, both[CLUSTER].astype(str).to_numpy(object))

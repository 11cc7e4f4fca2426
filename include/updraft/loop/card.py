"""The model card of a training run, from what its evaluation found."""

from __future__ import annotations

import math

from updraft import files
from updraft.data.columns import LABEL, PARTITION
from updraft.data.vectors import as_values
from updraft.evaluation.card import CardData, Measured, card_html
from updraft.evaluation.gates import GateResult, MetricComparison
from updraft.loop.context import Loop
from updraft.loop.judge import Comparison
from updraft.registry.mlflow_registry import ModelRegistry
from updraft.tasks.task_type import TaskType


def write_card(loop: Loop, run: str, comparison: Comparison, registry: ModelRegistry) -> str | None:
    """Write the card beside the training and into its MLflow run; its page in MLflow, None without an MLflow run."""
    training = loop.training(run)
    result = training.result
    html = card_html(card_data(loop, run, comparison))
    files.write_bytes(training.folder.card, html.encode())
    return registry.log_html(result.mlflow_run_id, html) if result.mlflow_run_id else None


def card_data(loop: Loop, run: str, comparison: Comparison) -> CardData:
    """What the card of a run shows."""
    training = loop.training(run)
    result, plan, gates = training.result, training.plan, comparison.gates
    task, rows = loop.spec.task_type, comparison.rows
    metric = task.headline
    by_partition = {
        str(key): Measured(
            metric.value(frame[LABEL].to_numpy(float), as_values(frame["candidate"])),
            metric.value(frame[LABEL].to_numpy(float), as_values(frame["champion"]))
            if frame["champion"].notna().all()
            else None,
            rows=len(frame),
        )
        for key, frame in rows.groupby(PARTITION, sort=True)
    }
    facts = {
        **({"reason": reason} if (reason := training.reason) else {}),
        "lane": plan.lane,
        "window": f"{plan.window[0]} to {plan.window[-1]} ({len(plan.window)} partitions)",
        "holdout": ", ".join(plan.holdout),
        "snapshot": result.snapshot_sha256,
        "features": result.features_sha256,
        "parameters": ", ".join(f"{name}={value}" for name, value in sorted(plan.trainer.params.items())),
        "rounds": str(result.rounds),
        "rows": f"{result.rows:,}",
        **task.label_facts(result.metrics),
        "seed": str(plan.seed),
        "environment": ", ".join(f"{name} {version}" for name, version in sorted(result.environment.items())),
    }
    return CardData(
        project=loop.name,
        version=f"of run {run}",
        description=loop.spec.description,
        owner=loop.spec.owner,
        task=task,
        key=plan.key,
        outcome=_outcome(gates),
        metric=metric,
        metrics={compared.metric: _measured(task, compared) for compared in gates.metrics},
        partitions=by_partition,
        slices={name: _measured(task, part.comparison, part.rows) for name, part in gates.slices.items()},
        label=rows[LABEL].to_numpy(float),
        score=as_values(rows["candidate"]),
        curve=next(iter(result.curve.values()), []),
        rounds=result.rounds,
        importance=result.importance,
        importance_is=result.importance_is,
        reasons=list(gates.reasons),
        fairness=gates.fairness,
        facts=facts,
        links={},
    )


def _outcome(gates: GateResult) -> str:
    """What the gates said, and what of it rests on too little to say."""
    outcome = f"passed the gates against the {gates.against}" if gates.passed else "refused by the gates"
    return f"{outcome} ({gates.note})" if gates.note else outcome


def _measured(task: TaskType, compared: MetricComparison, rows: int | None = None) -> Measured:
    """The gates tell how much worse the model is, whichever direction is better; the card shows model minus champion."""
    low, high = (value if math.isfinite(value) else None for value in (compared.lower, compared.upper))
    if task.metric(compared.metric).higher_is_better:
        low, high = (None if high is None else -high), (None if low is None else -low)
    return Measured(compared.candidate, compared.against, low, high, rows)

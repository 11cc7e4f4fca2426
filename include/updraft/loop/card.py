"""The model card of a training run, from what its evaluation found."""

from __future__ import annotations

import math
from typing import Any

from updraft import files
from updraft.data.columns import LABEL, PARTITION
from updraft.evaluation.card import CardData, Measured, card_html
from updraft.evaluation.metrics import metric_value
from updraft.loop.context import Loop
from updraft.loop.judge import Comparison
from updraft.loop.train import folder, plan_of, reason_of, result_of
from updraft.registry.mlflow_registry import ModelRegistry


def write_card(loop: Loop, run: str, comparison: Comparison, registry: ModelRegistry) -> str | None:
    """Write the card beside the training and into its MLflow run; its page in MLflow, None without an MLflow run."""
    result = result_of(loop, run)
    html = card_html(card_data(loop, run, comparison))
    files.write_bytes(f"{folder(loop, run)}/card.html", html.encode())
    return registry.log_html(result.mlflow_run_id, html) if result.mlflow_run_id else None


def card_data(loop: Loop, run: str, comparison: Comparison) -> CardData:
    """What the card of a run shows."""
    result, plan, gates = result_of(loop, run), plan_of(loop, run), comparison.gates
    metric = "log_loss" if loop.spec.task == "binary" else "rmse"
    rows = comparison.rows
    by_partition = {
        str(key): Measured(
            metric_value(metric, frame[LABEL].to_numpy(float), frame["candidate"].to_numpy(float)),
            metric_value(metric, frame[LABEL].to_numpy(float), frame["champion"].to_numpy(float))
            if frame["champion"].notna().all()
            else None,
            rows=len(frame),
        )
        for key, frame in rows.groupby(PARTITION, sort=True)
    }
    facts = {
        **({"reason": reason} if (reason := reason_of(loop, run)) else {}),
        "lane": plan.lane,
        "window": f"{plan.window[0]} to {plan.window[-1]} ({len(plan.window)} partitions)",
        "holdout": ", ".join(plan.holdout),
        "snapshot": result.snapshot_sha256,
        "features": result.features_sha256,
        "parameters": ", ".join(f"{name}={value}" for name, value in sorted(plan.trainer.params.items())),
        "rounds": str(result.rounds),
        "rows": f"{result.rows:,}",
        "seed": str(plan.seed),
        "environment": ", ".join(f"{name} {version}" for name, version in sorted(result.environment.items())),
    }
    return CardData(
        project=loop.name,
        version=f"of run {run}",
        description=loop.spec.description,
        owner=loop.spec.owner,
        task=loop.spec.task,
        key=plan.key,
        outcome=f"passed the gates against the {gates.against}" if gates.passed else "refused by the gates",
        metric=metric,
        metrics={one.metric: _measured(one) for one in gates.metrics},
        partitions=by_partition,
        slices={name: _measured(one.comparison, one.rows) for name, one in gates.slices.items()},
        label=rows[LABEL].to_numpy(float),
        score=rows["candidate"].to_numpy(float),
        curve=next(iter(result.curve.values()), []),
        rounds=result.rounds,
        importance=result.importance,
        importance_is=result.importance_is,
        reasons=list(gates.reasons),
        facts=facts,
        links={},
    )


def _measured(one: Any, rows: int | None = None) -> Measured:
    """Worsening has its sign turned by the gates; the card shows model minus champion."""
    low, high = (
        None if value is None or not math.isfinite(value) else float(value) for value in (one.lower, one.upper)
    )
    if one.metric == "auc":
        low, high = (None if high is None else -high), (None if low is None else -low)
    return Measured(one.candidate, one.against, low, high, rows)

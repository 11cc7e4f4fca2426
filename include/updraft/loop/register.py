"""Registration of a trained model: signed into MLflow, entered into the store."""

from __future__ import annotations

from updraft.loop.context import Loop
from updraft.loop.train import enter, evaluation_of, plan_of, result_of
from updraft.registry.mlflow_registry import ModelRegistry


def register(loop: Loop, run: str, registry: ModelRegistry) -> tuple[str, str | None]:
    """Register a run's model once; (version, release), the release is None when the gates refused it."""
    result, gates, plan = result_of(loop, run), evaluation_of(loop, run), plan_of(loop, run)
    version = registry.register(loop.name, result, {"updraft.lane": plan.lane, "updraft.run": run})
    if not gates["passed"]:
        registry.refuse(loop.name, version, "; ".join(gates["reasons"]))
    kept = {
        "model_sha256": result.model_sha256,
        "mlflow_run_id": result.mlflow_run_id,
        "holdout_predictions_url": result.holdout_predictions_url,
        "rounds": result.rounds,
        "rows": result.rows,
        "metrics": result.metrics,
        "seconds": result.seconds,
        "peak_memory_mb": result.peak_memory_mb,
        "snapshot_sha256": result.snapshot_sha256,
        "features_sha256": result.features_sha256,
    }
    return version, enter(loop, run, plan, version, gates, kept)

"""Registration of a trained model: signed into MLflow, entered into the store."""

from __future__ import annotations

from dataclasses import asdict

from updraft.jobs.run import check_result
from updraft.loop.context import Loop
from updraft.loop.train import enter
from updraft.pods.attempts import read_attempts
from updraft.registry.mlflow_registry import ModelRegistry


def register(loop: Loop, run: str, registry: ModelRegistry) -> tuple[str, str | None]:
    """Register a run's model once; (version, release), the release is None when the gates refused it."""
    training = loop.training(run)
    result, gates, plan = training.result, training.evaluation, training.plan
    check_result(training.request, result)  # nothing is signed that is not what was asked for
    attempts = read_attempts(loop.store, loop.name, run)
    tags = {"updraft.lane": plan.lane, "updraft.run": run}
    if attempts and attempts[-1].image_id:
        tags["updraft.image"] = attempts[-1].image_id  # of the pod that trained it
    version = registry.register(loop.name, result, tags)
    if not gates["passed"]:
        registry.refuse(loop.name, version, "; ".join(gates["reasons"]))
    proof = training.proof
    kept = {
        "model_sha256": result.model_sha256,
        "mlflow_run_id": result.mlflow_run_id,
        "holdout_predictions_url": proof.url,
        "holdout_predictions_sha256": proof.sha256,
        "rounds": result.rounds,
        "rows": result.rows,
        "metrics": result.metrics,
        "seconds": result.seconds,
        "peak_memory_mb": result.peak_memory_mb,
        "cpu_seconds": result.cpu_seconds,
        "gpu_percent": result.gpu_percent,
        "workers": plan.workers,
        "pods": [asdict(attempt) for attempt in attempts],
        "snapshot_sha256": result.snapshot_sha256,
        "features_sha256": result.features_sha256,
    }
    return version, enter(loop, run, plan, version, gates, kept)

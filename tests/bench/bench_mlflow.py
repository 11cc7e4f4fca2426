"""Log and register a model: ours, signed and idempotent, against MLflow's own default for the same booster.

Prints one JSON line.

    python tests/bench/bench_mlflow.py --times 5
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "include")]

LIMIT_SECONDS = 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="measured calls of each kind, after one to warm up")
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        (folder / "server").mkdir()
        from tests.support.mlflow_server import running_mlflow

        with running_mlflow(folder / "server") as url:
            print(json.dumps(measure(url, folder, times)))


def measure(url: str, folder: Path, times: int) -> dict[str, Any]:
    """Median seconds of one call, and their ratio."""
    from tests.support.training_case import write_request

    from updraft.jobs.run import run_training
    from updraft.registry.mlflow_registry import ModelRegistry
    from updraft.training.model import load_model

    registry = ModelRegistry(url, folder / "home")
    request = write_request(f"{folder}/lake", tracking_uri=url, threads=2)
    results = []
    for seed in range(times + 1):
        one = request.model_copy(update={"seed": seed, "output_url": f"{folder}/lake/{seed}"})
        results.append(run_training(one.write(f"{folder}/lake/{seed}/request.json")))
    ours = [_seconds(lambda result=result: registry.register("flights", result)) for result in results]
    fetched = [_seconds(lambda version=i + 1: registry.fetch_verified("flights", str(version))) for i in range(times)]
    booster = load_model(results[0].model_url).weights
    default = [_seconds(lambda: _by_mlflow(url, booster)) for _ in range(min(times, 3) + 1)]
    with_requirements = [_seconds(lambda: _by_mlflow(url, booster, ["xgboost"])) for _ in range(times + 1)]
    medians = {
        "updraft_register_s": statistics.median(ours[1:]),
        "updraft_fetch_verified_s": statistics.median(fetched[1:]),
        "mlflow_default_s": statistics.median(default[1:]),
        "mlflow_with_requirements_s": statistics.median(with_requirements[1:]),
    }
    return {
        "bench": "mlflow_log_and_register",
        **{name: round(value, 4) for name, value in medians.items()},
        "ratio": round(medians["mlflow_default_s"] / medians["updraft_register_s"], 1),
        "limit_s": LIMIT_SECONDS,
        "ok": medians["updraft_register_s"] <= LIMIT_SECONDS,
    }


def _by_mlflow(url: str, booster: bytes, requirements: list[str] | None = None) -> None:
    import mlflow
    import xgboost

    mlflow.set_tracking_uri(url)
    mlflow.set_experiment("default way")
    model = xgboost.Booster()
    model.load_model(bytearray(booster))
    given = {"pip_requirements": requirements} if requirements else {}
    with mlflow.start_run():
        mlflow.xgboost.log_model(model, name="model", registered_model_name="theirs", model_format="ubj", **given)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

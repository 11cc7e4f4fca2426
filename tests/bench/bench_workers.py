"""Two workers of one thread each against one worker of one thread, and of two: the same trees on the same rows. Prints one JSON line.

python tests/bench/bench_workers.py --rows 400000
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from updraft.jobs.contract import TrainingResult

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "include")]

PARAMS = {"max_depth": 8, "eta": 0.05, "rounds": 150, "early_stopping": 150, "checkpoint_every": 150}
WAYS = {
    "one_worker_one_thread": {"workers": 1, "threads": 1},
    "one_worker_two_threads": {"workers": 1, "threads": 2},
    "two_workers_one_thread": {"workers": 2, "threads": 1},
}


def main() -> None:
    """Each way as `updraft train run`, in turn; the median counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    results: dict[str, TrainingResult] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.repeats):
            for name, way in WAYS.items():
                spent, results[name] = _train(Path(folder), asked.rows, f"{name}-{number}", way)
                seconds[name].append(spent)
    found = {name: round(statistics.median(each), 1) for name, each in seconds.items()}
    one, threads, workers = found.values()
    print(
        json.dumps(
            {
                "bench": "workers",
                "rows": asked.rows,
                "cores": os.cpu_count(),
                **{f"seconds_{name}": each for name, each in found.items()},
                "speedup_by_two_workers": round(one / workers, 2),
                "speedup_by_two_threads": round(one / threads, 2),
                **{f"cpu_seconds_of_the_first_of_{name}": each.cpu_seconds for name, each in results.items()},
                **{
                    f"holdout_log_loss_{name}": round(each.metrics["holdout_log_loss"], 5)
                    for name, each in results.items()
                },
            }
        )
    )


def _train(folder: Path, rows: int, name: str, way: dict[str, Any]) -> tuple[float, TrainingResult]:
    """Seconds of the whole command, and what it leaves."""
    from tests.support.training_case import KEYS, write_request

    from updraft.jobs.contract import TrainingRequest, TrainingResult

    kept = folder / "request.json"
    if not kept.exists():
        write_request(str(folder / "lake"), rows=rows // len(KEYS), params=PARAMS).write(str(kept))
    request = TrainingRequest.read(str(kept)).model_copy(update={**way, "output_url": str(folder / name)})
    url = request.write(str(folder / f"{name}.json"))
    began = time.monotonic()
    command = [sys.executable, "-m", "updraft.cli", "train", "run", url]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "include")}
    subprocess.run(command, check=True, capture_output=True, env=env)
    spent = time.monotonic() - began
    return spent, TrainingResult.read(f"{folder / name}/result.json")


if __name__ == "__main__":
    main()

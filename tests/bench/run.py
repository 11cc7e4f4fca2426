"""`make bench`: every speed that matters, side by side in one run. `--quick` takes smaller data and fewer repeats."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
BENCHES = {  # script -> arguments of the full and of the quick run
    "bench_validation.py": ([], ["--rows", "500000"]),
    "bench_ingestion.py": ([], ["--partitions", "8"]),
    "bench_drift.py": ([], ["--rows", "100000"]),
    "bench_join.py": ([], ["--rows", "1000000"]),
    "bench_mlflow.py": ([], []),
    "bench_streams.py": ([], ["--only", "sudden"]),
    "bench_growth.py": ([], ["--partitions", "2000", "--ticks", "6"]),
    "bench_verified.py": ([], ["--partitions", "10", "--repeats", "2"]),
    "bench_training.py": ([], ["--rows", "40000"]),
    "bench_workers.py": ([], ["--rows", "100000", "--repeats", "1"]),
    "bench_parse.py": (["--projects", "200"], ["--projects", "40"]),
    "bench_tasks.py": ([], []),
    "bench_orchestration.py": (["--partitions", "16"], ["--partitions", "10"]),
    "bench_pods.py": ([], []),
}


def main() -> int:
    """Run the benches one after the other; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("only", nargs="*", help="names, such as drift")
    chosen = parser.parse_args()
    failed = []
    for script, (full, quick) in BENCHES.items():
        name = script.removeprefix("bench_").removesuffix(".py")
        if chosen.only and name not in chosen.only:
            continue
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, str(HERE / script), *(quick if chosen.quick else full)],
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - started
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            failed.append(name)
            print(f"{name}: failed after {seconds:.0f} s\n{done.stderr[-2000:]}")
            continue
        print(f"{name} ({seconds:.0f} s)")
        for key, value in json.loads(lines[-1]).items():
            print(f"  {key:<44} {value}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

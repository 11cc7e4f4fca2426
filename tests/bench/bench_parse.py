"""DAG parsing with many projects: seconds per added project, and what a task pays for the others. Prints one JSON line."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARSE = """
import runpy, sys, time
# Airflow and the operators are imported once in a process; what a project adds is what is measured.
import airflow.sdk, airflow.providers.standard.operators.hitl, updraft_airflow.wiring, updraft_airflow.operators.release
import updraft_airflow.operators.train, updraft_airflow.operators.loop, updraft_airflow.operators.ingest
import updraft_airflow.operators.trigger, updraft_airflow.sensors.store, updraft_airflow.operators.maintenance
import updraft_airflow.operators.broken
started = time.perf_counter()
for name in ("ingest", "score", "monitor", "watch", "train", "release"):
    runpy.run_path(f"{sys.argv[1]}/dags/{name}.py")
print(time.perf_counter() - started)
"""


def parse(projects: Path, asked: str) -> float:
    """Seconds that all DAG files take with these projects; ``asked`` is the DAG that a task process wants, or empty."""
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "include", "plugins")),
        "UPDRAFT_PROJECTS": str(projects),
        "AIRFLOW_HOME": str(projects.parent / "airflow"),
    }
    if asked:
        env |= {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": asked, "_AIRFLOW_PARSING_CONTEXT_TASK_ID": "x"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PARSE, str(ROOT)], env=env, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    """Compare one project with many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--projects", type=int, default=200)
    count = parser.parse_args().projects
    with tempfile.TemporaryDirectory() as folder:
        sizes = {1: Path(folder) / "one", count: Path(folder) / "many"}
        for size, root in sizes.items():
            for number in range(size):
                target = root / f"flights_{number}"
                shutil.copytree(
                    ROOT / "include" / "projects" / "flight_delays",
                    target,
                    ignore=shutil.ignore_patterns("__pycache__"),
                )
                spec = target / "project.yaml"
                spec.write_text(spec.read_text().replace("name: flight_delays", f"name: flights_{number}"))
        one, many = (sorted(parse(root, "") for _ in range(3))[1] for root in sizes.values())
        task_of_one, task_of_many = (
            sorted(parse(root, "flights_0.score") for _ in range(3))[1] for root in sizes.values()
        )
    print(
        json.dumps(
            {
                "projects": count,
                "parse_ms_per_added_project": round((many - one) / (count - 1) * 1000, 1),
                "goal_ms_per_added_project": 60,
                "task_parse_ms_with_one_project": round(task_of_one * 1000, 1),
                "task_parse_ms_with_many_projects": round(task_of_many * 1000, 1),
            }
        )
    )


if __name__ == "__main__":
    main()

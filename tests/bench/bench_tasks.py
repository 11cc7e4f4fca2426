"""Pace of tasks in the embedded stack: from one task to the next in a chain that does nothing. Prints one JSON line."""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import tempfile
import textwrap
import time
from datetime import datetime
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2])]

from tests.support.stack import running_stack  # noqa: E402

CHAIN = textwrap.dedent(
    """
    from datetime import datetime
    from airflow.sdk import DAG, task

    with DAG("chain", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False):
        before = None
        for number in range(12):

            @task(task_id=f"step_{number:02}")
            def step():
                return 1

            now = step()
            if before is not None:
                before >> now
            before = now
    """
)


def main() -> None:
    """Time a chain of twelve tasks that do nothing."""
    with tempfile.TemporaryDirectory() as folder:
        dags = Path(folder) / "dags"
        dags.mkdir()
        (dags / "chain.py").write_text(CHAIN)
        with running_stack(Path(folder) / "home", dags=dags) as stack:
            paces = []
            for _ in range(3):
                started = time.monotonic()
                run = stack.start_dag("chain")
                stack.wait_run("chain", run)
                wall = time.monotonic() - started
                tasks = sorted(stack.tasks("chain", run).values(), key=lambda task: task["start_date"])
                starts = [datetime.fromisoformat(task["start_date"]).timestamp() for task in tasks]
                paces += [later - earlier for earlier, later in itertools.pairwise(starts)]
                time.sleep(1)
    print(
        json.dumps(
            {
                "seconds_from_one_task_to_the_next_median": round(statistics.median(paces), 3),
                "seconds_from_one_task_to_the_next_worst": round(max(paces), 3),
                "goal_seconds": 0.6,
                "seconds_of_the_last_chain_of_12": round(wall, 2),
            }
        )
    )


if __name__ == "__main__":
    main()

"""Processor time of the ingestion of a small partition: in one process, and with each of its steps in a fork of a process
that has imported everything, as Airflow's tasks are. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import runpy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("", "include", "plugins")]

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import yaml  # noqa: E402

from updraft.data.ingest import extract_partition  # noqa: E402
from updraft.data.partitions import partitions  # noqa: E402
from updraft.loop.context import Loop  # noqa: E402
from updraft.loop.in_process import KeptModels  # noqa: E402
from updraft.loop.ingest import ingest, publish, validate  # noqa: E402
from updraft.settings import Settings  # noqa: E402
from updraft.spec.load import load_project  # noqa: E402
from updraft.stack.environment import AIRFLOW_CONFIG  # noqa: E402
from updraft.store.store import Store  # noqa: E402

GOAL = 0.15
ROWS = 60
"""Rows of a partition: one a minute, in a partition of an hour."""
SPEC = {
    "name": "meter",
    "owner": "bench",
    "description": "A small stream, an hour a partition.",
    "data": {
        "schedule": "0 * * * *",
        "start": "2024-01-01",
        "sources": {"readings": {"type": "file", "url": "", "event_time": "at"}},
        "key": ["id"],
        "label": {"expr": "late > 15", "missing": "exclude", "matures_after": "1h"},
        "private": ["customer"],
        "outcomes": ["late"],
    },
    "training": {"window": 24, "first_after": 8, "trainers": [{"name": "xgboost"}]},
}
CONTRACT = {
    "readings": {
        "columns": {"id": "integer", "site": "text", "load": "number", "heat": "number", "at": "time"},
        "rows": [
            {"expect": "column_values_to_not_be_null", "column": "site"},
            {"expect": "column_values_to_be_in_set", "column": "site", "value_set": ["a", "b", "c"]},
            {"expect": "column_values_to_be_between", "column": "load", "min_value": -10, "max_value": 10},
            {"expect": "column_values_to_be_between", "column": "heat", "min_value": -60, "max_value": 130},
            {"expect": "column_values_to_match_regex", "column": "customer", "regex": "^c[0-9]+$"},
        ],
        "table": [
            {"expect": "table_row_count_to_be_between", "min_value": 10, "max_value": 1000},
            {"expect": "column_values_to_not_be_null", "column": "heat", "mostly": 0.9},
        ],
        "fresh_within": "1h",
    }
}
FEATURES = '''"""Features of the bench's stream."""


def features(rows):
    return rows[["site", "load", "heat"]].copy()
'''


def project_folder(folder: Path, count: int) -> Path:
    """A project of hourly partitions with one file, of so many hours."""
    made = folder / "projects" / "meter"
    made.mkdir(parents=True)
    random, rows = np.random.default_rng(1), count * ROWS
    pd.DataFrame(
        {
            "id": range(rows),
            "at": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows), unit="min"),
            "site": random.choice(["a", "b", "c"], rows),
            "customer": [f"c{number}" for number in random.integers(0, 500, rows)],
            "load": random.standard_normal(rows).round(3).clip(-9, 9),
            "heat": random.normal(20, 5, rows).round(1),
            "late": random.exponential(12, rows).round(1),
        }
    ).to_csv(folder / "readings.csv", index=False)
    SPEC["data"]["sources"]["readings"]["url"] = str(folder / "readings.csv")  # type: ignore[index]
    (made / "project.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False))
    (made / "expectations.yaml").write_text(yaml.safe_dump(CONTRACT, sort_keys=False))
    (made / "features.py").write_text(FEATURES)
    return made


def processor(do: Callable[[], object]) -> float:
    """Seconds of processor time that something takes in this process, its threads included."""
    before = time.process_time()
    do()
    return time.process_time() - before


def processor_of_fork(do: Callable[[], object]) -> float:
    """The same in a fork, which has what this process has imported and keeps nothing for the next one.

    :raises RuntimeError: when it fails there.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = os.fork()
    if not child:
        status = 1
        try:
            do()
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    if ended:
        raise RuntimeError(f"a forked step ended with {ended}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def forked(loop: Loop, keys: Sequence[str]) -> dict[str, list[float]]:
    """Processor time of each step of ingestion, by step, each in a fork of its own."""
    steps: dict[str, Callable[[str], object]] = {
        "extract": lambda key: extract_partition(loop.project, loop.settings, key),
        "validate": lambda key: validate(loop, key),
        "publish": lambda key: publish(loop, key),
    }
    return {
        name: [processor_of_fork(lambda key=key, step=step: step(key)) for key in keys]  # type: ignore[misc]
        for name, step in steps.items()
    }


def main() -> None:
    """Ingest some partitions each way; the first one of a process is told apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=20)
    count = parser.parse_args().partitions
    os.environ["UPDRAFT_PRELOAD"] = "tasks"
    runpy.run_path(str(AIRFLOW_CONFIG / "airflow_local_settings.py"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = load_project(project_folder(folder, 2 * count + 2))
        settings = Settings.from_env(
            {"UPDRAFT_HOME": str(folder / "home"), "UPDRAFT_PROJECTS": str(folder / "projects")}
        )
        loop = Loop(project, settings, Store.in_memory(), KeptModels())
        until = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=2 * count + 1)
        keys = [partition.key for partition in partitions(project.spec, until)]
        processor_of_fork(lambda: extract_partition(project, settings, keys[0]))  # the CSV becomes Parquet once
        steps = forked(loop, keys[1 : count + 1])
        first = processor(lambda: ingest(loop, keys[0]))
        warm = [processor(lambda key=key: ingest(loop, key)) for key in keys[count + 1 :]]  # type: ignore[misc]
    by_step = {f"{step}_forked": round(statistics.median(seconds), 3) for step, seconds in steps.items()}
    print(
        json.dumps(
            {
                "rows_of_a_partition": ROWS,
                "processor_seconds_in_one_process": round(statistics.median(warm), 3),
                "processor_seconds_of_the_first": round(first, 3),
                "processor_seconds_in_forked_tasks": round(sum(map(statistics.median, steps.values())), 3),
                "goal_seconds": GOAL,
                **by_step,
            }
        )
    )


if __name__ == "__main__":
    main()

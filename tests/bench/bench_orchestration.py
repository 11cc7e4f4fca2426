"""What Airflow costs in a replay of flights: the share of its wall time in which no task runs. Prints one JSON line."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2])]

import sqlalchemy as sa  # noqa: E402
from tests.support.flights import flights  # noqa: E402
from tests.support.stack import RunningStack, running_stack  # noqa: E402

from updraft.replay.airflow import AirflowClient  # noqa: E402
from updraft.replay.run import Replay  # noqa: E402
from updraft.store.store import Store  # noqa: E402

WAITS = ("await_remedy", "await_verdict", "await_shadow", "await_probation", "approve_change", "approve_refresh")
"""Tasks that are deferred for most of their time: they hold no worker."""


def main() -> None:
    """Replay the first partitions of the year, then read off Airflow's own task instances."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=16)
    wanted = parser.parse_args().partitions
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder) / "home") as stack:
        store = Store.open(stack.settings.store)
        airflow = AirflowClient(stack.settings.airflow, stack.api)
        player = Replay(flights(), store, airflow, lambda *_: None)
        started = time.time()
        player.play(player.keys(wanted), lambda *_: None)
        wall, busy = time.time() - started, covered(task_times(stack, started))
        trainings = len(store.trainings("flight_delays"))
        store.close()
    print(
        json.dumps(
            {
                "partitions": wanted,
                "trainings": trainings,
                "seconds_of_the_replay": round(wall, 1),
                "share_of_it_without_a_running_task": round(1 - busy / wall, 3),
                "goal_share": 0.5,
                "seconds_per_partition": round(wall / wanted, 2),
            }
        )
    )


def task_times(stack: RunningStack, since: float) -> list[tuple[datetime, datetime]]:
    """Start and end of every task that worked since then."""
    engine = sa.create_engine(stack.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    query = sa.text(
        "select start_date, end_date from task_instance where end_date is not null and dag_id like 'flight_delays.%' "
        "and start_date >= to_timestamp(:since) and task_id <> all(:waits) order by start_date"
    )
    with engine.connect() as connection:
        rows = connection.execute(query, {"since": since, "waits": list(WAITS)}).all()
    engine.dispose()
    return [(row.start_date, row.end_date) for row in rows]


def covered(spans: list[tuple[datetime, datetime]]) -> float:
    """Seconds in which at least one span runs."""
    total, end = 0.0, None
    for start, stop in sorted(spans):
        begin = start if end is None else max(start, end)
        if stop > begin:
            total += (stop - begin).total_seconds()
            end = stop
    return total


if __name__ == "__main__":
    main()

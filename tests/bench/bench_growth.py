"""Whether a tick costs more after a long history than after a short one, in a real PostgreSQL. Prints one JSON line.

    python tests/bench/bench_growth.py --partitions 10000

An hourly project of sixty rows a partition is played in process: score, monitor, settle. The history of the long one is written into
the store as ticks would have left it. Both are asked in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "include")]

import sqlalchemy as sa  # noqa: E402
from tests.support import hours  # noqa: E402
from tests.support.postgres import Postgres, running_postgres  # noqa: E402

from updraft.cli.status import describe  # noqa: E402
from updraft.loop.context import Loop  # noqa: E402
from updraft.loop.in_process import KeptModels, play  # noqa: E402
from updraft.loop.sensor_looks import ask  # noqa: E402
from updraft.pages.pods import pods_page  # noqa: E402
from updraft.store.migrations import upgrade  # noqa: E402
from updraft.store.store import Store  # noqa: E402

SHORT = 100
GOAL = 1.15
WARM = 3


@dataclass
class Played:
    """A history, and what it takes to go on from it."""

    loop: Loop
    models: KeptModels
    hour: int
    store_seconds: float = 0.0
    """Time in the store's statements, from when this was set to zero."""
    taken: dict[str, list[float]] = field(default_factory=dict)
    """Seconds by what was done."""

    def measure(self, name: str, call: Callable[[], object]) -> None:
        """Do something and note how long it took, and how much of it in the store."""
        self.store_seconds, started = 0.0, time.perf_counter()
        call()
        self.taken.setdefault(name, []).append(time.perf_counter() - started)
        self.taken.setdefault(f"{name}_store", []).append(self.store_seconds)

    def go_on(self) -> None:
        """The next tick, a sensor's looks, `status`, and a page."""
        loop, store = self.loop, self.loop.store
        row = hours.ingested(loop, self.hour)
        self.hour += 1
        [open_release] = store.releases(loop.name, states=("probation",))
        self.measure("tick", lambda: play(loop, self.models, row))
        for _ in range(4):
            self.measure("look", lambda: (ask(loop, "remedy"), ask(loop, "release", open_release.id)))
            self.measure("status", lambda: describe(store, loop.name, 10, loop, loop.partition(row.key).tick))
            self.measure("page", lambda: pods_page(loop.training(f"run-{open_release.version}")))


def played(server: Postgres, folder: Path, partitions: int) -> Played:
    """A history of so many partitions, and a few ticks after it: what the lake keeps between ticks is there then."""
    url = server.new_database()
    upgrade(url)
    store = Store.open(url)
    loop, models = hours.begin(folder, store)
    hours.lengthen(loop, models, partitions)
    history = Played(loop, models, partitions)
    _clock(store, history)
    for _ in range(WARM):
        history.go_on()
    history.taken.clear()
    return history


def _clock(store: Store, history: Played) -> None:
    """Count the time in the store's statements."""

    def before(connection: Any, *_: Any) -> None:
        connection.info["started"] = time.perf_counter()

    def after(connection: Any, *_: Any) -> None:
        history.store_seconds += time.perf_counter() - connection.info["started"]

    sa.event.listen(store.engine, "before_cursor_execute", before)
    sa.event.listen(store.engine, "after_cursor_execute", after)


def main() -> None:
    """Play both histories on, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, default=10_000, help="of the long history")
    parser.add_argument("--ticks", type=int, default=20, help="measured ticks of each")
    chosen = parser.parse_args()
    with running_postgres() as server, tempfile.TemporaryDirectory() as folder:
        short = played(server, Path(folder) / "short", SHORT)
        long = played(server, Path(folder) / "long", chosen.partitions)
        for _ in range(chosen.ticks):
            short.go_on()
            long.go_on()
        problems = long.loop.store.state_problems(long.loop.name)
        for history in (short, long):
            history.loop.store.close()
    if problems:
        raise SystemExit(f"the kept state is wrong: {problems}")
    result: dict[str, Any] = {"bench": "growth", "partitions": chosen.partitions}
    ratios = {}
    for name in ("tick", "tick_store", "look", "status", "page"):
        few, many = statistics.median(short.taken[name]), statistics.median(long.taken[name])
        result |= {f"{name}_s_after_{SHORT}": round(few, 4), f"{name}_s_after_{chosen.partitions}": round(many, 4)}
        ratios[name] = round(many / few, 3)
    result |= {f"{name}_ratio": ratio for name, ratio in ratios.items()}
    print(json.dumps({**result, "goal": GOAL, "reached": max(ratios.values()) <= GOAL}))


if __name__ == "__main__":
    main()

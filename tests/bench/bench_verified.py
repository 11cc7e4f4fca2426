"""What it costs to hold every file of the lake against its hash: a tick of flights with and without. Prints one JSON line.

The tick is played in process, on the same partitions, in turns: with the hashes, and with a reader that believes what it reads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "include")]

from tests.support import flights  # noqa: E402

from updraft import files  # noqa: E402
from updraft.loop import context, labelled  # noqa: E402
from updraft.loop.in_process import play  # noqa: E402
from updraft.store.records import IngestedPartition  # noqa: E402

LIMIT = 1.03


@contextmanager
def believing() -> Iterator[None]:
    """A reader that takes every file for what was recorded."""
    honest = files.read_verified
    files.read_verified = lambda url, _: files.read_bytes(url)
    try:
        yield
    finally:
        files.read_verified = honest


def main() -> None:
    """Play the first weeks of the year, several times each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=14)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        rows = flights.ingested(home, chosen.partitions)
        _played(home, rows)  # trainings are kept: from here on a tick learns nothing
        verified, believed = [], []
        for _ in range(chosen.repeats):
            verified.append(_seconds(lambda: _played(home, rows)))
            with believing():
                believed.append(_seconds(lambda: _played(home, rows)))
    ratios = [one / other for one, other in zip(verified, believed, strict=True)]
    print(
        json.dumps(
            {
                "seconds_of_a_tick_verified": round(statistics.median(verified) / len(rows), 4),
                "seconds_of_a_tick_believed": round(statistics.median(believed) / len(rows), 4),
                "ratio": round(statistics.median(ratios), 3),
                "limit": LIMIT,
                "ok": statistics.median(ratios) <= LIMIT,
            }
        )
    )


def _played(home: Path, rows: list[IngestedPartition]) -> None:
    context.label_file.cache_clear()
    labelled._joined.cache_clear()
    loop, models = flights.fresh_loop(home)
    for row in rows:
        play(loop, models, row)
    loop.store.close()


def _seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


if __name__ == "__main__":
    main()

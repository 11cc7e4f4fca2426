"""Time of a join by time: the latest of a million rows before each of ten million events, by key, and sums over seven days. Prints one JSON line."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("", "include", "plugins")]

from updraft.data.duck import columns_of, connection  # noqa: E402
from updraft.data.joins import matches  # noqa: E402
from updraft.spec.source import Source  # noqa: E402

GOAL = 10.0
"""Seconds of the asof join, of ten million rows against a million."""
KEYS = 50_000
COMMON = {"url": "x", "event_time": "at", "join": ("key",)}
JOINS = {
    "asof": Source.model_validate({**COMMON, "asof": {"tolerance": timedelta(days=7)}}),
    "sums": Source.model_validate({**COMMON, "aggregate": {"x": ("count", "sum")}, "over": (timedelta(days=7),)}),
}


def main() -> None:
    """Make the tables, join them, and tell how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows = parser.parse_args().rows
    seconds, joined = {}, {}
    with tempfile.TemporaryDirectory() as folder, connection([], Path(folder)) as con:
        moment = "TIMESTAMPTZ '2024-01-01' + to_microseconds(CAST(hash(i, {}) % (30 * 86400) AS BIGINT) * 1000000)"
        con.execute(
            f"CREATE TABLE rows AS SELECT i AS _n, 'k' || (hash(i, 1) % {KEYS}) AS key, {moment.format(2)} AS at FROM range({rows}) AS r(i)"
        )
        con.execute(
            f"CREATE TABLE others AS SELECT 'k' || (hash(i, 3) % {KEYS}) AS key, {moment.format(4)} AS at, i * 0.5::DOUBLE AS x "
            f"FROM range({rows // 10}) AS r(i)"
        )
        kinds = columns_of(con, "rows"), columns_of(con, "others")
        for name, spec in JOINS.items():
            query = matches("facts", spec, rows="rows", others="others", time="at", kinds=kinds)
            began = time.perf_counter()
            con.execute(f"CREATE OR REPLACE TEMP TABLE found AS {query}")
            seconds[name] = round(time.perf_counter() - began, 2)
            joined[name] = con.execute("SELECT count(*) FILTER (_hit) FROM found").fetchall()[0][0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        json.dumps(
            {"bench": "join", "rows": rows, "seconds": seconds, "joined": joined, "goal_s": GOAL, "peak_mb": peak}
        )
    )


if __name__ == "__main__":
    main()

"""Daily upkeep of a project's files: what private values stand in does not stay for ever."""

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.support import flights

from updraft import files
from updraft.loop.leftovers import STALE_SECONDS, remove_leftovers

WEEK = 7 * 86400


def test_raw_copies_leave_with_the_training_window_and_what_is_used_stays(lake, tmp_path):
    _, rows = lake
    loop, _ = flights.fresh_loop(tmp_path)
    window = loop.spec.training.window
    loop.store.record_partition(loop.name, rows[0])
    monday = datetime(2014, 1, 6, 5, tzinfo=UTC)
    newest = [replace(rows[0], key=f"{monday + n * timedelta(weeks=1):%Y-%m-%dT%H%M}") for n in range(window)]
    for row in newest:
        loop.store.record_partition(loop.name, row)
    root = files.local_path(loop.lake.url)
    ages = {
        f"raw/{rows[0].key}/flights.parquet": 0.0,
        f"raw/{newest[0].key}/flights.parquet": 0.0,
        "raw/2015-01-05T0500/flights.parquet": 0.0,  # of a partition that is being ingested
        "raw/sources/flights-used.parquet": (window - 1) * WEEK,
        "raw/sources/flights-old.parquet": (window + 1) * WEEK,
        "features/.half.written": STALE_SECONDS + 60,
        "features/.now.written": 0.0,
    }
    for name, age in ages.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        os.utime(path, (time.time() - age, time.time() - age))
    assert remove_leftovers(loop) == {"aside": 1, "raw": 2}
    gone = {name for name in ages if not (root / name).exists()}
    assert gone == {f"raw/{rows[0].key}/flights.parquet", "raw/sources/flights-old.parquet", "features/.half.written"}
    assert remove_leftovers(loop) == {"aside": 0, "raw": 0}


def test_a_source_that_is_used_again_is_as_new(tmp_path):
    path = tmp_path / "flights.parquet"
    path.write_text("x")
    os.utime(path, (1.0, 2.0))
    files.note_use(f"file://{path}")
    assert time.time() - path.stat().st_atime < 60
    assert path.stat().st_mtime == 2.0

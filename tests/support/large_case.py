"""A snapshot of a chosen size, written one partition at a time, and its training under a memory limit."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
from tests.support.training_case import SOURCE, write_snapshot

from updraft import files
from updraft.data.columns import CLUSTER, EVENT_TIME, LABEL, PARTITION, ROW
from updraft.jobs.contract import TrainingRequest

COLUMNS = 64
_RUN = """
import sys, threading, time
import pandas, pyarrow.parquet, xgboost, updraft.jobs.run


def anonymous():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("RssAnon"))


def look():
    global peak
    while True:
        peak = max(peak, anonymous())
        time.sleep(0.005)


start = peak = anonymous()
threading.Thread(target=look, daemon=True).start()
result = updraft.jobs.run.run_training(sys.argv[1])
print(result.model_sha256, peak - start)
"""


def write_large_request(
    lake: str, size: int, partitions: int, *, columns: int = COLUMNS, kind: type = np.float32, **changes: object
) -> TrainingRequest:
    """Write a snapshot below a URL and ask for a training on it.

    :param size: bytes of its features, which no encoding makes fewer.
    :param kind: what a value is stored as.
    """
    rows = size // (np.dtype(kind).itemsize * columns * partitions)
    random = np.random.default_rng(3)
    keys = tuple(f"2013-{1 + i // 28:02d}-{1 + i % 28:02d}T0000" for i in range(partitions))
    listed: dict[str, tuple[str, str, int]] = {}
    for number, key in enumerate(keys):
        values = random.standard_normal((rows, columns), kind)
        logit = values[:, 0] - values[:, 1] * values[:, 2]
        time = pd.Timestamp(key[:10], tz="UTC") + pd.to_timedelta(np.arange(rows) % 86400, unit="s")
        row = np.arange(number * rows, (number + 1) * rows, dtype=np.uint64)
        cluster = pd.Categorical.from_codes(np.arange(rows) % 4, pd.Index([f"{key}{quarter}" for quarter in "abcd"]))
        keyed = {ROW: row, EVENT_TIME: time, CLUSTER: cluster}
        label = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(float)
        features = pd.DataFrame({**keyed, **{f"x{i}": values[:, i] for i in range(columns)}})
        partition = pd.Categorical.from_codes(np.zeros(rows, int), pd.Index([key]))
        labels = pd.DataFrame({**keyed, PARTITION: partition, LABEL: label})
        for part, frame in (("features", features), ("labels", labels)):
            url = f"{lake}/{part}/{key}.parquet"
            listed[f"{part}/{key}.parquet"] = (url, files.write_parquet(url, frame), rows)
    files.write_bytes(f"{lake}/features.py", SOURCE)
    url, sha256 = write_snapshot(f"{lake}/snapshots", listed)
    fields: dict[str, object] = {
        "project": "large",
        "key": keys[-1],
        "threads": 2,
        "window": keys,
        "holdout": keys[-1:],
        "snapshot_url": url,
        "snapshot_sha256": sha256,
        "features_sha256": files.sha256(SOURCE),
        "output_url": f"{lake}/output",
        **changes,
    }
    return TrainingRequest.model_validate(fields)


def train_measured(url: str) -> tuple[str, int]:
    """Train in a process of its own: the model's hash, and the most private memory in bytes that training took.

    Private memory is what a limit cannot reclaim; pages of files, which it can, are not in it.
    """
    done = subprocess.run(
        [sys.executable, "-c", _RUN, url],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    assert done.returncode == 0, done.stderr
    sha256, taken = done.stdout.split()
    return sha256, int(taken)

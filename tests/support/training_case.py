"""Partitions, labels and a snapshot like those of the loop, small and made of a fixed seed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from updraft import files
from updraft.data.columns import CLUSTER, EVENT_TIME, LABEL, PARTITION, ROW
from updraft.data.snapshots import SnapshotFile, SnapshotManifest
from updraft.jobs.contract import TrainingRequest

KEYS = tuple(f"2013-01-{7 * week:02d}T0500" for week in (1, 2, 3, 4))
SOURCE = b"def features(rows):\n    return rows\n"


def features_and_labels(
    rows: int = 600, keys: tuple[str, ...] = KEYS
) -> tuple[dict[str, pd.DataFrame], list[pd.DataFrame]]:
    """Feature frames by key, and one label frame per key; the labels of a partition's last day come with the next."""
    random = np.random.default_rng(7)
    features: dict[str, pd.DataFrame] = {}
    labels: list[pd.DataFrame] = []
    late = None
    for number, key in enumerate(keys):
        day = np.sort(random.integers(0, 7, rows))
        time = pd.Timestamp("2012-12-31", tz="UTC") + pd.to_timedelta(7 * number + day, unit="D")
        carrier = random.choice(np.array(["AA", "DL", "UA", None], object), rows)
        wind = np.where(random.random(rows) < 0.05, np.nan, random.normal(10, 4, rows))
        minute = random.integers(0, 1440, rows)
        logit = -1 + 0.15 * np.nan_to_num(wind - 10) + (minute > 900) * 1.2 + (carrier == "UA") * 0.8
        label = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(float)
        row = random.permutation(rows).astype(np.uint64) + np.uint64(number * rows)
        keyed = {ROW: row, EVENT_TIME: time, CLUSTER: time.strftime("%Y-%m-%d")}
        features[key] = pd.DataFrame({**keyed, "carrier": carrier, "wind": wind, "minute": minute})
        known = pd.DataFrame({**keyed, PARTITION: key, LABEL: label})
        labels.append(known[day < 6] if late is None else pd.concat([late, known[day < 6]], ignore_index=True))
        late = known[day == 6]
    return features, labels


def write_request(lake: str, rows: int = 600, **changes: object) -> TrainingRequest:
    """Write partitions, labels and a snapshot of them below a URL, and ask for a training on it."""
    features, labels = features_and_labels(rows)
    listed: dict[str, tuple[str, str, int]] = {}
    for kind, frames in (("features", features), ("labels", dict(zip(KEYS, labels, strict=True)))):
        for key, frame in frames.items():
            url = f"{lake}/{kind}/{key}.parquet"
            listed[f"{kind}/{key}.parquet"] = (url, files.write_parquet(url, frame), len(frame))
    files.write_bytes(f"{lake}/features.py", SOURCE)
    snapshot_url, snapshot_sha256 = write_snapshot(f"{lake}/snapshots", listed)
    fields: dict[str, object] = {
        "project": "flights",
        "key": KEYS[-1],
        "params": {"max_depth": 3, "eta": 0.3, "rounds": 40, "checkpoint_every": 5, "subsample": 0.7},
        "threads": 1,  # on a busy machine, threads that wait for each other take ten times as long
        "window": KEYS,
        "holdout": KEYS[-1:],
        "snapshot_url": snapshot_url,
        "snapshot_sha256": snapshot_sha256,
        "features_sha256": files.sha256(SOURCE),
        "features_path": f"{lake}/features.py",
        "output_url": f"{lake}/output",
        **changes,
    }
    return TrainingRequest.model_validate(fields)


def write_snapshot(folder: str, listed: dict[str, tuple[str, str, int]]) -> tuple[str, str]:
    """Write the manifest of a snapshot as the data room does, without DVC."""
    found = {name: SnapshotFile(*file) for name, file in listed.items()}
    content = SnapshotManifest("flights", "case", found, {}, "").to_bytes()
    sha256 = files.sha256(content)
    files.write_bytes(f"{folder}/{sha256}.json", content)
    return f"{folder}/{sha256}.json", sha256

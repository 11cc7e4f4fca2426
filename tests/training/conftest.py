"""Partitions, labels and a snapshot like those of the loop, small and made of a fixed seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from updraft.data.columns import CLUSTER, EVENT_TIME, LABEL, PARTITION, ROW

KEYS = tuple(f"2013-01-{7 * week:02d}T0500" for week in (1, 2, 3, 4))


def features_and_labels(rows=600, keys=KEYS, task="binary"):
    """Feature frames by key, and one label frame per key; the labels of a partition's last day come with the next."""
    random = np.random.default_rng(7)
    features, labels, late = {}, [], None
    for number, key in enumerate(keys):
        day = np.sort(random.integers(0, 7, rows))
        time = pd.Timestamp("2012-12-31", tz="UTC") + pd.to_timedelta(7 * number + day, unit="D")
        carrier = random.choice(["AA", "DL", "UA", None], rows)
        wind = np.where(random.random(rows) < 0.05, np.nan, random.normal(10, 4, rows))
        minute = random.integers(0, 1440, rows)
        logit = -1 + 0.15 * np.nan_to_num(wind - 10) + (minute > 900) * 1.2 + (carrier == "UA") * 0.8
        label = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(float) if task == "binary" else logit
        row = random.permutation(rows).astype(np.uint64) + np.uint64(number * rows)
        keyed = {ROW: row, EVENT_TIME: time, CLUSTER: time.strftime("%Y-%m-%d")}
        features[key] = pd.DataFrame({**keyed, "carrier": carrier, "wind": wind, "minute": minute})
        known = pd.DataFrame({**keyed, PARTITION: key, LABEL: label})
        on_time = known[day < 6]
        labels.append(on_time if late is None else pd.concat([late, on_time], ignore_index=True))
        late = known[day == 6]
    return features, labels


@pytest.fixture(scope="session")
def frames():
    return features_and_labels()

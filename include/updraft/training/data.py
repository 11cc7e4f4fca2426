"""The rows that a training learns from: features and the labels that were known, joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft.data.columns import CLUSTER, EVENT_TIME, LABEL, PARTITION, ROW
from updraft.data.snapshots import SnapshotManifest, read_snapshot_file
from updraft.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

KEYS = (ROW, EVENT_TIME, CLUSTER)
"""Columns of a feature frame that are no features."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Labelled rows in the order (partition, event time, row), which the sampling of rows depends on."""

    features: pd.DataFrame
    """One column per feature, in the order of the feature function."""
    keys: pd.DataFrame
    """PARTITION, ROW, EVENT_TIME, CLUSTER of the same rows."""
    label: NDArray[np.float64]

    @classmethod
    def join(
        cls, features: Mapping[str, pd.DataFrame], labels: Sequence[pd.DataFrame], window: Sequence[str]
    ) -> TrainingData:
        """Join each partition's features with its labels; rows without a label are left out.

        :param features: by partition key: ROW, EVENT_TIME, CLUSTER and the features.
        :param labels: frames with ROW, PARTITION and LABEL in the order they became known; the last of a row counts.
        :raises DataError: when a partition of the window is not there, or its columns differ, or nothing is labelled.
        """
        import pandas as pd

        known = pd.concat([frame[[PARTITION, ROW, LABEL]] for frame in labels], ignore_index=True) if labels else None
        if known is None or not len(known):
            raise DataError(f"no labels for the window {window[0]} to {window[-1]}; have they matured?")
        by_partition = dict(iter(known.groupby(known[PARTITION].astype(str), sort=False)))
        parts = []
        for key in window:
            if key not in features:
                raise DataError(f"features of partition {key} are not there; there are {sorted(features)}")
            if key in by_partition:
                parts.append(cls.joined(key, features[key], [by_partition[key]]))
        parts = [part for part in parts if len(part.label)]
        if not parts:
            raise DataError(f"no row of the window {window[0]} to {window[-1]} has a label; have they matured?")
        return cls.concatenated(parts)

    @classmethod
    def joined(cls, key: str, features: pd.DataFrame, labels: Sequence[pd.DataFrame]) -> TrainingData:
        """One partition's features with its labels, which are of no other partition.

        :raises DataError: when a column that names a row is missing.
        """
        import pandas as pd

        return cls(*_labelled(key, features, labels[0] if len(labels) == 1 else pd.concat(labels, ignore_index=True)))

    @classmethod
    def concatenated(cls, parts: Sequence[TrainingData]) -> TrainingData:
        """One after the other.

        :raises DataError: when their features differ.
        """
        import numpy as np
        import pandas as pd

        names = list(parts[0].features.columns)
        for part in parts:
            if list(part.features.columns) != names:
                raise DataError(
                    f"partition {part.keys[PARTITION].iloc[0]} has features {list(part.features.columns)}, "
                    f"expected {names}"
                )
        return cls(
            pd.concat([part.features for part in parts], ignore_index=True),
            pd.concat([part.keys for part in parts], ignore_index=True),
            np.concatenate([part.label for part in parts]),
        )

    def take(self, rows: NDArray[np.bool_]) -> TrainingData:
        """The rows of a mask."""
        return TrainingData(
            self.features[rows].reset_index(drop=True), self.keys[rows].reset_index(drop=True), self.label[rows]
        )

    def within(self, partitions: Sequence[str]) -> NDArray[np.bool_]:
        """Mask of the rows of some partitions."""
        return self.keys[PARTITION].isin(list(partitions)).to_numpy()


def _labelled(
    key: str, frame: pd.DataFrame, labels: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, NDArray[np.float64]]:
    import numpy as np
    import pandas as pd

    absent = [name for name in KEYS if name not in frame.columns]
    if absent:
        raise DataError(f"features of partition {key} lack {absent}; there are {list(frame.columns)}")
    rows = frame[ROW].to_numpy()
    order = np.lexsort((rows, pd.DatetimeIndex(frame[EVENT_TIME]).asi8))
    last = labels.drop_duplicates(ROW, keep="last")
    positions = pd.Index(last[ROW].to_numpy()).get_indexer(pd.Index(rows[order]))
    order, positions = order[positions >= 0], positions[positions >= 0]
    label = last[LABEL].to_numpy(np.float64)[positions]
    present = ~np.isnan(label)
    order, label = order[present], label[present]
    keys = frame[list(KEYS)].iloc[order].assign(**{PARTITION: key})
    return frame.drop(columns=list(KEYS)).iloc[order], keys, label


def load_training_data(manifest: SnapshotManifest, window: Sequence[str]) -> TrainingData:
    """Read the files of a snapshot, each checked against its hash.

    :param manifest: holds ``features/<key>.parquet`` for every key of the window and any number of
        ``labels/<key>.parquet`` (the suffix may be left out).
    :raises IntegrityError: when a file is not what it was when the snapshot was taken.
    :raises DataError: when the snapshot lacks a partition of the window, or the lake a file of the snapshot.
    """
    need_partitions(manifest, window)
    names = {name.removesuffix(".parquet"): name for name in manifest.files}
    features = {key: read_snapshot_file(manifest, names[f"features/{key}"]) for key in window}
    labels = [read_snapshot_file(manifest, names[name]) for name in sorted(names) if name.startswith("labels/")]
    return TrainingData.join(features, labels, window)


def need_partitions(manifest: SnapshotManifest, window: Sequence[str]) -> None:
    """Refuse a snapshot that does not hold a window.

    :raises DataError: names what is missing.
    """
    names = sorted(name.removesuffix(".parquet") for name in manifest.files)
    missing = [key for key in window if f"features/{key}" not in names]
    if missing:
        raise DataError(f"the snapshot lacks the features of partitions {missing}; it holds {names}")

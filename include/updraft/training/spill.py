"""The rows of a window on disk, for a training on more data than fits into memory.

Each partition is read once: checked against its hash, joined with its labels, encoded with categories of its own, and
written as a float32 matrix. What a training then needs at once is one batch of it. A partition has to fit into memory
(about four times its float32 size while it is joined); the window does not.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from updraft.data.columns import CLUSTER, LABEL, PARTITION, ROW
from updraft.data.snapshots import SnapshotManifest, read_snapshot_file
from updraft.errors import DataError, TrainingError
from updraft.training.data import TrainingData, need_partitions
from updraft.training.encoding import Encoder
from updraft.training.host import Group
from updraft.training.learning import Rows

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

BATCH_BYTES = 16 * 2**20
"""Size of a batch as float32: a part of the recipe, as the bins of a batch are found batch by batch."""


@dataclass(frozen=True, eq=False)
class SpilledPartition:
    """One partition on disk."""

    key: str
    folder: Path
    """``values.npy``: float32 rows × columns, encoded by ``encoder``; ``label.npy``: float64; ``cluster.npy``: int32,
    position in ``clusters``. They are mapped, so that a memory limit can reclaim their pages."""
    encoder: Encoder
    clusters: tuple[str, ...]

    @property
    def label(self) -> NDArray[np.float64]:
        """Label by row."""
        import numpy as np

        labels: NDArray[np.float64] = np.load(self.folder / "label.npy", mmap_mode="r")
        return labels

    @property
    def cluster(self) -> NDArray[np.int32]:
        """Position in ``clusters`` by row."""
        import numpy as np

        codes: NDArray[np.int32] = np.load(self.folder / "cluster.npy", mmap_mode="r")
        return codes

    def batches(self, encoder: Encoder, rows: NDArray[np.bool_]) -> Iterator[Rows]:
        """The rows of a mask as another encoder encodes them, some at a time."""
        import numpy as np

        values = np.load(self.folder / "values.npy", mmap_mode="r")
        chosen, label = np.flatnonzero(rows), self.label
        size = max(1, BATCH_BYTES // (4 * max(1, values.shape[1])))
        for first in range(0, len(chosen), size):
            some = chosen[first : first + size]
            yield Rows(self.encoder.recoded(values[some], encoder), label[some])


@dataclass(frozen=True, eq=False)
class SpilledWindow:
    """The labelled rows of a window on disk, in the order that :class:`TrainingData` has."""

    manifest: SnapshotManifest
    partitions: tuple[SpilledPartition, ...]

    @classmethod
    def spill(cls, manifest: SnapshotManifest, window: Sequence[str], folder: Path) -> SpilledWindow:
        """Read a snapshot into a folder.

        :raises IntegrityError: when a file is not what it was when the snapshot was taken.
        :raises DataError: when the snapshot lacks a partition of the window, or no row has a label.
        :raises TrainingError: when the disk is full.
        """
        need_partitions(manifest, window)
        labels = _label_files(manifest, window)
        with _told_when_full(folder):
            spilled = [_spill(manifest, key, labels[key], folder) for key in window]
        parts = [partition for partition in spilled if partition is not None]
        if not parts:
            raise DataError(f"no row of the window {window[0]} to {window[-1]} has a label; have they matured?")
        names = parts[0].encoder.names
        for partition in parts:
            if partition.encoder.names != names:
                raise DataError(f"partition {partition.key} has features {partition.encoder.names}, expected {names}")
        return cls(manifest, tuple(parts))

    def without(self, holdout: Sequence[str]) -> SpilledWindow:
        """The window without some partitions."""
        return SpilledWindow(self.manifest, tuple(part for part in self.partitions if part.key not in set(holdout)))

    def of(self, keys: Sequence[str]) -> SpilledWindow:
        """Some partitions of the window."""
        return SpilledWindow(self.manifest, tuple(part for part in self.partitions if part.key in set(keys)))

    def encoder(self) -> Encoder:
        """What :meth:`Encoder.fit` finds in all rows."""
        return Encoder.merged([partition.encoder for partition in self.partitions])

    def clusters(self) -> list[str]:
        """Names of the clusters, in the order of their first row."""
        return list(dict.fromkeys(name for partition in self.partitions for name in partition.clusters))

    def of_clusters(self, names: frozenset[str]) -> list[NDArray[np.bool_]]:
        """By partition, the mask of the rows of some clusters."""
        import numpy as np

        return [np.array([name in names for name in part.clusters], np.bool_)[part.cluster] for part in self.partitions]

    def load(self, keys: Sequence[str]) -> TrainingData:
        """Some partitions in memory, such as the holdout."""
        labels = _label_files(self.manifest, keys)
        parts = [_joined(self.manifest, key, labels[key]) for key in keys]
        return TrainingData.concatenated([part for part in parts if part is not None])

    def taken(self, masks: Sequence[NDArray[np.bool_]]) -> TrainingData:
        """Some rows in memory, read one partition at a time.

        :param masks: by partition.
        """
        pairs = zip(self.partitions, masks, strict=True)
        return TrainingData.concatenated([self.load([part.key]).take(mask) for part, mask in pairs])


@dataclass(frozen=True, eq=False)
class SpilledRows:
    """Some rows of a window, batch by batch."""

    window: SpilledWindow
    encoder: Encoder
    masks: Sequence[NDArray[np.bool_]]
    """By partition."""

    def shared(self, group: Group) -> SpilledRows:
        """Those of one worker: row ``i`` of all is row ``i // size`` of worker ``i % size``."""
        import numpy as np

        if group.size == 1:
            return self
        masks, before = [], 0
        for mask in self.masks:
            position = before + np.cumsum(mask) - 1
            masks.append(mask & (position % group.size == group.rank))
            before += int(mask.sum())
        return SpilledRows(self.window, self.encoder, masks)

    def in_memory(self) -> Rows:
        """All of them at once."""
        import numpy as np

        parts = list(self.batches())
        if not parts:
            return Rows(np.empty((0, len(self.encoder.columns)), np.float32), np.empty(0))
        return Rows(np.concatenate([part.values for part in parts]), np.concatenate([part.label for part in parts]))

    def batches(self) -> Iterator[Rows]:
        """The rows, some at a time."""
        for partition, mask in zip(self.window.partitions, self.masks, strict=True):
            yield from partition.batches(self.encoder, mask)

    @property
    def label(self) -> NDArray[np.float64]:
        """Labels of all the rows."""
        import numpy as np

        pairs = zip(self.window.partitions, self.masks, strict=True)
        return np.concatenate([partition.label[mask] for partition, mask in pairs])


def _label_files(manifest: SnapshotManifest, window: Sequence[str]) -> dict[str, list[str]]:
    """By partition, the label files that speak of it, in the order in which they became known."""
    names: dict[str, list[str]] = {key: [] for key in window}
    for name in sorted(name for name in manifest.files if name.startswith("labels/")):
        spoken_of = read_snapshot_file(manifest, name, [PARTITION])[PARTITION].astype(str).unique()
        for key in set(map(str, spoken_of)) & names.keys():
            names[key].append(name)
    return names


def _joined(manifest: SnapshotManifest, key: str, label_files: Sequence[str]) -> TrainingData | None:
    """One partition in memory; None when no label of it is known."""
    labels: list[pd.DataFrame] = []
    for name in label_files:
        frame = read_snapshot_file(manifest, name, [ROW, PARTITION, LABEL])
        labels.append(frame[frame[PARTITION].astype(str) == key])
    if not sum(map(len, labels)):
        return None
    names = {name.removesuffix(".parquet"): name for name in manifest.files}
    features = read_snapshot_file(manifest, names[f"features/{key}"])
    return TrainingData.joined(key, features, labels)


def _spill(manifest: SnapshotManifest, key: str, label_files: Sequence[str], folder: Path) -> SpilledPartition | None:
    import numpy as np
    import pandas as pd

    data = _joined(manifest, key, label_files)
    if data is None or not len(data.label):
        return None
    encoder = Encoder.fit(data.features)
    codes, names = pd.factorize(data.keys[CLUSTER].astype(str))
    here = folder / key
    here.mkdir()
    np.save(here / "values.npy", encoder.encode(data.features))
    np.save(here / "label.npy", data.label)
    np.save(here / "cluster.npy", codes.astype(np.int32))
    del data
    _give_back()
    return SpilledPartition(key, here, encoder, tuple(map(str, names)))


def _give_back() -> None:
    """Arrow and the C library keep freed memory for later; a window of partitions would leave a good part of each."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)


@contextmanager
def _told_when_full(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise TrainingError(
            f"{folder}: the disk is full. A training with external_memory keeps the window there as float32, and a "
            "quarter of that again; give it more disk (in a pod: ephemeral-storage), or a shorter training.window"
        ) from error

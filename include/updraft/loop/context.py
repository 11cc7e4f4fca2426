"""What a step works with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Protocol

from updraft import files
from updraft.data.columns import CLUSTER, EVENT_TIME, LABEL, PARTITION, ROW
from updraft.data.partitions import Partition, first_key_from, partition
from updraft.errors import IntegrityError, StoreError
from updraft.jobs.training_run import TrainingRun
from updraft.lake.places import Lake
from updraft.loop.sealed_notes import SealedNotes
from updraft.monitoring.profiles import Profile, profile
from updraft.scoring.scorer import Scorer
from updraft.settings import Settings
from updraft.spec.features import FeatureCode, compute, features_from, load_features
from updraft.spec.model import Project, ProjectSpec
from updraft.store.records import PartitionRow
from updraft.store.store import Store
from updraft.training.model import Model

if TYPE_CHECKING:
    import pandas as pd


LabelFile = tuple[str, str | None]
"""URL and SHA-256 of a file of labels; no hash for one from before it was recorded."""


class Models(Protocol):
    """Where registered models are."""

    def load(self, version: str) -> Model:
        """The model of a version, verified.

        :raises IntegrityError: when it is not what was signed.
        """
        ...

    def point(self, aliases: dict[str, str | None]) -> None:
        """Set the aliases ``champion``, ``challenger``, ``previous`` to these versions; None takes one away."""
        ...


@dataclass(frozen=True)
class Loop:
    """One project, where its data are, what has been decided, and its models."""

    project: Project
    settings: Settings
    store: Store
    models: Models
    deployment_lake: str | None = None
    """In a backtest, the lake of the deployment: what was learnt there of the same data need not be learnt again."""

    @property
    def spec(self) -> ProjectSpec:
        """The project's policy."""
        return self.project.spec

    @property
    def name(self) -> str:
        """The project's name."""
        return self.project.name

    @property
    def lake(self) -> Lake:
        """Where everything of the project stands."""
        return Lake(self.settings.lake, self.name)

    def training(self, run: str) -> TrainingRun:
        """A training run of the project, which need not have begun."""
        return TrainingRun(run, self.store, self.lake)

    @cached_property
    def features(self) -> FeatureCode:
        """The feature function as it is now."""
        return load_features(self.project)

    @cached_property
    def notes(self) -> SealedNotes:
        """The notes of this deployment in the project's part of the lake."""
        return SealedNotes.of(self.lake, self.settings)

    def partition(self, key: str) -> Partition:
        """Start and tick of a partition."""
        return partition(self.spec, key)

    def published(self, key: str) -> PartitionRow:
        """A published partition.

        :raises StoreError: when it was not published; names what became of it.
        """
        row = self.store.partition_row(self.name, key)
        if row is None or row.state != "published" or row.url is None:
            state = row.state if row else "not ingested yet"
            raise StoreError(f"{self.name}: partition {key} is {state}; see {self.name}.ingest of that partition")
        return row

    def all_published(self, keys: Sequence[str]) -> list[PartitionRow]:
        """Published partitions in the order of their keys here, read at once.

        :raises StoreError: naming one that was not published.
        """
        rows = self.store.partition_rows(self.name, keys)
        return [rows[key] if key in rows and rows[key].state == "published" else self.published(key) for key in keys]

    def features_of(self, model: Model) -> FeatureCode:
        """The feature function that a model was trained with; the project's own may have changed since.

        What is executed is the store's copy of what the training was prepared with. The copy that travels in the model only names it.

        :raises IntegrityError: when the store knows no such code.
        """
        source = model.features_source
        if source is None or files.sha256(source) == self.features.sha256:
            return self.features
        sha256 = files.sha256(source)
        kept = self.store.feature_code(self.name, sha256)
        if kept is None and self._was_registered_before(sha256):
            kept = source
            self.store.record_feature_code(self.name, sha256, source)  # from now on it is known, whatever is cleared
        if kept is None or files.sha256(kept) != sha256:
            raise IntegrityError(
                f"{self.name}: the features.py in the model of {model.meta.get('key')} (SHA-256 {sha256}) is none that a training "
                "was prepared with; it is not executed"
            )
        return features_from(self.project, kept, self.project.folder / f"features.py of {model.meta.get('key')}")

    def scorer(self, version: str, layer: Mapping[str, float] | None = None) -> Scorer:
        """A version as it scores, verified, with the feature code that it was trained with.

        :param layer: parameters of the calibration layer in force; None for none.
        :raises IntegrityError: when the version or its feature code is not what was signed.
        """
        model = self.models.load(version)
        return Scorer.of(self.project, model, self.features_of(model), layer)

    def _was_registered_before(self, sha256: str) -> bool:
        """Whether a version with this feature code was registered before the store kept the code: then its signature vouches for it."""
        return any(
            row.version is not None
            and row.result.get("features_sha256") == sha256
            and self.store.run_record(self.name, row.id, "request") is None
            for row in self.store.trainings(self.name)
        )

    def feature_frame(self, key: str, code: FeatureCode | None = None) -> pd.DataFrame:
        """ROW, EVENT_TIME, CLUSTER and the features of a published partition; by today's function when none is given."""
        return files.read_parquet(*self.feature_file(key, code))

    def feature_file(self, key: str, code: FeatureCode | None = None) -> tuple[str, str]:
        """URL and hash of the features of a partition; computed when not there yet."""
        return self.features_file(self.published(key), code)

    def features_file(self, row: PartitionRow, code: FeatureCode | None = None) -> tuple[str, str]:
        """The same of a partition that the store need not know yet."""
        code = code or self.features
        place = self.lake.features_place(code.sha256, row.key, row.sha256)
        url, note = self.lake.at(place), f"{place}.sha256"
        known = self.notes.read(note)
        if isinstance(known, str):
            return url, known
        rows = files.read_parquet(str(row.url), row.sha256)
        keys = rows[[ROW, EVENT_TIME, CLUSTER]]
        frame = compute(self.project, code, rows.drop(columns=[ROW, EVENT_TIME, CLUSTER]))
        digest = files.write_parquet(url, keys.join(frame))
        self.notes.write(note, digest)  # last: with it the file is whole
        return url, digest

    def profile(self, key: str, code: FeatureCode | None = None) -> Profile:
        """The profile of a partition's features: as ingestion stored it, or anew where another feature function is asked for.

        :raises StoreError: when the partition is not published.
        """
        code = code or self.features
        row = self.store.partition(self.name, key)
        stored = row.profile if row and row.state == "published" else None
        if stored is not None and stored["features_sha256"] == code.sha256:
            return Profile.from_dict(stored)
        return profile(self.feature_frame(key, code))  # which raises where it is not published

    def label_files(self, keys: Iterable[str], as_of: str) -> dict[str, tuple[LabelFile, ...]]:
        """By partition the label files, in the order of their ticks, that hold what was known of it at the tick of ``as_of``."""
        matures_after = self.spec.data.label.matures_after
        wholes = {key: first_key_from(self.partition(key).tick + matures_after) for key in keys}
        known = self.store.label_files(self.name, wholes, as_of)
        return {key: tuple(files) for key, files in known.items()}

    def lookup(self, key: str, columns: tuple[str, ...]) -> pd.DataFrame:
        """ROW and some columns of a published partition, such as those that slices are made by."""
        row = self.published(key)
        return files.read_parquet(str(row.url), row.sha256, columns=[ROW, *columns])


@lru_cache(maxsize=128)
def label_file(url: str, sha256: str | None) -> pd.DataFrame:
    """A file of labels, verified. Its name comes from its content, so it may be kept; nobody changes the frame."""
    return files.read_parquet(url, sha256)


@lru_cache(maxsize=128)
def labelled_rows(url: str, sha256: str | None) -> Mapping[str, frozenset[int]]:
    """By partition the rows whose labels a file holds."""
    return {
        str(key): frozenset(rows.tolist()) for key, rows in label_file(url, sha256).groupby(PARTITION, sort=True)[ROW]
    }


def labels_of(key: str, label_files: tuple[LabelFile, ...]) -> pd.DataFrame:
    """The labels of one partition's rows in some files; the last one of a row counts."""
    import pandas as pd

    frames = [frame[frame[PARTITION] == key] for frame in (label_file(*file) for file in label_files)]
    if not frames:
        return pd.DataFrame({name: [] for name in (ROW, PARTITION, EVENT_TIME, CLUSTER, LABEL)})
    return pd.concat(frames, ignore_index=True).drop_duplicates(ROW, keep="last")


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Figures as the store keeps them: rounded, so that a row reads well, and without those that are not defined (AUC of one class)."""
    return {name: round(value, 6) for name, value in values.items() if math.isfinite(value)}

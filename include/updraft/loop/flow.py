"""The way of the data, stage by stage: what went into a step and what came out, each with its version and, where they are known, its columns.

A dataset is a folder of the lake, a source's copy in the raw zone, or a registered model; its version says which file of it. By names and
versions the stages of one partition join: sources → rows and features → snapshot → model → version → predictions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from updraft import files
from updraft.data.columns import CLUSTER, EVENT_TIME, MARGIN, ROW, SCORE
from updraft.data.extraction import raw_url
from updraft.data.snapshots import load_snapshot
from updraft.loop.context import Loop
from updraft.store.records import PartitionRow, PredictionRow

_KEYS = (ROW, EVENT_TIME, CLUSTER)
"""Columns of published rows that are made of several others: by which row, at which time, in which unit of evidence."""


@dataclass(frozen=True)
class Column:
    """A column of a dataset."""

    namespace: str
    dataset: str
    name: str


@dataclass(frozen=True)
class Dataset:
    """One version of a dataset."""

    namespace: str
    """Where it is kept: ``file``, ``s3://BUCKET``, or a server's URL."""
    name: str
    """Below it, without a partition or a run."""
    version: str
    """A hash, behind the partition's key and an ``@`` where the dataset has partitions."""
    rows: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    """Types as Parquet names them, by name, in the order of the file; empty where they are not known."""
    same_as: Mapping[str, Column] = field(default_factory=dict)
    """Columns that are taken over, cleaned or made to a pseudonym at most, from a column of an input."""
    made_of: tuple[Column, ...] = ()
    """Columns of inputs that everything in it may depend on: a feature function or a model does not say which of them it used for what."""

    def column(self, name: str) -> Column:
        """One of its columns."""
        return Column(self.namespace, self.name, name)


@dataclass(frozen=True)
class Flow:
    """What one step read and wrote."""

    inputs: tuple[Dataset, ...]
    outputs: tuple[Dataset, ...]


def of_ingestion(loop: Loop, key: str) -> Flow:
    """From the sources, as they were copied, to a published partition's rows and features, and the labels that were known at its tick.

    :raises StoreError: when the partition is not published.
    """
    row = loop.published(key)
    ingested = loop.store.partition(loop.name, key)
    raw: Mapping[str, str] = ingested.checks.get("raw", {}) if ingested is not None else {}
    sources = {source: _raw(loop, key, source, sha256) for source, sha256 in raw.items()}
    rows = _rows(loop, row, sources)
    return Flow(tuple(sources.values()), (rows, _features(loop, row, rows), *_labels(loop, row)))


def of_snapshot(loop: Loop, run: str) -> Flow:
    """From the features and labels of a training window to the snapshot of a run.

    :raises DataError: when the snapshot is not there any more.
    """
    request = loop.training(run).request
    manifest = load_snapshot(request.snapshot_url, request.snapshot_sha256)
    inputs = []
    for name, file in sorted(manifest.files.items()):
        kind, _, partition = name.removesuffix(".parquet").partition("/")
        inputs.append(_in_lake(loop, kind, f"{partition}@{file.sha256}", rows=file.rows))
    return Flow(tuple(inputs), (_snapshot(loop, run),))


def of_training(loop: Loop, run: str) -> Flow:
    """From a run's snapshot to its model."""
    return Flow((_snapshot(loop, run),), (_model(loop, run),))


def of_registration(loop: Loop, run: str, version: str) -> Flow:
    """From a run's model to the version that it was registered as."""
    return Flow((_model(loop, run),), (_version(loop, version),))


def of_scoring(loop: Loop, key: str) -> Flow:
    """From a partition's features and the versions that scored it to its predictions, one for each role.

    :raises StoreError: when the partition is not published.
    """
    row = loop.published(key)
    features = _features(loop, row)
    predictions = loop.store.predictions(loop.name, key)
    versions = dict.fromkeys(prediction.version for prediction in predictions.values())
    return Flow(
        (features, *(_version(loop, version) for version in versions)),
        tuple(_predictions(loop, prediction, features) for prediction in predictions.values()),
    )


def _in_lake(loop: Loop, folder: str, version: str, *, rows: int | None = None) -> Dataset:
    return Dataset(*_place(loop.lake.at(folder)), version, rows)


def _place(url: str) -> tuple[str, str]:
    """Namespace and name of a URL, as OpenLineage names files and object stores. What stands before an ``@`` is a secret, and left out."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return "file", parts.path
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", parts.path.lstrip("/")


def _raw(loop: Loop, key: str, source: str, sha256: str) -> Dataset:
    namespace, name = _place(f"{loop.settings.raw_zone(loop.name)}/{source}")
    columns = _columns(raw_url(loop.project, loop.settings, key, f"{source}.parquet"))
    return Dataset(namespace, name, f"{key}@{sha256}", columns=columns)


def _rows(loop: Loop, row: PartitionRow, sources: Mapping[str, Dataset]) -> Dataset:
    """The published rows: columns of the first source under their own names, those of a joined one behind its name."""
    columns = _columns(str(row.url))
    first, *joined = sources or [""]
    same_as = {}
    for column in columns:
        source = next((name for name in joined if column.startswith(f"{name}_")), first)
        name = column.removeprefix(f"{source}_") if source != first else column
        if column not in _KEYS and source in sources and name in sources[source].columns:
            same_as[column] = sources[source].column(name)
    namespace, name = _place(loop.lake.at("partitions"))
    return Dataset(namespace, name, f"{row.key}@{row.sha256}", row.rows, columns, same_as)


def _features(loop: Loop, row: PartitionRow, rows: Dataset | None = None) -> Dataset:
    url, sha256 = loop.features_file(row)
    columns = _columns(url)
    namespace, name = _place(loop.lake.at("features"))
    same_as = {key: rows.column(key) for key in _KEYS} if rows is not None else {}
    made_of = _all(rows, but=_KEYS) if rows is not None else ()
    return Dataset(namespace, name, f"{row.key}@{sha256}", row.rows, columns, same_as, made_of)


def _labels(loop: Loop, row: PartitionRow) -> Iterator[Dataset]:
    if row.labels_url is not None and row.labels_sha256 is not None:
        namespace, name = _place(loop.lake.at("labels"))
        yield Dataset(namespace, name, f"{row.key}@{row.labels_sha256}", columns=_columns(row.labels_url))


def _snapshot(loop: Loop, run: str) -> Dataset:
    return _in_lake(loop, "snapshots", loop.training(run).request.snapshot_sha256)


def _model(loop: Loop, run: str) -> Dataset:
    return _in_lake(loop, "trainings", loop.training(run).result.model_sha256)


def _version(loop: Loop, version: str) -> Dataset:
    return Dataset(loop.settings.mlflow or "mlflow", loop.name, version)


def _predictions(loop: Loop, prediction: PredictionRow, features: Dataset) -> Dataset:
    namespace, name = _place(loop.lake.at(f"predictions/{prediction.role}"))
    columns = _columns(prediction.url)
    version = f"{prediction.key}@{prediction.sha256}"
    made_of = _all(features, but=_KEYS) if {MARGIN, SCORE} & set(columns) else ()
    return Dataset(namespace, name, version, prediction.rows, columns, {ROW: features.column(ROW)}, made_of)


def _all(dataset: Dataset, *, but: Iterable[str]) -> tuple[Column, ...]:
    return tuple(dataset.column(name) for name in dataset.columns if name not in but)


def _columns(url: str) -> dict[str, str]:
    """Names and types of a Parquet file's columns; none of a raw copy that its retention has removed."""
    import pyarrow.parquet as pq

    try:
        with files.fetched(url) as path:
            schema = pq.read_schema(path)
    except FileNotFoundError:
        return {}
    return {column.name: str(column.type) for column in schema}

"""The lineage of a version: back to the files that it was made of, and forward to what it has scored and what was decided on it.

`updraft show` tells how good a version is and what became of it; this is what it is made of, with hashes, for audits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from updraft.data.snapshots import SnapshotManifest, load_snapshot
from updraft.errors import DataError
from updraft.loop.context import Loop
from updraft.loop.version_history import VersionHistory, known_training, version_history
from updraft.store.records import IngestedPartition


@dataclass(frozen=True)
class Learnt:
    """A partition that a version learnt from."""

    key: str
    features_sha256: str | None
    """Of the file of features in its snapshot; None where no snapshot is kept."""
    rows: int | None
    sources: Mapping[str, str]
    """SHA-256 of the raw file of each source, as it was read last."""
    partition_sha256: str | None
    """Of the partition as it is published now."""
    changed: bool
    """Whether it was published anew since, with another content."""


@dataclass(frozen=True)
class Layer:
    """A calibration layer that the version was given."""

    key: str
    parameters: Mapping[str, float] | None
    seq: int
    """Number of the decision."""


@dataclass(frozen=True)
class Lineage:
    """Where a version comes from, and where it went."""

    project: str
    version: str
    run: str
    key: str
    request_sha256: str | None
    snapshot_sha256: str | None
    snapshot_url: str | None
    code_commit: str | None
    features_code_sha256: str | None
    trainer: str
    parameters: Mapping[str, Any]
    seed: int | None
    environment: Mapping[str, str]
    """Versions of the libraries that learnt it."""
    device: str | None
    model_sha256: str | None
    partitions: tuple[Learnt, ...]
    holdout: tuple[str, ...]
    labels: Mapping[str, str]
    """SHA-256 of each file of labels in its snapshot, by the tick that it is of."""
    layers: tuple[Layer, ...]
    history: VersionHistory
    """What it scored, when it served, and the decisions on it."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: ``back`` and ``forward``."""
        back = {name: value for name, value in asdict(self).items() if name not in ("history", "layers")}
        history = self.history.as_dict()
        forward = {name: history[name] for name in ("scored", "served", "state", "outcome", "reason", "decisions")}
        return {
            "project": back.pop("project"),
            "version": back.pop("version"),
            "back": back,
            "forward": forward | {"layers": [asdict(layer) for layer in self.layers]},
        }


def lineage(loop: Loop, version: str) -> Lineage:
    """What the store and the snapshot know of a version. Of one whose training keeps no request, less.

    :raises InputError: when there is no such version, naming those that there are.
    :raises IntegrityError: when the snapshot is not what the store says.
    """
    training = known_training(loop, version)
    run = loop.training(training.id)
    request = run.request if run.is_prepared else None
    result = run.result if request is not None and run.kept_result is not None else None
    manifest = _manifest(request.snapshot_url, request.snapshot_sha256) if request is not None else None
    history = version_history(loop, version)
    trainer = training.result.get("trainer") or {}
    return Lineage(
        project=loop.name,
        version=version,
        run=training.id,
        key=training.key,
        request_sha256=training.request_sha256,
        snapshot_sha256=request.snapshot_sha256 if request else history.snapshot_sha256,
        snapshot_url=request.snapshot_url if request else None,
        code_commit=request.code_commit if request else None,
        features_code_sha256=request.features_sha256 if request else training.result.get("features_sha256"),
        trainer=history.trainer,
        parameters=dict(request.params) if request else dict(trainer.get("params", {})),
        seed=request.seed if request else None,
        environment=dict(result.environment) if result else {},
        device=result.device if result else None,
        model_sha256=result.model_sha256 if result else None,
        partitions=tuple(_learnt(loop, key, manifest) for key in history.window),
        holdout=history.holdout,
        labels=_of_files(manifest, "labels/"),
        layers=tuple(
            Layer(decision.key, decision.body["layer"], decision.seq)
            for decision in loop.store.decisions(loop.name, kinds=("recalibrate",))
            if decision.body["version"] == version
        ),
        history=history,
    )


def _manifest(url: str, sha256: str) -> SnapshotManifest | None:
    try:
        return load_snapshot(url, sha256)
    except DataError:  # it is not there any more; what the store knows is told all the same
        return None


def _of_files(manifest: SnapshotManifest | None, prefix: str) -> dict[str, str]:
    files = manifest.files if manifest is not None else {}
    return {
        name.removeprefix(prefix).removesuffix(".parquet"): file.sha256
        for name, file in sorted(files.items())
        if name.startswith(prefix)
    }


def _learnt(loop: Loop, key: str, manifest: SnapshotManifest | None) -> Learnt:
    now = loop.store.partition(loop.name, key)
    file = manifest.files.get(f"features/{key}.parquet") if manifest is not None else None
    sources = dict(now.checks.get("raw", {})) if now is not None else {}
    changed = file is not None and now is not None and not _is_of(file.url, now)
    return Learnt(
        key,
        file.sha256 if file else None,
        file.rows if file else None,
        sources,
        now.sha256 if now is not None else None,
        changed,
    )


def _is_of(features_url: str, partition: IngestedPartition) -> bool:
    """Whether a file of features is of a partition's content: its name ends with the content's hash."""
    return features_url.endswith(f"-{(partition.sha256 or '')[:8]}.parquet")

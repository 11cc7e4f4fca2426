"""A version trained again from what is kept of it, and held against the first: the same bytes, or what differs, by name."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from typing import Any

from updraft import files
from updraft.data.columns import MARGIN, PARTITION, ROW
from updraft.data.vectors import as_values
from updraft.errors import TrainingError
from updraft.jobs.contract import TrainingRequest, TrainingResult
from updraft.jobs.run import run_training
from updraft.lake.places import RunFolder
from updraft.loop.context import Loop
from updraft.loop.version_history import known_training
from updraft.training.model import META, Model, load_model

_LOSSES = 5
"""Differing losses that are told at most."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was."""

    what: str
    first: str
    again: str

    @property
    def words(self) -> str:
        """In one line."""
        return f"{self.what}: {self.first} then, {self.again} now"


@dataclass(frozen=True)
class Reproduction:
    """A version beside what its request gives now."""

    project: str
    version: str
    run: str
    first_sha256: str
    again_sha256: str
    seconds: float
    differences: tuple[Difference, ...]
    largest_shift: float | None
    """Largest absolute difference of a holdout row's margin between the two proofs; None without a holdout, or where their rows differ."""

    @property
    def identical(self) -> bool:
        """Whether both models are the same to the last bit."""
        return self.first_sha256 == self.again_sha256

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "identical": self.identical}


def reproduce(loop: Loop, version: str) -> Reproduction:
    """Train a version again from the request that the store keeps, on the snapshot in the lake, in a folder of its own that is removed after.

    Nothing of the deployment changes: no version, no MLflow run, nothing in the lake.

    :raises InputError: when there is no such version.
    :raises TrainingError: when no request is kept of its training, or it cannot learn here.
    :raises DataError: when the lake no longer has the snapshot.
    :raises IntegrityError: when the version, its snapshot or its feature code is not what it was.
    """
    training = known_training(loop, version)
    run = loop.training(training.id)
    if not run.is_prepared or run.kept_result is None:
        raise TrainingError(
            f"{loop.name}: no request is kept of training {training.id}, which brought version {version}"
        )
    asked, first = run.request, run.result
    before = load_model(first.model_url, first.model_sha256)
    with tempfile.TemporaryDirectory(prefix="updraft-") as private:
        again = run_training(_written(loop, asked, first, RunFolder(private)))
        after = load_model(again.model_url, again.model_sha256)
        shift = _largest_shift(first, again)
    differences = () if before.sha256 == after.sha256 else tuple(_differences(first, again, before, after))
    return Reproduction(loop.name, version, training.id, before.sha256, after.sha256, again.seconds, differences, shift)


def _written(loop: Loop, asked: TrainingRequest, first: TrainingResult, folder: RunFolder) -> str:
    """The same request for another folder, on the device that the first one learnt on; its URL."""
    source = loop.store.feature_code(loop.name, asked.features_sha256)
    path = None
    if asked.features_path is not None and source is not None:
        path = folder.features_source
        files.write_bytes(path, source)
    elsewhere = {"output_url": folder.url, "tracking_uri": None, "features_path": path}
    return asked.on(first.device).model_copy(update=elsewhere).write(folder.request)


def _differences(first: TrainingResult, again: TrainingResult, before: Model, after: Model) -> list[Difference]:
    versions = [
        Difference(f"version of {name}", first.environment.get(name, "none"), again.environment.get(name, "none"))
        for name in sorted({*first.environment, *again.environment})
        if first.environment.get(name) != again.environment.get(name)
    ]
    plain = [
        Difference(what, str(then), str(now))
        for what, then, now in (
            ("device", first.device, again.device),
            ("request", first.request_sha256[:12], again.request_sha256[:12]),
            ("rounds", first.rounds, again.rounds),
            ("rows", first.rows, again.rows),
        )
        if then != now
    ]
    losses = [
        Difference(name, f"{value:.6f}", f"{again.metrics[name]:.6f}")
        for name, value in first.metrics.items()
        if name in again.metrics and again.metrics[name] != value
    ]
    old, new = before.contents(), after.contents()
    content = [
        Difference(f"file {name}", _short(old.get(name)), _short(new.get(name)))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
        and not (name == META and (versions or plain))  # which it carries, and are told
    ]
    return [*versions, *plain, *losses[:_LOSSES], *content]


def _short(content: bytes | None) -> str:
    return "none" if content is None else f"SHA-256 {files.sha256(content)[:12]}"


def _largest_shift(first: TrainingResult, again: TrainingResult) -> float | None:
    import numpy as np

    if first.holdout_predictions_url is None or again.holdout_predictions_url is None:
        return None
    then = files.read_parquet(first.holdout_predictions_url, first.holdout_predictions_sha256)
    now = files.read_parquet(again.holdout_predictions_url, again.holdout_predictions_sha256)
    rows = [PARTITION, ROW]
    if not len(then) or not then[rows].equals(now[rows]):
        return None
    return float(np.abs(as_values(then[MARGIN]) - as_values(now[MARGIN])).max())

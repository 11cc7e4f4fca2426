"""A trained model as a folder of plain files, and as what scores rows. There is no pickle anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.errors import IntegrityError
from updraft.spec.trainers import TrainerName
from updraft.tasks.registry import task_names, task_type
from updraft.tasks.task_type import TaskType
from updraft.training.encoding import Encoder
from updraft.training.learning import Scorer
from updraft.training.trainers import BY_NAME

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

ENCODER, META, FEATURES = "encoder.json", "meta.json", "features.py"
FORMAT = 1
_OURS = frozenset({"format", "task", "threads", "trainer", "classes"})
"""Keys of ``meta.json`` that are fields of the model."""


@dataclass(frozen=True, eq=False)
class Model:
    """Scores feature frames. ``task`` gives the link from margin to score."""

    task: str
    encoder: Encoder
    weights: bytes
    """The trainer's own file: UBJSON of XGBoost, text of LightGBM, safetensors of torch, a skops archive of scikit-learn."""
    meta: Mapping[str, Any]
    """What the model is made from: project, request, snapshot, features, window, rounds, versions."""
    features_source: bytes | None = None
    """Source of the feature function that the model was trained with, when it travels along."""
    threads: int = 2
    trainer: TrainerName = "xgboost"
    classes: tuple[str, ...] = ()
    """Of the label, in the order of the columns of margin and score, where the task has a list of them."""

    def margin(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Raw output per row, which the task's link makes scores of.

        :raises DataError: when a feature is missing or changed its kind.
        """
        import numpy as np

        if not len(features):
            return np.empty((0, *self.task_type.shape), np.float64)
        return self.scorer.margin(self.encoder.encode(features))

    def score(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is served when there is no calibration layer."""
        return self.task_type.link(margin)

    @property
    def task_type(self) -> TaskType:
        """What the model's task means."""
        return task_type(self.task, self.classes)

    @property
    def file(self) -> str:
        """Name of the weights in the folder."""
        return BY_NAME[self.trainer].file

    @cached_property
    def scorer(self) -> Scorer:
        """The weights, loaded."""
        return BY_NAME[self.trainer].scorer(self.weights, self.encoder, self.threads)

    def contents(self) -> dict[str, bytes]:
        """The files of the folder by name."""
        ours = {"format": FORMAT, "task": self.task, "threads": self.threads, "trainer": self.trainer}
        meta = {**self.meta, **ours, **({"classes": list(self.classes)} if self.classes else {})}
        contents = {
            self.file: self.weights,
            ENCODER: self.encoder.to_json().encode(),
            META: json.dumps(meta, sort_keys=True, indent=1).encode(),
        }
        return contents | ({FEATURES: self.features_source} if self.features_source is not None else {})

    @property
    def sha256(self) -> str:
        """Hash of the folder's content."""
        return content_hash(self.contents())

    def save(self, url: str) -> str:
        """Write the folder, ``meta.json`` last: with it the folder is whole. Returns the hash of its content."""
        contents = self.contents()
        for name in sorted(contents, key=lambda name: (name == META, name)):
            files.write_bytes(f"{url}/{name}", contents[name])
        return content_hash(contents)


def content_hash(contents: Mapping[str, bytes]) -> str:
    """Hash of a folder: of the names of its files and the hash of each."""
    return files.canonical_hash({name: files.sha256(content) for name, content in contents.items()})


def is_whole(url: str) -> bool:
    """Whether a model's folder was written to its end."""
    return files.exists(f"{url}/{META}")


def load_model(url: str, sha256: str | None = None) -> Model:
    """Read a model folder. Nothing in it is executed. A folder from the registry is verified there first.

    :param sha256: when given, the content must have this hash.
    :raises IntegrityError: when a file is missing, is of another format, or the hash differs.
    """
    contents = _read(url, (META, ENCODER))
    try:
        meta = json.loads(contents[META])
        if meta["format"] != FORMAT:
            raise IntegrityError(f"{url}/{META}: format {meta['format']}, this Updraft reads {FORMAT}")
        name = meta.get("trainer", "xgboost")  # the only one there was before they were named
        file = BY_NAME[name].file
        encoder = Encoder.from_json(contents[ENCODER])
        task, threads, classes = meta["task"], meta["threads"], tuple(map(str, meta.get("classes", ())))
        if task not in task_names():
            raise IntegrityError(f"{url}/{META}: task {task!r}, this Updraft knows {', '.join(task_names())}")
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{url}: {META} or {ENCODER} is damaged ({type(error).__name__}: {error})") from error
    contents |= _read(url, (file,))
    if files.exists(f"{url}/{FEATURES}"):
        contents[FEATURES] = files.read_bytes(f"{url}/{FEATURES}")
    if sha256 is not None and (actual := content_hash(contents)) != sha256:
        raise IntegrityError(f"{url}: content has hash {actual}, expected {sha256}; train or fetch the model again")
    return Model(
        task=task,
        encoder=encoder,
        weights=contents[file],
        meta={key: value for key, value in meta.items() if key not in _OURS},
        features_source=contents.get(FEATURES),
        threads=threads,
        trainer=name,
        classes=classes,
    )


def _read(url: str, names: tuple[str, ...]) -> dict[str, bytes]:
    try:
        return {name: files.read_bytes(f"{url}/{name}") for name in names}
    except FileNotFoundError as error:
        raise IntegrityError(f"{url} is no model: {error}") from error

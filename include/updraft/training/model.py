"""A trained model as a folder of plain files, and as what scores rows. There is no pickle anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from updraft import files
from updraft.errors import IntegrityError
from updraft.training.encoding import Encoder
from updraft.training.library import load_xgboost

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

BOOSTER, ENCODER, META, FEATURES = "model.ubj", "encoder.json", "meta.json", "features.py"
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Model:
    """Scores feature frames. ``task`` gives the link from margin to score."""

    task: Literal["binary", "regression"]
    encoder: Encoder
    booster: bytes
    """UBJSON, as XGBoost writes it."""
    meta: Mapping[str, Any]
    """What the model is made from: project, request, snapshot, features, window, rounds, versions."""
    features_source: bytes | None = None
    """Source of the feature function that the model was trained with, when it travels along."""
    threads: int = 2

    def margin(self, features: pd.DataFrame, rounds: int | None = None) -> NDArray[np.float64]:
        """Raw output per row: log-odds for a binary task, the predicted value for regression.

        :param rounds: use the first rounds only.
        :raises DataError: when a feature is missing or changed its kind.
        """
        import numpy as np

        if not len(features):
            return np.empty(0, np.float64)
        raw = self._loaded.inplace_predict(
            self.encoder.encode(features), iteration_range=(0, rounds or 0), predict_type="margin"
        )
        return np.asarray(raw, np.float64)

    def score(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is served: a probability for a binary task, the value itself for regression."""
        return link(self.task, margin)

    def importance(self) -> dict[str, float]:
        """Share of the total gain by feature, in the model's order; zero for a feature that no split uses."""
        gains = self._loaded.get_score(importance_type="total_gain")
        found = {name: float(gains.get(f"f{i}", gains.get(name, 0.0))) for i, name in enumerate(self.encoder.names)}
        whole = sum(found.values()) or 1.0
        return {name: gain / whole for name, gain in found.items()}

    @cached_property
    def _loaded(self) -> Any:
        booster = load_xgboost().Booster({"nthread": self.threads})
        booster.load_model(bytearray(self.booster))
        return booster

    def contents(self) -> dict[str, bytes]:
        """The files of the folder by name."""
        meta = {**self.meta, "format": FORMAT, "task": self.task, "threads": self.threads}
        found = {
            BOOSTER: self.booster,
            ENCODER: self.encoder.to_json().encode(),
            META: json.dumps(meta, sort_keys=True, indent=1).encode(),
        }
        return found | ({FEATURES: self.features_source} if self.features_source is not None else {})

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


def link(task: str, margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Margin to score: the logistic function for a binary task, computed in float64."""
    import numpy as np

    if task == "regression":
        return margin
    small = np.exp(-np.abs(margin))  # never overflows
    return np.where(margin >= 0, 1.0, small) / (1.0 + small)


def content_hash(contents: Mapping[str, bytes]) -> str:
    """Hash of a folder: of the names of its files and the hash of each."""
    return files.canonical_hash({name: files.sha256(content) for name, content in contents.items()})


def load_model(url: str, sha256: str | None = None) -> Model:
    """Read a model folder. Nothing in it is executed. A folder from the registry is verified there first.

    :param sha256: when given, the content must have this hash.
    :raises IntegrityError: when a file is missing, is of another format, or the hash differs.
    """
    try:
        contents = {name: files.read_bytes(f"{url}/{name}") for name in (META, ENCODER, BOOSTER)}
    except FileNotFoundError as error:
        raise IntegrityError(f"{url} is no model: {error}") from error
    if files.exists(f"{url}/{FEATURES}"):
        contents[FEATURES] = files.read_bytes(f"{url}/{FEATURES}")
    if sha256 is not None and (found := content_hash(contents)) != sha256:
        raise IntegrityError(f"{url}: content has hash {found}, expected {sha256}; train or fetch the model again")
    try:
        meta = json.loads(contents[META])
        if meta["format"] != FORMAT:
            raise IntegrityError(f"{url}/{META}: format {meta['format']}, this Updraft reads {FORMAT}")
        return Model(
            task=meta["task"],
            encoder=Encoder.from_json(contents[ENCODER]),
            booster=contents[BOOSTER],
            meta={key: value for key, value in meta.items() if key not in {"format", "task", "threads"}},
            features_source=contents.get(FEATURES),
            threads=meta["threads"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{url}: {META} or {ENCODER} is damaged ({type(error).__name__}: {error})") from error

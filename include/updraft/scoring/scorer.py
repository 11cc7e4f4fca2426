"""Model, feature code and calibration layer, put together: the only place that makes scores of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from updraft.errors import DataError
from updraft.spec.features import FeatureCode, compute
from updraft.spec.model import Project
from updraft.tasks.calibration import Layer
from updraft.tasks.task_type import TaskType
from updraft.training.model import Model

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model says of rows, in their order: arrays of shape (rows,), or (rows, classes) where its task serves a vector."""

    margin: NDArray[np.float64]
    """The model's raw output, without the layer: what later layers are fitted on."""
    score: NDArray[np.float64]
    """What is served: the margin after the layer, through the task's link."""

    @classmethod
    def of(cls, task: TaskType, layer: Layer, margin: NDArray[np.float64]) -> Scores:
        """Scores of margins that are known."""
        return cls(margin, task.link(layer.apply(margin)))

    @property
    def broken(self) -> list[int]:
        """Positions of the rows whose margin or score is no number."""
        import numpy as np

        finite = np.isfinite(self.margin) & np.isfinite(self.score)
        return [int(row) for row in np.flatnonzero(~finite.reshape(len(finite), -1).all(axis=1))]


@dataclass(frozen=True, eq=False)
class Scorer:
    """One version of a project's model with its own feature code, under the layer in force."""

    project: Project
    model: Model
    features: FeatureCode
    """What the model was trained with; not the project's of today."""
    layer: Layer

    @classmethod
    def of(
        cls, project: Project, model: Model, features: FeatureCode, layer: Mapping[str, float] | None = None
    ) -> Scorer:
        """A scorer with the layer that a decision names; None is no layer.

        :raises DataError: when these are not the parameters of a layer of the model's task.
        """
        return cls(project, model, features, model.task_type.calibration.layer(layer))

    def score(self, rows: pd.DataFrame | Sequence[Mapping[str, Any]]) -> Scores:
        """Score rows as they were published, in a frame or as one mapping for each row.

        Mappings hold the same columns, with None for what is missing.

        :raises DataError: when a row lacks a column or a feature cannot be made of it; names the row and the column where it is known.
        """
        frame = rows_frame(rows)
        if not len(frame):
            return self.score_features(frame)
        return self.score_features(compute(self.project, self.features, frame))

    def score_features(self, features: pd.DataFrame) -> Scores:
        """Score rows whose features have been computed by :attr:`features`; columns that the model does not read are left aside.

        :raises DataError: when a feature is missing, or is text where the model reads a number; names the row.
        """
        _refuse_texts(features, [column.name for column in self.model.encoder.columns if column.kind == "number"])
        return Scores.of(self.model.task_type, self.layer, self.model.margin(features))


def rows_frame(rows: pd.DataFrame | Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a frame.

    :raises DataError: when an item is no row, or rows differ in their columns; names the row and the column.
    """
    import pandas as pd

    if isinstance(rows, pd.DataFrame):
        return rows
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(f"row {number} is a {type(row).__name__}; a row is a mapping of column to value")
        if lacking := sorted(rows[0].keys() - row.keys()):
            raise DataError(
                f"row {number} has no column {lacking[0]!r}, which row 0 has; write null where a value is missing"
            )
        if further := sorted(map(str, row.keys() - rows[0].keys())):
            raise DataError(
                f"row {number} has a column {further[0]!r}, which row 0 has not; all rows have the same columns"
            )
    return pd.DataFrame.from_records([dict(row) for row in rows])


def _refuse_texts(features: pd.DataFrame, numbers: Sequence[str]) -> None:
    """The encoder refuses such a column too, but does not know which row it is."""
    import pandas as pd

    for name in numbers:
        if name not in features.columns or pd.api.types.is_numeric_dtype(features[name].dtype):
            continue
        values = features[name].astype(object)
        wrong = values.notna() & pd.to_numeric(values, errors="coerce").isna()
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise DataError(f"row {row}: feature {name!r} is {values.iloc[row]!r}, and the model reads a number there")

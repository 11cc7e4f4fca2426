"""How a feature frame becomes the numbers that a model reads. Fitted once, stored as JSON beside the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from updraft.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FeatureColumn:
    """One feature: a number, or a category with its values in sorted order (the code is the position)."""

    name: str
    kind: Literal["number", "category"]
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Encoder:
    """The ordered columns of a model. Columns that are not among them are ignored; none may be missing."""

    columns: tuple[FeatureColumn, ...]

    @property
    def names(self) -> list[str]:
        """The feature names in the model's order."""
        return [column.name for column in self.columns]

    @property
    def feature_types(self) -> list[str]:
        """XGBoost's: ``q`` for a number, ``c`` for a category."""
        return ["c" if column.kind == "category" else "q" for column in self.columns]

    @classmethod
    def fit(cls, frame: pd.DataFrame, names: Sequence[str] | None = None) -> Encoder:
        """Read kinds and categories from a frame of features.

        :raises DataError: when a column is neither number nor text.
        """
        return cls(tuple(_fit(frame[name], str(name)) for name in (frame.columns if names is None else names)))

    def encode(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """Rows × columns as float32; missing values and categories that were never seen become NaN.

        :raises DataError: when a column is missing or a number is text.
        """
        import numpy as np

        missing = [name for name in self.names if name not in frame.columns]
        if missing:
            raise DataError(
                f"features {missing} are missing; the model reads {self.names}, the frame has {list(frame.columns)}"
            )
        matrix = np.empty((len(frame), len(self.columns)), np.float32)
        for position, column in enumerate(self.columns):
            matrix[:, position] = _encode(frame[column.name], column)
        return matrix

    @classmethod
    def merged(cls, encoders: Sequence[Encoder]) -> Encoder:
        """What :meth:`fit` finds in the rows of all of them together. A column that is empty in one goes by the others.

        :raises DataError: when a column is a number here and text there.
        """
        return cls(tuple(_merge(columns) for columns in zip(*(encoder.columns for encoder in encoders), strict=True)))

    def recoded(self, values: NDArray[np.float32], other: Encoder) -> NDArray[np.float32]:
        """What this one encoded, as another encoder of the same columns encodes it."""
        import numpy as np

        recoded = values.copy()
        for position, (mine, theirs) in enumerate(zip(self.columns, other.columns, strict=True)):
            if mine.kind == "category":
                known = {category: code for code, category in enumerate(theirs.categories)}
                table = np.array([known.get(category, np.nan) for category in mine.categories] + [np.nan], np.float32)
                codes = values[:, position]
                recoded[:, position] = table[np.where(np.isnan(codes), len(mine.categories), codes).astype(np.int64)]
        return recoded

    def to_json(self) -> str:
        """JSON text, the same for equal encoders."""
        return json.dumps({"columns": [asdict(column) for column in self.columns]}, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Encoder:
        """Read :meth:`to_json` back."""
        columns: list[dict[str, Any]] = json.loads(text)["columns"]
        return cls(tuple(FeatureColumn(c["name"], c["kind"], tuple(c["categories"])) for c in columns))


def _fit(values: pd.Series[Any], name: str) -> FeatureColumn:
    import pandas as pd

    if isinstance(values.dtype, pd.CategoricalDtype):
        used = values.cat.remove_unused_categories().cat.categories
        return FeatureColumn(name, "category", tuple(sorted(map(str, used))))
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
        return FeatureColumn(name, "number")
    if pd.api.types.is_object_dtype(values.dtype) or pd.api.types.is_string_dtype(values.dtype):
        seen = pd.unique(values.dropna())
        odd = [value for value in seen if not isinstance(value, str)]
        if odd:
            raise DataError(
                f"feature {name!r} mixes text with {type(odd[0]).__name__} ({odd[0]!r}); make it all text, or numbers"
            )
        return FeatureColumn(name, "category", tuple(sorted(seen)))
    raise DataError(f"feature {name!r} has type {values.dtype}; a feature is a number or text, so derive one from it")


def _merge(columns: Sequence[FeatureColumn]) -> FeatureColumn:
    name = columns[0].name
    filled = [column for column in columns if column.kind == "number" or column.categories]
    kinds = {column.kind for column in filled}
    if len(kinds) == 2:
        raise DataError(
            f"feature {name!r} is a number in one partition and text in another; make it all text, or numbers"
        )
    if "number" in kinds:
        return FeatureColumn(name, "number")
    return FeatureColumn(name, "category", tuple(sorted({value for column in filled for value in column.categories})))


def _encode(values: pd.Series[Any], column: FeatureColumn) -> Any:
    import numpy as np
    import pandas as pd

    if column.kind == "number":
        try:
            return values.to_numpy(np.float32, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"feature {column.name!r} was a number when the model was trained and is {values.dtype}: {error}"
            ) from error
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes, uniques = values.cat.codes.to_numpy(), values.cat.categories
    else:
        codes, uniques = pd.factorize(values, use_na_sentinel=True)
    known = {category: code for code, category in enumerate(column.categories)}
    table = np.array([known.get(str(value), np.nan) for value in uniques] + [np.nan], np.float32)
    return table[codes]  # the sentinel -1 of a missing value finds the NaN at the end

"""A multilayer perceptron for tables: its architecture, its file, and how it scores. Torch is not needed here.

Numbers are standardised, clipped, and a missing one becomes the mean beside an indicator; categories are embedded, code
0 stands for missing or never seen. Hidden layers are ReLU(Linear), as in the baseline of Gorishniy et al. (2021),
"Revisiting Deep Learning Models for Tabular Data".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from updraft.errors import IntegrityError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from updraft.training.encoding import Encoder

    Tensors = Mapping[str, NDArray[np.float32]]

CLIP = 8.0
"""Standard deviations: beyond, a number says no more than that it is far out."""
_CHUNK = 32_768
"""Rows that are scored at once; bounds the memory of the hidden layers."""


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Number(_Declared):
    """A number's column, and whether an indicator says that it is missing."""

    column: int = Field(ge=0)
    indicator: bool


class Category(_Declared):
    """A category's column, how many values it has, and the width of its embedding."""

    column: int = Field(ge=0)
    values: int = Field(ge=0)
    width: int = Field(ge=1)


class Architecture(_Declared):
    """Everything about a model but its tensors; stands as JSON in the header of its file."""

    format: Literal[1] = 1
    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]
    layers: int = Field(ge=1)
    width: int = Field(ge=1)
    outputs: int = Field(default=1, ge=1)
    """Of a row; more than one where a task serves a vector."""

    @classmethod
    def of(
        cls, encoder: Encoder, missing: NDArray[np.bool_], layers: int, width: int, embedding: int, outputs: int = 1
    ) -> Architecture:
        """The architecture for encoded rows; an indicator for each number that is missing somewhere.

        :param missing: by column, whether some row has no value there.
        :param embedding: the widest embedding; one of n values has width 1.6 n^0.56, the rule of thumb of fast.ai.
        """
        numbers, categories = [], []
        for i, column in enumerate(encoder.columns):
            if column.kind == "number":
                numbers.append(Number(column=i, indicator=bool(missing[i])))
            else:
                n = len(column.categories)
                wide = max(1, min(embedding, math.ceil(1.6 * n**0.56)))
                categories.append(Category(column=i, values=n, width=wide))
        return cls(numbers=tuple(numbers), categories=tuple(categories), layers=layers, width=width, outputs=outputs)

    @property
    def inputs(self) -> int:
        """Width of what the first layer reads."""
        indicators = sum(number.indicator for number in self.numbers)
        return len(self.numbers) + indicators + sum(category.width for category in self.categories)

    def learnt(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor that is learnt, in order."""
        for i, category in enumerate(self.categories):
            yield f"embedding.{i}", (category.values + 1, category.width)
        wide = self.inputs
        for i in range(self.layers):
            yield f"layer.{i}.weight", (self.width, wide)
            yield f"layer.{i}.bias", (self.width,)
            wide = self.width
        yield "output.weight", (self.outputs, wide)
        yield "output.bias", (self.outputs,)

    def as_json(self) -> str:
        """For the header of a file; a single output is not told, as it was not when there was no other."""
        return self.model_dump_json(exclude={"outputs"} if self.outputs == 1 else None)

    def measured(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of what standardises: float64, as the mean of a large number has more digits than float32."""
        for name in ("numbers.mean", "numbers.scale"):
            yield name, (len(self.numbers),)
        for name in ("label.mean", "label.scale"):
            yield name, (1,)

    def standardised(
        self, values: NDArray[np.float32], mean: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Encoded rows -> rows × (numbers, then indicators)."""
        import numpy as np

        indicators = [number.column for number in self.numbers if number.indicator]
        columns = np.empty((len(values), len(self.numbers) + len(indicators)), np.float32)
        for i, number in enumerate(self.numbers):
            column = (values[:, number.column].astype(np.float64) - mean[i]) / scale[i]
            column[~np.isfinite(column)] = 0.0
            columns[:, i] = np.clip(column, -CLIP, CLIP)
        for i, position in enumerate(indicators, len(self.numbers)):
            columns[:, i] = ~np.isfinite(values[:, position])
        return columns

    def codes(self, values: NDArray[np.float32]) -> NDArray[np.int32]:
        """Encoded rows -> rows × categories: 0 for missing or never seen, else the category's position + 1."""
        import numpy as np

        codes = np.zeros((len(values), len(self.categories)), np.int32)
        for i, category in enumerate(self.categories):
            column = values[:, category.column]
            known = np.isfinite(column)
            codes[known, i] = column[known].astype(np.int32) + 1
        return codes


def to_bytes(architecture: Architecture, tensors: Tensors) -> bytes:
    """A safetensors file; equal models are equal bytes (one key of metadata: their order is not kept)."""
    from safetensors.numpy import save

    return bytes(save(dict(tensors), metadata={"architecture": architecture.as_json()}))


def from_bytes(content: bytes) -> MlpScorer:
    """Read :func:`to_bytes` back.

    :raises IntegrityError: when it is no such file, or its tensors are not those of its architecture.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(content)
        architecture = Architecture.model_validate_json(header(content)["architecture"])
    except (SafetensorError, ValidationError, KeyError, ValueError) as error:
        raise IntegrityError(f"not the safetensors file of a torch model: {error}") from error
    expected = dict([*architecture.learnt(), *architecture.measured()])
    if (shapes := {name: tensor.shape for name, tensor in tensors.items()}) != expected:
        wrong = sorted(name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name))
        raise IntegrityError(f"the tensors {wrong} are not what the architecture declares")
    return MlpScorer(architecture, tensors)


def header(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file: its first eight bytes are the length of a JSON header.

    :raises ValueError: when there is none.
    """
    size = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + size]).get("__metadata__", {})
    return metadata


@dataclass(frozen=True, eq=False)
class MlpScorer:
    """Scores in float64 with NumPy, so that a row scores alike alone and among others to 1e-12."""

    architecture: Architecture
    tensors: Tensors

    def margin(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw output per encoded row: shape (rows,), or (rows, outputs) where there are several."""
        import numpy as np

        outputs = self.architecture.outputs
        margins = np.empty((len(values), outputs) if outputs > 1 else len(values), np.float64)
        for first in range(0, len(values), _CHUNK):
            margins[first : first + _CHUNK] = self._margin(values[first : first + _CHUNK])
        return margins

    def gain(self) -> None:
        """A network does not tell what a column gained."""

    def _margin(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        import numpy as np

        made, held = self.architecture, self._wide
        codes = made.codes(values)
        embedded = [held[f"embedding.{i}"][codes[:, i]] for i in range(len(made.categories))]
        hidden = np.concatenate(
            [made.standardised(values, held["numbers.mean"], held["numbers.scale"]), *embedded], axis=1
        )
        for i in range(made.layers):
            hidden = np.maximum(hidden @ held[f"layer.{i}.weight"].T + held[f"layer.{i}.bias"], 0.0)
        if made.outputs > 1:
            out = hidden @ held["output.weight"].T + held["output.bias"]
        else:
            out = hidden @ held["output.weight"][0] + held["output.bias"][0]
        margin: NDArray[np.float64] = held["label.mean"][0] + held["label.scale"][0] * out
        return margin

    @cached_property
    def _wide(self) -> dict[str, NDArray[np.float64]]:
        import numpy as np

        return {name: tensor.astype(np.float64) for name, tensor in self.tensors.items()}

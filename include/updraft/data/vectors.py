"""Margins and scores as a column of a frame, and so of a Parquet file: a number in each cell, or a list with one for each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def as_cells(values: NDArray[np.float64]) -> Any:
    """What is assigned to a column.

    :param values: shape (rows,), or (rows, classes).
    """
    return values if values.ndim == 1 else list(values)


def as_values(cells: pd.Series[Any]) -> NDArray[np.float64]:
    """The inverse of :func:`as_cells`. A column without a row tells no number of classes: it is of shape (0,).

    :raises ValueError: when a cell has another number of classes than the first one, or is missing among lists.
    """
    import numpy as np
    import pyarrow as pa

    if cells.dtype != object or not len(cells):
        return cells.to_numpy(np.float64)
    try:  # through Arrow, which reads a million lists in a tenth of the time that a stack of arrays takes
        lists = pa.array(cells.to_numpy(), pa.list_(pa.float64()))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"a cell is no list of numbers: {error}") from error
    lengths = lists.value_lengths()
    if lists.null_count or len(lengths.unique()) != 1:
        raise ValueError("a cell has another number of classes than the first one, or is missing")
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False), np.float64).reshape(len(lists), -1)

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

    if cells.dtype != object or not len(cells):
        return cells.to_numpy(np.float64)
    return np.asarray(np.stack([np.asarray(cell, np.float64) for cell in cells]), np.float64)

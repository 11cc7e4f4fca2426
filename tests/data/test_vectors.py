"""Lists of scores in the cells of a column, and back."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from updraft import files
from updraft.data.vectors import as_cells, as_values


@pytest.mark.parametrize("shape", [(5,), (5, 3), (0,)])
def test_values_come_back_from_cells_and_from_a_file(tmp_path, shape):
    values = np.random.default_rng(0).normal(size=shape)
    frame = pd.DataFrame({"score": as_cells(values)})
    np.testing.assert_array_equal(as_values(frame["score"]), values)
    files.write_parquet(f"{tmp_path}/scores.parquet", frame)
    np.testing.assert_array_equal(as_values(files.read_parquet(f"{tmp_path}/scores.parquet")["score"]), values)


def test_numbers_that_are_none_stay_none():
    values = np.array([[0.5, np.nan], [np.inf, 0.1]])
    np.testing.assert_array_equal(as_values(pd.Series(list(values))), values)


@pytest.mark.parametrize("cells", [[[1.0, 2.0], [1.0]], [[1.0, 2.0], None], [[1.0], "a"], [[1.0], [[1.0]]]])
def test_a_cell_of_another_form_is_refused(cells):
    with pytest.raises(ValueError, match="a cell"):
        as_values(pd.Series(cells, dtype=object))


def test_many_lists_are_read_in_less_time_than_a_stack_of_them_takes():
    cells = pd.Series(as_cells(np.random.default_rng(0).random((200_000, 4))))
    as_values(cells.head())  # what is imported is
    began = time.process_time()
    as_values(cells)
    arrow, began = time.process_time() - began, time.process_time()
    np.stack([np.asarray(cell, np.float64) for cell in cells])
    assert arrow < (time.process_time() - began) / 2

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from updraft.errors import DataError
from updraft.training.encoding import Encoder

FRAME = pd.DataFrame(
    {"carrier": ["UA", "AA", None, "UA"], "late": [True, False, True, True], "wind": [1.5, np.nan, 3, 4]}
)


def test_categories_become_their_sorted_positions_and_missing_values_nan():
    matrix = Encoder.fit(FRAME).encode(FRAME)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix[:, 0], [1, 0, np.nan, 1])
    np.testing.assert_array_equal(matrix[:, 1], [1, 0, 1, 1])
    np.testing.assert_array_equal(matrix[:, 2], np.array([1.5, np.nan, 3, 4], np.float32))


def test_a_category_never_seen_becomes_nan():
    encoded = Encoder.fit(FRAME).encode(FRAME.assign(carrier=["ZZ", "AA", "UA", "ZZ"]))
    np.testing.assert_array_equal(encoded[:, 0], [np.nan, 0, 1, np.nan])


@pytest.mark.parametrize("kind", ["category", "string", object])
def test_the_storage_of_text_does_not_matter(kind):
    encoder = Encoder.fit(FRAME)
    assert Encoder.fit(FRAME.astype({"carrier": kind})) == encoder
    np.testing.assert_array_equal(encoder.encode(FRAME.astype({"carrier": kind})), encoder.encode(FRAME))


def test_the_order_of_columns_and_other_columns_do_not_matter():
    encoder = Encoder.fit(FRAME)
    np.testing.assert_array_equal(encoder.encode(FRAME[["wind", "late", "carrier"]].assign(x=1)), encoder.encode(FRAME))


def test_nullable_integers_encode_as_numbers():
    frame = pd.DataFrame({"seats": pd.array([1, None, 3], "Int64")})
    np.testing.assert_array_equal(Encoder.fit(frame).encode(frame)[:, 0], [1, np.nan, 3])


def test_the_json_reads_back_equal():
    encoder = Encoder.fit(FRAME)
    assert Encoder.from_json(encoder.to_json()) == encoder


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match=r"\['wind'\] are missing"):
        Encoder.fit(FRAME).encode(FRAME.drop(columns="wind"))


def test_a_number_that_became_text_is_named():
    with pytest.raises(DataError, match="'wind' was a number"):
        Encoder.fit(FRAME).encode(FRAME.assign(wind=["a", "b", "c", "d"]))


def test_a_feature_that_is_neither_number_nor_text_is_refused():
    with pytest.raises(DataError, match="'when' has type datetime64"):
        Encoder.fit(pd.DataFrame({"when": pd.to_datetime(["2013-01-01"])}))
    with pytest.raises(DataError, match="mixes text with int"):
        Encoder.fit(pd.DataFrame({"code": ["a", 1]}))

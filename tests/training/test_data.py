from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from updraft.data.columns import EVENT_TIME, LABEL, PARTITION, ROW
from updraft.errors import DataError
from updraft.training.data import TrainingData


def test_rows_meet_their_labels_also_those_that_came_a_partition_later(frames):
    features, labels = frames
    window = list(features)
    data = TrainingData.join(features, labels, window)
    known = pd.concat(labels).set_index(ROW)[LABEL]
    np.testing.assert_array_equal(data.label, known.loc[data.keys[ROW].to_numpy()].to_numpy())
    assert len(data.label) == len(known)
    last_day = features[window[-1]][EVENT_TIME].max()
    assert data.keys[EVENT_TIME].max() < last_day  # not matured yet


def test_the_order_of_rows_in_the_files_does_not_matter(frames):
    features, labels = frames
    shuffled = {key: frame.sample(frac=1, random_state=1) for key, frame in features.items()}
    one = TrainingData.join(features, labels, list(features))
    two = TrainingData.join(shuffled, [frame.sample(frac=1, random_state=2) for frame in labels], list(features))
    pd.testing.assert_frame_equal(one.features, two.features)
    np.testing.assert_array_equal(one.label, two.label)


def test_the_last_label_of_a_row_counts(frames):
    features, labels = frames
    corrected = labels[0].head(1).assign(**{LABEL: 1 - labels[0][LABEL].iloc[0]})
    data = TrainingData.join(features, [*labels, corrected], list(features))
    row = data.keys[ROW] == corrected[ROW].iloc[0]
    assert data.label[row].tolist() == corrected[LABEL].tolist()


def test_labels_of_rows_outside_the_window_are_left_out(frames):
    features, labels = frames
    window = list(features)[1:]
    data = TrainingData.join(features, labels, window)
    assert set(data.keys[PARTITION]) == set(window)


def test_a_partition_that_is_not_there_is_named(frames):
    features, labels = frames
    with pytest.raises(DataError, match="partition 2013-02-04T0500 are not there"):
        TrainingData.join(features, labels, [*features, "2013-02-04T0500"])


def test_partitions_with_other_features_are_named(frames):
    features, labels = frames
    [first, second, *_] = features
    with pytest.raises(DataError, match=f"partition {second} has features"):
        TrainingData.join({**features, second: features[second].drop(columns="wind")}, labels, [first, second])


def test_no_label_is_an_error_that_asks_for_maturity(frames):
    features, labels = frames
    with pytest.raises(DataError, match="have they matured"):
        TrainingData.join(features, [], list(features))
    with pytest.raises(DataError, match="have they matured"):
        TrainingData.join(features, [labels[0].assign(**{LABEL: np.nan})], list(features))

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from tests.support.checkpoints import DyingCheckpoint
from tests.support.large_case import train_measured, write_large_request
from tests.support.training_case import KEYS, write_request

from updraft import files
from updraft.data.columns import CLUSTER, LABEL, MARGIN
from updraft.data.snapshots import load_snapshot
from updraft.errors import DataError, TrainingError
from updraft.jobs.run import run_training
from updraft.spec.trainers import complaints
from updraft.training import spill
from updraft.training.data import load_training_data
from updraft.training.encoding import Encoder
from updraft.training.fit import validation_rows
from updraft.training.spill import SpilledWindow

PARAMS = {"max_depth": 3, "eta": 0.3, "rounds": 40, "checkpoint_every": 5, "subsample": 0.7}


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    lake = tmp_path_factory.mktemp("lake")
    return lake, write_request(f"file://{lake}", params={**PARAMS, "external_memory": True})


@pytest.fixture(scope="module")
def spilled(case, tmp_path_factory):
    _, request = case
    manifest = load_snapshot(request.snapshot_url, request.snapshot_sha256)
    return SpilledWindow.spill(manifest, KEYS, tmp_path_factory.mktemp("scratch")), load_training_data(manifest, KEYS)


def rows_of(window, encoder):
    masks = [np.ones(len(each.label), bool) for each in window.partitions]
    batches = list(spill.SpilledRows(window, encoder, masks).batches())
    return np.concatenate([each.values for each in batches]), np.concatenate([each.label for each in batches])


def test_the_rows_on_disk_are_those_in_memory_in_the_same_order(spilled):
    window, data = spilled
    encoder = Encoder.fit(data.features)
    assert window.encoder() == encoder
    values, label = rows_of(window, encoder)
    np.testing.assert_array_equal(values, encoder.encode(data.features))
    np.testing.assert_array_equal(label, data.label)


def test_the_same_clusters_validate_as_in_memory(spilled):
    from updraft.training.fit import validation_clusters

    window, data = spilled
    masks = window.of_clusters(validation_clusters(window.clusters()))
    expected = validation_rows(data.keys[CLUSTER].to_numpy(), np.ones(len(data.label), bool))
    np.testing.assert_array_equal(np.concatenate(masks), expected)


def test_a_category_has_one_code_whichever_partitions_know_it(tmp_path):
    first, second = (pd.DataFrame({"c": values}) for values in (["b", "d", None], ["a", "d", "b"]))
    one, two = Encoder.fit(first), Encoder.fit(second)
    both = Encoder.merged([one, two])
    assert both == Encoder.fit(pd.concat([first, second]))
    np.testing.assert_array_equal(one.recoded(one.encode(first), both), both.encode(first))
    np.testing.assert_array_equal(both.recoded(both.encode(first), two), two.encode(first))  # "b", "d", missing
    empty = Encoder.fit(pd.DataFrame({"c": pd.Series([None, None], dtype=object)}))
    assert Encoder.merged([empty, one]) == one
    with pytest.raises(DataError, match="'c' is a number in one partition and text in another"):
        Encoder.merged([one, Encoder.fit(pd.DataFrame({"c": [1.0]}))])


def test_a_training_from_disk_is_as_good_as_in_memory_and_the_same_each_time(case, tmp_path):
    _, request = case
    plain = request.model_copy(update={"params": PARAMS, "output_url": f"file://{tmp_path}/plain"})
    in_memory = run_training(plain.write(f"{tmp_path}/plain.json"))
    one, two = (
        run_training(
            request.model_copy(update={"output_url": f"file://{tmp_path}/{name}"}).write(f"{tmp_path}/{name}.json")
        )
        for name in "ab"
    )
    assert one.model_sha256 == two.model_sha256
    assert one.request_sha256 != in_memory.request_sha256
    assert one.metrics["holdout_log_loss"] == pytest.approx(in_memory.metrics["holdout_log_loss"], abs=0.01)
    assert (one.rows, one.holdout_rows) == (in_memory.rows, in_memory.holdout_rows)
    holdouts = [files.read_parquet(str(each.holdout_predictions_url)) for each in (one, in_memory)]
    pd.testing.assert_series_equal(*(each[LABEL] for each in holdouts))
    assert np.isfinite(holdouts[0][MARGIN]).all()
    assert not (tmp_path / "a" / "scratch").exists()


def test_an_interrupted_training_from_disk_goes_on_to_the_same_bytes(case, tmp_path):
    from tests.training.test_fit import Killed

    from updraft.training.external import train_from_disk
    from updraft.training.recipe import Recipe

    _, request = case
    manifest = load_snapshot(request.snapshot_url, request.snapshot_sha256)
    recipe = Recipe(params=request.params, threads=1)

    def train(name, checkpoint=None):
        (tmp_path / name).mkdir()
        return train_from_disk(recipe, manifest, KEYS, KEYS[-1:], tmp_path / name, checkpoint)

    checkpoint = DyingCheckpoint(2)
    with pytest.raises(Killed):
        train("killed", checkpoint)
    checkpoint.left = None
    assert train("resumed", checkpoint).weights == train("whole").weights


def test_without_a_holdout_there_are_no_predictions(case, tmp_path):
    _, request = case
    changed = request.model_copy(update={"holdout": (), "output_url": f"file://{tmp_path}/output"})
    result = run_training(changed.write(f"{tmp_path}/request.json"))
    assert result.holdout_rows == 0
    assert result.holdout_predictions_url is None


def test_memory_stays_a_fraction_of_what_the_window_takes_in_memory(tmp_path):
    params = {"rounds": 2, "max_depth": 3, "max_bin": 32, "external_memory": True}
    request = write_large_request(f"file://{tmp_path}", 160 * 2**20, 32, params=params)
    plain = request.model_copy(update={"params": {**params, "external_memory": False}, "output_url": f"{tmp_path}/in"})
    _, on_disk = train_measured(request.write(f"{tmp_path}/disk.json"))
    _, in_memory = train_measured(plain.write(f"{tmp_path}/memory.json"))
    assert in_memory > 2 * 160 * 2**20  # what it would take
    assert on_disk * 4 < in_memory


def test_a_full_disk_is_told_with_what_to_do(monkeypatch, case, tmp_path):
    import errno

    def full(path, values):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    _, request = case
    manifest = load_snapshot(request.snapshot_url, request.snapshot_sha256)
    with pytest.raises(TrainingError, match=r"the disk is full.*ephemeral-storage"):
        SpilledWindow.spill(manifest, KEYS, tmp_path)


def test_only_xgboost_takes_the_parameter():
    assert not list(complaints("xgboost", {"external_memory": True}))
    [(name, message, _)] = complaints("torch", {"external_memory": True})
    assert (name, message) == ("external_memory", "unknown parameter of torch")

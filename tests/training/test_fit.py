from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.checkpoints import DyingCheckpoint, Killed

from updraft import files
from updraft.data.columns import CLUSTER, LABEL, MARGIN, PARTITION, ROW, SCORE
from updraft.errors import DataError, IntegrityError, TrainingError
from updraft.tasks.binary import BINARY
from updraft.training.data import TrainingData
from updraft.training.fit import train_in_memory, validation_rows
from updraft.training.model import load_model
from updraft.training.recipe import Recipe

PARAMS = {"max_depth": 3, "eta": 0.3, "rounds": 40, "checkpoint_every": 5, "subsample": 0.7, "colsample_bytree": 0.7}
RECIPE = Recipe(params=PARAMS, threads=1)  # threads that wait for each other are slow on a busy machine


@pytest.fixture(scope="module")
def data(frames):
    features, labels = frames
    return TrainingData.join(features, labels, list(features))


@pytest.fixture(scope="module")
def holdout(frames):
    return list(frames[0])[-1:]


@pytest.fixture(scope="module")
def fitted(data, holdout):
    return train_in_memory(RECIPE, data, holdout)


def test_a_training_interrupted_after_any_block_ends_with_the_same_bytes(data, holdout, fitted):
    whole = DyingCheckpoint()
    train_in_memory(RECIPE, data, holdout, whole)
    interruptions = 0
    for blocks in range(1, 20):
        checkpoint = DyingCheckpoint(blocks)
        try:
            train_in_memory(RECIPE, data, holdout, checkpoint)
        except Killed:
            interruptions += 1
        checkpoint.left = None
        resumed = train_in_memory(RECIPE, data, holdout, checkpoint)
        assert resumed.weights == fitted.weights
        assert checkpoint.states == whole.states
        assert resumed.curve == fitted.curve
        np.testing.assert_array_equal(resumed.holdout[MARGIN], fitted.holdout[MARGIN])
        if interruptions < blocks:
            break
    assert interruptions >= 3


@pytest.mark.parametrize("seed", [0, 3])
def test_the_same_training_gives_the_same_bytes_and_another_seed_others(data, holdout, fitted, seed):
    recipe = Recipe(params=PARAMS, seed=seed, threads=1)
    one, two = (train_in_memory(recipe, data, holdout) for _ in range(2))
    assert one.weights == two.weights != fitted.weights


def test_early_stopping_keeps_the_best_round_across_blocks(data):
    recipe = Recipe(params={**PARAMS, "rounds": 400, "early_stopping": 7, "eta": 0.5, "max_depth": 6}, threads=1)
    fitted = train_in_memory(recipe, data)
    assert fitted.rounds == int(np.argmin(fitted.curve)) + 1
    assert len(fitted.curve) == fitted.rounds + 7 < 400


def test_the_size_of_blocks_is_part_of_the_recipe_only_through_sampling(data):
    plain = {"max_depth": 3, "rounds": 20, "early_stopping": 20}
    one, two = (
        train_in_memory(Recipe(params={**plain, "checkpoint_every": every}, threads=1), data)
        .model()
        .margin(data.features)
        for every in (5, 20)
    )
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_the_holdout_is_predicted_by_a_model_that_never_saw_it(data, holdout, fitted):
    assert set(fitted.holdout[PARTITION]) == set(holdout)
    assert fitted.holdout.columns.tolist()[-3:] == [LABEL, MARGIN, SCORE]
    held = data.within(holdout)
    np.testing.assert_array_equal(fitted.holdout[ROW], data.keys[ROW][held])
    np.testing.assert_allclose(fitted.holdout[SCORE], BINARY.link(fitted.holdout[MARGIN].to_numpy()))
    lies = replace(data, label=np.where(held, 1 - data.label, data.label))
    other = train_in_memory(RECIPE, lies, holdout)
    np.testing.assert_array_equal(other.holdout[MARGIN], fitted.holdout[MARGIN])
    assert other.weights != fitted.weights  # the release model did learn from it


def test_the_model_beats_the_base_rate_on_the_holdout(data, fitted):
    rate = data.label.mean()
    assert fitted.metrics["holdout_log_loss"] < -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)) - 0.01
    label, score = fitted.holdout[LABEL], fitted.holdout[SCORE]
    np.testing.assert_allclose(
        fitted.metrics["holdout_log_loss"], -np.mean(np.log(np.where(label == 1, score, 1 - score)))
    )


def test_a_regression_learns_the_value(data, holdout):
    value = data.features["minute"].to_numpy() / 100.0
    fitted = train_in_memory(
        Recipe("regression", {**PARAMS, "rounds": 100}, threads=1), replace(data, label=value), holdout
    )
    assert fitted.metrics["holdout_rmse"] < 0.2 * value.std()
    np.testing.assert_array_equal(fitted.holdout[SCORE], fitted.holdout[MARGIN])


def test_whole_clusters_validate_and_keep_their_side_in_every_window(data):
    clusters = data.keys[CLUSTER].to_numpy()
    everything = np.ones(len(clusters), bool)
    chosen = validation_rows(clusters, everything)
    assert not set(clusters[chosen]) & set(clusters[~chosen])
    assert 0.02 < chosen.mean() < 0.4
    many = np.array([f"2013-{month:02d}-{day:02d}" for month in range(1, 13) for day in range(1, 29)], object)
    side = dict(zip(many, validation_rows(many, np.ones(len(many), bool)), strict=True))
    assert 0.08 < np.mean(list(side.values())) < 0.22
    assert validation_rows(many[40:], np.ones(len(many) - 40, bool)).tolist() == [side[name] for name in many[40:]]


def test_two_clusters_are_enough_and_one_is_not():
    two = np.array(["a", "a", "b"], object)
    assert validation_rows(two, np.ones(3, bool)).sum() in {1, 2}
    with pytest.raises(TrainingError, match=r"1 cluster\(s\); two are the least"):
        validation_rows(two, np.array([True, True, False]))


def test_labels_that_cannot_be_learnt_are_refused(data):
    with pytest.raises(TrainingError, match="needs labels 0 and 1"):
        train_in_memory(RECIPE, replace(data, label=data.label + 1))
    with pytest.raises(TrainingError, match="nothing to learn"):
        train_in_memory(RECIPE, replace(data, label=data.label * 0))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_dept": 3}, "did you mean `?max_depth"),
        ({"seed": 3}, r"seed = 3: set by Updraft from `training.seed`"),
        ({"rounds": 0, "early_stopping": True}, "rounds = 0: must be .*early_stopping = True: must be"),
    ],
)
def test_parameters_that_are_not_the_users_are_refused(params, message):
    with pytest.raises(TrainingError, match=message):
        Recipe(params=params)


def test_a_saved_model_scores_as_before_and_holds_no_pickle(tmp_path, data, fitted):
    url = f"file://{tmp_path}/a model"
    model = fitted.model({"project": "x"}, b"def features(rows): ...")
    sha256 = model.save(url)
    loaded = load_model(url, sha256)
    np.testing.assert_array_equal(loaded.margin(data.features), model.margin(data.features))
    assert loaded.sha256 == sha256
    assert loaded.meta == {"project": "x"}
    assert loaded.features_source == b"def features(rows): ..."
    assert sorted(path.name for path in (tmp_path / "a model").iterdir()) == [
        *("encoder.json", "features.py", "meta.json", "model.ubj")
    ]
    assert len(loaded.margin(data.features.head(0))) == 0


def test_a_changed_model_is_refused(tmp_path, fitted):
    sha256 = fitted.model().save(str(tmp_path))
    content = bytearray((tmp_path / "model.ubj").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "model.ubj").write_bytes(content)
    with pytest.raises(IntegrityError, match="content has hash"):
        load_model(str(tmp_path), sha256)
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(IntegrityError, match="damaged"):
        load_model(str(tmp_path))
    with pytest.raises(IntegrityError, match="is no model"):
        load_model(str(tmp_path / "elsewhere"))


def test_a_feature_that_is_missing_at_scoring_is_named(data, fitted):
    with pytest.raises(DataError, match="'wind'"):
        fitted.model().margin(data.features.drop(columns="wind"))


def test_importance_is_a_share_by_feature(fitted):
    importance = dict(fitted.importance.shares)
    assert set(importance) == {"carrier", "wind", "minute"}
    assert sum(importance.values()) == pytest.approx(1)
    assert files.canonical_hash(importance)


def test_the_link_does_not_overflow():
    np.testing.assert_array_equal(BINARY.link(np.array([-800.0, 0, 800])), [0, 0.5, 1])

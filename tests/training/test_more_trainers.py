"""What the trainers of LightGBM and scikit-learn owe: the same bytes for the same request, and a model that is of use."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support.checkpoints import DyingCheckpoint, Killed

from updraft import files
from updraft.data.columns import LABEL, MARGIN, SCORE
from updraft.errors import IntegrityError, TrainingError, TrainingInterrupted
from updraft.jobs.watch import TrainingWatch
from updraft.spec.trainers import TRAINERS
from updraft.training.data import TrainingData
from updraft.training.fit import train_in_memory
from updraft.training.importance import GAIN, PERMUTATION
from updraft.training.model import load_model
from updraft.training.recipe import Recipe
from updraft.training.skops_file import from_bytes
from updraft.training.trainers import BY_NAME

BOOSTED = {"rounds": 20, "early_stopping": 10, "checkpoint_every": 5, "learning_rate": 0.2, "num_leaves": 8}
RECIPES = {
    "lightgbm": Recipe(
        params={**BOOSTED, "bagging_fraction": 0.7, "feature_fraction": 0.7}, threads=1, trainer="lightgbm"
    ),
    **{
        estimator: Recipe(params={"estimator": estimator, **params}, threads=1, trainer="sklearn")
        for estimator, params in {
            "hist_gradient_boosting": {"rounds": 15, "early_stopping": 8, "max_features": 0.7},
            "random_forest": {"rounds": 6},
            "logistic_regression": {},
        }.items()
    },
}
NUMBERS = {
    name: replace(recipe, task="regression") for name, recipe in RECIPES.items() if name != "logistic_regression"
}
NUMBERS["elastic_net"] = Recipe("regression", {"estimator": "elastic_net"}, threads=1, trainer="sklearn")


@pytest.fixture(scope="module")
def data(frames):
    features, labels = frames
    return TrainingData.join(features, labels, list(features))


@pytest.fixture(scope="module")
def holdout(frames):
    return list(frames[0])[-1:]


@pytest.fixture(scope="module")
def fitted(data, holdout):
    return {name: train_in_memory(recipe, data, holdout) for name, recipe in RECIPES.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_interrupted_after_any_state_ends_with_the_same_bytes(data, holdout, fitted, name):
    whole = DyingCheckpoint()
    train_in_memory(RECIPES[name], data, holdout, whole)
    interruptions = 0
    for states in range(1, 20):
        checkpoint = DyingCheckpoint(states)
        try:
            train_in_memory(RECIPES[name], data, holdout, checkpoint)
        except Killed:
            interruptions += 1
        checkpoint.left = None
        resumed = train_in_memory(RECIPES[name], data, holdout, checkpoint)
        assert resumed.weights == fitted[name].weights
        assert checkpoint.states == whole.states
        assert resumed.curve == fitted[name].curve
        np.testing.assert_array_equal(resumed.holdout[MARGIN], fitted[name].holdout[MARGIN])
        if interruptions < states:
            break
    assert interruptions >= (4 if name == "lightgbm" else 2)


def test_one_that_is_asked_to_end_goes_on_block_by_block(data, holdout, fitted):
    watch, checkpoint, ends = TrainingWatch(), DyingCheckpoint(), 0
    watch.ask_to_leave()
    while True:
        try:
            resumed = train_in_memory(RECIPES["lightgbm"], data, holdout, checkpoint, watch)
            break
        except TrainingInterrupted:
            ends += 1
    assert ends >= 4
    assert resumed.weights == fitted["lightgbm"].weights


ELSEWHERE = """
import sys
sys.path[:0] = {paths!r}
from tests.support.training_case import features_and_labels
from tests.training.test_more_trainers import RECIPES
from updraft import files
from updraft.training.data import TrainingData
from updraft.training.fit import train_in_memory
features, labels = features_and_labels()
data = TrainingData.join(features, labels, list(features))
padding = [bytes(range(256)) * 4096 for _ in range(8)]
for name, recipe in reversed(RECIPES.items()):
    print(name, files.sha256(train_in_memory(recipe, data, list(features)[-1:]).weights))
"""


def test_another_process_comes_to_the_same_bytes(fitted):
    root = Path(__file__).resolve().parents[2]
    code = ELSEWHERE.format(paths=[str(root), str(root / "include")])
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert dict(line.split() for line in said.splitlines()) == {
        name: files.sha256(model.weights) for name, model in fitted.items()
    }


@pytest.mark.parametrize("name", ["lightgbm", "hist_gradient_boosting", "random_forest"])
def test_another_seed_gives_other_bytes(data, holdout, fitted, name):
    assert train_in_memory(replace(RECIPES[name], seed=2), data, holdout).weights != fitted[name].weights


@pytest.mark.parametrize("name", RECIPES)
def test_the_model_beats_the_base_rate_on_the_holdout(data, fitted, name):
    rate = data.label.mean()
    metrics, holdout = fitted[name].metrics, fitted[name].holdout
    assert metrics["holdout_log_loss"] < -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)) - 0.01
    said = np.where(holdout[LABEL] == 1, holdout[SCORE], 1 - holdout[SCORE])
    np.testing.assert_allclose(metrics["holdout_log_loss"], -np.mean(np.log(said)))


def test_boosted_trees_stop_at_the_best_round(data):
    for trainer, params in (("lightgbm", {"num_leaves": 31}), ("sklearn", {})):
        recipe = Recipe(
            params={"rounds": 300, "early_stopping": 7, "learning_rate": 0.5, **params}, threads=1, trainer=trainer
        )
        model = train_in_memory(recipe, data)
        assert model.rounds == int(np.argmin(model.curve)) + 1
        assert len(model.curve) < 300


@pytest.mark.parametrize("name", NUMBERS)
def test_a_regression_learns_the_value(data, holdout, name):
    value = data.features["minute"].to_numpy() / 100.0 + 1000.0
    model = train_in_memory(NUMBERS[name], replace(data, label=value), holdout)
    assert model.metrics["holdout_rmse"] < 0.4 * value.std()
    np.testing.assert_array_equal(model.holdout[SCORE], model.holdout[MARGIN])


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("seen", [(0, 2, 3), (1, 2)])
def test_a_class_that_the_window_does_not_hold_is_nearly_impossible(data, holdout, name, seen):
    late = (data.features["minute"] > 900).to_numpy().astype(int) + (data.label > 0)
    label = np.array(seen, float)[np.minimum(late, len(seen) - 1)]
    recipe = replace(RECIPES[name], task="multiclass", classes=("a", "b", "c", "d"))
    model = train_in_memory(recipe, replace(data, label=label), holdout).model()
    margin = model.margin(data.features)
    score = model.score(margin)
    assert score.shape == (len(label), 4)
    unseen = [position for position in range(4) if position not in seen]
    assert 0 <= score[:, unseen].max() < 0.01
    right = (score.argmax(axis=1) == label).mean()
    assert right > np.bincount(label.astype(int)).max() / len(label)
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        assert np.isfinite(model.task_type.margin_loss(np.full(len(label), float(unseen[0])), margin)).all()


@pytest.mark.parametrize("name", RECIPES)
def test_missing_unseen_infinite_and_far_out_values_score_finitely(data, fitted, name):
    row = data.features.iloc[[0]]
    for change in ({"wind": np.nan}, {"wind": np.inf}, {"wind": 1e30}, {"carrier": None}, {"carrier": "ZZ"}):
        assert np.isfinite(fitted[name].model().margin(row.assign(**change))).all(), change
    assert fitted[name].model().margin(row.head(0)).shape == (0,)


@pytest.mark.parametrize("name", RECIPES)
def test_a_constant_number_and_columns_that_are_never_there_do_no_harm(data, holdout, name):
    empty = pd.Series(None, index=data.features.index, dtype="str")
    features = data.features.assign(same=3.0, never=np.nan, empty=empty)
    assert np.isfinite(train_in_memory(RECIPES[name], replace(data, features=features), holdout).holdout[MARGIN]).all()


@pytest.mark.parametrize("name", RECIPES)
def test_a_saved_model_scores_as_before_alone_and_among_others(tmp_path, data, fitted, name):
    model = fitted[name].model({"project": "x"})
    sha256 = model.save(f"file://{tmp_path}/model")
    loaded = load_model(f"file://{tmp_path}/model", sha256)
    together = loaded.margin(data.features)
    np.testing.assert_array_equal(together, model.margin(data.features))
    alone = np.concatenate([loaded.margin(data.features.iloc[[row]]) for row in range(20)])
    np.testing.assert_allclose(alone, together[:20], atol=1e-12)
    written = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert written == ["encoder.json", "meta.json", BY_NAME[RECIPES[name].trainer].file]


@pytest.mark.parametrize("name", ["lightgbm", "hist_gradient_boosting"])
def test_a_file_that_is_no_model_is_refused(fitted, name):
    for content in (b"hello", b"\xff\xfe", fitted[name].weights[:100]):
        with pytest.raises(IntegrityError, match=r"not the (text|skops file) of a"):
            BY_NAME[RECIPES[name].trainer].scorer(content, fitted[name].encoder, 1)


def test_a_type_that_is_not_trusted_is_not_built(fitted):
    source = zipfile.ZipFile(io.BytesIO(fitted["logistic_regression"].weights))
    schema = json.loads(source.read("schema.json"))
    schema["content"]["estimator"] |= {"__class__": "Popen", "__module__": "subprocess"}
    forged = io.BytesIO()
    with zipfile.ZipFile(forged, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, json.dumps(schema) if name == "schema.json" else source.read(name))
    with pytest.raises(IntegrityError, match=r"not a model of the sklearn trainer.*subprocess.Popen"):
        from_bytes(forged.getvalue())


def test_importance_says_what_it_is(fitted):
    for name, model in fitted.items():
        assert model.importance.meaning == (GAIN if name == "lightgbm" else PERMUTATION)
        assert sum(model.importance.shares.values()) == pytest.approx(1)


def test_labels_that_cannot_be_learnt_are_refused(data):
    for recipe in RECIPES.values():
        with pytest.raises(TrainingError, match="nothing to learn"):
            train_in_memory(recipe, replace(data, label=data.label * 0))


def test_a_category_of_many_values_is_learnt_or_refused_by_name(data, holdout):
    names = np.array([f"v{number:05d}" for number in range(300)], object)
    many = replace(data, features=data.features.assign(shop=names[np.arange(len(data.label)) % 300]))
    for name in ("lightgbm", "random_forest", "logistic_regression"):
        assert np.isfinite(train_in_memory(RECIPES[name], many, holdout).holdout[MARGIN]).all()
    with pytest.raises(TrainingError, match="feature 'shop' has 300 values, and hist_gradient_boosting takes 255"):
        train_in_memory(RECIPES["hist_gradient_boosting"], many, holdout)


@pytest.mark.parametrize(
    ("trainer", "params", "message"),
    [
        ("lightgbm", {"num_leafs": 3}, "did you mean `?num_leaves"),
        ("lightgbm", {"subsample": 0.5}, "is called `bagging_fraction` here"),
        ("lightgbm", {"deterministic": False}, "set by Updraft to true"),
        ("lightgbm", {"bagging_fraction": 0.5, "data_sample_strategy": "goss"}, "draws nothing beside"),
        ("sklearn", {"estimator": "svm"}, "one of hist_gradient_boosting, random_forest, logistic_regression, elastic_net"),
        ("sklearn", {"estimator": "random_forest", "C": 3}, "C = 3: is none of random_forest, which takes max_depth"),
        ("sklearn", {"C": 3}, "is none of hist_gradient_boosting"),
        ("sklearn", {"estimator": "elastic_net"}, "learns numbers, and the label has classes; there are hist_gradient"),
    ],
)  # fmt: skip
def test_parameters_that_are_not_the_users_are_refused(trainer, params, message):
    with pytest.raises(TrainingError, match=message):
        Recipe(params=params, trainer=trainer)


CHANGED = {
    "rounds": 3, "early_stopping": 1, "learning_rate": 0.05, "num_leaves": 3, "max_depth": 2, "min_data_in_leaf": 100,
    "min_sum_hessian_in_leaf": 20.0, "min_gain_to_split": 5.0, "max_delta_step": 0.05, "lambda_l1": 5.0, "lambda_l2": 50.0,
    "path_smooth": 50.0, "bagging_fraction": 0.4, "bagging_freq": 3, "data_sample_strategy": "goss", "feature_fraction": 0.4,
    "feature_fraction_bynode": 0.4, "extra_trees": True, "max_bin": 8, "min_data_in_bin": 200, "scale_pos_weight": 3.0,
    "checkpoint_every": 4,
}  # fmt: skip


def test_every_parameter_of_lightgbm_is_one_of_lightgbms_and_changes_the_model(data, holdout, fitted):
    rules = TRAINERS["lightgbm"]
    of_categories = {"min_data_per_group", "max_cat_threshold", "max_cat_to_onehot", "cat_smooth", "cat_l2"}
    assert CHANGED.keys() | of_categories == rules.params.keys()
    recipe = RECIPES["lightgbm"]
    for name, value in CHANGED.items():
        without = () if name != "data_sample_strategy" else ("bagging_fraction",)
        params = {kept: recipe.params[kept] for kept in recipe.params if kept not in without}
        model = train_in_memory(replace(recipe, params={**params, name: value}), data, holdout)
        same = np.array_equal(model.model().margin(data.features), fitted["lightgbm"].model().margin(data.features))
        assert not same, name
    known = fitted["lightgbm"].weights.decode()
    assert all(f"[{name}:" in known for name in rules.params.keys() - rules.own)


def test_every_parameter_of_an_estimator_is_taken(data, holdout):
    from updraft.spec.trainer_params.sklearn import PARAMS_OF

    values = {
        "rounds": 3,
        "early_stopping": 2,
        "max_leaf_nodes": 5,
        "max_depth": 2,
        "min_samples_leaf": 5,
        "max_bins": 16,
    }
    values |= {"learning_rate": 0.3, "max_features": 0.5, "l2_regularization": 1.0, "C": 0.5, "alpha": 0.1}
    values |= {"l1_ratio": 0.5, "max_iter": 50, "max_categories": 2}
    assert values.keys() | {"estimator"} == TRAINERS["sklearn"].params.keys()
    for estimator, names in PARAMS_OF.items():
        task = "regression" if estimator == "elastic_net" else "binary"
        recipe = Recipe(task, {"estimator": estimator, **{name: values[name] for name in names}}, 1, 1, "sklearn")
        assert np.isfinite(train_in_memory(recipe, data, holdout).holdout[MARGIN]).all()


def test_the_page_tells_of_every_trainer_and_of_each_default():
    page = (Path(__file__).resolve().parents[2] / "docs" / "trainers.md").read_text()
    for name, rules in TRAINERS.items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for param in rules.own:
            assert f"`{param}`" in section, (name, param)

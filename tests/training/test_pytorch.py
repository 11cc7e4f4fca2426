from __future__ import annotations

import itertools
import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from tests.support.checkpoints import DyingCheckpoint

from updraft.data.columns import MARGIN, SCORE
from updraft.errors import IntegrityError, TrainingError, TrainingInterrupted
from updraft.jobs.watch import TrainingWatch
from updraft.training import mlp
from updraft.training.data import TrainingData
from updraft.training.encoding import Encoder
from updraft.training.fit import train_in_memory
from updraft.training.importance import PERMUTATION
from updraft.training.learning import Rows
from updraft.training.model import load_model
from updraft.training.pytorch import TORCH, _Network
from updraft.training.recipe import Recipe

if find_spec("torch") is None:  # imported by the tests: whoever only collects them has no use for it
    pytest.skip("PyTorch is not installed: `make torch`", allow_module_level=True)

PARAMS = {"rounds": 8, "early_stopping": 3, "batch": 256, "width": 32, "learning_rate": 0.01, "checkpoint_seconds": 0}
RECIPE = Recipe(params=PARAMS, threads=1, trainer="torch")


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


def test_a_training_interrupted_after_every_single_step_ends_with_the_same_bytes(data, holdout, fitted):
    watch, checkpoint, steps = TrainingWatch(), DyingCheckpoint(), set()
    watch.ask_to_leave()
    while True:
        try:
            resumed = train_in_memory(RECIPE, data, holdout, checkpoint, watch)
            break
        except TrainingInterrupted:
            phase = "release" if "release" in checkpoint.states else "proof"
            state, progress = checkpoint.states[phase]
            at = (phase, progress.rounds, json.loads(mlp.header(state)["state"])["step"])
            assert at not in steps  # it always gets further
            steps.add(at)
    assert len(steps) > 40
    assert {phase for phase, _, _ in steps} == {"proof", "release"}
    assert resumed.weights == fitted.weights
    assert resumed.curve == fitted.curve
    np.testing.assert_array_equal(resumed.holdout[MARGIN], fitted.holdout[MARGIN])


def test_when_checkpoints_are_written_changes_nothing(data, holdout, fitted):
    checkpoint = DyingCheckpoint()
    assert train_in_memory(RECIPE, data, holdout, checkpoint).weights == fitted.weights
    assert checkpoint.states["release"][0] == fitted.weights  # of a phase that is done, the model alone is kept


def test_another_seed_gives_other_bytes_and_torch_keeps_its_own_random_state(data, holdout, fitted):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    other = train_in_memory(replace(RECIPE, seed=2), data, holdout)
    assert other.weights != fitted.weights
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_model_beats_the_base_rate_on_the_holdout(data, fitted):
    rate = data.label.mean()
    assert fitted.metrics["holdout_log_loss"] < -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)) - 0.02


def test_a_regression_learns_the_value_in_its_own_units(data, holdout):
    value = data.features["minute"].to_numpy() / 100.0 + 1000.0
    found = train_in_memory(
        replace(RECIPE, task="regression", params={**PARAMS, "rounds": 30, "early_stopping": 30}),
        replace(data, label=value),
        holdout,
    )
    assert found.metrics["holdout_rmse"] < 0.2 * value.std()
    np.testing.assert_array_equal(found.holdout[SCORE], found.holdout[MARGIN])


def test_the_release_model_learns_for_as_many_rounds_as_the_proof_found_best(fitted):
    assert fitted.rounds == int(np.argmin(fitted.curve)) + 1


def test_numpy_scores_as_torch_does(data):
    import torch

    rows = _rows(data)
    encoder = Encoder.fit(data.features)
    network = _Network(torch, RECIPE, encoder, rows)
    numbers, codes, _ = network.tensors(rows)
    with torch.no_grad():
        by_torch = network(numbers, codes).numpy()
    scorer = TORCH.scorer(network.to_bytes(network.parameters), encoder, 1)
    np.testing.assert_allclose(scorer.margin(rows.values), by_torch, atol=1e-5)


def test_a_row_scores_alike_alone_and_among_others(data, fitted):
    model = fitted.model()
    together = model.margin(data.features)[:50]
    alone = np.concatenate([model.margin(data.features.iloc[[row]]) for row in range(50)])
    np.testing.assert_allclose(alone, together, atol=1e-12)


def test_missing_unseen_infinite_and_far_out_values_score_finitely(data, fitted):
    row = data.features.iloc[[0]]
    for change in ({"wind": np.nan}, {"wind": np.inf}, {"wind": 1e30}, {"carrier": None}, {"carrier": "ZZ"}):
        assert np.isfinite(fitted.model().margin(row.assign(**change))).all(), change
    unseen, missing = (fitted.model().margin(row.assign(carrier=value)) for value in ("ZZ", None))
    np.testing.assert_array_equal(unseen, missing)


def test_only_a_number_that_was_missing_gets_an_indicator(data):
    rows, encoder = _rows(data), Encoder.fit(data.features)
    made = mlp.Architecture.of(encoder, ~np.isfinite(rows.values).all(axis=0), 2, 8, 16)
    names = encoder.names
    assert {names[number.column]: number.indicator for number in made.numbers} == {"wind": True, "minute": False}
    assert [names[category.column] for category in made.categories] == ["carrier"]


def test_a_constant_number_and_a_column_that_is_never_there_do_no_harm(data, holdout):
    features = data.features.assign(
        same=3.0, never=np.nan, empty=pd.Series(None, index=data.features.index, dtype="str")
    )
    found = train_in_memory(RECIPE, replace(data, features=features), holdout)
    assert np.isfinite(found.holdout[MARGIN]).all()


def test_a_saved_model_scores_as_before_and_holds_no_pickle(tmp_path, data, fitted):
    url = f"file://{tmp_path}/model"
    model = fitted.model({"project": "x"})
    sha256 = model.save(url)
    loaded = load_model(url, sha256)
    assert loaded.trainer == "torch"
    assert loaded.meta == {"project": "x"}
    np.testing.assert_array_equal(loaded.margin(data.features), model.margin(data.features))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        *("encoder.json", "meta.json", "model.safetensors")
    ]
    assert model.save(url) == sha256


@pytest.mark.parametrize("damage", ["cut", "text", "architecture", "tensor"])
def test_a_damaged_file_is_refused(fitted, damage):
    content = fitted.weights
    made, tensors = fitted.model().scorer.architecture, dict(fitted.model().scorer.tensors)
    if damage == "cut":
        content = content[:-8]
    elif damage == "text":
        content = b"hello"
    elif damage == "architecture":
        content = mlp.to_bytes(made.model_copy(update={"width": 33}), tensors)
    else:
        tensors["output.weight"] = tensors["output.weight"][:, 1:]
        content = mlp.to_bytes(made, tensors)
    with pytest.raises(IntegrityError, match=r"not the safetensors file|not what the architecture declares"):
        mlp.from_bytes(content)


def test_importance_is_by_permutation_and_finds_what_matters(data, holdout):
    features = data.features.assign(noise=np.random.default_rng(1).normal(size=len(data.label)))
    found = train_in_memory(RECIPE, replace(data, features=features), holdout).importance
    assert found.meaning == PERMUTATION
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.shares["minute"] > found.shares["noise"]
    assert list(found.shares) == ["carrier", "wind", "minute", "noise"]


def test_labels_that_cannot_be_learnt_are_refused(data):
    with pytest.raises(TrainingError, match="nothing to learn"):
        train_in_memory(RECIPE, replace(data, label=data.label * 0))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"widht": 3}, "did you mean `?width"),
        ({"lr": 0.1, "epochs": 3}, "is called `learning_rate` here.*is called `rounds` here"),
        ({"seed": 3}, "from `training.seed`"),
        ({"dropout": 1.0}, "between 0 and 0.9"),
        ({"deterministic": 1}, "must be true or false"),
        ({"precision": "half"}, "one of auto, full, mixed"),
    ],
)
def test_parameters_that_are_not_the_users_are_refused(params, message):
    with pytest.raises(TrainingError, match=message):
        Recipe(params=params, trainer="torch")


def test_every_parameter_changes_the_model_or_is_known_not_to(data, holdout, fitted):
    changed = {"rounds": 1, "early_stopping": 1, "layers": 1, "width": 16, "dropout": 0.5, "embedding": 1}
    changed |= {"learning_rate": 0.003, "weight_decay": 0.5, "batch": 100, "precision": "mixed"}
    nothing = {"checkpoint_seconds": 9.0, "deterministic": True}
    from updraft.spec.trainers import TRAINERS

    assert changed.keys() | nothing.keys() == TRAINERS["torch"].params.keys()
    for name, value in itertools.chain(changed.items(), nothing.items()):
        found = train_in_memory(replace(RECIPE, params={**PARAMS, name: value}), data, holdout)
        same = found.weights == fitted.weights and found.curve == fitted.curve
        assert same == (name in nothing), name


def _rows(data):
    return Rows(Encoder.fit(data.features).encode(data.features), data.label)

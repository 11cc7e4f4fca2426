"""Both trainers on labels of several classes: interrupted, from disk, in a group of workers, and with a class that has no row."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from tests.support.checkpoints import DyingCheckpoint, Killed
from tests.support.training_case import features_and_labels, write_request

from updraft import files
from updraft.data.columns import LABEL, MARGIN
from updraft.data.vectors import as_values
from updraft.errors import TrainingError, TrainingInterrupted
from updraft.jobs.run import run_training
from updraft.jobs.watch import TrainingWatch
from updraft.training.data import TrainingData
from updraft.training.fit import train_in_memory
from updraft.training.model import load_model
from updraft.training.recipe import Recipe

CLASSES = ("calm", "breeze", "storm", "never")
XGBOOST = {"max_depth": 3, "eta": 0.3, "rounds": 10, "checkpoint_every": 3, "subsample": 0.7}
TORCH = {"rounds": 5, "early_stopping": 3, "batch": 256, "width": 16, "learning_rate": 0.01, "checkpoint_seconds": 0}
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: `make torch`"
)
BOTH = pytest.mark.parametrize(
    ("trainer", "params"), [("xgboost", XGBOOST), pytest.param("torch", TORCH, marks=needs_torch)]
)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """The class follows from the wind, with one row in ten at random."""
    features, labels = features_and_labels()
    joined = TrainingData.join(features, labels, list(features))
    wind = np.nan_to_num(joined.features["wind"].to_numpy(), nan=10.0)
    rng = np.random.default_rng(2)
    label = np.digitize(wind, [8.0, 13.0]).astype(float)
    at_random = rng.random(len(label)) < 0.1
    return replace(joined, label=np.where(at_random, rng.integers(0, 3, len(label)), label))


def recipe(trainer: str, params: dict[str, object]) -> Recipe:
    return Recipe("multiclass", params, threads=1, trainer=trainer, classes=CLASSES)  # type: ignore[arg-type]


@BOTH
def test_it_learns_the_classes_and_takes_one_without_a_row_for_nearly_impossible(data, trainer, params) -> None:
    learnt = recipe(trainer, {**params, "rounds": 30})
    fitted = train_in_memory(learnt, data, list(data.keys["_partition"].unique())[-1:])
    task = learnt.task_type
    margin, label = as_values(fitted.holdout[MARGIN]), fitted.holdout[LABEL].to_numpy()
    score = task.link(margin)
    assert task.metric("accuracy").value(label, score) > 0.8
    assert fitted.metrics["holdout_log_loss"] == pytest.approx(task.headline.value(label, score), rel=1e-6)
    assert fitted.curve[-1] > 0
    assert min(fitted.curve) == pytest.approx(fitted.metrics["validation_log_loss"])
    assert score[:, 3].max() < 0.02
    assert fitted.metrics["rows_of_class_3"] == 0
    assert max(fitted.importance.shares, key=fitted.importance.shares.__getitem__) == "wind"


def test_a_training_interrupted_after_any_block_ends_with_the_same_bytes(data) -> None:
    whole = train_in_memory(recipe("xgboost", XGBOOST), data)
    for blocks in range(1, 5):
        checkpoint = DyingCheckpoint(blocks)
        with pytest.raises(Killed):
            train_in_memory(recipe("xgboost", XGBOOST), data, checkpoint=checkpoint)
        checkpoint.left = None
        resumed = train_in_memory(recipe("xgboost", XGBOOST), data, checkpoint=checkpoint)
        assert resumed.weights == whole.weights
        assert resumed.curve == whole.curve


@needs_torch
def test_a_network_interrupted_after_every_step_ends_with_the_same_bytes(data) -> None:
    whole = train_in_memory(recipe("torch", TORCH), data)
    watch, checkpoint, times = TrainingWatch(), DyingCheckpoint(), 0
    watch.ask_to_leave()
    while True:
        try:
            resumed = train_in_memory(recipe("torch", TORCH), data, checkpoint=checkpoint, watch=watch)
            break
        except TrainingInterrupted:
            times += 1
    assert times > 10
    assert resumed.weights == whole.weights


@BOTH
def test_a_group_of_workers_finds_what_one_finds(tmp_path, trainer, params) -> None:
    """The labels of the case are 0 and 1: two classes of three."""
    exact = {**params, "max_bin": 8192, "subsample": 1.0} if trainer == "xgboost" else params
    asked = write_request(
        str(tmp_path / "lake"),
        rows=400,
        trainer=trainer,
        params=exact,
        task="multiclass",
        classes=("no", "yes", "never"),
    )
    of_one, of_two = (
        asked.model_copy(update={"output_url": str(tmp_path / name), "workers": workers})
        for name, workers in (("one", 1), ("two", 2))
    )
    results = [run_training(request.write(f"{tmp_path}/{request.workers}.json")) for request in (of_one, of_two)]
    margins = [as_values(files.read_parquet(str(result.holdout_predictions_url))[MARGIN]) for result in results]
    assert margins[0].shape == (results[0].holdout_rows, 3)
    np.testing.assert_allclose(*margins, atol=1e-5)
    model = load_model(results[1].model_url, results[1].model_sha256)
    assert model.classes == ("no", "yes", "never")


def test_the_classes_are_part_of_what_is_asked_and_a_request_without_them_keeps_its_hash(tmp_path) -> None:
    plain = write_request(str(tmp_path))
    assert "classes" in plain.model_dump(mode="json")
    named = [
        plain.model_copy(update={"task": "multiclass", "classes": classes})
        for classes in (("a", "b", "c"), ("b", "a", "c"))
    ]
    assert len({request.request_sha256 for request in (plain, *named)}) == 3


def test_a_label_that_is_no_position_of_the_list_is_refused(data) -> None:
    few = Recipe("multiclass", XGBOOST, threads=1, classes=CLASSES[:2])
    with pytest.raises(TrainingError, match="positions in a list of 2 classes"):
        train_in_memory(few, data)

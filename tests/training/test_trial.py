"""A trial of a search: the proof alone, and given up where it is worse than it may be, in every trainer alike."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from tests.support.checkpoints import DyingCheckpoint, Killed
from tests.support.training_case import KEYS, write_request

from updraft import files
from updraft.data.snapshots import load_snapshot
from updraft.jobs.contract import TrainingRequest, Trial
from updraft.jobs.run import run_training
from updraft.jobs.watch import TrainingWatch
from updraft.training.data import load_training_data
from updraft.training.fit import prove, train_in_memory
from updraft.training.recipe import Recipe

XGBOOST = {"max_depth": 3, "eta": 0.3, "rounds": 20, "early_stopping": 20, "checkpoint_every": 6, "subsample": 0.7}
TORCH = {"rounds": 10, "early_stopping": 10, "batch": 256, "width": 16, "checkpoint_seconds": 0}
CASES = {"xgboost": XGBOOST, "torch": TORCH, "from disk": {**XGBOOST, "external_memory": True}}


@pytest.fixture(params=list(CASES))
def case(request, tmp_path):
    """A trainer, and what asks it for a trial with limits."""
    trainer = "torch" if request.param == "torch" else "xgboost"
    if trainer == "torch" and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: `make torch`")

    def ask(*limits):
        name = f"trial-{len(limits)}"
        made = write_request(
            f"file://{tmp_path}",
            trainer=trainer,
            params=CASES[request.param],
            window=KEYS[:-1],
            holdout=(),
            trial=Trial(stop_above=limits),
            output_url=f"file://{tmp_path}/{name}",
        )
        return made.write(f"file://{tmp_path}/{name}.json")

    return ask


def test_a_trial_is_the_proof_of_a_training_and_nothing_more(case):
    url = case()
    result, request = run_training(url), TrainingRequest.read(url)
    recipe = Recipe(params=request.params, threads=1, trainer=request.trainer)
    if not recipe.external_memory:
        data = load_training_data(load_snapshot(request.snapshot_url, request.snapshot_sha256), request.window)
        assert list(prove(recipe, data, ()).progress.curve) == next(iter(result.curve.values()))
    assert not result.pruned
    assert result.rounds == int(np.argmin(next(iter(result.curve.values())))) + 1
    assert result.holdout_rows == 0
    assert result.holdout_predictions_url is None


def test_a_trial_above_its_limit_ends_at_that_round_and_says_so(case):
    whole = next(iter(run_training(case()).curve.values()))
    result = run_training(case(None, None, None, min(whole[:4]) - 1e-9))
    assert result.pruned
    assert next(iter(result.curve.values())) == whole[:4]


def test_a_trial_below_its_limits_goes_to_its_end(case):
    whole = run_training(case())
    result = run_training(case(*[10.0] * 5))
    assert not result.pruned
    assert result.curve == whole.curve


def test_a_trial_that_was_killed_and_goes_on_is_given_up_at_the_same_round(frames):
    from updraft.training.data import TrainingData

    features, labels = frames
    data, recipe = TrainingData.join(features, labels, list(features)), Recipe(params=XGBOOST, threads=1)

    def tried(checkpoint):
        watch = TrainingWatch()
        watch.trial = Trial(stop_above=(*[None] * 13, 0.0))
        return train_in_memory(recipe, data, (), checkpoint, watch)

    whole = tried(DyingCheckpoint())
    assert (whole.pruned, len(whole.curve)) == (True, 14)
    for blocks in (1, 2):
        checkpoint = DyingCheckpoint(blocks)
        with pytest.raises(Killed):
            tried(checkpoint)
        checkpoint.left = None
        again = tried(checkpoint)
        assert (again.weights, again.curve, again.pruned) == (whole.weights, whole.curve, True)


def test_limits_are_part_of_what_is_asked_and_a_training_without_a_trial_keeps_its_hash(tmp_path):
    request = write_request(f"file://{tmp_path}")
    fields = request.model_dump(mode="json")
    left_out = ("features_path", "tracking_uri", "output_url", "experiment", "run_name", "tags", "snapshot_url")
    left_out += ("code_commit", "device", "trial", "workers", "classes")
    known = {name: value for name, value in fields.items() if name not in left_out}
    assert request.request_sha256 == files.canonical_hash(known)
    trials = [request.model_copy(update={"trial": Trial(stop_above=limits)}) for limits in ((), (0.5,), (0.6,))]
    assert len({each.request_sha256 for each in (request, *trials)}) == 4

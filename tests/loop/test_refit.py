"""A training that follows a refit trial begins where the trial ended."""

from __future__ import annotations

import dataclasses
import logging

import pandas as pd
import pytest
from tests.support import flights

from updraft import files
from updraft.loop.plan import plan_training
from updraft.loop.train import folder, prepare
from updraft.loop.trials import fit_url, proof
from updraft.training.run import run_training

WEEKS = 6


@pytest.fixture(scope="module")
def loop(lake):
    """Six weeks of flights, and a recipe of this module's own."""
    home, rows = lake
    project = flights.flights()
    training = project.spec.training
    params = {"max_depth": 4, "eta": 0.17, "rounds": 25, "early_stopping": 5, "checkpoint_every": 5}
    trainer = training.trainers[0].model_copy(update={"params": params})
    spec = project.spec.model_copy(update={"training": training.model_copy(update={"trainers": (trainer,)})})
    found, _ = flights.fresh_loop(home, project.model_copy(update={"spec": spec}))
    for row in rows[:WEEKS]:
        found.store.record_partition(found.name, row)
    return found


def trained(loop, run, caplog):
    """A training of the newest partition: what came of it, and the phases in which it learnt."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        result = run_training(prepare(loop, run, None))
    return result, {line.split(":")[0] for line in caplog.messages if " rounds, best " in line}


def test_it_learns_the_release_alone_and_ends_with_the_same_bytes(loop, caplog):
    plain, phases = trained(loop, "plain", caplog)
    assert phases == {"proof", "release"}
    proved = proof(loop, plan_training(loop, plain.key))
    after, phases = trained(loop, "after-a-trial", caplog)
    assert phases == {"release"}
    assert (after.model_sha256, after.rounds, after.curve) == (plain.model_sha256, plain.rounds, plain.curve)
    assert after.metrics == plain.metrics
    pd.testing.assert_frame_equal(files.read_parquet(after.holdout_predictions_url), proved)
    _, phases = trained(loop, "another", caplog)
    assert phases == {"proof", "release"}  # handed over once


def test_a_group_of_workers_proves_for_itself(loop):
    compute = loop.spec.training.compute.model_copy(update={"workers": 2})
    spec = loop.spec.model_copy(update={"training": loop.spec.training.model_copy(update={"compute": compute})})
    grouped = dataclasses.replace(loop, project=loop.project.model_copy(update={"spec": spec}))
    plan = plan_training(grouped, loop.store.partitions(loop.name)[-1].key)
    proof(grouped, plan)
    prepare(grouped, "in-a-group", None)
    assert files.exists(f"{fit_url(grouped, plan)}/checkpoint/proof.json")
    assert not files.exists(f"{folder(grouped, 'in-a-group')}/checkpoint/proof.json")

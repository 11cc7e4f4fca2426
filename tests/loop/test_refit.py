"""What has been learnt of a plan is not learnt again: a training begins where the refit trial ended, a backtest where the deployment did."""

from __future__ import annotations

import dataclasses
import logging

import pandas as pd
import pytest
from tests.support import flights

from updraft import files
from updraft.jobs.attested import training_for
from updraft.jobs.run import run_training
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels, fit
from updraft.loop.plan import plan_training
from updraft.loop.train import collect, evaluate, prepare
from updraft.loop.trials import fit_folder, proof
from updraft.store.store import Store
from updraft.training.model import load_model

WEEKS = 6


def loop_with(lake, eta):
    """Six weeks of flights, and a recipe of one's own."""
    home, rows = lake
    project = flights.flights()
    training = project.spec.training
    params = {"max_depth": 4, "eta": eta, "rounds": 25, "early_stopping": 5, "checkpoint_every": 5}
    trainer = training.trainers[0].model_copy(update={"params": params})
    spec = project.spec.model_copy(update={"training": training.model_copy(update={"trainers": (trainer,)})})
    found, _ = flights.fresh_loop(home, project.model_copy(update={"spec": spec}))
    for row in rows[:WEEKS]:
        found.store.record_partition(found.name, row)
    return found


@pytest.fixture(scope="module")
def loop(lake):
    return loop_with(lake, 0.17)


def trained(loop, run, caplog):
    """A training of the newest partition: what came of it, and the phases in which it learnt."""
    return learning(caplog, lambda: trained_for(loop, run))


def trained_for(loop, run):
    """A training by its request, in a process that knows the run's secret."""
    url = prepare(loop, run, None)
    with training_for(loop.training(run).key):
        return run_training(url)


def learning(caplog, do):
    """What something gives, and the phases in which it learnt."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        result = do()
    return result, {line.split(":")[0] for line in caplog.messages if " rounds, best " in line}


def keep(loop, run, result):
    """Let the store have another result of a run than its training left."""
    loop.store.record_run(loop.name, run, "result", result.model_dump(mode="json"))


def backtests(loop):
    """The loop of a backtest beside a deployment, and the plan of the newest partition."""
    own = dataclasses.replace(loop.settings, lake=f"{loop.settings.lake}/.backtest")
    found = Loop(loop.project, own, Store.in_memory(), KeptModels(), loop.settings.lake)
    for row in loop.store.partitions(loop.name):
        found.store.record_partition(loop.name, loop.store.partition(loop.name, row.key))
    return found, plan_training(found, row.key)


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
    assert files.exists(f"{fit_folder(grouped, plan).checkpoint}/proof.json")
    assert not files.exists(f"{grouped.training('in-a-group').folder.url}/checkpoint/proof.json")


def test_a_backtest_goes_on_where_the_deployments_trial_ended(lake, caplog):
    deployed = loop_with(lake, 0.18)
    own, plan = backtests(deployed)
    proved = proof(deployed, plan)
    found, phases = learning(caplog, lambda: fit(own, plan))
    assert phases == {"release"}
    assert found.model_url.startswith(own.settings.lake)
    pd.testing.assert_frame_equal(files.read_parquet(found.proof_url), proved)
    plain = trained_for(deployed, "after-the-backtest")
    assert load_model(found.model_url).weights == load_model(plain.model_url).weights


def test_a_backtest_takes_the_deployments_training_as_it_is_while_its_files_are_there(lake, caplog):
    deployed = loop_with(lake, 0.19)
    own, plan = backtests(deployed)
    result, phases = trained(deployed, "noted", caplog)
    assert phases == {"proof", "release"}
    collect(deployed, "noted")
    evaluate(deployed, "noted")
    found, phases = learning(caplog, lambda: fit(own, plan))
    assert phases == set()
    assert (found.model_url, found.model_sha256) == (result.model_url, result.model_sha256)
    proved, phases = learning(caplog, lambda: proof(own, plan))  # a trial finds it too
    assert phases == set()
    pd.testing.assert_frame_equal(proved, files.read_parquet(result.holdout_predictions_url))
    files.remove(deployed.training("noted").folder.url)
    found, phases = learning(caplog, lambda: fit(own, plan))
    assert phases == {"proof", "release"}
    assert found.model_url.startswith(own.settings.lake)


def test_a_model_of_a_gpu_is_not_taken(lake, caplog):
    deployed = loop_with(lake, 0.16)
    own, plan = backtests(deployed)
    result, _ = trained(deployed, "on-a-gpu", caplog)
    keep(deployed, "on-a-gpu", result.model_copy(update={"device": "cuda"}))
    evaluate(deployed, "on-a-gpu")
    _, phases = learning(caplog, lambda: fit(own, plan))
    assert phases == {"proof", "release"}


def test_a_model_of_other_libraries_is_not_taken(lake, caplog):
    deployed = loop_with(lake, 0.15)
    own, plan = backtests(deployed)
    result, _ = trained(deployed, "of-another-version", caplog)
    other = {**result.environment, "xgboost": "1.0"}
    keep(deployed, "of-another-version", result.model_copy(update={"environment": other}))
    evaluate(deployed, "of-another-version")
    _, phases = learning(caplog, lambda: fit(own, plan))
    assert phases == {"proof", "release"}


def test_a_model_is_not_taken_for_data_that_came_after_it(lake, caplog):
    deployed = loop_with(lake, 0.14)
    trained(deployed, "before", caplog)
    collect(deployed, "before")
    row = deployed.store.partition(deployed.name, deployed.store.partitions(deployed.name)[0].key)
    rows = files.read_parquet(row.url)
    url, sha256 = files.write_parquet_named_by_content(row.url.removesuffix(".parquet"), rows.iloc[1:])
    deployed.store.record_partition(deployed.name, dataclasses.replace(row, url=url, sha256=sha256))  # ingested again
    evaluate(deployed, "before")
    own, plan = backtests(deployed)
    _, phases = learning(caplog, lambda: fit(own, plan))
    assert phases == {"proof", "release"}

"""A project whose torch trainer learns in pods goes all its way on an Airflow side without PyTorch; what needs it there says so in words."""

from __future__ import annotations

import dataclasses
import logging

import pytest
from tests.support import flights
from tests.support.without_torch.sitecustomize import torch_hidden

from updraft import files
from updraft.backtest.run import backtest
from updraft.data.columns import SCORE
from updraft.errors import TrainingError
from updraft.jobs.attested import training_for
from updraft.jobs.run import run_training
from updraft.loop.in_process import interrupted, play
from updraft.loop.monitor import decide_remedies, past
from updraft.loop.plan import plan_training
from updraft.loop.release import promote
from updraft.loop.score import score_partition
from updraft.loop.search import plan_search
from updraft.loop.train import collect, enter, evaluate, prepare
from updraft.loop.trials import fit_folder, proof, why_no_refit_trial
from updraft.loop.watchdog import overdue_training
from updraft.monitoring.remedies import wants_refit_trial
from updraft.spec.model import Retrain, Trainer
from updraft.spec.search import Search
from updraft.training.model import load_model

WEEKS = 6
TORCH = Trainer(name="torch", params={"rounds": 3, "width": 32})
"""Of no other test: what one has proved in the lake that they share, another one would find."""


@pytest.fixture
def without_torch():
    with torch_hidden():
        yield


def changed(project, backend, retrain=None):
    """The project with the torch trainer, learning where the backend says, and another policy when one is given."""
    training, monitoring = project.spec.training, project.spec.monitoring
    compute = training.compute.model_copy(update={"backend": backend})
    training = training.model_copy(update={"trainers": (TORCH,), "compute": compute, "search": None})
    if retrain:
        remedies = monitoring.remedies.model_copy(update={"retrain": retrain})
        monitoring = monitoring.model_copy(update={"remedies": remedies})
    spec = project.spec.model_copy(update={"training": training, "monitoring": monitoring})
    return project.model_copy(update={"spec": spec})


def loop_with(lake, backend="kubernetes"):
    """Some weeks of flights, and the torch trainer; with the models of its process."""
    home, rows = lake
    loop, models = flights.fresh_loop(home, changed(flights.flights(), backend))
    for row in rows[:WEEKS]:
        loop.store.record_partition(loop.name, row)
    return loop, models


def needs_torch():
    pytest.importorskip("torch", reason="PyTorch is not installed: `make torch`")


def test_a_training_in_a_pod_is_planned_and_handed_over(lake, without_torch):
    loop, _ = loop_with(lake)
    url = prepare(loop, "podded", None)
    request = loop.training("podded").request
    assert (request.trainer, request.device) == ("torch", "auto")
    assert files.read_json(url)["trainer"] == "torch"
    assert not files.exists(f"{request.output_url}/checkpoint/proof.json")


def test_the_request_is_the_one_that_is_written_with_pytorch_installed(lake):
    needs_torch()
    loop, _ = loop_with(lake)
    prepare(loop, "with", None)
    with torch_hidden():
        prepare(loop, "without", None)
    one, other = loop.training("with").request, loop.training("without").request
    assert one.request_sha256 == other.request_sha256
    assert loop.training("with").plan.recipe_sha256 == loop.training("without").plan.recipe_sha256


def test_a_trial_from_before_pytorch_was_taken_away_is_left_alone(lake):
    needs_torch()
    loop, _ = loop_with(lake)
    plan = plan_training(loop, loop.store.newest_partition(loop.name))
    proof(loop, plan)
    with torch_hidden():
        prepare(loop, "after", None)
    assert files.exists(f"{fit_folder(loop, plan).checkpoint}/proof.json")
    prepare(loop, "with-it-again", None)
    assert not files.exists(f"{fit_folder(loop, plan).checkpoint}/proof.json")


def test_what_a_pod_has_learnt_is_judged_noted_and_scores(lake):
    needs_torch()
    loop, models = loop_with(lake)
    with torch_hidden():
        url = prepare(loop, "podded", None)
    with training_for(loop.training("podded").key):
        trained = run_training(url)  # as the pod does
    with torch_hidden():
        result = collect(loop, "podded")
        comparison = evaluate(loop, "podded")
        version = models.add(load_model(result.model_url, result.model_sha256))
        gates = {**comparison.as_dict(), "passed": True}  # two rounds need not beat the base rate
        release = enter(loop, "podded", loop.training("podded").plan, version, gates, {})
        promote(loop, release)
        _, rows = lake
        loop.store.record_partition(loop.name, rows[WEEKS])
        [served] = score_partition(loop, rows[WEEKS].key)
    assert result.environment["torch"] == trained.environment["torch"]
    noted = loop.notes.read(loop.lake.fit(loop.training("podded").fit_name).training_note)
    assert noted["versions"] == {name: trained.environment[name] for name in ("torch", "safetensors")}
    assert served.version == version
    assert 0 < files.read_parquet(served.url)[SCORE].min() < 1


def test_monitoring_goes_on_without_the_refit_trial_and_says_so(lake, caplog):
    home, rows = lake
    loop, models = flights.fresh_loop(home)
    for row in rows[:10]:  # the first model comes after eight
        play(loop, models, row)
    key = rows[10].key
    loop.store.record_partition(loop.name, rows[10])
    score_partition(loop, key)
    assert wants_refit_trial(loop.spec.monitoring.remedies, past(loop, key), loop.spec.training.first_after)
    here, podded = (dataclasses.replace(loop, project=changed(loop.project, each)) for each in ("local", "kubernetes"))
    with torch_hidden(), caplog.at_level(logging.WARNING):
        with pytest.raises(TrainingError, match="torch is not installed; `make torch`"):
            decide_remedies(here, key, interrupted)
        decide_remedies(podded, key, interrupted)
        words = why_no_refit_trial(podded.spec)
    *before, decided = loop.store.decisions(loop.name, kinds=("diagnose",))
    assert (decided.key, decided.body["refit"], decided.body["no_refit_trial"]) == (key, None, words)
    assert words.startswith("no refit trial is made")
    assert f"{loop.name}: {words}" in caplog.messages
    assert not any("no_refit_trial" in decision.body for decision in before)


def test_a_project_that_waits_for_a_refit_trial_alone_is_told_that_none_is_made(lake, without_torch):
    home, rows = lake
    policy = Retrain(every=None, on=("performance",))
    project = changed(flights.flights(), "kubernetes", policy)
    alerts = project.spec.alerts.model_copy(update={"training_older_than": 2})
    loop, _ = flights.fresh_loop(
        home, project.model_copy(update={"spec": project.spec.model_copy(update={"alerts": alerts})})
    )
    for row in rows:
        loop.store.record_partition(loop.name, row)
    overdue = overdue_training(loop.store, loop.spec)
    assert any(words.startswith("no refit trial is made") for words in overdue.holding_back)


@pytest.mark.parametrize("ask", [lambda loop: prepare(loop, "here", None), lambda loop: plan_search(loop, "s", None)])
def test_a_training_here_is_refused_in_words_before_anything_is_noted(lake, without_torch, ask):
    loop, _ = loop_with(lake, "local")
    search = Search(space={"width": [8, 32]})
    spec = loop.spec.model_copy(update={"training": loop.spec.training.model_copy(update={"search": search})})
    loop = dataclasses.replace(loop, project=loop.project.model_copy(update={"spec": spec}))
    with pytest.raises(TrainingError, match="torch is not installed; `make torch` installs PyTorch; in a pod"):
        ask(loop)
    assert loop.store.trainings(loop.name) == []


def test_a_backtest_is_refused_in_words(lake, without_torch):
    home, _ = lake
    with pytest.raises(TrainingError, match="torch is not installed; `make torch`"):
        backtest(changed(flights.flights(), "kubernetes"), flights.settings(home))

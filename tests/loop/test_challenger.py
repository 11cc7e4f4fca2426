"""A change in shadow is refreshed along with the champion, and its release goes on with what the recipe has shown."""

from __future__ import annotations

import dataclasses

import pytest
from tests.support import flights

from updraft import files
from updraft.alerts.outbox import recent
from updraft.errors import TrainingError
from updraft.jobs.plan import Plan
from updraft.loop.alerting import release_alerts
from updraft.loop.challenger import aged_challenger, plan_remedy
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels, fit, settle
from updraft.loop.judge import judge_candidate
from updraft.loop.monitor import MONITOR, monitor_partition, past
from updraft.loop.plan import plan_again, plan_training
from updraft.loop.release import answer, next_step, open_release, promote, release_id
from updraft.loop.score import score_partition
from updraft.loop.sensor_looks import due_episode
from updraft.loop.train import enter, prepare
from updraft.release.states import Answer
from updraft.store.records import CHALLENGER, ReleaseRow
from updraft.training.model import load_model

PASSED = {"passed": True, "reasons": [], "against": "champion", "metrics": {}}


def played(lake, count) -> tuple[Loop, KeptModels]:
    """Flights without a training by age: those of this file are started by hand."""
    home, rows = lake
    spec = flights.flights().spec
    remedies = spec.monitoring.remedies
    seldom = remedies.model_copy(update={"retrain": remedies.retrain.model_copy(update={"every": None, "on": ()})})
    monitoring = spec.monitoring.model_copy(update={"remedies": seldom})
    release = spec.release.model_copy(update={"margin": 0.0})  # nobody is proved within these few weeks
    changed = {"monitoring": monitoring, "release": release}
    project = flights.flights().model_copy(update={"spec": spec.model_copy(update=changed)})
    return flights.played(home, rows[:count], project)


def entered(loop: Loop, models: KeptModels, run: str, plan: Plan) -> str:
    """Train by a plan, and enter the model as if its gates had let it pass."""
    fitted = fit(loop, plan)
    judge_candidate(loop, plan, files.read_parquet(fitted.proof_url, fitted.proof_sha256))
    version = models.add(load_model(fitted.model_url, fitted.model_sha256))
    enter(loop, run, plan, version, PASSED, {"features_sha256": loop.features.sha256})
    return version


def tick(loop: Loop, row) -> None:
    """One partition goes round; nothing is started or concluded."""
    loop.store.record_partition(loop.name, row)
    score_partition(loop, row.key)
    monitor_partition(loop, row.key, lambda _: None)


def change(loop: Loop, models: KeptModels) -> ReleaseRow:
    key = str(loop.store.seen_by(loop.name, MONITOR))
    version = entered(loop, models, "by-hand", plan_training(loop, key, params={"max_depth": 3}))
    return loop.store.release(release_id(loop, version))


def refreshed_champion(loop: Loop, models: KeptModels) -> str:
    key = str(loop.store.seen_by(loop.name, MONITOR))
    version = entered(loop, models, f"refresh-{key}", plan_training(loop, key))
    promote(loop, release_id(loop, version))
    return version


@pytest.fixture(scope="module")
def played_once(lake) -> tuple[Loop, KeptModels, ReleaseRow, str]:
    """A change in shadow for two partitions; then the champion is refreshed, and with the next partition the change."""
    loop, models = played(lake, 9)
    release = change(loop, models)
    for row in lake[1][9:11]:
        tick(loop, row)
    champion = refreshed_champion(loop, models)
    tick(loop, lake[1][11])
    return loop, models, release, champion


@pytest.fixture
def challenger_refreshed(played_once) -> tuple[Loop, KeptModels, ReleaseRow, str]:
    """The same for each test."""
    loop, models, release, champion = played_once
    return *flights.copied(loop, models), release, champion


def test_a_change_learns_again_from_the_window_of_the_refreshed_champion(challenger_refreshed):
    loop, models, release, champion = challenger_refreshed
    episode = due_episode(loop)
    assert episode is not None
    assert (episode.cause, episode.diagnosis["version"]) == (CHALLENGER, release.version)
    assert f"version {champion}, which serves" in episode.diagnosis["words"]
    settle(loop, models)
    trained = loop.store.training_of(loop.name, loop.store.releases(loop.name, states=("shadow",))[-1].version)
    of_champion = loop.store.training_of(loop.name, champion)
    before = loop.store.training_of(loop.name, release.version)
    assert (trained.key, trained.result["window"]) == (of_champion.key, of_champion.result["window"])
    assert trained.result["recipe_sha256"] == before.result["recipe_sha256"] != of_champion.result["recipe_sha256"]
    closed = loop.store.episode(loop.name, episode.id)
    assert (closed.state, closed.closed_at) == ("closed", closed.opened_at)


def test_the_release_of_the_younger_version_goes_on_with_the_evidence(lake, challenger_refreshed):
    loop, models, release, champion = challenger_refreshed
    settle(loop, models)
    [younger] = [row for row in loop.store.releases(loop.name, states=("shadow",)) if row.lane == "change"]
    release_alerts.of_release(loop, release.id)
    told_of = [told.alert for told in recent(loop.store.engine, loop.name)]
    [told] = [alert for alert in told_of if alert.title.startswith(f"Version {release.version}: continued by")]
    assert (told.needs, f"Version {younger.version} takes its place there, with the evidence so far." in told.does) == (
        "",
        True,
    )
    assert (younger.since, younger.continues) == (release.opened_at, (release.version,))
    older = loop.store.release(release.id)
    assert (older.outcome, older.reason) == ("superseded", f"continued by {younger.id}, the same recipe on newer data")
    inherited = loop.store.evidence(loop.name, release.id)
    assert inherited
    assert loop.store.evidence(loop.name, younger.id) == inherited
    tick(loop, lake[1][12])
    added = [row for row in loop.store.evidence(loop.name, younger.id) if row.key == lake[1][12].key]
    # Of the partition before, which the older version scored, the labels of its last hours came only now.
    assert {row.against for row in added} == {champion}
    assert {row.against for row in inherited} == {older.against, champion}
    scored = loop.store.predictions(loop.name, lake[1][12].key)
    assert (scored["challenger"].version, scored["champion"].version) == (younger.version, champion)
    assert "since version" in next_step(loop, younger.id).reason
    assert next_step(loop, younger.id).reason.count("4 of 2 to")  # partitions count from the older one's opening


def test_a_change_is_refreshed_once_for_each_champion_and_counts_for_no_budget(lake, challenger_refreshed):
    loop, models, release, _ = challenger_refreshed
    before = past(loop, lake[1][11].key)
    settle(loop, models)
    after = past(loop, lake[1][11].key)
    assert dataclasses.replace(before, open_episode=False) == after
    tick(loop, lake[1][12])
    assert due_episode(loop) is None
    assert len(loop.store.episodes(loop.name, cause=CHALLENGER)) == 1
    assert release.version != loop.store.releases(loop.name, states=("shadow",))[-1].version


def test_a_change_whose_code_is_gone_is_not_refreshed_and_says_what_its_evidence_is_worth(lake):
    loop, models = played(lake, 9)
    release = change(loop, models)
    tick(loop, lake[1][9])
    champion = refreshed_champion(loop, models)
    assert aged_challenger(loop) is not None
    training = loop.spec.training.model_copy(update={"seed": 99})
    edited = dataclasses.replace(
        loop, project=loop.project.model_copy(update={"spec": loop.spec.model_copy(update={"training": training})})
    )
    learnt = loop.store.training_of(loop.name, release.version)
    with pytest.raises(TrainingError, match=f"the recipe of version {release.version} cannot be had any more"):
        plan_again(edited, learnt.key, learnt)
    assert aged_challenger(edited) is None
    tick(edited, lake[1][10])
    assert due_episode(edited) is None
    assert f"since version {champion} serves" in next_step(edited, release.id).reason


def test_while_what_the_project_asks_for_is_in_shadow_the_champion_is_refreshed_by_its_own_recipe(lake):
    """A changed project.yaml made every due training another change: the champion aged, and each one took the place of the one before."""
    loop, models = played(lake, 9)
    key = str(loop.store.seen_by(loop.name, MONITOR))
    served = loop.store.training_of(loop.name, loop.store.serving(loop.name).champion)
    trainer = loop.spec.training.trainers[0].model_copy(update={"params": {"max_depth": 3}})
    spec = loop.spec.model_copy(update={"training": loop.spec.training.model_copy(update={"trainers": (trainer,)})})
    edited = dataclasses.replace(loop, project=loop.project.model_copy(update={"spec": spec}))
    asked = plan_remedy(edited, key)
    assert (asked.lane, asked.trainer.params["max_depth"]) == ("change", 3)
    entered(edited, models, "asked", asked)
    due = plan_remedy(edited, key)
    assert (due.lane, due.recipe_sha256) == ("refresh", served.result["recipe_sha256"])
    again = plan_training(edited, key)  # somebody who trains by hand gets what project.yaml says
    assert (again.lane, again.recipe_sha256) == ("change", asked.recipe_sha256)


def test_the_form_that_watch_hands_over_asks_for_the_recipe_in_shadow_and_another_recipe_takes_no_evidence_over(
    challenger_refreshed,
):
    loop, models, release, champion = challenger_refreshed
    episode = due_episode(loop)
    with pytest.raises(TrainingError, match="says by itself what is learnt; leave episode or parameters empty"):
        prepare(loop, "by-hand-again", episode.opened_at, episode=episode.id, params={"max_depth": 2})
    prepare(loop, episode.id, episode.opened_at, episode=episode.id, reason=episode.diagnosis["words"])
    asked, learnt = loop.training(episode.id).plan, loop.store.training_of(loop.name, release.version)
    of_champion = loop.store.training_of(loop.name, champion)
    assert (asked.lane, asked.key, asked.recipe_sha256) == ("change", of_champion.key, learnt.result["recipe_sha256"])
    key = str(loop.store.seen_by(loop.name, MONITOR))
    other = entered(loop, models, "another", plan_training(loop, key, params={"max_depth": 2}))
    row = loop.store.release(release_id(loop, other))
    assert (row.continues, loop.store.evidence(loop.name, row.id)) == ((), [])
    assert loop.store.release(release.id).reason == f"superseded by {row.id}"


def test_a_change_that_was_rejected_meanwhile_does_not_come_back_by_its_refresh(challenger_refreshed):
    loop, models, release, _ = challenger_refreshed
    answer(loop, release.id, Answer(approved=False, by="ann"))
    settle(loop, models)
    assert loop.store.releases(loop.name, states=("shadow", "approval")) == []
    [refused] = [row for row in loop.store.trainings(loop.name) if row.id.endswith(CHALLENGER)]
    assert refused.state == "refused"
    [reason] = refused.result["gates"]["reasons"]
    assert reason == (
        f"the change in shadow that it refreshes, version {release.version}, was decided meanwhile: rejected, rejected by ann"
    )
    assert due_episode(loop) is None


def test_opening_the_younger_release_twice_copies_nothing_twice(challenger_refreshed):
    loop, models, _, _ = challenger_refreshed
    settle(loop, models)
    [younger] = loop.store.releases(loop.name, states=("shadow",))
    before = loop.store.evidence(loop.name, younger.id)
    assert open_release(loop, younger.version, "change", younger.opened_at) == younger
    assert loop.store.evidence(loop.name, younger.id) == before

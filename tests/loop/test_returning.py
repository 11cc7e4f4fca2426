"""A version serves again that served before: what a person sees first, what is refused, and what is told."""

from __future__ import annotations

import dataclasses

import pytest
from tests.support import flights

from updraft.alerts.outbox import recent
from updraft.errors import InputError, IntegrityError, MLflowAway, ReleaseMoved
from updraft.loop.monitor import MONITOR, monitor_partition
from updraft.loop.release import next_step, open_release, promote, release_id
from updraft.loop.returning import carry_out, plan_reinstatement, plan_rollback
from updraft.loop.score import score_partition
from updraft.store.transitions import Act


class Guesses:
    """A model that is sure of the wrong thing."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def margin(self, features):
        return 3.0 + 0.0 * self._model.margin(features)


@pytest.fixture
def two(lake):
    """A loop in which a version serves that is much worse than the one before; both have scored two partitions."""
    loop, models = flights.played(lake[0], lake[1][:9])
    first = loop.store.serving(loop.name).champion
    second = models.add(Guesses(models.load(first)))
    open_release(loop, second, "refresh", loop.store.seen_by(loop.name, MONITOR))
    promote(loop, release_id(loop, second))
    for row in lake[1][9:11]:
        loop.store.record_partition(loop.name, row)
        score_partition(loop, row.key)
        monitor_partition(loop, row.key, lambda run: None)
    return loop, models, first, second


def test_both_losses_stand_side_by_side_on_the_rows_that_both_have_scored(two, lake):
    loop, _, first, second = two
    planned = plan_rollback(loop)
    assert (planned.version, planned.serving, planned.reinstates) == (first, second, False)
    assert planned.losses.partitions == tuple(row.key for row in lake[1][9:11])
    assert planned.losses.serving_loss > planned.losses.other_loss + 0.5
    assert (planned.losses.gain.mean > 0.5, planned.losses.gain.clusters) == (True, 14)
    assert planned.warnings == ()
    lines = "\n".join(planned.lines())
    assert f"version {second}, which serves: {planned.losses.serving_loss:.4f}" in lines
    assert f"version {first} at its gates: passed the gates against the base rate" in lines


def test_a_target_that_did_worse_or_was_refused_by_its_gates_is_warned_of(two):
    loop, _, first, second = two
    carry_out(loop, plan_rollback(loop), by="ann", reason="odd")
    training = loop.store.training_of(loop.name, first)
    gates = {"passed": False, "reasons": ["log_loss is worse by 1.20"], "metrics": {}}
    refused = dataclasses.replace(training, id="r", version=second, state="refused", result={"gates": gates})
    loop.store.record_training(refused)
    planned = plan_reinstatement(loop, second)
    assert planned.warnings == (
        f"version {second} was refused by the gates: log_loss is worse by 1.20",
        f"version {second} did worse than version {first} on the same rows",
    )


def test_what_was_not_scored_is_scored_for_the_comparison_and_not_recorded(two, lake):
    loop, models, first, second = two
    third = models.add(models.load(first))
    training = loop.store.training_of(loop.name, first)
    loop.store.record_training(dataclasses.replace(training, id="third", version=third))
    planned = plan_rollback(loop, third)
    assert planned.losses.partitions == tuple(row.key for row in lake[1][9:11])
    assert planned.losses.other_loss == pytest.approx(plan_rollback(loop).losses.other_loss, abs=0.05)
    scored = {
        row.version for key in planned.losses.partitions for row in loop.store.predictions(loop.name, key).values()
    }
    assert scored == {first, second}


def test_without_evidence_it_says_so(lake):
    loop, models = flights.played(lake[0], lake[1][:9])
    version = models.add(models.load(loop.store.serving(loop.name).champion))
    open_release(loop, version, "refresh", loop.store.seen_by(loop.name, MONITOR))
    promote(loop, release_id(loop, version))
    [line, *_] = plan_rollback(loop).losses.lines()
    assert line.startswith("no evidence: of the newest 8 partitions with known labels there is none that versions ")


def test_there_and_back_and_there_again_each_is_a_decision_that_is_told(two):
    loop, _, first, second = two
    release = release_id(loop, second)
    carry_out(loop, plan_rollback(loop), by="ann", reason="odd")
    assert loop.store.serving(loop.name).champion == first
    assert loop.store.release(release).outcome == "rolled_back"
    with pytest.raises(InputError, match=f"version {second} was taken back at .*: odd .by ann.; `updraft reinstate"):
        plan_rollback(loop, second)
    carry_out(loop, plan_reinstatement(loop, second), by="bob", reason="it was the feed")
    assert loop.store.serving(loop.name).champion == second
    assert loop.store.release(release).outcome == "reinstated"
    carry_out(loop, plan_rollback(loop), by="ann", reason="no, the model")
    assert loop.store.serving(loop.name).champion == first
    assert [(d.kind, d.subject, d.body["by"]) for d in loop.store.returns(loop.name)] == [
        ("roll_back", release, "ann"),
        ("reinstate", f"{release}@1", "bob"),
        ("roll_back", f"{release}@2", "ann"),
    ]
    told = [entry.alert for entry in recent(loop.store.engine, loop.name) if entry.alert.kind == "rollback"]
    assert [alert.title for alert in told] == [
        f"Rolled back to version {first}",
        f"Version {second} was reinstated",
        f"Rolled back to version {first}",
    ]
    assert {alert.thread for alert in told} == {release}
    assert loop.store.state_problems(loop.name) == []


def test_a_version_that_was_taken_back_is_not_promoted_again_until_it_is_reinstated(two):
    loop, _, _, second = two
    carry_out(loop, plan_rollback(loop), by="ann", reason="odd")
    promote(loop, release_id(loop, second))  # its task is cleared in Airflow
    assert loop.store.serving(loop.name).champion != second
    assert next_step(loop, release_id(loop, second)).act is Act.DONE


def test_a_rollback_to_a_version_that_its_gates_refused_leaves_a_release_to_go_back_from(two):
    loop, models, first, _ = two
    third = models.add(models.load(first))
    training = loop.store.training_of(loop.name, first)
    loop.store.record_training(dataclasses.replace(training, id="third", version=third, state="refused"))
    carry_out(loop, plan_rollback(loop, third), by="ann", reason="all else is worse")
    assert loop.store.serving(loop.name).champion == third
    carry_out(loop, plan_rollback(loop, first), by="ann", reason="no")
    assert loop.store.serving(loop.name).champion == first


def test_what_cannot_serve_again_is_told(two, monkeypatch):
    loop, models, first, second = two
    for to, says in ((second, "serves already"), ("77", "there is no version '77'; there are 1")):
        with pytest.raises(InputError, match=says):
            plan_rollback(loop, to)
    with pytest.raises(InputError, match=f"version {first} was not taken back"):
        plan_reinstatement(loop, first)
    planned = plan_rollback(loop)
    with pytest.raises(InputError, match="give a reason"):
        carry_out(loop, planned, by="ann", reason=" ")
    with pytest.raises(ReleaseMoved, match="serves by now"):
        carry_out(loop, dataclasses.replace(planned, serving="77", version=first), by="ann", reason="odd")
    carry_out(loop, planned, by="ann", reason="odd")
    with pytest.raises(InputError, match="no previous champion to roll back to; name a version with --to"):
        plan_rollback(loop)

    def tampered(version):
        raise IntegrityError(f"version {version} is not what was signed")

    monkeypatch.setattr(models, "load", tampered)
    with pytest.raises(IntegrityError):
        plan_reinstatement(loop, second)


def test_a_return_counts_though_mlflow_takes_no_aliases(two, monkeypatch):
    loop, models, first, _ = two

    def away(aliases):
        raise MLflowAway("MLflow does not answer")

    monkeypatch.setattr(models, "point", away)
    assert carry_out(loop, plan_rollback(loop), by="ann", reason="odd")["champion"] == first


def test_nothing_is_rolled_back_before_anything_serves(lake):
    loop, _ = flights.fresh_loop(lake[0])
    with pytest.raises(InputError, match="nothing serves yet, so there is no previous champion"):
        plan_rollback(loop)

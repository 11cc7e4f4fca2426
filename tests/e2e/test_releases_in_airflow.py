"""What the replays do not bring: a person who says no, and a refresh that turns out worse."""

from __future__ import annotations

import time

import numpy as np
import pytest
from tests.support.replay import PARTITIONS, client

from updraft.alerts.outbox import recent
from updraft.replay.run import Replay
from updraft.spec.load import load_project
from updraft.store.records import EvidenceRow
from updraft.store.store import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800, func_only=True)]


@pytest.fixture
def store(stack, calm):
    found = Store.open(stack.settings.store)
    yield found
    found.close()


def eventually(what, condition, seconds=480):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.5)
    return found


def trained(api, store, run, **form):
    """Train by the form; the release that follows."""
    api.start("calm.train", run, form={"reason": "a test", **form})
    row = eventually(run, lambda: (row := store.training("calm", run)) and row.version and row)
    return eventually(run, lambda: next((one for one in store.releases("calm") if one.version == row.version), None))


def with_evidence(store, release, gain):
    """Two months of gains around this one; they are looked at when the next partition has been monitored, with what it brings."""
    gains = np.random.default_rng(1).normal(gain, abs(gain), 60)
    rows = [
        EvidenceRow(f"2012-{n // 28:02}-{n % 28:02}", release.opened_at, 100, each, {})
        for n, each in enumerate(gains.tolist())
    ]
    store.record_evidence("calm", release.id, rows)


def the_next_partition(api, store, projects, number):
    """Let a partition be ingested and monitored; how a replay would go on from it, and its key."""
    player = Replay(load_project(projects / "calm"), store, api, lambda *_: None)
    key = player.keys(number)[-1]
    api.start("calm.ingest", f"by_hand__{key}", partition=key)
    eventually(key, lambda: store.seen("calm").get("monitor", "") >= key)
    return player, key


def settled(store):
    """Wait until no training is called for and no refresh is on its way: what serves stays for as long as no partition comes."""
    eventually(
        "all is quiet",
        lambda: (
            not store.episodes("calm", states=("due", "started"))
            and not [row for row in store.releases("calm", states=("shadow",)) if row.lane == "refresh"]
        ),
    )


def test_a_change_that_a_person_rejects_is_not_promoted(stack, projects, store):
    api = client(stack, "admin")
    release = trained(api, store, "rejected", parameters={"max_depth": 3, "rounds": 9})
    assert release.lane == "change"
    with_evidence(store, release, 0.5)
    the_next_partition(api, store, projects, PARTITIONS + 3)
    answered: set[int] = set()

    def ended():
        """Each try of the question is answered: an answer within its first half second is lost on Airflow, which asks again."""
        for task in api.tasks(["calm.release"], ["deferred"]):
            if task["task_id"] == "approve_change" and task["try_number"] not in answered:
                api.answer(task, "Reject")
                answered.add(task["try_number"])
        return (row := store.release(release.id)).state == "closed" and row

    closed = eventually("an end", ended)
    assert answered
    assert (closed.outcome, closed.reason) == ("rejected", "rejected by admin")
    run = eventually("its run", lambda: (r := api.run("calm.release", release.id))["state"] == "success" and r)
    where = f"/dags/calm.release/dagRuns/{run['dag_run_id']}/taskInstances/promote_change"
    assert api.call("GET", where)["state"] == "skipped"
    served = {decision.body["version"] for decision in store.decisions("calm", kinds=("promote",))}
    assert release.version not in served  # a refresh may have been promoted meanwhile


def test_a_refresh_that_is_shown_worse_in_probation_is_rolled_back_and_told(stack, projects, store):
    api = client(stack, "admin")
    release = trained(api, store, "worse")
    assert release.lane == "refresh"
    eventually("its promotion", lambda: store.release(release.id).state == "probation")
    with_evidence(store, store.release(release.id), -0.5)
    the_next_partition(api, store, projects, PARTITIONS + 4)
    closed = eventually("a rollback", lambda: (row := store.release(release.id)).state == "closed" and row)
    assert closed.outcome == "rolled_back"
    [decision] = [one for one in store.decisions("calm", kinds=("roll_back",)) if one.subject == release.id]
    assert decision.body["version"] == release.against != release.version
    told = eventually("an alert", lambda: [a for a in recent(store.engine, "calm") if a.alert.kind == "rollback"])
    assert release.version in told[0].alert.title + told[0].alert.text


def test_a_person_lets_an_earlier_version_serve_again_by_a_form_and_takes_it_back(stack, projects, store):
    api = client(stack, "admin")
    settled(store)
    serving = str(store.serving("calm").champion)
    promoted = [str(decision.body["version"]) for decision in store.decisions("calm", kinds=("promote",))]
    earlier = next(version for version in promoted if version != serving)

    def ended(run, **form):
        """How a run of the form ends; its question is answered with yes."""
        api.start("calm.rollback", run, form={"reason": "a test", **form})
        answered: set[int] = set()

        def state():
            for task in api.tasks(["calm.rollback"], ["awaiting_input", "deferred"]):
                if task["task_id"] == "confirm_return" and task["try_number"] not in answered:
                    api.answer(task, "Approve")
                    answered.add(task["try_number"])
            found = api.run("calm.rollback", run)["state"]
            return found in ("success", "failed") and found

        return eventually(run, state)

    assert ended("unknown", version="999") == "failed"
    assert ended("back", version=earlier) == "success"
    assert store.serving("calm").champion == earlier
    assert ended("again", version=serving, reinstate=True) == "success"
    assert store.serving("calm").champion == serving
    back, again = (store.decisions("calm", kinds=(kind,))[-1] for kind in ("roll_back", "reinstate"))
    assert (back.body["by"], back.body["version"], again.body["by"]) == ("admin", earlier, "admin")
    told = eventually(
        "alerts", lambda: [a.alert.title for a in recent(store.engine, "calm") if a.alert.kind == "rollback"]
    )
    assert any("reinstated" in title for title in told)


def test_a_change_in_shadow_learns_again_when_the_champion_is_refreshed(stack, projects, store):
    api = client(stack, "admin")
    change = trained(api, store, "in-shadow", parameters={"max_depth": 3, "rounds": 7})
    assert change.lane == "change"
    the_next_partition(api, store, projects, PARTITIONS + 5)
    refresh = trained(api, store, "newer")
    assert refresh.lane == "refresh"
    eventually("its promotion", lambda: store.decision("calm", "promote", refresh.id))

    def continued(player, key, seconds):
        """The release that goes on with the change's evidence; None when the loop has settled without one, or there is none within a while."""
        deadline, settled_before = time.monotonic() + seconds, False
        while time.monotonic() < deadline:
            if (
                row := next((row for row in store.releases("calm") if change.version in row.continues), None)
            ) is not None:
                return row
            if settled_before:
                return None
            settled_before = player.settled(key)  # then the releases are read once more
            time.sleep(1)
        return None

    younger = None
    for number in (
        6,
        7,
        8,
    ):  # a champion that is due by its age comes first, and a question of the same tick holds trainings back
        player, key = the_next_partition(api, store, projects, PARTITIONS + number)
        if (younger := continued(player, key, 75)) is not None:
            break
    assert younger is not None, [(row.id, row.state) for row in store.episodes("calm")]
    older = store.release(change.id)
    assert (older.outcome, younger.since) == ("superseded", change.opened_at)
    assert older.reason == f"continued by {younger.id}, the same recipe on newer data"
    before, after = (store.training_of("calm", version) for version in (change.version, younger.version))
    assert after.result["trainer"]["params"] == before.result["trainer"]["params"]
    assert after.key > before.key
    [episode] = [row for row in store.episodes("calm", cause="challenger") if row.id == after.id]
    eventually("its end", lambda: store.episode("calm", episode.id).state == "closed")

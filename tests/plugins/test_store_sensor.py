"""The sensors conclude what the evidence says at the moment of writing, and defer again when it says nothing any more."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred
from tests.support import releases

from updraft.store.records import ReleaseRow
from updraft.store.transitions import open_release

RELEASE = "flight_delays-v2"


@pytest.fixture
def release(store):
    row = ReleaseRow(RELEASE, "flight_delays", "change", "2", "1", "shadow", None, None, "2013-02-25T0500", None)
    return open_release(store, row)


def sensor():
    from updraft_airflow.sensors.store import EvidenceSensor

    return EvidenceSensor(task_id="await_verdict", project="flight_delays", subject=RELEASE)


def test_a_look_that_finds_nothing_to_conclude_defers_again(store, release):
    with pytest.raises(TaskDeferred) as deferred:
        sensor().conclude({})
    assert deferred.value.method_name == "resume"
    assert store.release(RELEASE).state == "shadow"


def test_a_release_that_was_superseded_while_it_waited_skips_what_comes_after(store, release):
    reason = "superseded by v3"
    releases.closed(store, RELEASE, key="2013-03-04T0500", outcome="superseded", reason=reason)
    with pytest.raises(AirflowSkipException, match="superseded by v3"):
        sensor().execute({})


def test_a_verdict_that_was_written_before_the_task_was_cleared_is_handed_over_again(store, release):
    body = {"version": "2", "verdict": "promote", "reason": "shown better", "evidence": {}}
    store.decide("flight_delays", key="2013-03-04T0500", kind="verdict", subject=RELEASE, body=body)
    releases.approval(store, RELEASE, key="2013-03-04T0500", reason="shown better")
    found = sensor().execute({})
    assert (found["act"], found["reason"]) == ("ask", "shown better")
    assert len(store.decisions("flight_delays", kinds=("verdict",))) == 1

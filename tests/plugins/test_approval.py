"""A release that a person has to approve is promoted with an answer in the store, whatever Airflow's tasks say."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException

from updraft.loop import rollout
from updraft.store.records import ReleaseRow
from updraft_airflow.deployment import open_loop

RELEASE, KEY = "flight_delays-v2", "2013-03-04T0500"
CONTEXT = {"params": {"release": RELEASE}}


@pytest.fixture
def loop(store):
    store.open_release(ReleaseRow(RELEASE, "flight_delays", "change", "2", "1", "shadow", None, None, KEY, None))
    return open_loop("flight_delays")


def promotion(loop):
    from updraft_airflow.operators.release import PromoteModel

    return PromoteModel(task_id="promote_change", project="flight_delays").step(loop, CONTEXT)


def test_marking_the_task_that_asks_as_a_success_promotes_nothing(loop, store):
    store.move_release(RELEASE, to="approval", key=KEY, reason="shown better")
    with pytest.raises(AirflowFailException, match="nobody has answered, and the policy asks for an approval"):
        promotion(loop)
    assert store.decisions("flight_delays", kinds=("promote",)) == []
    assert store.release(RELEASE).state == "approval"


def test_an_approval_lets_it_through_and_a_rejection_does_not(loop, store):
    rollout.record_approval(loop, RELEASE, approved=True, by="ann", key=KEY)
    rollout.need_approval(loop, RELEASE)
    body = {"version": "3", "approved": False, "by": "ann"}
    store.open_release(
        ReleaseRow("flight_delays-v3", "flight_delays", "change", "3", "1", "shadow", None, None, KEY, None)
    )
    store.decide("flight_delays", key=KEY, kind="approval", subject="flight_delays-v3", body=body)
    with pytest.raises(rollout.ApprovalMissing, match="rejected by ann"):
        rollout.need_approval(loop, "flight_delays-v3")


def test_a_lane_that_asks_for_no_approval_needs_none(loop, store):
    store.open_release(
        ReleaseRow("flight_delays-v4", "flight_delays", "refresh", "4", "1", "shadow", None, None, KEY, None)
    )
    rollout.need_approval(loop, "flight_delays-v4")

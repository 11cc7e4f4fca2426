"""A release that a person has to approve is promoted with an answer in the store, whatever Airflow's tasks say."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from tests.support import releases

from updraft.alerts.outbox import recent
from updraft.errors import MLflowAway
from updraft.store.records import ReleaseRow
from updraft.store.transitions import open_release
from updraft_airflow.deployment import open_loop

PROJECT, RELEASE, KEY = "flight_delays", "flight_delays-v2", "2013-03-04T0500"
CONTEXT = {"params": {"release": RELEASE}}


@pytest.fixture(autouse=True)
def mlflow_is_away(monkeypatch):
    """MLflow's client gives up at once, and not after minutes, as nothing listens where it looks."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def loop(store):
    open_release(store, ReleaseRow(RELEASE, PROJECT, "change", "2", "1", "shadow", None, None, KEY, None))
    return open_loop(PROJECT)


@pytest.fixture
def proved(loop, store):
    releases.approval(store, RELEASE, key=KEY, reason="shown better")


def promotion():
    from updraft_airflow.operators.release import PromoteModel

    return PromoteModel(task_id="promote_change", project=PROJECT).step(open_loop(PROJECT), CONTEXT)


def question():
    from updraft_airflow.operators.release import ApproveRelease

    return ApproveRelease(task_id="approve_change", project=PROJECT, subject="Promote?")


def answered(option, user):
    """What Airflow resumes the task with."""
    event = {"chosen_options": [option], "params_input": {}, "responded_at": datetime.now(UTC)}
    question().execute_complete(CONTEXT, {**event, "responded_by_user": user})


def not_answered_in_time():
    """What Airflow resumes the task with when time is up: no answer is given in anybody's place."""
    with pytest.raises(AirflowSkipException, match="nobody answered in time"):
        question().execute_complete(CONTEXT, {"error": "The response timeout has passed.", "error_type": "timeout"})


def test_marking_the_task_that_asks_as_a_success_promotes_nothing(proved, store):
    with pytest.raises(AirflowFailException, match="nobody has answered, and the policy asks for an approval"):
        promotion()
    assert store.decisions(PROJECT, kinds=("promote",)) == []
    assert store.release(RELEASE).state == "approval"


def test_marking_the_task_that_waits_for_evidence_as_a_success_promotes_nothing(loop, store):
    with pytest.raises(AirflowFailException, match="clear the task that waits for its evidence"):
        promotion()
    assert store.release(RELEASE).state == "shadow"


@pytest.mark.parametrize(("user", "by"), [({"id": "7", "name": "ann"}, "ann"), ({"id": "7"}, "7"), ("bob", "bob")])
def test_an_approval_is_written_with_its_name_and_lets_the_release_through(proved, store, user, by):
    answered("Approve", user)
    [decision] = store.decisions(PROJECT, kinds=("approval",))
    assert decision.body == {"version": "2", "approved": True, "by": by}
    for _ in range(2):  # it counts before MLflow's aliases follow, and run again it is one promotion
        with pytest.raises(MLflowAway):
            promotion()
    assert len(store.decisions(PROJECT, kinds=("promote",))) == 1
    assert store.serving(PROJECT).champion == "2"


@pytest.mark.parametrize(
    ("user", "reason"),
    [({"id": "7", "name": "ann"}, "rejected by ann"), (None, "rejected: nobody answered in time")],
)
def test_a_no_and_no_answer_close_the_release_and_on_call_is_told(proved, store, user, reason):
    if user is None:
        not_answered_in_time()
    else:
        answered("Reject", user)
    assert (store.release(RELEASE).outcome, store.release(RELEASE).reason) == ("rejected", reason)
    assert [decision.kind for decision in store.decisions(PROJECT)] == ["rejected"]
    [alert] = [entry.alert for entry in recent(store.engine, PROJECT)]
    assert alert.title == "Version 2: reject"
    assert reason in alert.text
    for task in (promotion, lambda: question().execute({**CONTEXT, "ti": Pushed()})):
        with pytest.raises(AirflowSkipException, match=reason):
            task()


def test_a_no_whose_release_an_earlier_version_left_open_closes_it_and_asks_nobody(proved, store):
    body = {"version": "2", "approved": False, "by": "ann"}
    store.decide(PROJECT, key=KEY, kind="approval", subject=RELEASE, body=body)
    with pytest.raises(AirflowSkipException, match="rejected by ann"):
        question().execute({**CONTEXT, "ti": Pushed()})
    assert (store.release(RELEASE).state, store.release(RELEASE).outcome) == ("closed", "rejected")


def test_both_answers_weigh_the_same_as_none_is_the_default():
    assert question().defaults is None
    assert question().options == ["Approve", "Reject"]


class Pushed:
    """A task instance that takes what is pushed."""

    def xcom_push(self, key, value):
        """Take it."""


def test_a_lane_that_asks_for_no_approval_needs_none(store):
    open_release(store, ReleaseRow(RELEASE, PROJECT, "refresh", "2", "1", "shadow", None, None, KEY, None))
    assert question().execute({**CONTEXT, "ti": Pushed()}) is None
    with pytest.raises(MLflowAway):
        promotion()
    assert store.serving(PROJECT).champion == "2"


def superseded(store):
    newer = ReleaseRow(f"{PROJECT}-v3", PROJECT, "change", "3", "1", "shadow", None, None, KEY, None)
    from updraft.loop.release import open_release as opened

    opened(open_loop(PROJECT), newer.version, "change", KEY)


def test_a_release_that_another_one_takes_the_place_of_leaves_a_decision_and_is_told(proved, store):
    superseded(store)
    [decision] = store.decisions(PROJECT, kinds=("superseded",))
    assert (decision.subject, decision.body["from"]) == (RELEASE, "approval")
    [alert] = [entry.alert for entry in recent(store.engine, PROJECT)]
    assert alert.title == "Version 2: superseded by flight_delays-v3"
    assert "The question about it is withdrawn" in alert.does


def test_an_approval_that_comes_too_late_fails_with_the_reason(proved, store):
    superseded(store)
    with pytest.raises(
        AirflowFailException, match="approval of ann comes too late, nothing is promoted: superseded by"
    ):
        answered("Approve", {"id": "7", "name": "ann"})
    assert store.decisions(PROJECT, kinds=("approval", "promote")) == []


def test_an_approved_release_that_is_closed_before_its_promotion_fails_with_the_reason(proved, store):
    answered("Approve", "ann")
    superseded(store)
    with pytest.raises(AirflowFailException, match=r"comes too late, nothing is promoted: .* superseded by"):
        promotion()


def test_a_question_that_was_withdrawn_skips_what_comes_after_it_and_counts_as_nobodys_answer(proved, store):
    superseded(store)
    event = {"chosen_options": ["Reject"], "params_input": {}, "responded_at": datetime.now(UTC)}
    with pytest.raises(
        AirflowSkipException, match="the question is withdrawn, as it is void: superseded, superseded by"
    ):
        question().execute_complete(
            CONTEXT, {**event, "responded_by_user": None, "withdrawn": "superseded, superseded by v3"}
        )
    assert [decision.kind for decision in store.decisions(PROJECT)] == ["superseded"]


class Supervisor:
    """Airflow's side of a trigger: keeps the answer to one question."""

    def __init__(self):
        self.answer = None

    def send(self, msg):
        from airflow.sdk.execution_time.comms import UpdateHITLDetail

        if isinstance(msg, UpdateHITLDetail):
            self.answer = msg.chosen_options
        return SimpleNamespace(
            response_received=self.answer is not None,
            chosen_options=self.answer,
            responded_at=datetime.now(UTC),
            responded_by_user=None,
            params_input={},
        )


@pytest.fixture
def supervisor(monkeypatch):
    answering = Supervisor()
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", answering, raising=False)
    return answering


def waiting():
    from updraft_airflow.triggers.approval import ApprovalTrigger

    return ApprovalTrigger(
        project=PROJECT,
        release=RELEASE,
        ti_id=uuid.uuid4(),
        options=["Approve", "Reject"],
        defaults=["Reject"],
        params={},
        timeout_datetime=None,
        poke_interval=0.05,
    )


async def first(trigger, seconds):
    async with asyncio.timeout(seconds):
        return (await anext(trigger.run())).payload


def test_the_trigger_is_rebuilt_from_its_serialized_form():
    from airflow.sdk.module_loading import import_string

    path, arguments = waiting().serialize()
    assert import_string(path)(**arguments).serialize() == (path, arguments)


def test_a_question_is_open_while_its_release_is_and_is_withdrawn_when_it_is_void(proved, store, supervisor):
    with pytest.raises(TimeoutError):
        asyncio.run(first(waiting(), 1))
    assert supervisor.answer is None
    superseded(store)
    payload = asyncio.run(first(waiting(), 10))
    assert (supervisor.answer, payload["chosen_options"]) == (["Reject"], ["Reject"])
    assert payload["withdrawn"] == "superseded, superseded by flight_delays-v3"


def test_an_answer_is_handed_on(proved, supervisor):
    supervisor.answer = ["Approve"]
    payload = asyncio.run(first(waiting(), 10))
    assert (payload["chosen_options"], payload.get("withdrawn")) == (["Approve"], None)


def test_the_task_that_asks_waits_by_the_trigger_that_sees_a_void_question(proved, supervisor):
    from airflow.sdk.exceptions import TaskDeferred

    instance = SimpleNamespace(id=uuid.uuid4(), xcom_push=lambda key, value: None)
    context = {**CONTEXT, "ti": instance, "task_instance": instance, "dag_run": SimpleNamespace(run_id=RELEASE)}
    with pytest.raises(TaskDeferred) as deferred:
        question().execute(context)
    assert (deferred.value.trigger.release, deferred.value.method_name) == (RELEASE, "execute_complete")

"""Failures as Airflow reports them, and Slack through Airflow's own connection."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from airflow.sdk.exceptions import AirflowFailException
from tests.support.slack import TOKEN

from updraft.alerts import known, messages, outbox
from updraft.errors import DataError, PartitionRefused
from updraft.spec.load import load_project
from updraft_airflow import deployment
from updraft_airflow.hooks.slack import keep_up_alerts, slack_client
from updraft_airflow.notifiers.failure import MendedNotifier, UpdraftNotifier, failure_alert
from updraft_airflow.operators.step import fails_at_once

AIRFLOW = "http://127.0.0.1:8080"
PROJECT = """
name: {name}
owner: ops
data:
  schedule: "0 5 * * 1"
  start: 2013-01-01
  sources: {{rows: {{type: file, url: "file:///rows.csv", event_time: at}}}}
  key: [id]
  label: {{expr: "late > 15"}}
alerts: {{slack: {{channel: "{channel}"}}}}
"""


def context(dag_id="flights.train", *, run="manual__2013-05-06T05:00:00+00:00", **values):
    """The parts of Airflow's context that a failure callback gets."""
    instance = SimpleNamespace(
        task_id="train_model", run_id=run, try_number=3, map_index=-1, dag_id=dag_id, log_url="http://api/log"
    )
    dag = SimpleNamespace(dag_id=dag_id, get_template_env=lambda **_: None)
    return {"dag": dag, "ti": instance, "run_id": run, "partition_key": "2013-05-06T0500", **values}


@pytest.fixture
def connection(monkeypatch, slack_server):
    """Airflow's connection to the local server, as a deployment would give it in the environment."""
    value = {"conn_type": "slack", "password": TOKEN, "extra": {"base_url": slack_server.url, "timeout": 5}}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_API_DEFAULT", json.dumps(value))


@pytest.fixture
def engine(tmp_path, monkeypatch, store_url):
    """A deployment of three projects, one of them broken, on a real store."""
    for name, channel in (("flights", "#flight-ops-ml"), ("hotels", "#other"), ("trains", "#other")):
        folder = tmp_path / "projects" / name
        folder.mkdir(parents=True)
        (folder / "project.yaml").write_text(PROJECT.format(name=name, channel=channel))
        (folder / "features.py").write_text("def features(rows):\n    return rows[['distance']]\n")
    broken = tmp_path / "projects" / "broken"
    broken.mkdir()
    (broken / "project.yaml").write_text("name: broken\n")
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setenv("UPDRAFT_STORE", store_url)
    monkeypatch.setenv("UPDRAFT_AIRFLOW", AIRFLOW)
    deployment.settings.cache_clear()
    engine = sa.create_engine(store_url)
    yield engine
    engine.dispose()
    deployment.settings.cache_clear()


def test_a_failed_task_says_where_why_and_what_to_do_with_a_link_to_its_log():
    alert = failure_alert(context(exception=DataError("no such\ncolumn")), project="flights", airflow=AIRFLOW)

    assert alert.title == "flights.train.train_model failed"
    assert alert.detail == "DataError: no such column"
    assert alert.key == "2013-05-06T0500"
    assert "clear this task" in alert.needs
    assert alert.links["Log"] == (
        f"{AIRFLOW}/dags/flights.train/runs/manual__2013-05-06T05%3A00%3A00%2B00%3A00/tasks/train_model?try_number=3"
    )


def test_the_words_of_a_librarys_error_stay_in_the_log_as_they_may_quote_data():
    detail = failure_alert(context(exception=ValueError("could not convert 'N14228' to float")), project="p").detail

    assert "N14228" not in detail
    assert "ValueError" in detail


def test_the_error_of_an_updraft_operator_is_not_named_twice():
    error = AirflowFailException("PartitionRefused: 900 of 1000 rows")

    assert failure_alert(context(exception=error), project="flights").detail == "PartitionRefused: 900 of 1000 rows"


def test_a_fault_that_no_retry_mends_is_not_told_as_retries_that_are_spent():
    mended_by_hand = failure_alert(context(exception=AirflowFailException("SourceMissing: x")), project="flights")
    assert mended_by_hand.text.endswith("stopped at train_model; trying again would not mend it.")
    assert failure_alert(context(exception=DataError("boom")), project="flights").text.endswith(
        "its retries are spent."
    )


def test_a_killed_task_has_no_exception_and_says_so():
    assert "killed" in failure_alert(context(), project="flights").detail


def test_a_run_without_a_task_is_told_by_its_dag():
    values = context(reason="timed_out")
    del values["ti"]
    alert = failure_alert(values, project="flights", airflow=AIRFLOW)

    assert (alert.title, alert.detail) == ("flights.train failed", "timed_out")
    assert alert.links["Log"].endswith("/runs/manual__2013-05-06T05%3A00%3A00%2B00%3A00")


def test_without_the_address_of_the_ui_the_link_is_airflows_own():
    assert failure_alert(context(), project="flights").links == {"Log": "http://api/log"}


def test_the_client_is_the_connections(connection, slack_server):
    client = slack_client()

    assert client.base_url == slack_server.url
    assert client.timeout == 5
    assert client.auth_test()["ok"]
    assert client.retry_handlers == [], "none that sleeps in a task"


def test_without_a_connection_there_is_no_client():
    assert slack_client("a_connection_that_nobody_made") is None


def test_a_connection_without_a_token_is_no_client(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_EMPTY", json.dumps({"conn_type": "slack"}))

    assert slack_client("slack_empty") is None


def test_a_failure_is_recorded_and_sent_once_whoever_tells_it(engine, connection, slack_server):
    UpdraftNotifier(project="flights")(context(exception=DataError("boom")))
    UpdraftNotifier()(context(reason="task_failure"))

    [message] = slack_server.messages
    assert "boom" in str(message["blocks"])
    assert TOKEN not in str(outbox.recent(engine, "flights"))


def test_without_a_connection_a_failure_stands_in_the_store(engine, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_SLACK_API_DEFAULT", raising=False)
    UpdraftNotifier()(context(exception=DataError("boom")))

    standing = outbox.standing(engine, "flights")
    assert standing.waiting == 1
    assert "slack_api_default" in standing.problems[0]


def test_a_failure_of_a_broken_project_stands_in_the_store(engine, connection, slack_server):
    UpdraftNotifier()(context("broken.broken", exception=DataError("boom")))

    assert outbox.standing(engine, "broken").waiting == 1
    assert slack_server.messages == []


def test_a_failure_of_maintenance_is_told_once_in_each_channel(engine, connection, slack_server):
    UpdraftNotifier()(context("maintenance", exception=DataError("boom")))

    assert sorted(message["channel"] for message in slack_server.messages) == sorted(slack_server.channels.values())


def test_a_refused_partition_is_told_by_its_rule_alone(engine, connection, slack_server):
    """What `fails_at_once` makes of a refusal: one message, as a second one would say to clear another thing."""
    run = "manual__1"
    refused = messages.refused("flights", key="2013-05-06T0500", rules=["x is above 1"], by_rows=False, links={})
    outbox.record(engine, refused)
    with pytest.raises(AirflowFailException) as failed, fails_at_once():
        raise PartitionRefused("x")
    UpdraftNotifier(project="flights")(context("flights.ingest", run=run, exception=failed.value))

    [message] = slack_server.messages
    assert "Refused: x is above 1" in message["text"]


def test_a_task_that_ends_well_later_marks_its_failure_as_resolved(engine, connection, slack_server):
    UpdraftNotifier(project="flights")(context(exception=DataError("boom")))
    MendedNotifier(project="flights")(context(run="manual__of another partition", partition_key="2013-05-13T0500"))
    assert len(slack_server.messages) == 1
    for _ in range(2):
        MendedNotifier(project="flights")(context())

    failure, reply = slack_server.messages
    assert "Resolved: flights.train.train_model failed" in str(failure["blocks"])
    assert reply["thread_ts"] == failure["ts"]
    assert "ended well for 2013-05-06T0500" in reply["text"]


def test_a_failure_of_maintenance_is_resolved_in_each_channel_by_the_next_days_run(engine, connection, slack_server):
    UpdraftNotifier()(context("maintenance", exception=DataError("boom"), partition_key=None))
    MendedNotifier()(context("maintenance", run="scheduled__of the next day", partition_key=None))

    assert sorted(m["channel"] for m in slack_server.messages if m["thread_ts"]) == sorted(
        slack_server.channels.values()
    )


def test_an_end_that_cannot_be_told_leaves_the_task_alone(monkeypatch, caplog):
    monkeypatch.setenv("UPDRAFT_STORE", "postgresql+psycopg2://nobody@127.0.0.1:9/none")
    deployment.settings.cache_clear()
    deployment._store.cache_clear()
    MendedNotifier(project="flights")(context())
    deployment.settings.cache_clear()
    deployment._store.cache_clear()
    assert "could not be told" in caplog.text


def test_a_command_line_knows_what_airflow_knows_of_slack(engine, connection, slack_server, monkeypatch):
    here = deployment.settings()
    assert known.read(here.home) is None
    UpdraftNotifier(project="flights")(context(exception=DataError("boom")))
    assert "Airflow has a Slack connection" in known.read(here.home).words
    monkeypatch.delenv("AIRFLOW_CONN_SLACK_API_DEFAULT")
    UpdraftNotifier(project="flights")(context(exception=DataError("another"), run="manual__2"))
    assert "slack_api_default" in known.read(here.home).words
    standing = outbox.standing(engine, "flights", connected=True)
    assert (standing.waiting, standing.problems) == (1, ()), "a want that is over is not told"
    (here.home / known.FILE).write_text("not JSON")
    assert known.read(here.home) is None


def test_the_daily_upkeep_sends_the_digest_of_the_weeks_before_once(engine, connection, slack_server):
    spec = load_project(deployment.settings().projects / "flights").spec
    trained = messages.trained("flights", run="t1", key="k", version="1", summary="all gates")
    outbox.record(engine, trained, now=datetime.now(UTC) - timedelta(days=8))
    for _ in range(2):
        keep_up_alerts(deployment.settings(), engine, spec)

    [message] = slack_server.messages
    assert "1 alert, nothing to do" in message["text"]
    assert f"<{AIRFLOW}/updraft/runbook#digest|Runbook>" in str(message["blocks"])

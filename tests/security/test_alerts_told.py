"""A failure is told whatever its words hold and whatever is away: in Slack's shape, by a spool, and never at a task's cost."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from airflow.sdk.exceptions import AirflowFailException
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import flights
from tests.support.slack import TOKEN, Fault, web_client

from updraft.alerts import messages, outbox, slack, untold
from updraft.alerts.alert import Alert, cleaned
from updraft.alerts.blocks import blocks, fallback
from updraft.data.ingest import extract_partition
from updraft.errors import DataError
from updraft.loop.alerting import release_alerts
from updraft.loop.alerting.telling import tampered
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import validate
from updraft.spec.load import load_project
from updraft.store import tables
from updraft.store.store import Store
from updraft_airflow import deployment
from updraft_airflow.hooks.slack import deliver_alerts, send_alerts, slack_client
from updraft_airflow.notifiers.failure import UpdraftNotifier, failure_alert

ROOT = Path(__file__).resolve().parents[2]
KEY = "2013-01-07T0500"
NASTY = "a\x00b\x1b[2Jc\x07\ud800d\udcffe\u202ef\x85g\rh\r\ni\tj&<!channel>```k\ufffe"
AWAY = "postgresql+psycopg2://postgres@127.0.0.1:9/none"
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


@pytest.fixture
def engine(postgres_url):
    engine = sa.create_engine(postgres_url)
    tables.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def here(tmp_path, monkeypatch, postgres_url, slack_server):
    """A deployment of two projects as tasks see it: its settings from the environment, Slack from Airflow's connection."""
    for name, channel in (("flights", "#flight-ops-ml"), ("hotels", "#other")):
        folder = tmp_path / "projects" / name
        folder.mkdir(parents=True)
        (folder / "project.yaml").write_text(PROJECT.format(name=name, channel=channel))
        (folder / "features.py").write_text("def features(rows):\n    return rows[['distance']]\n")
    connection = {"conn_type": "slack", "password": TOKEN, "extra": {"base_url": slack_server.url, "timeout": 5}}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_API_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setenv("UPDRAFT_STORE", postgres_url)
    deployment.settings.cache_clear()
    yield deployment.settings()
    deployment.settings.cache_clear()


def a_failure(error="boom", *, project="flights", run="r1", task="train_model"):
    return messages.failure(project, dag=f"{project}.train", task=task, run=run, error=error, log="http://x/log")


def context(error=None, *, dag_id="flights.train", run="manual__1"):
    instance = SimpleNamespace(task_id="train_model", run_id=run, try_number=3, map_index=-1, log_url="http://api/log")
    dag = SimpleNamespace(dag_id=dag_id, get_template_env=lambda **_: None)
    return {"dag": dag, "ti": instance, "run_id": run, "partition_key": KEY, "exception": error}


def stored(engine):
    with engine.connect() as connection:
        rows = connection.execute(sa.select(tables.alerts).order_by(tables.alerts.c.id)).mappings()
        return [dict(row) for row in rows]


# -- words that nobody takes -------------------------------------------------------------------------------------------


def test_an_error_with_any_characters_is_recorded_and_sent(engine, here, slack_server):
    UpdraftNotifier()(context(DataError(NASTY), run=NASTY))

    [row] = stored(engine)
    assert row["state"] == "sent"
    [message] = slack_server.messages
    told = json.dumps(message["blocks"], ensure_ascii=False)
    assert "\ufffd" in told
    assert "<!channel>" not in told, "a quoted error calls nobody"


def test_every_field_of_an_alert_fits_the_store_whatever_it_was_given(engine):
    long = NASTY * 5_000
    alert = Alert(
        project=long, kind="failure", dedup=long, title=long, text=long, detail=long, does=long, needs=long,
        thread=long, fold=long, key=long, links={long: f"http://x/{long}"},
    )  # fmt: skip
    outbox.record(engine, alert)

    [row] = stored(engine)
    assert len(row["project"]) == 63
    [told] = outbox.pending(engine, long)
    assert told.alert == alert, "an alert that is read back is cleaned and cut already"
    assert outbox.standing(engine, long).waiting == 1


def test_events_that_differ_only_in_what_is_cut_or_cleaned_stay_two(engine):
    for run in ("r\x00", "r\x01", "r" * 300, "r" * 301):
        outbox.record(engine, a_failure(run=run))

    assert len(stored(engine)) == 4


class Unprintable(DataError):
    def __str__(self):
        raise ValueError("no words")


def test_an_error_that_cannot_be_printed_is_told_by_its_name(engine, here, slack_server):
    UpdraftNotifier()(context(Unprintable()))

    assert "Unprintable" in str(slack_server.messages[0]["blocks"])


def test_a_context_that_is_not_what_it_should_be_is_told_with_less(engine, here):
    broken = context(DataError("boom"))
    broken["ti"] = SimpleNamespace(task_id="train_model", run_id="r", try_number="no number", map_index=-1)
    UpdraftNotifier()(broken)

    [row] = stored(engine)
    assert row["title"] == "Not told in full: a failed run"


text = st.text(st.characters(exclude_categories=()), max_size=400)


@given(text, text, text)
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_slack_takes_every_alert(title, words, error):
    from tests.support.slack import _check

    alert = replace(
        failure_alert(context(AirflowFailException(error), run=words), project="p"), title=title, text=words
    )
    _check({"text": fallback(alert, count=3), "blocks": blocks(alert, count=3)})
    body = json.dumps([fallback(alert), blocks(alert)], ensure_ascii=False)
    assert cleaned(body) == body
    body.encode()


# -- a store that is away ----------------------------------------------------------------------------------------------


def test_a_failure_while_the_store_is_away_is_kept_and_told_by_the_next_task(
    engine, here, slack_server, monkeypatch, postgres_url
):
    monkeypatch.setenv("UPDRAFT_STORE", AWAY)
    deployment.settings.cache_clear()
    UpdraftNotifier()(context(DataError("while it was away")))
    file = here.home / "alerts" / "untold.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert len(file.read_text().splitlines()) == untold.waiting(here.home) == 1
    assert slack_server.messages == []

    monkeypatch.setenv("UPDRAFT_STORE", postgres_url)
    deployment.settings.cache_clear()
    UpdraftNotifier()(context(DataError("the next one"), dag_id="hotels.train"))
    assert sorted("while it was away" in str(message) for message in slack_server.messages) == [False, True]
    assert untold.waiting(here.home) == 0


def test_what_was_kept_counts_as_of_its_own_time(engine, tmp_path):
    happened = datetime.now(UTC) - timedelta(hours=3)
    untold.keep(tmp_path, a_failure(), now=happened)
    assert untold.record_kept(engine, tmp_path) == ("flights",)

    [row] = outbox.pending(engine)
    assert row.written_at == happened
    assert {field.name for field in fields(Alert)} <= {column.name for column in tables.alerts.c}


def test_telling_never_fails_the_task_and_what_could_not_be_read_is_told_nevertheless(engine, tmp_path, caplog):
    loop = loop_on(tmp_path, Store.open(AWAY))
    release_alerts.of_release(loop, "flight_delays-v2")
    tampered(loop, "model version 7", "file:///m", "digest")
    assert "Traceback" in caplog.text
    assert untold.waiting(tmp_path) == 2

    untold.record_kept(engine, tmp_path)
    words = [f"{row['title']} {row['text']}" for row in stored(engine)]
    assert "flight_delays-v2" in words[0]
    assert "OperationalError" in words[0]
    assert "model version 7" in words[1]


def test_delivering_never_fails_the_task_but_the_task_that_has_nothing_else_to_do(tmp_path, caplog):
    loop = loop_on(tmp_path, Store.open(AWAY))

    assert "OperationalError" in str(deliver_alerts(loop))
    assert "Traceback" in caplog.text
    with pytest.raises(sa.exc.OperationalError):
        send_alerts(loop.settings, loop.store.engine, loop.spec)


def test_what_stays_away_stays_kept_in_order(engine, tmp_path):
    for number in range(3):
        untold.keep(tmp_path, a_failure(task=f"t{number}"))
    away = sa.create_engine(AWAY)
    assert untold.record_kept(away, tmp_path) == ()
    assert untold.waiting(tmp_path) == 3

    untold.record_kept(engine, tmp_path)
    assert [row["dedup"] for row in stored(engine)] == [f"failure:flights.train.t{number}:r1:1" for number in range(3)]


def test_a_damaged_line_does_not_hold_up_the_others_and_is_set_aside(engine, tmp_path):
    untold.keep(tmp_path, a_failure(task="a"))
    with (tmp_path / "alerts" / "untold.jsonl").open("ab") as file:
        file.write(
            b'[1]\n{"at": "2026-01-01", "alert": {"project": 3}}\n\xff\xfe\n{"at": "now", "al'
        )  # and it was killed
    untold.keep(tmp_path, a_failure(task="b"))

    untold.record_kept(engine, tmp_path)
    assert [row["incident"] for row in stored(engine)] == ["failure:flights.train.a", "failure:flights.train.b"]
    assert untold.waiting(tmp_path) == 0
    assert len((tmp_path / "alerts" / "refused.jsonl").read_text().splitlines()) == 4


def test_a_spool_that_cannot_be_written_leaves_the_alert_in_the_log(tmp_path, caplog):
    (tmp_path / "alerts").write_text("no folder")
    untold.record_or_keep(lambda: sa.create_engine(AWAY), tmp_path, a_failure("the words"))

    assert "the words" in caplog.text


def test_a_link_in_the_spools_place_is_not_followed(tmp_path, caplog):
    (tmp_path / "alerts").mkdir()
    (tmp_path / "precious").write_text("stays")
    (tmp_path / "alerts" / "untold.jsonl").symlink_to(tmp_path / "precious")
    untold.record_or_keep(lambda: sa.create_engine(AWAY), tmp_path, a_failure("the words"))

    assert (tmp_path / "precious").read_text() == "stays"
    assert "the words" in caplog.text


def test_many_processes_keep_and_record_at_once_and_nothing_is_lost_or_told_twice(engine, tmp_path, postgres_url):
    code = (
        "import sys, pathlib, sqlalchemy as sa\n"
        "from updraft.alerts import messages, untold\n"
        "home, name = pathlib.Path(sys.argv[1]), sys.argv[2]\n"
        f"engine = sa.create_engine({postgres_url!r})\n"
        "for n in range(20):\n"
        "    untold.keep(home, messages.failure('p', dag='d', task=f'{name}_{n}', run='r', error='boom'))\n"
        "    if n % 5 == 4: untold.record_kept(engine, home)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "include")}
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name], env=environment) for name in ("a", "b", "c")
    ]
    assert [process.wait(120) for process in started] == [0, 0, 0]
    untold.record_kept(engine, tmp_path)

    rows = stored(engine)
    assert len(rows) == len({row["dedup"] for row in rows}) == 60
    assert untold.waiting(tmp_path) == 0


def test_what_a_process_had_in_hand_when_it_was_killed_is_recorded_by_the_next(engine, tmp_path):
    untold.keep(tmp_path, a_failure())
    code = (
        "import sys, pathlib, time\n"
        "from updraft.alerts import untold\n"
        "for path in untold._taken(pathlib.Path(sys.argv[1])):\n"
        "    print('in hand', flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "include")}
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert process.stdout.readline()
    untold.record_kept(engine, tmp_path)
    assert stored(engine) == [], "somebody has it in hand"
    process.send_signal(signal.SIGKILL)
    process.wait()

    untold.record_kept(engine, tmp_path)
    assert len(stored(engine)) == 1


def loop_on(home, store, project=None):
    return Loop(project or flights.flights(), flights.settings(home), store, KeptModels())


def test_a_refusal_is_heard_even_if_it_cannot_be_recorded(engine, tmp_path, postgres_url):
    import shutil

    folder = shutil.copytree(flights.PROJECTS / "flight_delays", tmp_path / "projects" / "flight_delays")
    contract = folder / "expectations.yaml"
    contract.write_text(
        "flights:\n  rows:\n    - {expect: column_values_to_be_between, column: distance, max_value: 1}\n"
    )
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE partitions CASCADE"))
        connection.execute(sa.text("CREATE VIEW partitions AS SELECT 1 AS one"))
    store = Store.open(postgres_url)
    loop = loop_on(tmp_path, store, load_project(folder))
    extract_partition(loop.project, loop.settings, KEY)
    with pytest.raises(sa.exc.ProgrammingError, match="partitions"):
        validate(loop, KEY)
    store.close()

    [row] = stored(engine)
    assert row["title"].startswith("Refused: flights: ")
    assert row["key"] == KEY


# -- Slack asks to wait ------------------------------------------------------------------------------------------------


def test_a_rate_limit_holds_no_task_and_another_projects_task_sends_what_is_due(engine, here, slack_server):
    slack_server.plan("chat.postMessage", Fault(error="ratelimited", status=429, retry_after=30))
    start = time.monotonic()
    UpdraftNotifier()(context(DataError("first")))
    assert time.monotonic() - start < 10

    UpdraftNotifier()(context(DataError("second"), dag_id="hotels.train"))
    assert ["second" in str(message) for message in slack_server.messages] == [True], "other projects' messages go on"

    with engine.begin() as connection:  # half a minute goes by
        early = sa.update(tables.alerts).where(tables.alerts.c.not_before.is_not(None))
        connection.execute(early.values(not_before=datetime.now(UTC) - timedelta(seconds=1)))
    UpdraftNotifier()(context(DataError("third"), dag_id="hotels.train", run="manual__2"))
    assert any("first" in str(message) for message in slack_server.messages)
    assert outbox.pending(engine, "flights") == []


def test_a_task_sends_for_no_more_than_a_few_other_projects(engine):
    for number in range(5):
        outbox.record(engine, a_failure(project=f"p{number}"))
    past = datetime.now(UTC) - timedelta(minutes=1)
    for row in outbox.pending(engine):
        outbox.mark_waiting(engine, row, error="ratelimited", now=past, not_before=past + timedelta(seconds=row.id))

    assert outbox.overdue(engine, now=datetime.now(UTC), limit=3) == ["p0", "p1", "p2"]


def test_an_answer_that_is_none_of_slacks_leaves_the_alert_waiting(engine, slack_server):
    slack_server._chat_postMessage = lambda _: {}  # "ok", and nothing else: a proxy's idea of an answer
    outbox.record(engine, a_failure())
    report = slack.deliver(engine, web_client(TOKEN, base_url=slack_server.url, timeout=5), load_spec())

    assert report.waiting == 1
    assert "no answer" in report.problem


def test_a_token_that_no_header_can_hold_is_not_used_and_not_logged(monkeypatch, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_PASTED", json.dumps({"conn_type": "slack", "password": f"{TOKEN}\nX: y"}))

    assert slack_client("slack_pasted") is None
    assert "paste it anew" in caplog.text
    assert TOKEN not in caplog.text + str(capsys.readouterr())


def load_spec():
    import yaml

    from updraft.spec.model import ProjectSpec

    return ProjectSpec.model_validate(yaml.safe_load(PROJECT.format(name="flights", channel="#flight-ops-ml")))


def test_senders_of_two_projects_do_not_wait_for_each_other(engine, slack_server):
    slack_server.plan("chat.postMessage", Fault(hold=3.0))
    outbox.record(engine, a_failure())
    outbox.record(engine, a_failure(project="hotels"))
    spec = load_spec()
    client = web_client(TOKEN, base_url=slack_server.url, timeout=5)
    slow = threading.Thread(target=slack.deliver, args=(engine, client, spec))
    slow.start()
    while not slack_server.calls:
        time.sleep(0.02)
    start = time.monotonic()
    assert slack.deliver(engine, client, spec.model_copy(update={"name": "hotels"})).sent == 1
    assert time.monotonic() - start < 2.5
    slow.join()

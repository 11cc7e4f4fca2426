"""Delivery with Slack's real client against a local server that speaks its API, on a real PostgreSQL."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.slack import TOKEN, Fault, web_client

from updraft.alerts import messages, outbox, slack
from updraft.alerts.alert import redacted
from updraft.spec.model import ProjectSpec
from updraft.store import tables

CHANNEL = "#flight-ops-ml"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def engine(postgres_url):
    engine = sa.create_engine(postgres_url, pool_size=4)
    tables.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def client(slack_server):
    return web_client(TOKEN, base_url=slack_server.url, timeout=5)


def a_spec(routine="post", **policy):
    return ProjectSpec.model_validate(
        {
            "name": "flights",
            "owner": "ops",
            "data": {
                "schedule": "0 5 * * 1",
                "start": "2013-01-01",
                "sources": {"flights": {"type": "file", "url": "file:///x.csv", "event_time": "t"}},
                "key": ["id"],
                "label": {"expr": "late"},
            },
            "alerts": {"slack": {"channel": CHANNEL, **policy}, "routine": routine},
        }
    )


def failed(run="r1", task="train_model", attempt=1):
    return messages.failure(
        "flights", dag="flights.train", task=task, run=run, error="boom", attempt=attempt, log="http://x/log"
    )


def refused(key="2013-05-06T0500", rules=("flights: median distance 1,404 is above 1,200",), content="a"):
    return messages.refused(
        "flights", key=key, rules=rules, by_rows=False, content=content, links={"Run": f"http://a/{key}"}
    )


def headlines(slack_server):
    """What a person reads in bold, message by message."""
    return [message["blocks"][0]["text"]["text"] for message in slack_server.messages]


def an_episode(name="e1"):
    return messages.episode(
        "flights", episode=name, key="2013-05-06", cause="performance", remedy="retrain", diagnosis="a refit gains 0.01"
    )


def a_verdict(release="refresh-1", thread=None):
    return messages.verdict(
        "flights",
        release=release,
        version="3",
        against="2",
        key="2013-06-03",
        verdict="reject",
        reason="not shown in time",
        clusters=60,
        gain=0.001,
        low=-0.004,
        high=0.006,
        thread=thread,
    )


def test_an_alert_arrives_with_header_words_link_and_context(engine, client, slack_server):
    outbox.record(engine, failed())

    report = slack.deliver(engine, client, a_spec(mention="U012AB3CD"))

    assert (report.sent, report.waiting, report.problem) == (1, 0, None)
    [message] = slack_server.messages
    told = str(message["blocks"])
    assert message["channel"] == slack_server.channels[CHANNEL]
    assert message["blocks"][0]["text"]["text"] == ":red_circle: flights.train.train_model failed"
    assert "<http://x/log|Log>" in told
    assert "<@U012AB3CD>" in told
    assert "boom" in told
    assert outbox.pending(engine) == []


def test_delivering_twice_sends_once(engine, client, slack_server):
    outbox.record(engine, failed())
    slack.deliver(engine, client, a_spec())
    outbox.record(engine, failed())

    assert str(slack.deliver(engine, client, a_spec())) == "Slack: nothing to send"
    assert len(slack_server.messages) == 1


def test_a_folded_event_updates_the_message_instead_of_sending_another(engine, client, slack_server):
    for attempt in (1, 2, 3):
        outbox.record(engine, failed(attempt=attempt))
        report = slack.deliver(engine, client, a_spec())

    assert report.updated == 1
    [message] = slack_server.messages
    assert message["edits"] == 2
    assert message["blocks"][0]["text"]["text"].endswith("×3")


def test_the_refusal_of_another_partition_is_a_reply_that_the_channel_sees_and_the_first_keeps_its_cause(
    engine, client, slack_server
):
    for alert in (
        refused("2013-05-06T0500"),
        refused("2013-05-13T0500", rules=("flights: number of rows 3 is below 10",)),
    ):
        outbox.record(engine, alert)
        slack.deliver(engine, client, a_spec(mention="U012AB3CD"))

    first, second = slack_server.messages
    assert first["edits"] == 0
    assert "1,404 is above 1,200" in headlines(slack_server)[0]
    assert "http://a/2013-05-06T0500" in str(first["blocks"])
    assert (second["thread_ts"], second["broadcast"]) == (first["ts"], True)
    assert "number of rows 3 is below 10" in headlines(slack_server)[1]
    assert "<@U012AB3CD>" in second["text"]


def test_the_same_partition_refused_again_for_the_same_cause_is_counted_and_for_another_is_a_reply(
    engine, client, slack_server
):
    for alert in (refused(), refused(content="b"), refused(content="b"), refused(rules=("flights: other",))):
        outbox.record(engine, alert)
        slack.deliver(engine, client, a_spec())

    assert [headline.endswith("×2") for headline in headlines(slack_server)] == [True, False]
    assert slack_server.messages[1]["thread_ts"] == slack_server.messages[0]["ts"]


def test_what_is_mended_is_marked_in_its_headline_and_answered_in_its_thread(engine, client, slack_server):
    for key in ("2013-05-06T0500", "2013-05-13T0500"):
        outbox.record(engine, refused(key))
    slack.deliver(engine, client, a_spec())
    outbox.resolve(engine, "flights", messages.REFUSALS, "2013-05-06T0500", words="It is published: 6,103 rows.")
    slack.deliver(engine, client, a_spec())

    first, second, reply = slack_server.messages
    assert [":white_check_mark: Resolved:" in headline for headline in headlines(slack_server)] == [True, False, True]
    assert "1,404 is above 1,200" in str(first["blocks"]), "the cause stays"
    assert "*You:*" not in str(first["blocks"])
    assert "*You:*" in str(second["blocks"])
    assert (reply["thread_ts"], reply["broadcast"]) == (first["ts"], False)
    assert "6,103 rows" in str(reply["blocks"])
    assert slack.deliver(engine, client, a_spec()).updated == 0


def test_what_is_mended_while_its_message_is_on_its_way_is_marked_after_all(engine, client, slack_server):
    outbox.record(engine, refused())
    [row] = outbox.pending(engine)
    outbox.resolve(engine, "flights", messages.REFUSALS, "2013-05-06T0500", words="x")
    outbox.mark_sent(engine, row, ts="1.1", channel=CHANNEL, channel_id="C0000000001", shown=1)

    assert outbox.pending(engine)[0].shown == 0


def test_by_default_routine_waits_for_the_digest_of_the_week(engine, client, slack_server):
    monday = datetime(2026, 3, 9, tzinfo=UTC)
    spec = a_spec(routine="digest")
    for number in (1, 2):
        trained = messages.trained("flights", run=f"t{number}", key="k", version=str(number), summary="all gates")
        outbox.record(engine, trained, now=monday - timedelta(days=number))
    outbox.record(engine, messages.refused_model("flights", run="t3", key="k", version="3", reasons=["worse"]))
    outbox.record(engine, failed(), now=monday)
    assert slack.deliver(engine, client, spec, now=lambda: monday).waiting == 0
    assert headlines(slack_server) == [":red_circle: flights.train.train_model failed"]

    for _ in range(2):
        outbox.sum_up_week(engine, "flights", until=monday)
        slack.deliver(engine, client, spec, now=lambda: monday)
    assert headlines(slack_server)[1:] == [":memo: Week 10 of 2026: 2 alerts, nothing to do"]
    assert "2 × A version was trained" in str(slack_server.messages[1]["blocks"])


def test_a_sender_killed_with_the_digest_in_hand_has_sent_it_once(engine, client, slack_server):
    outbox.record(engine, failed())  # from it the channel's id is known
    outbox.record(engine, an_episode(), now=datetime(2026, 3, 2, tzinfo=UTC))
    slack.deliver(engine, client, a_spec(routine="digest"))
    outbox.sum_up_week(engine, "flights", until=datetime(2026, 3, 9, tzinfo=UTC))
    slack_server.plan("chat.postMessage", Fault(hang_up=True, after_work=True))
    slack.deliver(engine, client, a_spec(routine="digest"))
    slack.deliver(engine, client, a_spec(routine="digest"), now=in_a_minute)

    assert sum(":memo:" in headline for headline in headlines(slack_server)) == 1
    assert outbox.pending(engine) == []


def test_routine_that_is_dropped_is_told_nowhere_but_in_the_store(engine, client, slack_server):
    outbox.record(engine, an_episode())
    assert slack.deliver(engine, client, a_spec(routine="drop")).quiet == 1
    assert outbox.sum_up_week(engine, "flights", until=datetime.now(UTC) + timedelta(days=7)) is None
    assert slack_server.messages == []


def test_alerts_of_an_episode_share_a_thread_in_their_order(engine, client, slack_server):
    outbox.record(engine, an_episode())
    outbox.record(engine, messages.trained("flights", run="t1", key="k", version="3", summary="all gates", thread="e1"))
    outbox.record(engine, an_episode("e2"))
    slack.deliver(engine, client, a_spec())
    outbox.record(engine, a_verdict(thread="e1"))
    slack.deliver(engine, client, a_spec())

    first, trained, second, verdict = slack_server.messages
    assert (first["thread_ts"], second["thread_ts"]) == (None, None)
    assert (trained["thread_ts"], verdict["thread_ts"]) == (first["ts"], first["ts"])


def test_a_reply_that_needs_a_person_is_shown_in_the_channel_too(engine, client, slack_server):
    outbox.record(engine, a_verdict())
    outbox.record(
        engine,
        messages.approval("flights", release="refresh-1", version="3", reason="x", until="in 7 days", link="http://a"),
    )
    slack.deliver(engine, client, a_spec())

    assert [message["broadcast"] for message in slack_server.messages] == [False, True]


def test_a_reply_goes_to_the_channel_when_somebody_deleted_its_thread(engine, client, slack_server):
    outbox.record(engine, an_episode())
    slack.deliver(engine, client, a_spec())
    slack_server.delete(slack_server.messages[0]["ts"])
    outbox.record(engine, a_verdict(thread="e1"))

    assert slack.deliver(engine, client, a_spec()).sent == 1
    assert slack_server.messages[-1]["thread_ts"] is None


def test_a_deleted_message_is_posted_anew_when_its_fold_grows(engine, client, slack_server):
    outbox.record(engine, failed())
    slack.deliver(engine, client, a_spec())
    slack_server.delete(slack_server.messages[0]["ts"])
    outbox.record(engine, failed(attempt=2))
    slack.deliver(engine, client, a_spec())

    [message] = slack_server.messages
    assert message["blocks"][0]["text"]["text"].endswith("×2")
    assert outbox.pending(engine) == []


def test_kinds_that_the_project_does_not_ask_for_stay_quiet_for_good(engine, client, slack_server):
    outbox.record(engine, failed())
    outbox.record(engine, messages.tampered("flights", what="model version 7", where="file:///m", error="digest"))

    assert slack.deliver(engine, client, a_spec(on=["drift"])).quiet == 1
    assert slack.deliver(engine, client, a_spec(on=["drift", "failure"])).sent == 0, "old news stays quiet"
    [message] = slack_server.messages
    assert "Integrity" in message["text"], "a breach of integrity cannot be switched off"


def test_what_stood_before_slack_was_connected_is_summed_up_and_only_what_is_young_is_sent(
    engine, client, slack_server
):
    start = datetime.now(UTC)
    old = start - timedelta(hours=60)
    for task in ("a", "b"):
        outbox.record(engine, failed(task=task), now=old)
    outbox.record(engine, failed(task="mended"), now=old)
    assert slack.deliver(engine, None, a_spec(), now=lambda: old).waiting == 3
    slack.deliver(engine, None, a_spec(), now=lambda: start)
    assert outbox.standing(engine, "flights").waiting == 3, "they are too old, and still to be told"
    outbox.resolve(engine, "flights", failed(task="mended").incident, "r1", words="x", now=start)
    outbox.record(engine, failed(task="new"))

    report = slack.deliver(engine, client, a_spec())
    assert (report.quiet, report.sent, report.waiting) == (3, 2, 0)
    summary, new = slack_server.messages
    told = str(summary["blocks"])
    assert ":memo: 4 alerts stood in the store" in told
    assert "3 are too old to be sent, 1 follow. Not mended: 2" in told
    assert "flights.train.a failed" in told
    assert "flights.train.mended" not in summary["blocks"][2]["text"]["text"]
    assert "train.new" in new["text"]
    slack.deliver(engine, client, a_spec())
    assert len(slack_server.messages) == 2


def test_a_backlog_that_slack_refuses_as_well_grows_into_one_message(engine, client, slack_server):
    start = datetime.now(UTC)
    outbox.record(engine, failed(task="a"), now=start - timedelta(hours=60))
    outbox.record(engine, failed(task="b"), now=start - timedelta(hours=10))
    token, slack_server.token = slack_server.token, "xoxb-other"
    assert slack.deliver(engine, client, a_spec(), now=lambda: start).sent == 0
    assert slack.deliver(engine, client, a_spec(), now=lambda: start + timedelta(hours=24)).sent == 0
    slack_server.token = token
    slack.deliver(engine, client, a_spec(), now=lambda: start + timedelta(hours=25))

    [summary] = slack_server.messages
    assert "2 alerts stood in the store" in str(summary["blocks"])
    assert outbox.pending(engine) == []


@pytest.mark.parametrize("without", ["client", "policy"])
def test_without_slack_alerts_stand_in_the_store(engine, client, slack_server, without):
    outbox.record(engine, failed())
    spec = a_spec()
    if without == "policy":
        spec = spec.model_copy(update={"alerts": spec.alerts.model_copy(update={"slack": None})})

    report = slack.deliver(engine, None if without == "client" else client, spec)

    assert report.waiting == 1
    assert "stand in the store" in str(report)
    assert slack_server.calls == []


def test_a_rate_limit_holds_nobody_and_the_message_goes_out_when_slack_said(engine, client, slack_server):
    slack_server.plan("chat.postMessage", Fault(error="ratelimited", status=429, retry_after=600))
    outbox.record(engine, failed())
    start = time.monotonic()

    report = slack.deliver(engine, client, a_spec())
    assert time.monotonic() - start < 5, "nobody sleeps for Slack"
    assert (report.sent, report.waiting) == (0, 1)
    assert "asks to wait" in report.problem

    assert slack.deliver(engine, client, a_spec(), now=lambda: after(590)).sent == 0, "Slack said 600 seconds"
    assert slack_server.count("chat.postMessage") == 1
    assert slack.deliver(engine, client, a_spec(), now=lambda: after(610)).sent == 1
    assert outbox.pending(engine) == []


@pytest.mark.parametrize("seconds", [10_000_000, -5, "soon", "Fri, 27 Nov 2026 23:00:00 GMT", ""])
def test_an_absurd_time_to_wait_silences_nobody(engine, client, slack_server, seconds):
    slack_server.plan("chat.postMessage", Fault(error="ratelimited", status=429, retry_after=seconds))
    outbox.record(engine, failed())

    assert slack.deliver(engine, client, a_spec()).waiting == 1
    assert slack.deliver(engine, client, a_spec(), now=lambda: after(3_610)).sent == 1


def test_a_rate_limit_leaves_the_rest_for_later_and_in_order(engine, client, slack_server):
    slack_server.plan("chat.postMessage", Fault(error="ratelimited", status=429, retry_after=30))
    outbox.record(engine, failed(task="a"))
    outbox.record(engine, failed(task="b"))

    report = slack.deliver(engine, client, a_spec())
    assert (report.sent, report.waiting) == (0, 2)
    assert slack.deliver(engine, client, a_spec()).sent == 0, "Slack is left alone for a while"
    assert slack_server.count("chat.postMessage") == 1

    assert slack.deliver(engine, client, a_spec(), now=in_a_minute).sent == 2
    assert [("train.a" in m["text"], "train.b" in m["text"]) for m in slack_server.messages] == [
        (True, False),
        (False, True),
    ]


WRONG = {
    "invalid_auth": (lambda server: setattr(server, "token", "xoxb-other"), "put a valid bot token"),
    "channel_not_found": (lambda server: server.channels.clear(), "alerts.slack.channel"),
    "missing_scope": (lambda server: server.scopes.clear(), "chat:write"),
}


@pytest.mark.parametrize("code", WRONG)
def test_a_wrong_configuration_is_told_once_and_nothing_is_lost(engine, client, slack_server, code):
    before = (slack_server.token, dict(slack_server.channels), set(slack_server.scopes))
    break_it, told = WRONG[code]
    break_it(slack_server)
    for task in ("a", "b", "c"):
        outbox.record(engine, failed(task=task))

    report = slack.deliver(engine, client, a_spec())
    assert (report.sent, report.waiting) == (0, 3)
    [problem] = outbox.standing(engine, "flights").problems
    assert code in problem
    assert told in problem
    assert slack_server.count("chat.postMessage") == 1, "the second would be refused, too"

    slack_server.token, slack_server.channels, slack_server.scopes = before
    assert slack.deliver(engine, client, a_spec(), now=in_a_minute).sent == 3
    assert outbox.standing(engine, "flights").problems == ()


def test_a_message_that_slack_never_takes_does_not_hold_up_the_next(engine, client, slack_server):
    slack_server.plan("chat.postMessage", Fault(error="invalid_blocks"))
    outbox.record(engine, failed(task="a"))
    outbox.record(engine, failed(task="b"))

    report = slack.deliver(engine, client, a_spec())
    assert (report.failed, report.sent, report.waiting) == (1, 1, 0)
    assert "read it here" in outbox.standing(engine, "flights").problems[0]


def test_nobody_listening_is_recorded_and_does_not_raise(engine):
    outbox.record(engine, failed())
    client = web_client(TOKEN, base_url="http://127.0.0.1:9/api/", timeout=1)

    report = slack.deliver(engine, client, a_spec())
    assert (report.sent, report.waiting) == (0, 1)
    assert "no answer" in report.problem


@pytest.mark.parametrize(
    "lost",
    [
        Fault(hang_up=True, after_work=True),
        Fault(status=503, after_work=True),
        Fault(error="internal_error", after_work=True),
    ],
)
def test_a_message_whose_answer_was_lost_is_found_and_not_sent_again(engine, client, slack_server, lost):
    outbox.record(engine, failed(task="first"))  # from it the channel's id is known
    slack.deliver(engine, client, a_spec())
    slack_server.plan("chat.postMessage", lost)
    outbox.record(engine, failed(task="second"))
    assert slack.deliver(engine, client, a_spec()).waiting == 1

    report = slack.deliver(engine, client, a_spec(), now=in_a_minute)
    assert (report.found, report.sent, report.waiting) == (1, 0, 0)
    assert len(slack_server.messages) == 2


def test_a_lost_reply_is_found_in_its_thread(engine, client, slack_server):
    outbox.record(engine, an_episode())
    slack.deliver(engine, client, a_spec())
    slack_server.plan("chat.postMessage", Fault(hang_up=True, after_work=True))
    outbox.record(engine, a_verdict(thread="e1"))
    slack.deliver(engine, client, a_spec())

    assert slack.deliver(engine, client, a_spec(), now=in_a_minute).found == 1
    assert slack_server.count("conversations.replies") == 1
    assert len(slack_server.messages) == 2


def test_a_message_that_never_left_is_sent_when_it_is_not_found(engine, client, slack_server):
    outbox.record(engine, failed(task="first"))
    slack.deliver(engine, client, a_spec())
    slack_server.plan("chat.postMessage", Fault(hang_up=True))
    outbox.record(engine, failed(task="second"))
    slack.deliver(engine, client, a_spec())

    report = slack.deliver(engine, client, a_spec(), now=in_a_minute)
    assert (report.found, report.sent) == (0, 1)
    assert len(slack_server.messages) == 2


def test_it_is_looked_for_on_every_page_of_the_channel(engine, client, slack_server):
    slack_server.plan("chat.postMessage", Fault(), Fault(hang_up=True, after_work=True))
    outbox.record(engine, failed(task="first"))
    slack.deliver(engine, client, a_spec())
    outbox.record(engine, failed(task="second"))
    slack.deliver(engine, client, a_spec())
    lost = slack_server.messages[-1]
    for number in range(250):  # people talk
        slack_server.messages.append({**lost, "ts": f"{1_900_001_000 + number}.000100", "metadata": None})

    assert slack.deliver(engine, client, a_spec(), now=in_a_minute).found == 1
    assert slack_server.count("conversations.history") == 2


def test_an_app_that_may_not_read_the_channel_sends_again_rather_than_never(engine, client, slack_server):
    slack_server.scopes.discard("channels:history")
    outbox.record(engine, failed(task="first"))
    slack.deliver(engine, client, a_spec())
    slack_server.plan("chat.postMessage", Fault(hang_up=True, after_work=True))
    outbox.record(engine, failed(task="second"))
    slack.deliver(engine, client, a_spec())

    assert slack.deliver(engine, client, a_spec(), now=in_a_minute).sent == 1
    assert len(slack_server.messages) == 3


def test_a_sender_killed_while_it_waits_for_the_answer_has_sent_once(engine, client, slack_server, postgres_url):
    outbox.record(engine, failed(task="first"))
    slack.deliver(engine, client, a_spec())
    outbox.record(engine, failed(task="second"))
    slack_server.plan("chat.postMessage", Fault(hold=2.0))
    code = (
        "import sys, sqlalchemy as sa\n"
        "from tests.support.slack import web_client\n"
        "from updraft.alerts import slack\n"
        "from updraft.spec.model import ProjectSpec\n"
        "spec = ProjectSpec.model_validate_json(sys.stdin.read())\n"
        f"client = web_client({TOKEN!r}, base_url={slack_server.url!r})\n"
        f"slack.deliver(sa.create_engine({postgres_url!r}), client, spec)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "include")])}
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=environment)
    process.stdin.write(a_spec().model_dump_json().encode())
    process.stdin.close()
    wait_for(lambda: len(slack_server.messages) == 2)
    assert slack.deliver(engine, client, a_spec()).waiting == 1, "while it is at work, nobody else sends"
    process.send_signal(signal.SIGKILL)
    process.wait()

    wait_for(lambda: slack.deliver(engine, client, a_spec()).found == 1)
    assert len(slack_server.messages) == 2
    assert outbox.pending(engine) == []


def test_many_senders_at_once_send_each_alert_once_and_leave_none(engine, slack_server):
    gate = threading.Barrier(4)

    def work(number):
        gate.wait()
        for turn in range(3):
            outbox.record(engine, failed(task=f"task{number}_{turn}"))
            client = web_client(TOKEN, base_url=slack_server.url, timeout=5)
            slack.deliver(engine, client, a_spec())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(slack_server.messages) == len({message["text"] for message in slack_server.messages}) == 12
    assert outbox.pending(engine) == []


def test_the_token_is_in_no_log_no_row_and_no_report(engine, client, slack_server, caplog):
    caplog.set_level(logging.DEBUG)
    slack_server.plan(
        "chat.postMessage",
        Fault(error="invalid_auth"),
        Fault(status=502),
        Fault(hang_up=True),
        Fault(error="invalid_blocks"),
    )
    outbox.record(engine, replace(failed(), detail=redacted(f"Authorization: Bearer {TOKEN} refused")))
    outbox.record(
        engine,
        messages.failure("flights", dag="d", task="t", run="r", error=f"token={TOKEN} at postgresql://me:hunter2@db/x"),
    )
    start = datetime.now(UTC)
    moments = [start + timedelta(minutes=minutes) for minutes in range(0, 60, 10)]
    reports = [str(slack.deliver(engine, client, a_spec(), now=lambda moment=moment: moment)) for moment in moments]

    with engine.connect() as connection:
        rows = str(connection.execute(sa.select(tables.alerts)).all())
    everything = caplog.text + rows + "".join(reports) + str(slack_server.messages)
    assert len(slack_server.calls) >= 5
    assert "Sending a request" in caplog.text, "the client's own debug log is looked at, too"
    assert TOKEN not in everything
    assert "very-secret" not in everything
    assert "hunter2" not in everything


def in_a_minute():
    return after(60)


def after(seconds):
    return datetime.now(UTC) + timedelta(seconds=seconds)


def wait_for(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)

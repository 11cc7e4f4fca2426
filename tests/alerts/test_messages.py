"""What alerts say, and how they are laid out for Slack."""

from __future__ import annotations

import dataclasses
import html
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from updraft.alerts import messages, policy, runbook
from updraft.alerts.alert import redacted
from updraft.alerts.blocks import blocks, escaped, fallback
from updraft.pods.attempts import WithoutNode
from updraft.spec.model import Slack

ROOT = Path(__file__).resolve().parents[2]
P = "flights"
KEY = "2013-05-06T0500"
EVERY = {
    "failure": messages.failure(P, dag="flights.train", task="train_model", run="r1", error="boom", key=KEY),
    "labels_lost": messages.labels_lost(P, key=KEY, labels=90, of=100, form="9", form_of_rows="999"),
    "labels_unlisted": messages.labels_unlisted(P, key=KEY, labels=9, of=100),
    "late": messages.late(P, key=KEY, source="flights", error="no file", until="12:00", links={"Run": "http://a/r"}),
    "outside": messages.outside(P, key=KEY, source="flights", rows=90, timeless=3, of=6103),
    "quarantine": messages.quarantine(P, key=KEY, rows=12, of=6103, reasons={"wind_speed in [0, 120]": 12}),
    "revised": messages.revised(P, key=KEY, rows=6103, rows_before=6000, versions=["3", "4"]),
    "refused": messages.refused(
        P, key=KEY, rules=["flights: median distance 1,404 is above 1,200"], by_rows=False, links={"Run": "http://a/r"}
    ),
    "episode": messages.episode(
        P, episode="e1", key=KEY, cause="performance", remedy="retrain", diagnosis="A refit gains 0.012."
    ),
    "person": messages.episode(
        P, episode="e2", key=KEY, cause="performance", remedy="person", diagnosis="Neither trial gains."
    ),
    "trained": messages.trained(P, run="t1", key=KEY, version="3", summary="all gates passed", thread="e1"),
    "refused_model": messages.refused_model(P, run="t1", key=KEY, version="3", reasons=["log_loss: worse by 0.004"]),
    "verdict": messages.verdict(
        P,
        release="change-4",
        version="4",
        against="3",
        key=KEY,
        verdict="reject",
        reason="not shown in time.",
        clusters=60,
        gain=0.0012,
        low=-0.004,
        high=0.0064,
    ),
    "approval": messages.approval(P, release="change-4", version="4", reason="It is better.", until="in 7 days"),
    "promotion": messages.promotion(
        P, release="refresh-3", lane="refresh", version="3", previous="2", key=KEY, reason="holdout", probation=4
    ),
    "rollback": messages.rollback(P, release="refresh-3", version="3", to="2", key=KEY, reason="shown worse"),
    "lasting_sign": messages.lasting_sign(
        P,
        sign="nulls of temp",
        name="nulls:temp",
        fault="temp is null.",
        since=KEY,
        key=KEY,
        partitions=3,
        asked=1,
        accept="updraft readmit",
    ),
    "training_overdue": messages.training_overdue(
        P, last=KEY, key=KEY, partitions=12, limit=12, told=1, holding_back=["3 trainings failed since"]
    ),
    "superseded": messages.superseded(
        P, release="change-4", version="4", key=KEY, reason="superseded by change-5", was="approval"
    ),
    "unjudged": messages.unjudged(
        P,
        release="refresh-5",
        version="5",
        against="4",
        key=KEY,
        reason="too wide",
        clusters=9,
        gain=0.0,
        low=-1,
        high=1,
    ),
    "reinstated": messages.reinstated(
        P, release="refresh-3", subject="refresh-3@1", version="3", previous="2", key=KEY, reason="mended"
    ),
    "training_ended": messages.training_ended(P, episode="e3", key=KEY, why="its training failed"),
    "tampered": messages.tampered(P, what="model version 7", where="file:///lake/7", error="digest differs"),
    "restarts": messages.restarts(P, program="scheduler", times=3, minutes=10, first="12:00", log="scheduler.log"),
    "untold": messages.untold(P, what="promoted", subject="refresh-1", error="OperationalError"),
    "no_node": messages.no_node(
        P, run="t1", waits="no node has a GPU", does=WithoutNode.WAIT, limit="an hour", link="http://a/t1"
    ),
    "more_memory": messages.more_memory(P, run="t1", words="killed at 4 GiB", link="http://a/t1"),
}


@pytest.mark.parametrize("name", EVERY)
def test_every_alert_says_what_happened_and_what_updraft_does(name):
    alert = EVERY[name]

    assert alert.title
    assert alert.text
    assert alert.does
    assert "{" not in alert.title + alert.text + alert.does + alert.needs
    assert ".." not in alert.text


ROUTINE = {"quarantine", "episode", "trained", "refused_model", "verdict", "more_memory"}


def test_what_is_no_routine_says_what_to_do_unless_it_changes_what_serves():
    assert {name for name, alert in EVERY.items() if alert.routine} == ROUTINE
    posted = {name: alert for name, alert in EVERY.items() if not alert.routine}
    silent = {name for name, alert in posted.items() if "*You:*" not in str(blocks(alert))}
    assert silent == {"promotion", "reinstated"}


def test_every_alert_has_one_link_at_most_and_an_entry_in_the_runbook():
    for name, alert in EVERY.items():
        assert len(alert.links) <= 1, name
        assert alert.entry in dict(runbook.entries()), name
        assert f"<http://a/updraft/runbook#{alert.entry}|Runbook>" in str(blocks(alert, airflow="http://a"))
        assert f"docs/runbook.md#{alert.entry}" in str(blocks(alert))


def test_a_refusals_headline_is_its_rule_and_its_advice_can_help():
    alert = EVERY["refused"]
    assert alert.title == "Refused: flights: median distance 1,404 is above 1,200"
    assert "clear the run" in alert.needs
    assert "refuse_above" not in alert.needs, "no row was too many"
    assert f"updraft pass-over {P} {KEY} --reason WHY" in alert.needs
    by_rows = messages.refused(P, key=KEY, rules=["too many"], by_rows=True, links={})
    assert "data.refuse_above" in by_rows.needs


def test_a_failed_ingestion_names_its_own_way_on_and_pass_over():
    alert = messages.failure(P, dag=f"{P}.ingest", task="publish_partition", run="r", error="x", key=KEY)
    assert alert.needs.startswith(runbook.TASKS["publish_partition"].do)
    assert "updraft pass-over" in alert.needs
    assert "pass-over" not in EVERY["failure"].needs, "no partition waits for a training"


def test_what_is_resolved_says_so_in_its_headline_keeps_its_cause_and_asks_for_nothing():
    told = str(blocks(EVERY["failure"], resolved_at=datetime(2026, 3, 2, 12, tzinfo=UTC), mention="<@U1>"))
    assert ":white_check_mark: Resolved: flights.train.train_model failed" in told
    assert "boom" in told
    assert "*You:*" not in told
    assert "<@U1>" not in told


def test_a_digest_counts_all_and_names_what_is_notable():
    week = [EVERY["quarantine"]] * 3 + [EVERY["refused_model"], EVERY["verdict"]]
    digest = messages.digest(P, since=date(2026, 3, 2), until=date(2026, 3, 9), alerts=week)
    assert digest.title == "Week 10 of 2026: 5 alerts, nothing to do"
    assert "3 × Rows in quarantine" in digest.text
    assert "Version 4: reject" in digest.detail
    assert "12 of 6,103" not in digest.detail
    months = messages.digest(P, since=date(2026, 1, 5), until=date(2026, 3, 9), alerts=week)
    assert months.title == "From 2026-01-05 to 2026-03-08: 5 alerts, nothing to do"


def test_the_same_event_is_the_same_alert_and_different_events_are_not():
    keys = [alert.dedup for alert in EVERY.values()]

    assert len(set(keys)) == len(keys)
    assert EVERY["failure"] == messages.failure(
        P, dag="flights.train", task="train_model", run="r1", error="boom", key=KEY
    )


def test_a_task_that_fails_again_after_clearing_is_another_event_of_the_same_fold():
    again = messages.failure(P, dag="flights.train", task="train_model", run="r1", error="boom", attempt=4)

    assert again.dedup != EVERY["failure"].dedup
    assert again.fold == EVERY["failure"].fold


def test_a_verdict_gives_the_gain_with_its_bound():
    assert EVERY["verdict"].text == (
        "not shown in time. Gain over version 3: +0.0012 [-0.0040, +0.0064] from 60 clusters."
    )


def test_a_verdict_without_a_bound_says_so():
    alert = messages.verdict(
        P,
        release="r",
        version="4",
        against="3",
        key=KEY,
        verdict="hold",
        reason="too early",
        clusters=3,
        gain=0.1,
        low=float("-inf"),
        high=float("inf"),
    )
    assert "too little evidence for a bound" in alert.text
    assert "inf" not in alert.text


def test_a_release_of_an_episode_stands_in_the_episodes_thread():
    own = messages.rollback(P, release="refresh-3", version="3", to="2", key=KEY, reason="x")
    episodes = messages.rollback(P, release="refresh-3", version="3", to="2", key=KEY, reason="x", thread="e1")

    assert (own.thread, episodes.thread) == ("refresh-3", "e1")
    assert own.dedup == episodes.dedup


def test_links_that_lead_nowhere_are_left_out():
    alert = messages.episode(
        P,
        episode="e",
        key=KEY,
        cause="age",
        remedy="retrain",
        diagnosis="x",
        links={"Monitor": "/dags/flights.monitor", "Report": "", "MLflow": "http://127.0.0.1:5000/#/models/flights"},
    )
    assert list(alert.links) == ["MLflow"]


@pytest.mark.parametrize(
    "secret",
    [
        "xoxb-123-456-abcdef",
        "postgresql://me:hunter2@db:5432/x",
        "Authorization: Bearer abcdefghijkl",
        "AKIAABCDEFGHIJKLMNOP",
        "password=hunter2",
        "api_key: hunter2",
    ],
)
def test_secrets_that_an_error_quotes_are_masked(secret):
    told = messages.failure(P, dag="d", task="t", run="r", error=f"cannot connect: {secret}").detail

    for part in ("123-456", "hunter2", "abcdefghijkl", "AKIAABC"):
        assert part not in told
    assert "***" in told
    assert told.startswith("cannot connect")


def test_an_error_without_secrets_stays_as_it_is():
    error = "KeyError: 'arr_delay' in include/projects/flights/features.py:12 (http://127.0.0.1:8080/x)"

    assert redacted(error) == error


def test_an_alert_without_words_has_no_empty_section_which_slack_would_refuse():
    alert = dataclasses.replace(EVERY["trained"], text="")
    assert all(block["text"]["text"] for block in blocks(alert) if block["type"] == "section")


def test_slacks_control_characters_are_escaped_everywhere():
    alert = dataclasses.replace(EVERY["failure"], text="<!channel> a & b", detail="<@U1> ``` x", needs="<http://x|y>")
    told = str(blocks(alert)) + fallback(alert)

    assert "<" not in told
    assert "&lt;!channel&gt; a &amp; b" in told


def test_escaping_never_cuts_an_entity():
    for limit in range(5, 40):
        cut = escaped("a<b&c>" * 20, limit)
        assert len(cut) <= limit
        assert re.fullmatch(r"(?:[^&<>]|&(?:amp|lt|gt);)*…", cut)
        assert ("a<b&c>" * 20).startswith(html.unescape(cut[:-1]))


def test_the_longest_alert_stays_within_slacks_limits():
    much = "&" * 10_000
    alert = dataclasses.replace(
        EVERY["failure"],
        title=much,
        text=much,
        detail=much,
        does=much,
        needs=much,
        key="k" * 500,
        links={f"{number}{much}": f"http://x/{'y' * 700}?{number}" for number in range(40)},
    )
    told = blocks(alert, count=1234, mention="<@U012AB3CD>")

    assert len(told) <= 50
    assert len(told[0]["text"]["text"]) <= 150
    assert told[0]["text"]["text"].endswith("×1234")
    assert all(0 < len(block["text"]["text"]) <= 3000 for block in told if block["type"] == "section")
    links = next(block["text"]["text"] for block in told if "http://x/" in str(block))
    assert links.count("<") == links.count(">") > 0, "no link is cut in the middle"
    assert len(fallback(alert, mention="<@U012AB3CD>")) <= 4000


def test_a_link_with_odd_characters_is_still_one_link():
    alert = dataclasses.replace(EVERY["failure"], links={"a|b": "http://x/a b?q=1&r=<2>|3"})

    [section] = [block["text"]["text"] for block in blocks(alert) if "http://x" in str(block)]
    assert section == "<http://x/a%20b?q=1&amp;r=&lt;2&gt;%7C3|a/b>"


def test_alerts_go_out_by_kind_and_integrity_always():
    slack = Slack(channel="#c", on=("drift",))

    assert [name for name, alert in EVERY.items() if policy.wanted(slack, alert.kind)] == [
        "episode",
        "person",
        "tampered",
    ]


@pytest.mark.parametrize(
    ("given", "markup"),
    [
        ("U012AB3CD", "<@U012AB3CD>"),
        ("S012AB3CD", "<!subteam^S012AB3CD>"),
        ("@here", "<!here>"),
        (None, None),
    ],
)
def test_a_mention_is_slacks_markup(given, markup):
    slack = Slack(channel="#c", mention=given)

    assert policy.mention(slack, EVERY["failure"]) == markup
    assert policy.mention(slack, EVERY["promotion"]) is None, "nobody has to do anything"


def test_slack_is_left_alone_longer_after_each_attempt_in_vain():
    waits = [policy.wait_after(attempts) for attempts in range(8)]

    assert waits == sorted(waits)
    assert (waits[1], waits[-1]) == (timedelta(seconds=15), timedelta(minutes=5))


def test_an_error_that_nobody_knows_drops_no_alert():
    assert policy.refusal("some_new_error") == "configuration"
    assert "some_new_error" in policy.explained("some_new_error")


def test_importing_alerts_loads_nothing_heavy():
    code = (
        "import sys, updraft.alerts.messages, updraft.alerts.slack, updraft.alerts.outbox\n"
        "print([n for n in ('slack_sdk', 'pandas', 'numpy', 'mlflow', 'airflow') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "include")},
    )
    assert done.stdout.strip() == "[]"

"""What lasted and is over is marked so once in its thread in Slack, as a person reads it there, and never before it is."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.support import flights
from tests.support.broken_feeds import NULLS, UNIT, ingest, keep_out, keys_of, trained
from tests.support.slack import TOKEN, web_client

from updraft.alerts import slack
from updraft.loop.alerting import training_alerts
from updraft.loop.alerting.learning_alerts import feed_looked_at, lasting_signs_asked, readmitted, training_overdue
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.readmission import readmit, readmit_signs
from updraft.store.records import EpisodeRow, IngestedPartition
from updraft.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
PROJECT = flights.flights()
SPEC = PROJECT.spec
P = SPEC.name
KEYS = keys_of(SPEC, 40)
ANN = {"by": "ann", "reason": "kilometres from now on"}


@dataclass
class Deployment:
    """A project whose partitions come one after the other, and its channel."""

    loop: Loop
    server: Any

    def deliver(self) -> None:
        client = web_client(TOKEN, base_url=self.server.url, timeout=5)
        slack.deliver(self.loop.store.engine, client, SPEC)

    def looked(self, key: str) -> None:
        """The end of `decide_remedies`, with what it tells."""
        self.loop.store.mark_seen(P, "monitor", key)
        feed_looked_at(self.loop, key)
        self.deliver()

    def broken(self, key: str, signs) -> None:
        episode = keep_out(self.loop.store, P, key, signs)
        training_alerts.episode_opened(self.loop, episode)
        lasting_signs_asked(self.loop, episode)
        self.looked(key)

    def sound(self, key: str) -> None:
        ingest(self.loop.store, P, key)
        self.looked(key)

    def mended(self, key: str) -> None:
        """Ingested anew with another content, and looked at again."""
        row = IngestedPartition(key, "published", None, "0" * 64, 9, 0, "file:///labels", {}, None)
        self.loop.store.record_partition(P, row)
        self.tell_again(key)

    def tell_again(self, key: str) -> None:
        """The task of a tick that was decided is cleared."""
        for episode in self.loop.store.episodes(P, opened_at=key):
            training_alerts.episode_opened(self.loop, episode)
            lasting_signs_asked(self.loop, episode)
        self.looked(key)

    def read(self) -> list[tuple[str, str | None]]:
        """Headlines in their order, each with the headline of the message in whose thread it stands."""
        by_ts = {message["ts"]: headline(message) for message in self.server.messages}
        return [(headline(message), by_ts.get(message["thread_ts"])) for message in self.server.messages]

    def resolved(self) -> list[str]:
        return [title for title, thread in self.read() if "Resolved: " in title and thread is None]

    def replies(self) -> list[str]:
        """Texts of the answers that say that something is over."""
        told = [
            message for message in self.server.messages if message["thread_ts"] and "Resolved: " in headline(message)
        ]
        return [message["blocks"][1]["text"]["text"] for message in told if len(message["blocks"]) == 3]


def headline(message) -> str:
    return message["blocks"][0]["text"]["text"]


@pytest.fixture
def deployment(store_url, slack_server, tmp_path):
    store = Store.open(store_url)
    yield Deployment(Loop(PROJECT, flights.settings(tmp_path), store, KeptModels()), slack_server)
    store.close()


def test_a_broken_feed_shares_a_thread_and_is_over_when_the_newest_partition_is_sound(deployment):
    deployment.sound(KEYS[0])
    deployment.broken(KEYS[1], [NULLS])
    deployment.broken(KEYS[2], [UNIT])
    assert [(":chart_with" in title, bool(thread)) for title, thread in deployment.read()] == [
        (True, False),
        (True, True),
    ]
    assert not deployment.replies()
    deployment.sound(KEYS[3])
    [reply] = deployment.replies()
    assert reply.startswith(
        f"The feed looks sound at partition {KEYS[3]}. 2 partitions from {KEYS[1]} to {KEYS[2]} stay kept out"
    )
    assert [
        title.startswith(":white_check_mark: Resolved: Episode: the feed is broken")
        for title, _ in deployment.read()[:2]
    ] == [True, True]
    assert "*You:*" not in str(deployment.server.messages[0]["blocks"])
    for key in (KEYS[1], KEYS[2], KEYS[3]):
        deployment.tell_again(key)
    deployment.mended(KEYS[1])
    deployment.sound(KEYS[4])
    assert len(deployment.read()) == 3, "once, whatever is cleared"
    deployment.broken(KEYS[5], [NULLS])
    assert deployment.read()[3:] == [(":chart_with_downwards_trend: Episode: the feed is broken", None)], (
        "another time, another thread"
    )


def test_an_earlier_partition_that_is_mended_speaks_for_itself_alone(deployment):
    for key in KEYS[:3]:
        deployment.broken(key, [NULLS])
    deployment.mended(KEYS[1])
    assert deployment.replies() == [
        f"Partition {KEYS[1]} was ingested anew and looks sound: trainings may learn from it."
    ]
    marks = ["Resolved" in title for title, _ in deployment.read() if "Episode" in title]
    assert marks[:3] == [False, True, False]
    assert [title for title, _ in deployment.read() if "Fault or the new normal" in title and "Resolved" in title] == []


def test_a_sound_partition_that_comes_late_says_nothing_of_the_feed(deployment):
    deployment.broken(KEYS[5], [NULLS])
    deployment.sound(KEYS[4])
    assert not deployment.replies()


def test_a_lasting_sign_is_over_when_it_shows_no_more_though_another_does(deployment):
    for key in KEYS[:4]:
        deployment.broken(key, [NULLS])
    deployment.broken(KEYS[4], [UNIT])
    assert deployment.replies() == [f"That sign does not keep partition {KEYS[4]} out."]
    questions = [title for title, _ in deployment.read() if "Fault or the new normal" in title]
    assert [title.startswith(":white_check_mark:") for title in questions] == [True, True], (
        "the question and its answer"
    )
    episodes = [title for title, _ in deployment.read() if "Episode" in title]
    assert not any("Resolved" in title for title in episodes), "the feed is still broken"
    deployment.tell_again(KEYS[2])
    assert len([title for title, _ in deployment.read() if "Fault or the new normal" in title]) == 2


@pytest.mark.parametrize("always", [True, False])
def test_a_lasting_sign_that_is_readmitted_is_answered_with_who_and_why(deployment, always):
    store = deployment.loop.store
    for key in KEYS[:3]:
        deployment.broken(key, [NULLS])
    deployment.broken(KEYS[3], [NULLS, UNIT])
    done = readmit_signs(store, P, columns=["temp"], always=always, **ANN)
    readmitted(deployment.loop, done.partitions, done.signs if always else (), **ANN)
    deployment.deliver()
    said = "Readmitted by ann: kilometres from now on"
    assert deployment.replies() == [said] * (2 if always else 1), "of the partitions, and for good of the question"
    left = [title for title, _ in deployment.read() if "Resolved" not in title]
    assert len(left) == (1 if always else 2), (
        "the last partition shows another sign, and without --always the question stays"
    )


def test_a_single_partition_that_is_readmitted_leaves_the_others_and_answers_the_question_if_it_is_the_newest(
    deployment,
):
    store = deployment.loop.store
    for key in KEYS[:3]:
        deployment.broken(key, [NULLS])
    for key, replies in ((KEYS[0], 1), (KEYS[2], 3)):
        readmit(store, P, key, **ANN)
        readmitted(deployment.loop, [key], (), **ANN)
        deployment.deliver()
        assert len(deployment.replies()) == replies
    assert [title for title, _ in deployment.read() if "Resolved" not in title] == [
        ":chart_with_downwards_trend: Episode: the feed is broken"
    ]


def test_the_command_line_answers_the_question(deployment, store_url, tmp_path):
    for key in KEYS[:3]:
        deployment.broken(key, [NULLS])
    env = {name: value for name, value in os.environ.items() if not name.startswith("UPDRAFT_")}
    env |= {"UPDRAFT_STORE": store_url, "UPDRAFT_HOME": str(tmp_path), "UPDRAFT_PROJECTS": str(flights.PROJECTS)}
    words = ["readmit", P, "--column", "temp", "--sign", "nulls", "--always", "--reason", "the sensor is gone"]
    done = subprocess.run(
        [sys.executable, "-m", "updraft.cli", *words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    deployment.deliver()
    assert [reply.endswith(": the sensor is gone") for reply in deployment.replies()] == [True, True]
    assert all("Resolved" in title for title, _ in deployment.read())


def silent(deployment, number: int = 21) -> None:
    for key in KEYS[:9]:
        ingest(deployment.loop.store, P, key)
    trained(deployment.loop.store, P, KEYS[8])
    for key in KEYS[9:number]:
        ingest(deployment.loop.store, P, key)


def test_an_overdue_training_is_over_when_one_was_made_even_one_that_its_gates_refused(deployment):
    silent(deployment)
    for _ in range(2):
        training_overdue(deployment.loop)
    deployment.deliver()
    assert not deployment.replies()
    trained(deployment.loop.store, P, KEYS[20], state="refused")
    gates = {"passed": False, "reasons": ["worse"], "against": "2"}
    for _ in range(2):
        training_alerts.trained(deployment.loop, f"{P}-{KEYS[20]}-age", "9", gates)
        training_overdue(deployment.loop)
        deployment.deliver()
    assert deployment.replies() == ["A training has brought version 9, which its gates refused."]
    assert ":white_check_mark: Resolved: No training for too long" in deployment.resolved()


def test_an_overdue_training_is_not_over_while_one_is_called_for_and_is_when_the_policy_lets_it_pass(deployment):
    silent(deployment)
    training_overdue(deployment.loop)
    due = EpisodeRow("e1", P, KEYS[20], "age", "retrain", "due", {"words": "old"}, None, None)
    deployment.loop.store.open_episode(due)
    training_overdue(deployment.loop)
    deployment.deliver()
    assert not deployment.replies()
    patient = SPEC.model_copy(update={"alerts": SPEC.alerts.model_copy(update={"training_older_than": 30})})
    training_overdue(replace(deployment.loop, project=PROJECT.model_copy(update={"spec": patient})))
    deployment.deliver()
    assert deployment.replies() == [f"The last training was at {KEYS[8]}, which the policy lets pass."]


def test_a_training_that_brought_nothing_is_over_when_one_brings_a_model(deployment):
    store = deployment.loop.store
    ingest(store, P, KEYS[0])
    store.decide(P, key=KEYS[0], kind="training_ended", subject="e1", body={"reason": "its training failed"})
    training_alerts.trainings_ended(deployment.loop, KEYS[0])
    deployment.deliver()
    trained(store, P, KEYS[1])
    training_alerts.trained(deployment.loop, f"{P}-{KEYS[1]}-age", "9", {"passed": True, "reasons": [], "against": "2"})
    training_alerts.trainings_ended(deployment.loop, KEYS[0])
    deployment.deliver()
    assert deployment.replies() == ["A training has brought version 9."]
    assert deployment.resolved() == [":white_check_mark: Resolved: A training that was called for brought nothing"]

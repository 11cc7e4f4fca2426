"""Who did it is what the operating system says, whatever the environment claims."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from updraft.cli.edge import who
from updraft.loop.decision_words import in_words
from updraft.store.records import Decision, EpisodeRow, IngestedPartition, PartitionRow
from updraft.store.store import Store

ROOT = Path(__file__).parents[2]
LIES = {"LOGNAME": "mallory", "USER": "mallory", "LNAME": "mallory", "USERNAME": "mallory", "SUDO_USER": "mallory"}
LIES |= {"SUDO_UID": "12345"}
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")


def who_as(*users):
    """What `who` says in a process of the last user that a process of the user before it has started, and so on."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            for position, user in enumerate(users):
                os.setresuid(user, 0, 0)  # as sudo: the real user is another, and it can still become one
                if position < len(users) - 1 and (inner := os.fork()):
                    os.waitpid(inner, 0)
                    os._exit(0)
            os.write(write, who().encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        return answer.read().decode()


def test_the_environment_is_not_believed(monkeypatch):
    for name, value in LIES.items():
        monkeypatch.setenv(name, value)

    assert who().startswith(pwd.getpwuid(os.getuid()).pw_name)
    assert "mallory" not in who()
    assert "12345" not in who()


@as_root
def test_a_user_without_a_name_is_told_by_number():
    assert who_as(54321) == "uid 54321"


@as_root
def test_behind_sudo_both_are_told():
    assert who_as(12345, 65534) == f"{pwd.getpwuid(65534).pw_name}, called by uid 12345"
    assert who_as(12345, 0) == f"{pwd.getpwuid(0).pw_name}, called by uid 12345"


def test_what_is_recorded_names_the_real_user(store_url, tmp_path):
    store, key = Store.open(store_url), "2013-04-01T0500"
    partition = PartitionRow(key, "published", None, "0" * 64, 1, 0, None)
    store.record_partition("flight_delays", IngestedPartition(**asdict(partition), checks={}, profile=None))
    found = {"words": "the feed is broken", "content": "0" * 64, "signs": [["nulls", "temp"]]}
    store.open_episode(EpisodeRow("e", "flight_delays", key, "feed", "quarantine", "closed", found, "", key))
    known = {name: value for name, value in os.environ.items() if not name.startswith("UPDRAFT_")}
    known |= {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "include", "plugins")), **LIES}
    known |= {"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_STORE": store_url, "UPDRAFT_MLFLOW": "http://127.0.0.1:1"}
    command = [sys.executable, "-m", "updraft.cli", "readmit", "flight_delays", key, "--reason", b"it is \xff right"]
    subprocess.run(command, env=known, check=True, capture_output=True, timeout=120)

    [decision] = store.decisions("flight_delays", kinds=("readmit",))
    store.close()
    assert decision.body["by"].startswith(pwd.getpwuid(os.getuid()).pw_name)
    assert "mallory" not in str(decision.body)
    assert decision.body["reason"] == "it is \ufffd right"


def test_what_a_terminal_would_obey_is_shown_as_nothing():
    body = {"partition": "2013", "by": "ann\x1b]0;title\x07", "reason": "\x1b[2Jgone\x00"}
    words = in_words(Decision("p", 1, "2013", "readmit", "s", body, "a", "b"))

    assert words == "readmitted partition 2013 (by ann\ufffd]0;title\ufffd): \ufffd[2Jgone\ufffd"


def test_a_store_that_is_away_ends_a_command_with_words(tmp_path):
    known = {name: value for name, value in os.environ.items() if not name.startswith("UPDRAFT_")}
    known |= {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "include", "plugins"))}
    known |= {"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_STORE": "postgresql+psycopg2://a:hunter2@127.0.0.1:9/none"}
    command = [sys.executable, "-m", "updraft.cli", "status"]
    done = subprocess.run(command, env=known, check=False, capture_output=True, text=True, timeout=120)

    assert done.returncode == 1
    assert "The store does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr

"""An ingestion that is killed at any of its steps, or whose disk is full, leaves the old state or the new one; the next one is right.

It is killed at every seventeenth of its steps (writing below home, and each word to the store); UPDRAFT_EVERY_STEP=1 takes them all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, postgres_server):
    url = postgres_server.new_store()
    folder = tmp_path_factory.mktemp("harmed")
    every = "1" if os.environ.get("UPDRAFT_EVERY_STEP") else "17"
    command = [sys.executable, "-m", "tests.support.harmed_ingestion", str(folder), url, every]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    postgres_server.drop_database(url)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def before_and_after(outcomes):
    [whole, *harmed], _ = outcomes
    assert (whole["ended"], whole["after"], whole["between"]["aside"]) == (0, whole["between"], [])
    assert whole["after"]["row"][2:4] == [20, 1]
    return whole["after"], harmed


@pytest.mark.timeout(1800)
def test_an_ingestion_that_was_killed_anywhere_is_right_when_it_runs_again(outcomes):
    whole, harmed = before_and_after(outcomes)
    killed = [outcome for outcome in harmed if outcome["harm"].startswith("killed")]
    assert len(killed) >= 5
    assert [outcome["ended"] for outcome in killed] == [-9] * (len(killed) - 1) + [0]
    for outcome in killed:
        assert outcome["again"] == 0, outcome["harm"]
        assert outcome["between"]["row"] in ([], whole["row"]), outcome["harm"]
        assert outcome["between"]["schema"] in ({}, whole["schema"]), outcome["harm"]
        assert {**outcome["after"], "aside": []} == whole, outcome["harm"]


@pytest.mark.timeout(1800)
def test_a_full_disk_leaves_the_state_of_before_and_nothing_beside_it(outcomes):
    whole, harmed = before_and_after(outcomes)
    full = [outcome for outcome in harmed if outcome["harm"].startswith("no file")]
    assert [outcome["ended"] for outcome in full] == [1] * len(full)
    for outcome in full:
        assert (outcome["again"], outcome["after"]) == (0, whole), outcome["harm"]
        assert outcome["between"]["aside"] == [], outcome["harm"]
        assert (outcome["between"]["row"], outcome["between"]["schema"]) in (([], {}), ([], whole["schema"])), outcome[
            "harm"
        ]
    assert "File too large" in outcomes[1]

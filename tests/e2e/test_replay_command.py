"""`updraft replay --demo` as a person runs it: interrupted, started again, to its summary and picture."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.pictures import assert_drawn
from tests.support.replay import PARTITIONS

from updraft.store.store import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800, func_only=True)]
# A shell lets what runs in its background ignore an interrupt.
HEEDING = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from updraft.cli import main; main()"
)
COMMAND = ("replay", "resumed", "--last", str(PARTITIONS), "--demo", "--json")


def started(stack):
    return subprocess.Popen(
        [sys.executable, "-c", HEEDING, *COMMAND],
        env={**os.environ, "UPDRAFT_HOME": str(stack.layout.home), "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_interrupted_and_started_again_the_demo_goes_on_where_it_was(stack):
    store = Store.open(stack.settings.store)
    first = started(stack)
    deadline = time.monotonic() + 400
    while not store.trainings("resumed"):  # in the middle of things
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=120)
    assert first.returncode == 130, said
    assert "Traceback" not in said
    before = {row.key: row.sha256 for row in store.partitions("resumed")}
    assert 3 <= len(before) < PARTITIONS
    second = started(stack)
    out, said = second.communicate(timeout=900)
    assert second.returncode == 0, said
    told = json.loads(out)
    assert told["partitions"] == PARTITIONS
    after = store.partitions("resumed")
    assert {row.key: row.sha256 for row in after}.items() >= before.items()
    assert len(after) == PARTITIONS
    changes = [row for row in store.trainings("resumed") if row.episode is None]
    assert len(changes) == 1, changes
    assert "change started: {'max_depth': 3}" in said
    assert "never retrained: mean log_loss" in said
    [picture] = told["pictures"]
    assert_drawn(Path(picture).read_bytes())
    scored = [row.key for row in store.performance("resumed")]
    assert len(scored) == len(set(scored)) == len(told["losses"])
    store.close()

"""A program that kept dying is marked as well again in Slack once it has run for ten minutes, and not before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support import flights
from tests.support.postgres import free_port
from tests.support.slack import TOKEN

from updraft.stack.layout import ROOT
from updraft.store.store import Store
from updraft_airflow import deployment
from updraft_airflow.hooks.slack import send_alerts

MINUTE = 60.0


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_url: str, slack_server: Any) -> Iterator[sa.Engine]:
    """A deployment whose tasks know Slack, and whose scheduler can be started as its process manager does."""
    connection = {"conn_type": "slack", "password": TOKEN, "extra": {"base_url": slack_server.url, "timeout": 5}}
    env = {"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_PROJECTS": str(flights.PROJECTS), "UPDRAFT_STORE": store_url}
    for name, value in {**env, "AIRFLOW_CONN_SLACK_API_DEFAULT": json.dumps(connection)}.items():
        monkeypatch.setenv(name, value)
    deployment.settings.cache_clear()
    (tmp_path / "stack").mkdir()
    store = Store.open(store_url)
    yield store.engine
    store.close()
    deployment.settings.cache_clear()


def scheduler(home: Path, *, waits_for: tuple[int, ...] = (), seconds: float = 60.0) -> None:
    """One life of the scheduler, which ends at once, or at its wait for a port where nothing listens."""
    env = {"UPDRAFT_HOME": str(home), "UPDRAFT_PROJECTS": str(flights.PROJECTS)}
    program = {"command": ["/bin/true"], "env": env, "cwd": str(home), "waits_for": list(waits_for)}
    plan = {"stack_id": "0123456789", "postgres_data": str(home), "programs": {"scheduler": program}}
    (home / "stack" / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, "-m", "updraft.stack.wrapper", str(home / "stack" / "plan.json"), "scheduler"]
    known = {"PYTHONPATH": str(ROOT / "include"), "PATH": os.environ["PATH"]}
    process = subprocess.Popen(command, env=known, stdout=subprocess.DEVNULL)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def passes(home: Path, seconds: float) -> None:
    """So much time passes, for the mark since when the scheduler runs."""
    mark = home / "stack" / "scheduler.runs"
    if mark.exists():
        mark.write_text(str(float(mark.read_text()) - seconds))


@pytest.fixture
def read(engine: sa.Engine, slack_server: Any) -> Callable[[], list[str]]:
    """What a person has read once the next task has sent what there is: the bold lines."""

    def bold() -> list[str]:
        send_alerts(deployment.settings(), engine, flights.flights().spec)
        return [message["blocks"][0]["text"]["text"] for message in slack_server.messages]

    return bold


DIES = ":red_circle: scheduler keeps dying"
WELL = ":white_check_mark: Resolved: scheduler keeps dying"


def test_it_is_told_as_over_once_when_it_has_run_for_ten_minutes(
    tmp_path: Path, read: Callable[[], list[str]], slack_server: Any
) -> None:
    for _ in range(3):
        scheduler(tmp_path)
    assert read() == [DIES]
    passes(tmp_path, 9 * MINUTE)
    assert read() == [DIES]
    scheduler(tmp_path)
    passes(tmp_path, 9 * MINUTE)
    assert read() == [DIES], "it died once more: the ten minutes begin anew"
    passes(tmp_path, MINUTE)
    for _ in range(2):
        assert read() == [WELL, WELL]
    first, reply = slack_server.messages
    assert reply["thread_ts"] == first["ts"]
    assert "scheduler has run for 10 minutes without a restart." in str(reply["blocks"])
    scheduler(tmp_path)
    passes(tmp_path, 11 * MINUTE)
    assert read() == [WELL, WELL], "one restart is told to nobody, nor is its end"


def test_a_start_by_hand_begins_the_ten_minutes_and_ends_nothing(tmp_path: Path, read: Callable[[], list[str]]) -> None:
    for _ in range(3):
        scheduler(tmp_path)
    (tmp_path / "stack" / "scheduler.asked").touch()
    scheduler(tmp_path)
    assert read() == [DIES]
    passes(tmp_path, 11 * MINUTE)
    assert read() == [WELL, WELL]


def test_a_program_that_waits_for_another_does_not_run(tmp_path: Path, read: Callable[[], list[str]]) -> None:
    for _ in range(3):
        scheduler(tmp_path)
    scheduler(tmp_path, waits_for=(free_port(),), seconds=5)
    assert not (tmp_path / "stack" / "scheduler.runs").exists()
    passes(tmp_path, 11 * MINUTE)
    assert read() == [DIES]


def test_a_store_that_is_away_leaves_it_to_the_next_task(
    tmp_path: Path, read: Callable[[], list[str]], engine: sa.Engine
) -> None:
    for _ in range(3):
        scheduler(tmp_path)
    assert read() == [DIES]
    passes(tmp_path, 11 * MINUTE)
    away = sa.create_engine(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none")
    with pytest.raises(sa.exc.OperationalError):
        send_alerts(deployment.settings(), away, flights.flights().spec)
    assert (tmp_path / "stack" / "scheduler.told").exists()
    assert read() == [WELL, WELL]

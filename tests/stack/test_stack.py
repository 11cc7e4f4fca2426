"""The whole stack, brought up below a path with a space: what is killed comes back, what is stopped is gone."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.stack import RunningStack, running_stack

from updraft.stack import control, processes, supervision
from updraft.stack.layout import PROGRAMS

pytestmark = pytest.mark.integration

DAGS = '''
"""DAGs of the stack's own tests."""
import datetime, json, os, pathlib, sys, time
from airflow.sdk import dag, task

HERE = pathlib.Path(__file__).parent
START = datetime.datetime(2024, 1, 1)


@dag(schedule=None, start_date=START, catchup=False)
def chain():
    """Six tasks, one after another, that use heavy libraries."""
    before = None
    for number in range(6):
        @task(task_id=f"t{number}", retries=1)
        def work(number):
            heavy = ("evidently", "great_expectations", "mlflow", "pandas", "xgboost", "duckdb", "sklearn")
            absent = [name for name in heavy if name not in sys.modules]
            threads = len(os.listdir("/proc/self/task"))
            (HERE / f"chain-{number}.json").write_text(json.dumps({"absent": absent, "threads": threads}))
        now = work(number)
        if before is not None:
            before >> now
        before = now


@dag(schedule=None, start_date=START, catchup=False)
def patient():
    """A task that takes a while the first time."""
    @task(retries=2)
    def wait():
        with (HERE / "patient.pids").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        if len((HERE / "patient.pids").read_text().splitlines()) == 1:
            time.sleep(600)
    wait()


@dag(schedule=None, start_date=START, catchup=False)
def steady():
    """A task that outlives a restart of what it talks to."""
    @task(retries=0)
    def work():
        (HERE / "steady.started").touch()
        time.sleep(20)
        return "done"
    work()


chain()
patient()
steady()
'''


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("some dags")
    (folder / "stack_dags.py").write_text(DAGS)
    return folder


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, dags: Path) -> Iterator[RunningStack]:
    home = tmp_path_factory.mktemp("with a space") / "ho me"
    start_and_interrupt(home, dags)
    with running_stack(home, dags=dags) as running:
        yield running


def start_and_interrupt(home: Path, dags: Path) -> None:
    """Begin a start and kill it while it is at work: the one that every test here uses goes on from there."""
    command = [sys.executable, "-m", "updraft.stack", "up"]
    begun = subprocess.Popen(
        command, env={**os.environ, "UPDRAFT_HOME": str(home), "UPDRAFT_DAGS": str(dags)}, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (home / "logs" / "mlflow.log").exists():  # PostgreSQL answers, Airflow's tables are being made
        assert begun.poll() is None, "the start ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    begun.kill()
    begun.wait()


def test_everything_is_up_and_healthy(stack: RunningStack) -> None:
    assert [row.program for row in control.status(stack.settings) if row.healthy] == list(PROGRAMS)


def test_what_the_world_is_told_is_closed_to_others(stack: RunningStack) -> None:
    for path in (stack.layout.home / "env.json", stack.layout.plan, stack.layout.airflow_passwords):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_everything_listens_on_loopback_alone(stack: RunningStack) -> None:
    ours = {process.pid for process in processes.members(stack.layout.id, data=stack.layout.home / "postgres")}
    listening = [one for one in psutil.net_connections("inet") if one.status == "LISTEN" and one.pid in ours]
    assert listening
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}


def test_both_users_can_log_in_and_the_training_pool_is_there(stack: RunningStack) -> None:
    pools = {pool["name"]: pool for pool in stack.api("admin").call("GET", "/pools")["pools"]}
    assert pools["training"]["slots"] == 1
    assert pools["training"]["include_deferred"] is True
    assert stack.api("replay").call("GET", "/dags?limit=1")["dags"]


def test_loading_the_airflow_settings_again_changes_nothing(stack: RunningStack, dags: Path) -> None:
    before = stack.api("admin").call("GET", "/pools")["pools"]
    control.up(stack.settings, dags=dags)
    assert stack.api("admin").call("GET", "/pools")["pools"] == before


def test_starting_it_again_restarts_nothing(stack: RunningStack, dags: Path) -> None:
    before = [state.pid for state in supervision.states(stack.layout)]
    control.up(stack.settings, dags=dags)
    assert [state.pid for state in supervision.states(stack.layout)] == before


def test_a_task_finds_the_heavy_libraries_already_imported(stack: RunningStack, dags: Path) -> None:
    run = stack.start_dag("chain")
    assert stack.wait_run("chain", run)["state"] == "success"
    for number in range(6):
        found = json.loads((dags / f"chain-{number}.json").read_text())
        assert found["absent"] == []
        assert found["threads"] == 1, "a thread pool was started before the fork"


def test_mlflow_keeps_artifacts_below_a_path_with_a_space(stack: RunningStack) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(stack.settings.mlflow)
    run = client.create_run(client.create_experiment("a space")).info.run_id
    client.log_text(run, "kept", "notes/a file.txt")
    assert Path(client.download_artifacts(run, "notes/a file.txt")).read_text() == "kept"
    assert [path.read_text() for path in (stack.layout.home / "mlflow").rglob("a file.txt")] == ["kept"]


def test_killed_programs_are_back_and_healthy(stack: RunningStack) -> None:
    # The database last: what needs it may end with it, and is then not there to be killed.
    for program in reversed(PROGRAMS):
        killed = stack.kill(program)
        deadline = time.monotonic() + 30
        while (state := next(s for s in supervision.states(stack.layout) if s.name == program)).pid in (killed, None):
            assert time.monotonic() < deadline, state
            time.sleep(0.1)
    stack.wait_healthy(seconds=150)


def test_a_killed_scheduler_takes_its_tasks_with_it_and_they_run_again(stack: RunningStack, dags: Path) -> None:
    run = stack.start_dag("patient")
    pids = dags / "patient.pids"
    deadline = time.monotonic() + 60
    while not pids.exists() or not pids.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    first = psutil.Process(int(pids.read_text()))
    stack.kill("scheduler")
    assert stack.wait_run("patient", run)["state"] == "success"
    assert not processes.is_alive(first)
    assert stack.tasks("patient", run)["wait"]["try_number"] == 2
    assert len(pids.read_text().splitlines()) == 2


def test_a_running_task_outlives_the_api_server_and_the_database(stack: RunningStack, dags: Path) -> None:
    run = stack.start_dag("steady")
    deadline = time.monotonic() + 60
    while not (dags / "steady.started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    stack.kill("api-server")
    stack.kill("postgres")
    assert stack.wait_run_through_restarts("steady", run)["state"] == "success"
    assert stack.tasks("steady", run)["work"]["try_number"] == 1


def test_when_the_process_manager_itself_was_killed_the_next_start_clears_up_and_goes_on(
    stack: RunningStack, dags: Path
) -> None:
    before = {state.name: state.pid for state in supervision.states(stack.layout)}
    manager = supervision.running(stack.layout)
    assert manager is not None
    os.kill(manager.pid, signal.SIGKILL)
    manager.wait()
    env = control.up(stack.settings, dags=dags)
    assert env == stack.env, "the addresses changed"
    stack.wait_healthy()
    after = {state.name: state.pid for state in supervision.states(stack.layout)}
    assert not set(before.values()) & set(after.values())
    assert stack.api().call("GET", "/dags/patient/dagRuns")["total_entries"] == 1


def test_stopping_leaves_no_process_and_stopping_again_is_harmless(stack: RunningStack) -> None:
    data = stack.layout.home / "postgres"
    assert len(processes.members(stack.layout.id, data=data)) >= len(PROGRAMS)
    control.down(stack.settings)
    assert processes.members(stack.layout.id, data=data) == []
    assert supervision.running(stack.layout) is None
    control.down(stack.settings)
    assert {row.state for row in control.status(stack.settings)} == {"stopped"}

"""The whole stack, brought up below a path with a space: what is killed comes back, what is stopped is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.support.stack import RunningStack, running_stack

from updraft.airflow_api import AirflowApi, AirflowRefused, Signer
from updraft.replay.airflow import AirflowClient
from updraft.settings import MLFLOW_SIGN_IN, mlflow_sign_in
from updraft.stack import control, doctor, environment, plan, processes, supervision
from updraft.stack.access import sign_in
from updraft.stack.layout import MLFLOW, POSTGRES, PROGRAMS, SCHEDULER
from updraft.stack.secrets import load_or_make
from updraft.stack.wrapper import LIVED_WELL

pytestmark = pytest.mark.integration

DAGS = '''
"""DAGs of the stack's own tests."""
import datetime, json, os, pathlib, sys, time
from airflow.providers.standard.operators.hitl import ApprovalOperator
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


@dag(schedule=None, start_date=START, catchup=False)
def asking():
    """A task that a person has to answer."""
    ApprovalOperator(task_id="approve", subject="Go on?")


asking()
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
        command,
        env={**os.environ, "UPDRAFT_HOME": str(home), "UPDRAFT_DAGS": str(dags)},
        stdout=subprocess.DEVNULL,
        umask=0,
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


def test_nothing_that_the_stack_writes_is_open_to_others(stack: RunningStack) -> None:
    written = [path for path in stack.layout.home.rglob("*") if not path.is_symlink()]
    assert {stack.layout.home / "env.json", stack.layout.plan, stack.layout.mlflow_sign_in} <= set(written)
    assert [path for path in written if path.stat().st_mode & 0o077] == []
    assert stack.layout.home.stat().st_mode & 0o066 == 0


def test_the_doctor_finds_nothing_wrong_with_a_fresh_deployment(stack: RunningStack) -> None:
    assert [found for found in doctor.diagnose(stack.settings) if found.level is doctor.Level.ERROR] == []


def test_everything_listens_on_loopback_alone(stack: RunningStack) -> None:
    ours = {process.pid for process in processes.members(stack.layout.id, data=stack.layout.home / "postgres")}
    listening = [one for one in psutil.net_connections("inet") if one.status == "LISTEN" and one.pid in ours]
    assert listening
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}


def test_a_person_signs_in_and_the_training_pool_is_there(stack: RunningStack) -> None:
    passwords = json.loads(stack.layout.airflow_passwords.read_text())
    assert list(passwords) == ["admin"]
    api = AirflowApi.login(stack.settings.airflow, "admin", passwords["admin"])
    pools = {pool["name"]: pool for pool in api.call("GET", "/pools")["pools"]}
    assert pools["training"]["slots"] == 1
    assert pools["training"]["include_deferred"] is True


def test_nobody_can_sign_in_as_replay(stack: RunningStack) -> None:
    known = load_or_make(stack.layout.secrets)
    for password in (known.admin, known.mlflow_programs, known.jwt, "", "replay"):
        with pytest.raises(AirflowRefused) as caught:
            AirflowApi.login(stack.settings.airflow, "replay", password)
        assert caught.value.status in (400, 401)


def test_a_replays_access_is_short_and_needs_the_secret_of_this_deployment(stack: RunningStack) -> None:
    base, known = stack.settings.airflow, load_or_make(stack.layout.secrets)
    brief = sign_in(stack.layout, base, "replay", lasts=1)
    assert brief.call("GET", "/dags?limit=1")["dags"]
    ours = Signer(secret=known.jwt, issuer=environment.issuer(stack.layout))
    for signer in (
        replace(ours, secret=known.web),
        replace(ours, issuer="updraft-another"),
        replace(ours, audience="x"),
    ):
        with pytest.raises(AirflowRefused) as caught:
            AirflowApi.signed(base, "replay", "op", signer, lasts=60).call("GET", "/dags?limit=1")
        assert caught.value.status == 403
    client = AirflowClient(base, lambda: sign_in(stack.layout, base, "replay", lasts=4))
    first = client.headers
    time.sleep(13)  # Airflow pardons clocks that differ by ten seconds
    with pytest.raises(AirflowRefused) as caught:
        brief.call("GET", "/dags?limit=1")
    assert caught.value.status == 401
    assert client.dags("%")
    assert client.headers != first, "renewed as it goes"


def test_what_a_replay_approves_is_recorded_as_its_own(stack: RunningStack) -> None:
    base = stack.settings.airflow
    client = AirflowClient(base, lambda: sign_in(stack.layout, base, "replay"))
    run, deadline = stack.start_dag("asking"), time.monotonic() + 90
    while not (waiting := client.tasks(["asking"], ["awaiting_input"])):
        assert time.monotonic() < deadline, stack.tasks("asking", run)
        time.sleep(0.2)
    client.answer(waiting[0], "Approve")
    answer = client.call("GET", f"/dags/asking/dagRuns/{run}/taskInstances/approve/-1/hitlDetails")
    assert answer["responded_by_user"] == {"id": "replay", "name": "replay"}


def mlflow_answer(stack: RunningStack, path: str, *sign_in: str, method: str = "GET", body: Any = None) -> int:
    """The status of MLflow's answer."""
    auth = None if not sign_in else (sign_in[0], sign_in[1])
    return httpx.request(method, f"{stack.settings.mlflow}{path}", auth=auth, json=body, timeout=30).status_code


def test_mlflow_shows_and_takes_nothing_without_a_sign_in(stack: RunningStack) -> None:
    known = load_or_make(stack.layout.secrets)
    assert mlflow_answer(stack, "/health") == 200
    assert httpx.get(stack.settings.mlflow).headers["WWW-Authenticate"] == 'Basic realm="mlflow"'
    wrong = [("admin", known.mlflow_programs), ("updraft", known.admin), ("replay", known.admin), ("admin", "")]
    for who in ((), *wrong):
        for path in ("/", "/api/2.0/mlflow/experiments/get?experiment_id=0", "/ajax-api/2.0/mlflow/users/list"):
            assert mlflow_answer(stack, path, *who) == 401, (who, path)
        for path in ("/api/2.0/mlflow/experiments/create", "/api/2.0/mlflow/registered-models/create"):
            assert mlflow_answer(stack, path, *who, method="POST", body={"name": "planted"}) == 401, (who, path)
        for path in ("/api/2.0/mlflow-artifacts/artifacts/planted", "/v1/traces"):
            assert mlflow_answer(stack, path, *who, method="PUT", body={}) in (401, 405), (who, path)
        path = "/api/2.0/mlflow/users/create"
        assert mlflow_answer(stack, path, *who, method="POST", body={"username": "me", "password": "x" * 12}) == 401
    for who in (("admin", known.admin), ("updraft", known.mlflow_programs)):
        assert mlflow_answer(stack, "/api/2.0/mlflow/experiments/get?experiment_id=0", *who) == 200


def test_a_command_by_hand_signs_in_to_our_mlflow_and_to_no_other(stack: RunningStack) -> None:
    code = (
        "import os; from updraft.cli.edge import enter, settings; from updraft.jobs.tracking import mlflow_client\n"
        "enter(os.environ); print(mlflow_client(settings().mlflow).get_experiment('0').name)\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "UPDRAFT_"))}
    env = {**kept, "UPDRAFT_HOME": str(stack.layout.home), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Default", done.stderr
    assert mlflow_sign_in(env) == {name: stack.env[name] for name in MLFLOW_SIGN_IN}
    assert mlflow_sign_in({**env, "UPDRAFT_MLFLOW": "http://elsewhere:5000"}) == {}
    assert mlflow_sign_in({**env, "MLFLOW_TRACKING_URI": "http://elsewhere:5000"}) == {}
    assert mlflow_sign_in({**env, "MLFLOW_TRACKING_USERNAME": "me"}) == {}


def test_no_program_holds_the_superusers_password_and_mlflow_only_its_own(stack: RunningStack) -> None:
    known = load_or_make(stack.layout.secrets)
    environments = {program: psutil.Process(stack.process(program)).environ() for program in PROGRAMS}
    for process in processes.members(stack.layout.id, data=Path(plan.Plan.read(stack.layout.plan).postgres_data)):
        assert known.database_superuser not in str(process.environ()), process.name()
    for secret in (known.database_airflow, known.database_updraft, known.mlflow_programs, known.jwt, known.fernet):
        assert secret not in str(environments["mlflow"])
        assert secret not in str(environments["postgres"])
        assert secret in str(environments["scheduler"])
    assert "UPDRAFT_STORE" not in environments["mlflow"]


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


def test_a_password_that_is_taken_out_of_the_secrets_is_replaced_and_the_old_one_refused_at_once(
    stack: RunningStack, dags: Path
) -> None:
    path, before = stack.layout.secrets, load_or_make(stack.layout.secrets)
    assert mlflow_answer(stack, "/", "admin", before.admin) == 200  # MLflow remembers it now
    path.write_text(
        json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "admin"})
    )
    others = {state.name: state.pid for state in supervision.states(stack.layout) if state.name != MLFLOW}
    control.up(stack.settings, dags=dags)
    after = load_or_make(path)
    assert replace(after, admin=before.admin) == before
    assert mlflow_answer(stack, "/", "admin", before.admin) == 401
    assert mlflow_answer(stack, "/", "admin", after.admin) == 200
    assert mlflow_answer(stack, "/", "updraft", after.mlflow_programs) == 200
    with pytest.raises(AirflowRefused):
        AirflowApi.login(stack.settings.airflow, "admin", before.admin)
    AirflowApi.login(stack.settings.airflow, "admin", after.admin)
    assert others.items() <= {state.name: state.pid for state in supervision.states(stack.layout)}.items()


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


def test_after_an_outage_of_its_database_the_scheduler_goes_on_without_importing_anew(
    stack: RunningStack, dags: Path
) -> None:
    stack.wait_healthy(seconds=150)
    importer = psutil.Process(stack.process(SCHEDULER))
    [life] = importer.children()
    while time.time() - life.create_time() < LIVED_WELL + 2:  # one that dies early is the process manager's
        time.sleep(1)
    supervision.stop_programs(stack.layout, [POSTGRES], seconds=30)
    time.sleep(5)
    supervision.start_program(stack.layout, POSTGRES)
    life.wait(120)
    stack.wait_healthy(seconds=150)
    assert stack.process(SCHEDULER) == importer.pid, "the process manager had to start it"
    run = stack.start_dag("steady")
    assert stack.wait_run_through_restarts("steady", run)["state"] == "success"


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

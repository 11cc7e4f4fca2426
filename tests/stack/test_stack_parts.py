"""The stack's parts without the stack: secrets, plan, backoff, processes, findings."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from supervisor.xmlrpc import SupervisorTransport
from tests.support.flights import PROJECTS
from tests.support.postgres import free_port

from updraft.errors import StackError
from updraft.registry import signing
from updraft.settings import Settings
from updraft.spec.load import load_project
from updraft.stack import control, doctor, environment, postgres, processes, restarts, secrets, supervision, wrapper
from updraft.stack.layout import DAG_PROCESSOR, ROOT, SCHEDULER, Layout, write_private
from updraft.stack.plan import Plan

KNOWN = secrets.Secrets(**{f.name: f"secret-{f.name}-itself" for f in dataclasses.fields(secrets.Secrets)})


def _layout(home: Path) -> Layout:
    return Layout.of(Settings.from_env({"UPDRAFT_HOME": str(home)}))


def test_secrets_are_made_once_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "stack.json"
    made = secrets.load_or_make(path)
    assert secrets.load_or_make(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name, value in dataclasses.asdict(made).items():
        assert not value or value not in repr(made), name
    passwords = [made.database_superuser, made.database_airflow, made.database_mlflow, made.database_updraft]
    assert len({*passwords, made.admin, made.mlflow_programs}) == 6


def test_a_secret_of_a_newer_version_is_added_and_the_others_kept(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    before = secrets.load_or_make(path)
    known = json.loads(path.read_text())
    del known["mlflow_programs"]
    path.write_text(json.dumps(known))
    after = secrets.load_or_make(path)
    assert after.admin == before.admin
    assert after.mlflow_programs not in ("", before.mlflow_programs)
    assert secrets.load_or_make(path) == after


def test_the_secrets_of_an_older_version_keep_their_shared_password_until_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    path.write_text(json.dumps({"database": "one for all", "admin": "the same admin", "replay": "standing account"}))
    made = secrets.load_or_make(path)
    assert (made.database, made.admin) == ("one for all", "the same admin")
    assert "standing account" not in path.read_text()
    secrets.forget_shared(path)
    assert secrets.load_or_make(path) == dataclasses.replace(made, database="")
    assert "one for all" not in path.read_text()


def test_a_secret_of_a_still_newer_version_survives_this_one(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    path.write_text(json.dumps({"of_tomorrow": "kept"}))
    secrets.load_or_make(path)
    secrets.forget_shared(path)
    assert json.loads(path.read_text())["of_tomorrow"] == "kept"


def test_broken_secrets_are_an_error_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    path.write_text('{"admin": "hunter2')
    with pytest.raises(StackError, match=r"stack\.json: not the JSON object") as caught:
        secrets.load_or_make(path)
    assert "hunter2" not in str(caught.value)
    assert path.read_text() == '{"admin": "hunter2'


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan
    assert stat.S_IMODE((tmp_path / "plan.json").stat().st_mode) == 0o600


def test_a_missing_plan_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="run `make up`"):
        Plan.read(tmp_path / "plan.json")


def test_no_password_stands_in_a_command_line(tmp_path: Path) -> None:
    for program in _plan(tmp_path).programs.values():
        assert not any(
            value in word for value in dataclasses.asdict(KNOWN).values() if value for word in program.command
        )


def test_each_program_knows_only_what_it_needs(tmp_path: Path) -> None:
    held = {
        name: {secret for secret, value in dataclasses.asdict(KNOWN).items() if value and value in str(program.env)}
        for name, program in _plan(tmp_path).programs.items()
    }
    assert held["postgres"] == set()
    assert held["mlflow"] == {"database_mlflow", "mlflow"}
    assert held["api-server"] == {"database_airflow", "database_updraft", "fernet", "jwt", "mlflow_programs", "web"}
    for name in ("scheduler", "triggerer", "dag-processor"):
        assert held[name] == held["api-server"] - {"web"}, name


def _plan(home: Path) -> Plan:
    from updraft.stack import plan

    layout, ports = _layout(home), {"postgres": 1, "mlflow": 2, "airflow": 3}
    placement = postgres.Placement(binaries=home, data=home / "postgres", user=None, group=None)
    shared = environment.public(Settings.from_env({"UPDRAFT_HOME": str(home)}), layout, ports, KNOWN)
    return plan.make(layout, placement, ports, KNOWN, shared)


def test_a_program_that_was_killed_is_back_at_once_and_one_that_keeps_dying_waits_longer_and_longer(
    tmp_path: Path,
) -> None:
    history = tmp_path / "starts.json"
    pauses, now = [], 1000.0
    for _ in range(12):
        pause = wrapper.next_pause(history, now)
        pauses.append(pause)
        now += pause + 1.0
    assert pauses == [0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30, 30]


def test_a_program_that_lived_long_counts_as_healthy_again(tmp_path: Path) -> None:
    history = tmp_path / "starts.json"
    for second in range(6):
        wrapper.next_pause(history, 1000.0 + second)
    assert wrapper.next_pause(history, 2000.0) == 0


def test_leftovers_are_found_by_their_mark_also_when_they_lost_their_parent(tmp_path: Path) -> None:
    nest = "import subprocess as s; print(s.Popen(['sleep', '60'], start_new_session=True, stdout=-3, stderr=-3).pid)"
    env = {**os.environ, processes.MARK: "abc:scheduler"}
    done = subprocess.run([sys.executable, "-c", nest], env=env, capture_output=True, text=True, check=True, timeout=30)
    orphan = psutil.Process(int(done.stdout))
    try:
        assert processes.members("abc", "scheduler") == [orphan]
        assert processes.members("abc") == [orphan]
        assert processes.members("abc", "mlflow") == []
        assert processes.members("ab") == []
        assert processes.reap("abc", "scheduler") == 1
        assert not processes.is_alive(orphan)
    finally:
        if orphan.is_running():
            orphan.kill()


def test_a_pid_file_that_a_reboot_left_is_not_believed(tmp_path: Path) -> None:
    layout = _layout(tmp_path)
    layout.make_folders()
    layout.supervisor_pid.write_text(str(os.getpid()))  # the number belongs to another process now
    assert supervision.running(layout) is None
    control.down(Settings.from_env({"UPDRAFT_HOME": str(tmp_path)}))
    assert not layout.supervisor_pid.exists()


def test_a_percent_sign_and_quotes_in_the_path_reach_supervisord_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from supervisor.options import ServerOptions

    layout = _layout(tmp_path / '50% "of" it\'s')
    layout.make_folders()
    supervision.write_config(layout)
    monkeypatch.chdir(layout.home)
    options = ServerOptions()
    options.realize(["-c", str(layout.supervisor_config)])
    program = options.process_group_configs[0].process_configs[0]
    import shlex

    assert shlex.split(program.command)[3:] == [str(layout.plan), "postgres"]
    assert program.stdout_logfile == "logs/postgres.log"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Layout]:
    """A process manager with nothing started in it."""
    layout = _layout(tmp_path)
    layout.make_folders()
    supervision.write_config(layout)
    supervision.start(layout, keep_open=[])
    started = supervision.running(layout)
    assert started is not None
    yield layout
    started.resume()
    assert processes.end([started]) == []


def test_the_process_manager_obeys_who_reads_its_configuration_and_nobody_else(manager: Layout) -> None:
    assert {state.state for state in supervision.states(manager)} == {"STOPPED"}
    assert manager.supervisor_config.stat().st_mode & 0o777 == 0o600
    for user, password in ((None, None), ("updraft", "guessed")):
        transport = SupervisorTransport(user, password, f"unix://{manager.supervisor_socket}")
        with pytest.raises(xmlrpc.client.ProtocolError, match="401"):
            xmlrpc.client.ServerProxy("http://supervisor", transport=transport).supervisor.getState()
        transport.close()
    supervision.write_config(manager)  # another password, which the running one does not know
    with pytest.raises(StackError, match=r"does not answer.*401"):
        supervision.states(manager)
    assert not supervision.answers(manager)


def test_a_process_manager_that_stands_still_is_not_waited_for_for_ever(
    manager: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_PATIENCE", 0.5)
    process = supervision.running(manager)
    assert process is not None
    process.suspend()
    with pytest.raises(StackError, match=r"does not answer.*timed out"):
        supervision.states(manager)


def test_a_configuration_of_a_version_without_a_password_says_what_to_do(manager: Layout) -> None:
    manager.supervisor_config.write_text("[supervisord]\n")
    with pytest.raises(StackError, match=r"supervisord\.conf: .*supervisorctl section; run `make down up`"):
        supervision.states(manager)


def test_nothing_is_started_where_the_disk_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12 - 10**6, 10**6))
    settings = Settings.from_env({"UPDRAFT_HOME": str(tmp_path)})
    with pytest.raises(StackError, match=str(tmp_path)):
        control.up(settings)
    assert supervision.running(Layout.of(settings)) is None


def test_the_socket_of_a_long_path_is_short(tmp_path: Path) -> None:
    assert len(str(_layout(tmp_path / ("x" * 150)).supervisor_socket)) < 100


def test_the_shell_file_keeps_quotes_and_spaces(tmp_path: Path) -> None:
    script = tmp_path / "env.sh"
    script.write_text(environment.as_shell({"A": "it's a $HOME `b` c"}))
    out = subprocess.run(["sh", "-c", f'. "{script}"; printf %s "$A"'], capture_output=True, text=True, check=True)
    assert out.stdout == "it's a $HOME `b` c"


def test_programs_get_none_of_the_callers_airflow_settings_but_its_connections() -> None:
    env = {"AIRFLOW_HOME": "/x", "AIRFLOW__CORE__DAGS_FOLDER": "/x", "AIRFLOW_CONN_SLACK_API_DEFAULT": "slack://"}
    env |= {"PYTHONDONTWRITEBYTECODE": "1", "PATH": "/bin"}
    assert environment.inherited(env, "scheduler") == {"AIRFLOW_CONN_SLACK_API_DEFAULT": "slack://", "PATH": "/bin"}


def test_what_operations_watch_is_set_by_the_caller_and_the_scrapers_token_reaches_the_api_server_alone() -> None:
    env = {"AIRFLOW__METRICS__OTEL_ON": "True", "AIRFLOW__LOGGING__JSON_LOGS": "True"}
    env["AIRFLOW__OPENLINEAGE__NAMESPACE"] = "updraft"
    token = {"UPDRAFT_METRICS_TOKEN": "0123456789abcdef"}
    assert environment.inherited(env | token, "scheduler") == env
    assert environment.inherited(env | token, "mlflow") == {}
    for program in ("", "api-server"):
        assert environment.inherited(env | token, program) == env | token


def test_what_runs_as_another_user_gets_nothing_secret_of_the_caller_and_mlflow_no_connections() -> None:
    env = {
        "AIRFLOW_CONN_DB": "postgres://u:p@h",
        "AWS_SECRET_ACCESS_KEY": "k",
        "LANGFUSE_SECRET_KEY": "k",
        "PATH": "/bin",
        "LC_ALL": "C",
    }
    assert environment.inherited(env, "postgres") == {"PATH": "/bin", "LC_ALL": "C"}
    assert environment.inherited(env, "mlflow") == {name: env[name] for name in env if name != "AIRFLOW_CONN_DB"}


def test_a_private_file_is_never_open_to_others_not_even_for_a_moment(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "secret", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_folder_below_a_closed_one_is_not_open_to_others(tmp_path: Path) -> None:
    closed = tmp_path / "closed" / "inner"
    closed.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    assert not postgres.open_to_others(closed)
    assert postgres.open_to_others(Path("/usr/bin"))


def test_findings_say_what_to_do(tmp_path: Path) -> None:
    assert doctor.python_version((3, 12)).level is doctor.Level.OK
    assert doctor.python_version((3, 10)).level is doctor.Level.ERROR
    assert doctor.disk(10**6, tmp_path).todo.startswith("free some")
    assert doctor.memory(2**30).level is doctor.Level.WARNING
    assert doctor.user(0).level is doctor.Level.WARNING
    assert doctor.user(1000).level is doctor.Level.OK


def test_a_secret_that_others_can_read_is_found(tmp_path: Path) -> None:
    layout = _layout(tmp_path)
    layout.make_folders()
    secrets.load_or_make(layout.secrets).admin  # noqa: B018
    layout.secrets.chmod(0o644)
    found = list(doctor.private_files(layout))
    assert [finding.level for finding in found] == [doctor.Level.ERROR]
    assert found[0].todo == f"chmod 600 '{layout.secrets}'"


def test_the_public_half_of_the_signing_key_is_no_secret(tmp_path: Path) -> None:
    layout = _layout(tmp_path)
    layout.make_folders()
    private, public = signing.key_pair(layout.secrets.parent)
    public.chmod(0o644)  # as a usual umask leaves it, or as it is copied to who verifies
    assert [finding.level for finding in doctor.private_files(layout)] == [doctor.Level.OK]
    private.chmod(0o640)
    assert [finding.todo for finding in doctor.private_files(layout)] == [f"chmod 600 '{private}'"]


def test_a_stack_that_never_ran_is_told_as_not_running(tmp_path: Path) -> None:
    rows = control.status(Settings.from_env({"UPDRAFT_HOME": str(tmp_path)}))
    assert {row.state for row in rows} == {"stopped"}
    assert not any(row.healthy for row in rows)


@pytest.mark.parametrize("backend", ["local", "kubernetes"])
def test_a_fork_of_the_dag_processor_imports_nothing_anew_to_read_a_dag_file(tmp_path: Path, backend: str) -> None:
    folder = Path(shutil.copytree(PROJECTS / "flight_delays", tmp_path / "projects" / "flight_delays"))
    spec = yaml.load((folder / "project.yaml").read_text(), yaml.BaseLoader)
    spec["training"]["compute"] = {"backend": backend}
    (folder / "project.yaml").write_text(yaml.safe_dump(spec))
    env = environment.of_program(DAG_PROCESSOR, _layout(tmp_path), {"PYTHONPATH": "", "AIRFLOW__API__SECRET_KEY": "x"})
    read = (
        "import airflow_local_settings, runpy, sys\n"
        "ahead = set(sys.modules)\n"
        "for file in sys.argv[1:]: runpy.run_path(file)\n"
        "print(sorted(name for name in set(sys.modules) - ahead if name.startswith(('updraft', 'kubernetes'))))\n"
        "print('kubernetes' in sys.modules)"
    )
    dags = sorted(map(str, Path(__file__).parents[2].joinpath("dags").glob("*.py")))
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(environment.AIRFLOW_CONFIG)])
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", read, *dags],
        env={
            **os.environ,
            "PYTHONPATH": path,
            "UPDRAFT_PRELOAD": env["UPDRAFT_PRELOAD"],
            "UPDRAFT_PROJECTS": str(folder.parent),
            "UPDRAFT_HOME": str(tmp_path),
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines()[-2:] == ["[]", str(backend == "kubernetes")]


def test_the_scheduler_waits_for_its_database_after_its_imports_so_that_it_is_there_soon_after_it(
    tmp_path: Path,
) -> None:
    port = free_port()
    env = environment.of_program(
        SCHEDULER, _layout(tmp_path), {"PYTHONPATH": "", "AIRFLOW__API__SECRET_KEY": "x"}, [port]
    )
    assert env["UPDRAFT_PRELOAD"] == "tasks"
    told = "import airflow_local_settings, os; print('there', 'UPDRAFT_WAITS_FOR' in os.environ, flush=True)"
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(environment.AIRFLOW_CONFIG)])
    waiting = subprocess.Popen(
        [sys.executable, "-c", told],
        env={
            **os.environ,
            "PYTHONPATH": path,
            "UPDRAFT_WAITS_FOR": env["UPDRAFT_WAITS_FOR"],
            "UPDRAFT_HOME": str(tmp_path),
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdout is not None
    assert "waiting for port" in waiting.stdout.readline()
    with socket.create_server(("127.0.0.1", port)):
        assert waiting.stdout.readline() == "there False\n"  # no task waits again
        assert waiting.wait() == 0


def test_programs_wait_for_mlflow_with_pauses_that_do_not_grow(tmp_path: Path) -> None:
    env = environment.of_program("triggerer", _layout(tmp_path), {"PYTHONPATH": "", "AIRFLOW__API__SECRET_KEY": "x"})
    told = (
        "from mlflow.utils.rest_utils import MLFLOW_HTTP_REQUEST_MAX_RETRIES as tries, "
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR as factor, MLFLOW_HTTP_REQUEST_BACKOFF_JITTER as jitter, _validate_max_retries\n"
        "from urllib3.util.retry import Retry\n"
        "_validate_max_retries(tries.get())\n"
        "retry = Retry(tries.get(), backoff_factor=factor.get(), backoff_jitter=jitter.get())\n"
        "pauses = []\n"
        "for _ in range(tries.get()):\n"
        "    retry = retry.increment('GET', '/', error=OSError()); pauses.append(retry.get_backoff_time())\n"
        "print(max(pauses), sum(pauses))"
    )
    waits = {name: value for name, value in env.items() if "MLFLOW_HTTP" in name}
    done = subprocess.run(
        [sys.executable, "-c", told], env={**os.environ, **waits}, capture_output=True, text=True, check=True
    )
    longest, all_of_them = map(float, done.stdout.split())
    assert 5 < longest <= 10  # at most so long after MLflow is back
    assert all_of_them > 120


def test_a_program_that_is_restarted_again_and_again_is_told_once_a_series(tmp_path: Path) -> None:
    def starts(*moments: float) -> list[int]:
        told = []
        for moment in moments:
            series = restarts.count(tmp_path, "scheduler", 1_000_000.0 + moment)
            if series is not None:
                restarts.note_told(tmp_path, "scheduler")
                told.append(series.times)
        return told

    restarts.asked_for(tmp_path, "scheduler").touch()
    assert starts(0, 10, 20) == [], "a start by `make up`, and two restarts"
    assert starts(30) == [3]
    assert starts(60, 90, 600) == [], "the same series"
    assert starts(2000, 2400, 2700) == [], "three, and never more than two within ten minutes"
    assert starts(2710) == [3]
    (tmp_path / "scheduler.restarts.json").write_text('{"restarts": [')
    assert starts(2720) == [], "a file that a crash cut off is begun anew"


def test_restarts_that_were_not_told_are_told_by_the_next(tmp_path: Path) -> None:
    moments = [restarts.count(tmp_path, "mlflow", 1_000_000.0 + second) for second in (0, 1, 2, 3)]
    assert [series is not None for series in moments] == [False, False, True, True]
    assert moments[2].first == moments[3].first, "and are the same event"


def test_the_wrapper_tells_each_channel_and_starts_the_program_all_the_same(tmp_path: Path) -> None:
    """As the process manager calls it, four times; the program ends at once. The store, which is away, is not asked."""
    home = tmp_path / "home"
    (home / "stack").mkdir(parents=True)
    projects = shutil.copytree(ROOT / "include" / "projects", tmp_path / "projects")
    for name in ("alpha", "beta"):
        shutil.copytree(projects / "flight_delays", projects / name)
        spec = (projects / name / "project.yaml").read_text().replace("name: flight_delays", f"name: {name}")
        (projects / name / "project.yaml").write_text(spec.replace("#flight-ops-ml", "#other"))
    env = {"UPDRAFT_HOME": str(home), "UPDRAFT_PROJECTS": str(projects)}
    program = {"command": ["/bin/true"], "env": env, "cwd": str(tmp_path), "waits_for": []}
    plan = {"stack_id": "0123456789", "postgres_data": str(tmp_path), "programs": {"scheduler": program}}
    (home / "stack" / "plan.json").write_text(json.dumps(plan))

    def start() -> str:
        command = [sys.executable, "-m", "updraft.stack.wrapper", str(home / "stack" / "plan.json"), "scheduler"]
        found = {"PYTHONPATH": str(ROOT / "include"), "PATH": os.environ["PATH"]}
        return subprocess.run(command, env=found, capture_output=True, text=True, check=True, timeout=60).stdout

    (home / "stack" / "scheduler.asked").touch()
    said = [start() for _ in range(4)]
    assert "restarted 3 times within 10 minutes" in said[3]
    lines = [json.loads(line)["alert"] for line in (home / "alerts" / "untold.jsonl").read_text().splitlines()]
    channels = {load_project(projects / line["project"]).spec.alerts.slack.channel for line in lines}
    assert channels == {"#flight-ops-ml", "#other"}
    assert {line["title"] for line in lines} == {"scheduler keeps dying"}
    assert str(home / "logs" / "scheduler.log") in lines[0]["needs"]
    (home / "stack" / "scheduler.restarts.json").unlink()
    shutil.rmtree(home / "alerts")
    (home / "alerts").write_text("in the way")
    assert "could not be told" in [start() for _ in range(3)][2]

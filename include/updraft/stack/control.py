"""Start, stop and show the embedded stack."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from updraft import airflow_api
from updraft.errors import StackError
from updraft.settings import ENV_FILE, Settings
from updraft.stack import environment, home, mlflow_accounts, plan, ports, postgres, preparation, supervision
from updraft.stack.access import ADMIN
from updraft.stack.layout import (
    API_SERVER,
    DAG_PROCESSOR,
    MLFLOW,
    POSTGRES,
    PROGRAMS,
    SCHEDULER,
    TRIGGERER,
    Layout,
    write_private,
)
from updraft.stack.processes import end, listens, members
from updraft.stack.secrets import Secrets, forget_shared, load_or_make
from updraft.stack.supervision import ProgramState

Say = Callable[[str], None]
Health = dict[str, Any]
"""Airflow's answer: of each of its programs, its status and latest heartbeat."""

FREE_DISK = 2 * 1024**3
"""Bytes that must be free below home before the stack starts: databases, logs and a year of the reference project."""

_PATIENCE = 20.0
"""Seconds for which Airflow's API server may not answer and yet be healthy: its first requests on a busy machine take long."""

WRITTEN = (
    *("postgres", "postgres.new", "stack", "keys", "logs", "airflow", "mlflow", "alerts"),
    *("lake", "datasets", "models", "backtest", "demo", ENV_FILE, "env.sh", "restoring.json"),
)
"""Everything that a deployment writes directly below home, but its backups: those stay when the rest is removed."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """One line of ``make status``."""

    program: str
    state: str
    pid: int | None
    healthy: bool
    address: str
    detail: str


def up(
    settings: Settings, *, dags: Path | None = None, say: Say = lambda text: None, seconds: float = 240.0
) -> dict[str, str]:
    """Start everything that does not run yet, and wait until it is healthy.

    Running it again changes nothing, unless the settings are others than those it runs with: then it starts anew.

    :param dags: a folder of DAGs in place of the checkout's.
    :param seconds: the longest time to wait for one part.
    :returns: the content of ``env.json``.
    :raises StackError: when a part does not come up; the message carries the end of its log.
    """
    layout = Layout.of(settings, dags=dags)
    home.claim(layout.home, ours=(*WRITTEN, "backups"), servants=postgres.servants(layout))
    layout.make_folders()
    _need_disk(layout.home)
    with _only_one(layout):
        if layout.restoring.exists():
            raise StackError(
                f"{layout.home}: a backup was being restored here, and that was interrupted ({layout.restoring}); run "
                "`updraft restore` again with the same backup, it starts anew"
            )
        started = time.monotonic()
        shared = _start_database(settings, layout, say, seconds)
        secrets, taken = load_or_make(layout.secrets), ports.remembered(layout.ports)
        if secrets.database:
            forget_shared(layout.secrets)
            say("each role of PostgreSQL has a password of its own now")
        say(f"postgres is ready ({time.monotonic() - started:.0f} s)")
        if mlflow_accounts.keep(taken["postgres"], secrets):
            supervision.stop_programs(layout, [MLFLOW], seconds=30)  # it remembers who has signed in
        preparation.migrate_mlflow(layout, plan.Plan.read(layout.plan), say)
        supervision.start_program(layout, MLFLOW)
        preparation.migrate(layout, plan.Plan.read(layout.plan), say)
        for name in PROGRAMS:
            supervision.start_program(layout, name)
        for name in (MLFLOW, API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER):
            _await(layout, name, taken, seconds)
            if name == MLFLOW:
                mlflow_accounts.keep(taken["postgres"], secrets)
            say(f"{name} is ready ({time.monotonic() - started:.0f} s)")
        preparation.load_airflow_settings(layout, shared, say)
    return shared


@contextmanager
def database_alone(
    settings: Settings, *, say: Say = lambda text: None, seconds: float = 240.0
) -> Iterator[dict[str, str]]:
    """PostgreSQL alone with the databases of the stack, empty where there were none; stopped again at the end.

    :returns: the SQLAlchemy URL of each database, as its owner.
    :raises StackError: when the stack runs, or PostgreSQL does not come up.
    """
    layout = Layout.of(settings)
    home.claim(layout.home, ours=(*WRITTEN, "backups"), servants=postgres.servants(layout))
    layout.make_folders()
    _need_disk(layout.home)
    with _only_one(layout):
        if supervision.running(layout) is not None:
            raise StackError(f"the stack of {layout.home} runs; stop it first: make down")
        try:
            _start_database(settings, layout, say, seconds)
            yield databases(layout)
        finally:
            _stop(layout)


def databases(layout: Layout) -> dict[str, str]:
    """The SQLAlchemy URL of each database of the stack, as its owner, at the port of the last start."""
    secrets, taken = load_or_make(layout.secrets), ports.remembered(layout.ports)
    return {name: postgres.url(name, taken["postgres"], secrets.of_role(name)) for name in postgres.DATABASES}


def _start_database(settings: Settings, layout: Layout, say: Say, seconds: float) -> dict[str, str]:
    """Start the process manager and PostgreSQL, with every role and database; the content of ``env.json``."""
    shared = _start_manager(settings, layout, say)
    secrets, taken = load_or_make(layout.secrets), ports.remembered(layout.ports)
    supervision.start_program(layout, POSTGRES)
    if not postgres.wait(taken["postgres"], secrets, seconds=seconds):
        raise _did_not_come_up(layout, POSTGRES, seconds)
    postgres.settle(taken["postgres"], secrets)
    return shared


def down(settings: Settings, *, say: Say = lambda text: None) -> None:
    """Stop everything, wait for its end, and make sure that nothing is left. Running it again changes nothing.

    :raises StackError: when a process does not end.
    """
    layout = Layout.of(settings)
    if not layout.stack.exists():
        say("the stack was never started here")
        return
    with _only_one(layout):
        if supervision.running(layout) is not None:
            say("stopping (running tasks are interrupted; they run again after the next `make up`)")
        _stop(layout)
    say("everything is stopped")


def _stop(layout: Layout) -> None:
    manager = supervision.running(layout)
    if manager is not None:
        if supervision.answers(layout):
            supervision.stop_programs(layout, [name for name in PROGRAMS if name != POSTGRES], seconds=30)
        if left := end([manager], patience=60):
            raise StackError(f"the process manager (process {left[0].pid}) does not end; see {layout.logs}")
    data = _postgres_data(layout)
    if strays := members(layout.id, data=data):
        end(strays, patience=5)
    if left := members(layout.id, data=data):
        names = ", ".join(f"{process.pid} ({process.name()})" for process in left)
        raise StackError(f"these processes of the stack do not end: {names}")
    for path in (layout.supervisor_pid, layout.supervisor_socket):
        path.unlink(missing_ok=True)


def remove(settings: Settings, *, but: Collection[str] = (), say: Say = lambda text: None) -> None:
    """Stop the stack and delete what was written below home: databases, keys, logs, the lake. Backups and other files stay.

    :param but: names below home that stay as well.
    """
    layout = Layout.of(settings)
    down(settings, say=say)
    for path in (postgres.outside(layout).parent, *(layout.home / name for name in WRITTEN if name not in but)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    with suppress(OSError):  # someone else's files are in there, or there was nothing
        layout.home.rmdir()
    say(f"removed what was written below {layout.home}")
    if layout.backups.exists():
        say(f"its backups stay in {layout.backups}; they hold its keys, so remove them when nobody needs them any more")


def status(settings: Settings) -> list[Status]:
    """Every program, whether it is healthy, and where it is."""
    layout = Layout.of(settings)
    taken = ports.remembered(layout.ports)
    addresses = _addresses(taken)
    secrets = load_or_make(layout.secrets) if layout.secrets.exists() else None
    health = cache(partial(_health_of_airflow, taken))  # one question for its four programs
    rows = []
    for state in supervision.states(layout):
        trouble = "does not run" if secrets is None or not taken else _trouble(state, taken, secrets, health)
        rows.append(
            Status(
                program=state.name,
                state=state.state.lower(),
                pid=state.pid,
                healthy=not trouble,
                address=addresses.get(state.name, ""),
                detail=trouble,
            )
        )
    return rows


def _start_manager(settings: Settings, layout: Layout, say: Say) -> dict[str, str]:
    """Start the process manager unless it runs, with ports, secrets, plan and ``env.json`` in place."""
    placement = postgres.place(layout)
    if supervision.running(layout) is not None:
        taken, secrets = ports.remembered(layout.ports), load_or_make(layout.secrets)
        _write_passwords(layout, secrets)
        shared = environment.public(settings, layout, taken, secrets)
        if supervision.answers(layout) and plan.make(layout, placement, taken, secrets, shared) == _running_plan(
            layout
        ):
            return shared
        say("it runs with other settings than these; starting it anew")
        _stop(layout)
    if strays := members(layout.id, data=placement.data):
        say(f"ending {len(strays)} process(es) that an earlier start left behind")
        end(strays, patience=5)
    if placement.data.exists() and not layout.secrets.exists():
        raise StackError(
            f"{placement.data} holds the data of a deployment whose keys ({layout.secrets}) are gone, so nobody can open "
            f"it; restore the keys, or remove the folder to start anew"
        )
    secrets = load_or_make(layout.secrets)
    postgres.initialise(placement, secrets.database_superuser)
    _write_passwords(layout, secrets)
    reservation = ports.reserve(layout.ports)
    try:
        shared = environment.public(settings, layout, reservation.ports, secrets)
        mlflow_accounts.write_config(layout, environment.mlflow_database(reservation.ports, secrets), secrets)
        plan.make(layout, placement, reservation.ports, secrets, shared).write(layout.plan)
        supervision.write_config(layout)
        supervision.start(layout, keep_open=reservation.descriptors)
        write_private(layout.home / ENV_FILE, json.dumps(shared, indent=1))
        write_private(layout.home / "env.sh", environment.as_shell(shared))
    finally:
        reservation.release()
    return shared


def _write_passwords(layout: Layout, secrets: Secrets) -> None:
    """Airflow reads them at each sign-in."""
    write_private(layout.airflow_passwords, json.dumps({ADMIN: secrets.admin}))


def _running_plan(layout: Layout) -> plan.Plan | None:
    try:
        return plan.Plan.read(layout.plan)
    except StackError:
        return None  # of another version


def _await(layout: Layout, name: str, taken: dict[str, int], seconds: float) -> None:
    secrets = load_or_make(layout.secrets)
    deadline = time.monotonic() + seconds
    health = partial(_health_of_airflow, taken)
    while _trouble(next(state for state in supervision.states(layout) if state.name == name), taken, secrets, health):
        if time.monotonic() > deadline:
            raise _did_not_come_up(layout, name, seconds)
        time.sleep(0.3)


def _trouble(state: ProgramState, taken: dict[str, int], secrets: Secrets, health: Callable[[], Health | None]) -> str:
    """What is wrong with a program; empty when it is healthy."""
    if state.pid is None:
        return "does not run"
    if state.name == POSTGRES:
        return "" if postgres.answers(taken["postgres"], secrets) else "refuses connections"
    port = {MLFLOW: taken["mlflow"], API_SERVER: taken["airflow"]}.get(state.name)
    if port is not None and not listens(state.pid, port):
        return f"does not listen on port {port} yet"
    if state.name == MLFLOW:
        mlflow, _ = environment.addresses(taken)
        return "" if airflow_api.get(f"{mlflow}/health") is not None else "does not answer /health"
    return _trouble_of_airflow(state, health())


def _health_of_airflow(taken: dict[str, int]) -> Health | None:
    """What Airflow's API server says of its programs; None when it does not answer."""
    _, airflow = environment.addresses(taken)
    page = airflow_api.get(f"{airflow}/api/v2/monitor/health", patience=_PATIENCE)
    found: Health | None = None if page is None else json.loads(page)
    return found


def _trouble_of_airflow(state: ProgramState, health: Health | None) -> str:
    if health is None:
        return "the API server does not answer"
    if state.name == API_SERVER:
        return "" if health["metadatabase"]["status"] == "healthy" else "cannot reach its database"
    key = {SCHEDULER: "scheduler", TRIGGERER: "triggerer", DAG_PROCESSOR: "dag_processor"}[state.name]
    part = health.get(key) or {}
    beat = part.get(f"latest_{key}_heartbeat")
    # Airflow believes in a heartbeat for a while: one from before this process was started is not this process's.
    if not beat or datetime.fromisoformat(beat).timestamp() < (state.since or 0):
        return "no heartbeat yet"
    return "" if part.get("status") == "healthy" else f"last heartbeat at {beat}"


def _did_not_come_up(layout: Layout, name: str, seconds: float) -> StackError:
    log = layout.logs / f"{name}.log"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:]) if log.exists() else "(no log)"
    return StackError(f"{name} did not come up in {seconds:.0f} s; the end of {log}:\n{tail}")


def _addresses(taken: dict[str, int]) -> dict[str, str]:
    if not taken:
        return {}
    mlflow, airflow = environment.addresses(taken)
    return {POSTGRES: f"127.0.0.1:{taken['postgres']}", MLFLOW: mlflow, API_SERVER: airflow}


def _postgres_data(layout: Layout) -> Path | None:
    try:
        return Path(plan.Plan.read(layout.plan).postgres_data)
    except StackError:
        return None  # interrupted before there was a plan, so before there was a PostgreSQL


def _need_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_DISK:
        raise StackError(
            f"{folder}: {free / 1024**3:.1f} GiB free on its disk, {FREE_DISK / 1024**3:.0f} GiB are needed; free some, "
            f"or set UPDRAFT_HOME to a folder on another disk"
        )


@contextmanager
def _only_one(layout: Layout) -> Iterator[None]:
    """Let one start or stop of this stack happen at a time; a second one waits."""
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write("another `make up` or `make down` is at work; waiting for it\n")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

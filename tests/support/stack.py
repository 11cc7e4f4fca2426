"""The whole embedded stack for tests: its own home, its own ports, nothing left afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from updraft.airflow_api import AirflowApi
from updraft.errors import StackError
from updraft.settings import MLFLOW_SIGN_IN, Settings
from updraft.stack import control, supervision
from updraft.stack.access import sign_in
from updraft.stack.layout import Layout

FINAL = ("success", "failed")


@dataclass(frozen=True, kw_only=True)
class RunningStack:
    """A stack that is up."""

    settings: Settings
    env: dict[str, str] = field(repr=False)
    """The content of ``env.json``."""

    @property
    def layout(self) -> Layout:
        return Layout.of(self.settings)

    def api(self, user: str = "replay") -> AirflowApi:
        """Airflow's REST API as ``admin`` or as ``replay``."""
        return sign_in(self.layout, self.settings.airflow, user, lasts=3600)

    def process(self, program: str) -> int:
        """The process id of a program."""
        pid = next(state.pid for state in supervision.states(self.layout) if state.name == program)
        assert pid is not None, f"{program} does not run"
        return pid

    def kill(self, program: str) -> int:
        """Kill a program's first process with signal 9; returns its id."""
        pid = self.process(program)
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_a_task(self) -> bool:
        """Kill a process of a running task with signal 9; whether there was one."""
        return any(self._killed(process, idle=False) for process in self._below_the_scheduler())

    def kill_idle_workers(self) -> int:
        """Kill every worker that waits for a task with signal 9, with it the one that holds the lock of the queue; how many there were."""
        return sum(self._killed(process, idle=True) for process in self._below_the_scheduler())

    def _below_the_scheduler(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process("scheduler")).children(recursive=True))

    @staticmethod
    def _killed(process: psutil.Process, *, idle: bool) -> bool:
        with suppress(psutil.NoSuchProcess):
            title = " ".join(process.cmdline())
            if title.startswith("airflow worker -- ") and ("<idle>" in title) == idle:
                process.kill()
                return True
        return False

    def wait_healthy(self, *, seconds: float = 300.0) -> None:
        """Wait until every program is healthy (with a heartbeat of its present life)."""
        deadline = time.monotonic() + seconds
        while trouble := [row for row in control.status(self.settings) if not row.healthy]:
            assert time.monotonic() < deadline, trouble
            time.sleep(0.3)

    def start_dag(self, dag: str, **body: Any) -> str:
        """Start a DAG run as soon as Airflow knows the DAG; returns the run's id."""
        api, deadline = self.api(), time.monotonic() + 60
        while dag not in {one["dag_id"] for one in api.call("GET", "/dags?limit=200")["dags"]}:
            assert time.monotonic() < deadline, f"{dag} is not there: {api.call('GET', '/importErrors')}"
            time.sleep(0.3)
        return str(api.call("POST", f"/dags/{dag}/dagRuns", {"logical_date": None, **body})["dag_run_id"])

    def wait_run(self, dag: str, run: str, *, seconds: float = 400.0) -> dict[str, Any]:
        """Wait until a DAG run has ended; returns it."""
        api, deadline = self.api(), time.monotonic() + seconds
        while (found := api.call("GET", f"/dags/{dag}/dagRuns/{run}"))["state"] not in FINAL:
            assert time.monotonic() < deadline, api.call("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances")
            time.sleep(0.2)
        return dict(found)

    def wait_run_through_restarts(self, dag: str, run: str, *, seconds: float = 400.0) -> dict[str, Any]:
        """Like :meth:`wait_run` while the API server may be away."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.wait_run(dag, run, seconds=deadline - time.monotonic())
            except StackError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def tasks(self, dag: str, run: str) -> dict[str, dict[str, Any]]:
        """The task instances of a run, by task id."""
        found = self.api().call("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}


@contextmanager
def running_stack(
    home: Path, *, dags: Path | None = None, projects: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[RunningStack]:
    """Bring the whole stack up below ``home`` (about 25 s), sign this process in to its MLflow,, and remove it without a trace.

    :param dags: a folder of DAGs in place of the checkout's.
    :param projects: a folder of projects in place of the checkout's.
    :param env: more of the deployment's settings, such as UPDRAFT_LAKE.
    """
    given = {"UPDRAFT_HOME": str(home)} | ({"UPDRAFT_PROJECTS": str(projects)} if projects else {})
    given |= env or {}
    try:
        env = control.up(Settings.from_env(given), dags=dags, say=print)
        with pytest.MonkeyPatch.context() as patch:
            for name in MLFLOW_SIGN_IN:  # MLflow's client of a test is one of the deployment's programs
                patch.setenv(name, env[name])
            yield RunningStack(settings=Settings.from_env(given), env=env)
    finally:
        control.remove(Settings.from_env(given))

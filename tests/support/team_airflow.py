"""Airflow as a team runs it: a real API server with FAB's auth manager and Updraft's plugin, on a PostgreSQL of its own.

Two projects, ``alpha`` and ``beta``. Of ``alpha`` two releases wait for an answer. The users are in :data:`ROLES`.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.postgres import Postgres, free_port

from updraft.store.migrations import upgrade

ROOT = Path(__file__).resolve().parents[2]
ROLES = {
    "viewer": "updraft_viewer",
    "operator": "updraft_operator",
    "approver": "updraft_approver",
    "admin": "Admin",
    "alpha_viewer": "updraft_viewer_alpha",
    "alpha_operator": "updraft_operator_alpha",
    "alpha_approver": "updraft_approver_alpha",
    "nobody": "Public",
    "fab_viewer": "Viewer",
    "fab_user": "User",
    "fab_op": "Op",
}
"""User name → FAB's role."""
PASSWORD = secrets.token_urlsafe(16)
METRICS_TOKEN = secrets.token_urlsafe(24)
RUN, MARKED, TASK = "waits", "waits_too", "approve_change"
DAGS = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, CronPartitionTimetable

for project in ("alpha", "beta", "hours"):
    for stage in ("ingest", "score", "monitor", "watch", "train", "release", "rollback"):
        schedule = CronPartitionTimetable("0 * * * *", timezone="UTC", key_format="%Y-%m-%dT%H%M") if stage == "ingest" else None
        with DAG(f"{project}.{stage}", schedule=schedule) as dag:
            if stage == "release":
                ApprovalOperator(task_id="approve_change", subject="Promote?") >> EmptyOperator(task_id="promote_change")
            else:
                EmptyOperator(task_id="work")
        globals()[dag.dag_id] = dag
"""


@dataclass(frozen=True)
class TeamAirflow:
    """A running API server."""

    url: str
    home: Path
    env: dict[str, str] = field(repr=False)

    @property
    def lake(self) -> Path:
        """The folder of the lake."""
        return self.home / "updraft" / "lake"

    def token(self, user: str) -> str:
        """A token of a user, as Airflow's sign-in gives it."""
        answer = httpx.post(f"{self.url}/auth/token", json={"username": user, "password": PASSWORD}, timeout=240)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def client(self, user: str) -> httpx.Client:
        """The API and the pages as a user."""
        headers = {"Authorization": f"Bearer {self.token(user)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=240)

    def python(self, script: Path, *arguments: str) -> str:
        """What a script prints that runs with this Airflow's settings."""
        done = subprocess.run(
            [sys.executable, str(script), *arguments], env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
        return done.stdout


@contextmanager
def running_team_airflow(database: str, store: str, home: Path) -> Iterator[TeamAirflow]:
    """Prepare the database, start the API server, stop it (about 25 s)."""
    upgrade(store)
    for project in ("alpha", "beta"):
        folder = home / "projects" / project
        folder.mkdir(parents=True)
        (folder / "project.yaml").write_text(f"name: {project}\n")  # the pages need a project's name alone
    (home / "dags").mkdir()
    (home / "dags" / "team.py").write_text(DAGS)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    airflow = TeamAirflow(url, home, {**_environment(database, home, url, port), "UPDRAFT_STORE": store})
    airflow.python(Path(__file__).with_name("team_airflow_prepare.py"))
    with (home / "api-server.log").open("wb") as log:
        command = [sys.executable, "-m", "airflow", "api-server", "--workers", "1"]
        process = subprocess.Popen(
            command, env=airflow.env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait_until_up(url, process, home / "api-server.log")
        yield airflow
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(15)


def _environment(database: str, home: Path, url: str, port: int) -> dict[str, str]:
    own: dict[str, Any] = {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "AIRFLOW__CORE__DAGS_FOLDER": home / "dags",
        "AIRFLOW__CORE__PLUGINS_FOLDER": ROOT / "plugins",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": home / "logs",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "UPDRAFT_HOME": home / "updraft",
        "UPDRAFT_PROJECTS": home / "projects",
        "UPDRAFT_METRICS_TOKEN": METRICS_TOKEN,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "include", ROOT / "plugins"))),
        "PYTHONWARNINGS": "ignore",
        "TEAM_ROLES": ROOT / "docker" / "airflow",
        "TEAM_PASSWORD": PASSWORD,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "UPDRAFT"))}
    return kept | {name: str(value) for name, value in own.items()}


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 300
    while True:
        try:
            if httpx.get(f"{url}/api/v2/version", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(log.read_text(errors="replace")[-8000:])
        time.sleep(0.2)


@pytest.fixture(scope="session")
def team_airflow(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamAirflow]:
    """One Airflow with FAB's auth manager for the whole test run."""
    database, store = postgres_server.new_database(), postgres_server.new_database()
    with running_team_airflow(database, store, tmp_path_factory.mktemp("team")) as airflow:
        yield airflow
    for url in (database, store):
        postgres_server.drop_database(url)

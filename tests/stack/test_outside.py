"""`updraft doctor` of a deployment outside of the embedded stack: what is missing or wrong is one line each, with what to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.postgres import Postgres

from updraft.settings import ENV_FILE, Settings
from updraft.stack import outside
from updraft.stack.findings import Finding, Level


class Server(BaseHTTPRequestHandler):
    """Answers as MLflow behind a sign-in and as Airflow, whose triggerer is away, do."""

    def do_GET(self) -> None:
        body: dict[str, Any] = {}
        status = 200
        if self.path.startswith("/api/2.0/mlflow"):
            status = 200 if self.headers.get("Authorization") == "Basic YWRtaW46cmlnaHQ=" else 401
        elif self.path == "/api/v2/monitor/health":
            body = {
                "metadatabase": {"status": "healthy"},
                "triggerer": {"status": "unhealthy"},
                "dag_processor": {"status": None},
            }
        else:
            status = 404
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def settings(home: Path, **env: str) -> Settings:
    return Settings.from_env({"UPDRAFT_HOME": str(home), **env})


def only(findings: list[Finding], what: str) -> Finding:
    [finding] = [finding for finding in findings if finding.what == what]
    return finding


def test_what_the_embedded_stack_wrote_is_looked_at_as_before(tmp_path: Path) -> None:
    chosen = settings(tmp_path, UPDRAFT_STORE="postgresql://a@b/c")
    assert outside.stands_outside(chosen, {"UPDRAFT_STORE": "postgresql://a@b/c"})
    assert not outside.stands_outside(chosen, {})
    (tmp_path / ENV_FILE).write_text("{}")
    assert not outside.stands_outside(chosen, {"UPDRAFT_STORE": "postgresql://a@b/c"})


def test_each_setting_that_is_missing_is_named_with_what_follows_and_where_it_is_read(tmp_path: Path) -> None:
    findings = list(outside.unset(settings(tmp_path), {}))
    named = {finding.message.split()[0]: finding.level for finding in findings}
    assert named == {
        "UPDRAFT_STORE": Level.ERROR,
        "UPDRAFT_MLFLOW": Level.ERROR,
        "UPDRAFT_LAKE": Level.ERROR,
        "UPDRAFT_AIRFLOW": Level.WARNING,
    }
    assert all("updraft/settings.py" in finding.todo for finding in findings)


def test_a_store_that_lacks_its_migration_or_the_right_to_write_says_what_to_do(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    empty = postgres_server.new_database()
    finding = outside.store(settings(tmp_path, UPDRAFT_STORE=empty))
    assert (finding.level, finding.todo) == (Level.ERROR, "python -m updraft.store.migrations")
    assert finding.message.startswith("it lacks the migrations 0001 to ")
    whole = postgres_server.new_store()
    assert outside.store(settings(tmp_path, UPDRAFT_STORE=whole)).level is Level.OK
    owner = sa.create_engine(whole)
    with owner.begin() as connection:
        connection.execute(sa.text("CREATE ROLE reader LOGIN"))
        connection.execute(sa.text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"))
    owner.dispose()
    refused = outside.store(settings(tmp_path, UPDRAFT_STORE=whole.replace("postgres@", "reader@")))
    assert (refused.level, refused.message) == (Level.ERROR, "reader may not write into it")
    for url in (empty, whole):
        postgres_server.drop_database(url)


def test_a_database_that_is_none_is_too_old_or_away_is_told_without_its_password(tmp_path: Path, monkeypatch) -> None:
    other = outside.store(settings(tmp_path, UPDRAFT_STORE=f"sqlite:///{tmp_path}/store.db"))
    assert "PostgreSQL 14 or later" in other.todo
    away = outside.store(settings(tmp_path, UPDRAFT_STORE="postgresql+psycopg2://a:secret@127.0.0.1:1/c"))
    assert away.level is Level.ERROR
    assert "does not answer" in away.message
    assert "secret" not in away.message
    tables = outside.airflow_tables({outside.AIRFLOW_DATABASE: "postgresql+psycopg2://a:secret@127.0.0.1:1/c"})
    assert outside.AIRFLOW_DATABASE in tables.todo
    assert "secret" not in tables.message
    assert "does not read" in outside.airflow_tables({outside.AIRFLOW_DATABASE: "nonsense"}).message


def test_airflow_s_tables_that_are_not_there_are_made_by_airflow(postgres_server: Postgres) -> None:
    empty = postgres_server.new_database()
    finding = outside.airflow_tables({outside.AIRFLOW_DATABASE: empty})
    assert (finding.level, finding.todo) == (Level.ERROR, "airflow db migrate")
    postgres_server.drop_database(empty)


def test_a_place_is_written_read_and_left_as_it_was(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    assert outside.place("UPDRAFT_LAKE", lake.as_uri()).level is Level.OK
    assert [path for path in lake.rglob("*") if path.is_file()] == []


def test_a_store_of_objects_that_is_away_is_named_with_the_setting(monkeypatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    finding = outside.place("UPDRAFT_RAW", "s3://bucket-that-is-away/raw")
    assert (finding.level, finding.what) == (Level.ERROR, "UPDRAFT_RAW")
    assert "s3://bucket-that-is-away/raw" in finding.message
    assert "docker/s3/policy" in finding.todo


def test_an_account_that_mlflow_refuses_and_an_mlflow_that_is_away_are_told_apart(tmp_path: Path, server: str) -> None:
    chosen = settings(tmp_path, UPDRAFT_MLFLOW=server)
    account = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "right"}
    assert [finding.level for finding in outside.mlflow(chosen, account)] == [Level.OK]
    [refused] = outside.mlflow(chosen, account | {"MLFLOW_TRACKING_PASSWORD": "wrong"})
    assert "refuses the account 'admin'" in refused.message
    [asked] = outside.mlflow(chosen, {})
    assert "asks for an account" in asked.message
    [away] = outside.mlflow(settings(tmp_path, UPDRAFT_MLFLOW="http://127.0.0.1:1"), {})
    assert "does not answer" in away.message
    [other] = outside.mlflow(settings(tmp_path, UPDRAFT_MLFLOW=f"{server}/elsewhere"), {})
    assert "answers 404" in other.message


def test_each_program_of_airflow_that_is_not_healthy_is_named(tmp_path: Path, server: str) -> None:
    [finding] = outside.airflow(settings(tmp_path, UPDRAFT_AIRFLOW=server))
    assert (finding.level, finding.message) == (Level.ERROR, "its triggerer is unhealthy")
    [away] = outside.airflow(settings(tmp_path, UPDRAFT_AIRFLOW="http://127.0.0.1:1"))
    assert away.level is Level.WARNING


def test_a_container_without_the_keys_of_the_deployment_is_an_error_in_kubernetes(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    [finding] = outside.keys(chosen, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert finding.level is Level.ERROR
    assert "pseudonym.key, signing.pem, audit.pem not in" in finding.message
    assert [finding.level for finding in outside.keys(chosen, {})] == [Level.WARNING]
    chosen.keys.mkdir()
    for name in ("pseudonym.key", "signing.pem", "audit.pem"):
        (chosen.keys / name).touch()
    assert [finding.level for finding in outside.keys(chosen, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})] == [Level.OK]


def test_projects_that_are_not_there_are_told_and_a_wrong_file_of_the_deployment_too(tmp_path: Path) -> None:
    (tmp_path / "projects").mkdir()
    chosen = settings(tmp_path, UPDRAFT_PROJECTS=str(tmp_path / "projects"))
    assert only(list(outside.projects(chosen)), "projects").level is Level.WARNING
    gone = settings(tmp_path, UPDRAFT_DEPLOYMENT=str(tmp_path / "none.yaml"))
    assert "UPDRAFT_DEPLOYMENT" in only(list(outside.projects(gone)), "projects").message

"""Without its database, with one that has no tables, or with settings that do not read, a command says in one line what to do."""

from __future__ import annotations

import os

import pytest
import sqlalchemy as sa
from tests.support import flights, releases
from typer.testing import CliRunner, Result

from updraft.cli.main import app
from updraft.stack import doctor
from updraft.store.records import ReleaseRow
from updraft.store.store import Store
from updraft.store.transitions import open_release

P = "flight_delays"
WHY = ("--reason", "test")
OF_THE_STORE = {
    "status": ("status",),
    "status of one": ("status", P, "--json"),
    "show": ("show", P, "1"),
    "pass-over": ("pass-over", P, "2013-04-01T0500", *WHY),
    "readmit a partition": ("readmit", P, "2013-04-01T0500", *WHY),
    "readmit a column": ("readmit", P, "--column", "temp", *WHY),
    "undo": ("readmit", P, "--column", "temp", "--undo", *WHY),
    "rollback": ("rollback", P, *WHY),
    "rightsize": ("rightsize", P),
    "audit verify": ("audit", "verify", P),
    "audit rewrite-state": ("audit", "rewrite-state", P),
}
"""Every command that asks the store at once."""
UNREADABLE = (
    "://se-cret",
    "postgres+none://u:se-cret@h/x",
    "postgresql+psycopg2://u:se-cret@h:port/x",
    "postgresql+asyncpg7://u:se-cret@h/x",
    "nonsense",
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("UPDRAFT_")]:
        if name != "UPDRAFT_TESTS_SHARED":
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "")  # what a command sets here is taken back after the test
    del os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path))
    monkeypatch.setenv("UPDRAFT_MLFLOW", "http://127.0.0.1:1")
    return tmp_path


def run(*arguments: str, store: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, env={} if store is None else {"UPDRAFT_STORE": store})


def told(done: Result, code: int) -> str:
    """The one line of an error, from a command that ended with a code and not with a traceback."""
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == code, done.output
    [line] = done.stderr.splitlines()
    assert "se-cret" not in line
    return line


@pytest.mark.parametrize("command", OF_THE_STORE)
def test_without_tables_a_command_says_how_to_make_them(command, postgres_url):
    line = told(run(*OF_THE_STORE[command], store=postgres_url), 1)
    assert line.startswith("The store does not have the tables of this version (relation ")
    assert "make up, or, for a store elsewhere, python -m updraft.store.migrations" in line


def test_tables_of_an_earlier_version_are_told_too(store_url):
    engine = sa.create_engine(store_url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE episodes DROP COLUMN readmitted"))
    engine.dispose()
    line = told(run("readmit", P, "2013-04-01T0500", *WHY, store=store_url), 1)
    assert line.startswith("The store does not have the tables of this version (column ")


@pytest.mark.parametrize("command", OF_THE_STORE)
def test_with_a_database_that_is_down_a_command_says_so(command):
    line = told(run(*OF_THE_STORE[command], store="postgresql+psycopg2://u:se-cret@127.0.0.1:1/x"), 1)
    assert line.startswith("The store does not answer (")
    assert line.endswith("Start it (make up), or correct UPDRAFT_STORE.")


@pytest.mark.parametrize("url", UNREADABLE)
@pytest.mark.parametrize("command", ["status", "readmit a partition", "rollback"])
def test_an_address_of_the_store_that_does_not_read_is_wrong_input(command, url):
    assert told(run(*OF_THE_STORE[command], store=url), 2).startswith("UPDRAFT_STORE ")


def test_a_database_that_lets_us_read_nothing_is_told(store_url):
    engine = sa.create_engine(store_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE ROLE nobody_here LOGIN PASSWORD 'se-cret'"))
    try:
        stranger = sa.make_url(store_url).set(username="nobody_here", password="se-cret")
        line = told(run("status", P, store=stranger.render_as_string(hide_password=False)), 1)
        assert "permission denied for" in line
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("DROP ROLE nobody_here"))
        engine.dispose()


@pytest.mark.parametrize("key", ["signing", "audit"])
def test_keys_are_rotated_whatever_the_database_does_and_not_with_settings_that_do_not_read(key, home):
    line = told(run("keys", "rotate", key, store="nonsense"), 2)
    assert line.startswith("UPDRAFT_STORE is not a URL")
    done = run("keys", "rotate", key, store="postgresql+psycopg2://u:se-cret@127.0.0.1:1/x")
    assert done.exit_code == 0, done.output
    (home / "env.json").write_text("{")
    assert "env.json: not JSON" in told(run("keys", "rotate", key), 2)


@pytest.mark.parametrize("key", ["signing", "audit"])
def test_keys_in_a_folder_that_is_none_are_told(key, home):
    (home / "keys").write_text("a file")
    assert str(home / "keys") in told(run("keys", "rotate", key), 2)


def test_a_rollback_counts_without_mlflow(store_url):
    store = Store.open(store_url)
    key = "2013-03-04T0500"
    for version, against in (("1", None), ("2", "1")):
        row = ReleaseRow(f"{P}-v{version}", P, "refresh", version, against, "shadow", None, None, key, None)
        open_release(store, row)
        releases.promoted(store, row.id, key=key)
    done = run("rollback", P, *WHY, store=store_url)
    assert done.exit_code == 0, done.output
    assert store.serving(P).champion == "1"
    store.close()


def test_the_doctor_tells_a_store_that_does_not_read_among_its_other_findings(postgres_url, tmp_path):
    for url, what in (
        ("postgres+none://u:p@h/x", "UPDRAFT_STORE does not read"),
        (postgres_url, "does not have the tables"),
    ):
        known = flights.settings(tmp_path)
        finding = doctor.unsent_alerts(type(known)(**{**vars(known), "store": url}))
        assert finding.level is doctor.Level.ERROR
        assert what in finding.message
        assert "\n" not in finding.message

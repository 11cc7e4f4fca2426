"""Without its database, with one that has no tables, or with settings that do not read, a command says in one line what to do."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from tests.support import flights, releases
from typer.testing import CliRunner, Result

from updraft.alerts.outbox import recent
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
    "reproduce": ("reproduce", P, "1"),
    "compare": ("compare", P),
    "explain": ("explain", P),
    "quarantine list": ("quarantine", "list", P),
    "quarantine show": ("quarantine", "show", P, "2013-04-01T0500"),
    "pass-over": ("pass-over", P, "2013-04-01T0500", *WHY),
    "readmit a partition": ("readmit", P, "2013-04-01T0500", *WHY),
    "readmit a column": ("readmit", P, "--column", "temp", *WHY),
    "undo": ("readmit", P, "--column", "temp", "--undo", *WHY),
    "rollback": ("rollback", P, *WHY, "--yes"),
    "reinstate": ("reinstate", P, "2", *WHY, "--yes"),
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


@pytest.fixture
def two_served(store_url):
    """A store in which version 2 serves in place of version 1."""
    store = Store.open(store_url)
    key = "2013-03-04T0500"
    for version, against in (("1", None), ("2", "1")):
        row = ReleaseRow(f"{P}-v{version}", P, "refresh", version, against, "shadow", None, None, key, None)
        open_release(store, row)
        releases.promoted(store, row.id, key=key)
    yield store
    store.close()


def test_a_rollback_and_a_reinstatement_count_without_mlflow(two_served, store_url):
    done = run("rollback", P, *WHY, "--yes", store=store_url)
    assert done.exit_code == 0, done.output
    assert "flight_delays: version 1 serves again; version 2 was taken back" in done.stdout
    assert "no evidence: of the newest 8 partitions" in done.stderr
    assert "WARNING: version 1 could not be loaded now to be verified" in done.stderr
    assert two_served.serving(P).champion == "1"
    done = run("reinstate", P, "2", *WHY, "--yes", "--json", store=store_url)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["champion"] == "2"
    assert two_served.serving(P).champion == "2"
    assert [(d.kind, d.subject, d.body["reason"].split(" (")[0]) for d in two_served.returns(P)] == [
        ("roll_back", f"{P}-v2", "test"),
        ("reinstate", f"{P}-v2@1", "test"),
    ]
    titles = [entry.alert.title for entry in recent(two_served.engine, P)]
    assert [title for title in titles if "serves now" not in title] == [
        "Version 2 was reinstated",
        "Rolled back to version 1",
    ]


def test_without_a_terminal_and_without_yes_nothing_is_rolled_back(two_served, store_url):
    done = run("rollback", P, *WHY, store=store_url)
    assert done.exit_code == 2
    assert "Roll back to version 1 in place of version 2? There is no terminal to ask on; add --yes" in done.stderr
    assert two_served.serving(P).champion == "2"


@pytest.mark.parametrize(("answer", "code", "champion"), [("n\n", 1, "2"), ("y\n", 0, "1")])
def test_at_a_terminal_a_person_is_asked(two_served, store_url, monkeypatch, answer, code, champion):
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))  # the runner's own standard input is none
    monkeypatch.setattr("updraft.cli.returning.sys", terminal)
    done = CliRunner().invoke(app, ["rollback", P, *WHY], input=answer, env={"UPDRAFT_STORE": store_url})
    assert (done.exit_code, two_served.serving(P).champion) == (code, champion), done.output
    assert "Roll back to version 1 in place of version 2? [y/N]" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rollback", P, "--to", "9"), "there is no version '9'; there are none yet"),
        (("rollback", P, "--to", "2"), "version 2 serves already"),
        (("rollback", P, "--to", "other-v1"), "other-v1 is the release of version 1 of other, another model"),
        (("reinstate", P, "2"), "version 2 serves already"),
        (("reinstate", P, "1"), "version 1 was not taken back"),
        (("reinstate", P, "9"), "there is no version '9'"),
    ],
)
def test_what_cannot_serve_again_is_told_and_nothing_changes(two_served, store_url, arguments, says):
    row = ReleaseRow("other-v1", "other", "refresh", "1", None, "shadow", None, None, "2013-03-04T0500", None)
    open_release(two_served, row)
    line = told(run(*arguments, *WHY, "--yes", store=store_url), 2)
    assert says in line
    assert two_served.returns(P) == []


def test_what_was_taken_back_is_no_target_of_a_rollback(two_served, store_url):
    assert run("rollback", P, *WHY, "--yes", store=store_url).exit_code == 0
    line = told(run("rollback", P, "--to", "2", *WHY, "--yes", store=store_url), 2)
    assert "version 2 was taken back at 2013-03-04T0500: test (by " in line
    assert line.endswith("`updraft reinstate flight_delays 2` brings it back")


def test_the_command_sends_the_alert_itself_where_slack_is_known(two_served, store_url, monkeypatch, slack_server):
    extra = {"base_url": slack_server.url, "timeout": 5}
    connection = {"conn_type": "slack", "password": slack_server.token, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_API_DEFAULT", json.dumps(connection))
    done = run("rollback", P, *WHY, "--yes", store=store_url)
    assert done.exit_code == 0, done.output
    assert "on-call: Slack: 2 sent" in done.stdout  # its promotion was not told before
    promoted, taken_back = slack_server.messages
    assert "Rolled back to version 1" in str(taken_back)
    assert taken_back["thread_ts"] == promoted["ts"]


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

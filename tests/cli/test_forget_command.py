"""``updraft forget``: counts first, asks, forgets, and never shows whom."""

from __future__ import annotations

import json

from tests.support.made_project import MadeProject
from typer.testing import CliRunner

from updraft.cli.main import app
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.store.store import Store

KEYS = ("2024-01-02T0000", "2024-01-03T0000")


def said(*arguments):
    done = CliRunner().invoke(app, ["forget", "shop", "--reason", "on request", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_persons_are_counted_asked_for_and_forgotten_by_a_list_of_values(tmp_path, monkeypatch, store_url):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setenv("UPDRAFT_STORE", store_url)
    made = MadeProject(tmp_path, 2)
    made.write(lambda spec: spec["data"].update(private=["id"]))
    store = Store.open(store_url)
    loop = Loop(made.project, made.settings, store, KeptModels())
    for key in KEYS:
        ingest(loop, key)
    listed = tmp_path / "persons.txt"
    listed.write_text("1005\n\n2006\n1005\n")
    code, told, _ = said("--keys", str(listed), "--dry-run", "--json")
    assert code == 0
    counted = json.loads(told)
    assert (counted["persons"], counted["rows"], counted["partitions"]) == (2, 2, list(KEYS))
    code, _, asked = said("--keys", str(listed))
    assert (code, "There is no terminal to ask on" in asked) == (2, True)
    assert store.decisions("shop") == []
    code, told, _ = said("--keys", str(listed), "--yes")
    assert code == 0
    assert "2 of id: 2 rows of 2 partitions, 2 labels, 0 predictions and 0 rows in quarantine have left" in told
    assert "1005" not in told
    assert [store.partition("shop", key).rows for key in KEYS] == [59, 59]
    assert "1005" not in json.dumps([decision.body for decision in store.decisions("shop")])
    told = CliRunner().invoke(app, ["status", "shop"]).stdout
    assert "a person is forgotten, by id" in told
    store.close()


def test_what_is_not_said_is_asked_for(tmp_path, monkeypatch, store_url):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setenv("UPDRAFT_STORE", store_url)
    made = MadeProject(tmp_path, 1)
    assert "name the person: --key VALUE" in said()[2]
    assert "cannot be read" in said("--keys", str(tmp_path / "none"))[2]
    assert "no partition is published yet" in said("--key", "1")[2]
    made.write(lambda spec: spec["data"].update(key=["id", "at"]))
    assert "say which one names a person, with --column" in said("--key", "1")[2]

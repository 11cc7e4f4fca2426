"""``updraft keys rotate pseudonyms``: asks, rotates, and tells what it did; what it cannot do changes nothing."""

from __future__ import annotations

import json

import pytest
from tests.support.made_project import MadeProject
from typer.testing import CliRunner

from updraft.cli.main import app
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.loop.rotated import rotations
from updraft.store.store import Store

KEYS = ("2024-01-02T0000", "2024-01-03T0000", "2024-01-04T0000")


def said(*arguments):
    done = CliRunner().invoke(app, ["keys", "rotate", *arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def loop(tmp_path, monkeypatch, store_url):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setenv("UPDRAFT_STORE", store_url)
    made = MadeProject(tmp_path, len(KEYS))
    made.write(lambda spec: spec["data"].update(private=["id"]))
    store = Store.open(store_url)
    yield Loop(made.project, made.settings, store, KeptModels())
    store.close()


def test_a_rotation_is_asked_for_then_told_with_both_keys(loop):
    ingest(loop, KEYS[0])
    code, told, asked = said("pseudonyms", "shop", "--reason", "once a year")
    assert (code, told) == (2, "")
    assert "shop: from partition 2024-01-03T0000 on, every private value has another pseudonym" in " ".join(
        asked.split()
    )
    assert "add --yes where that is meant" in " ".join(asked.split())
    assert rotations(loop) == ()

    code, told, _ = said("pseudonyms", "shop", "--reason", "once a year", "--yes", "--json")
    assert code == 0
    first = json.loads(told)
    before = loop.store.partition("shop", KEYS[0]).checks["pseudonym_key"]
    assert (first["project"], first["since"], first["before"]) == ("shop", KEYS[1], before)
    ingest(loop, KEYS[1])
    assert loop.store.partition("shop", KEYS[1]).checks["pseudonym_key"] == first["after"] != before

    code, told, _ = said("pseudonyms", "shop", "--reason", "somebody left", "--leaked", "--yes")
    assert code == 0
    assert f"from partition {KEYS[2]} on; back up {loop.settings.keys}" in told
    assert f"key {first['after']} is kept for the partitions before" in told
    decided = loop.store.decisions("shop")
    assert [decision.body["reason"] for decision in decided] == ["once a year", "somebody left"]
    told = CliRunner().invoke(app, ["status", "shop"]).stdout
    assert "somebody left" in told


def test_what_cannot_be_rotated_is_said_and_changes_nothing(loop):
    assert (
        'say whose pseudonyms, and why: updraft keys rotate pseudonyms PROJECT --reason "WHY"' in said("pseudonyms")[2]
    )
    assert "and why" in said("pseudonyms", "shop", "--reason", "  ", "--yes")[2]
    assert "no partition is ingested yet" in said("pseudonyms", "shop", "--reason", "once", "--yes")[2]
    code, _, error = said("pseudonyms", "shp", "--reason", "once", "--yes")
    assert code == 2
    assert "shop" in error
    assert "takes no project" in said("signing", "shop")[2]
    assert loop.store.decisions("shop") == []

"""``updraft backtest``: what it prints below its table, the names of its pictures, its exit codes."""

from __future__ import annotations

import json

import pytest
from tests.support.made_project import MadeProject
from typer.testing import CliRunner

from updraft.cli.backtest import suffix
from updraft.cli.main import app

DAYS = 8


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    return MadeProject(tmp_path, DAYS)


def run(*arguments):
    return CliRunner().invoke(app, ["backtest", "shop", *arguments])


def test_an_unreadable_day_is_listed_below_the_table_and_ends_with_3(made):
    made.file(5).write_bytes(b"\xff\xfe")
    done = run("--policy", "never retrained")
    assert done.exit_code == 3
    below = done.stdout[done.stdout.index("never retrained") :]
    assert "1 partition was not played:" in below
    assert f"2024-01-06T0000 failed: source orders: file://{made.file(5)}" in below
    known = json.loads(run("--policy", "never retrained", "--json").stdout)
    assert [(partition["key"], partition["state"]) for partition in known["left_out"]] == [
        ("2024-01-06T0000", "failed"),
    ]


def test_it_begins_with_what_the_policy_comes_to(made):
    done = run("--policy", "never retrained", "--json")
    known = json.loads(done.stdout)
    assert known["notes"][0].startswith("monitoring.remedies.retrain: every 4 partitions is 91 trainings a year")
    assert done.stderr.startswith(known["notes"][0])


def test_a_part_of_a_backtest_leaves_the_pictures_of_another_part_alone(made):
    assert run("--policy", "never retrained").exit_code == 0
    assert run("--policy", "the project's policy", "--last", "5").exit_code == 0
    assert sorted(path.name for path in (made.root / "home" / "backtest" / "shop").iterdir()) == [
        "backtest-last-5-the-projects-policy.png",
        "backtest-never-retrained.png",
        "weeks-last-5-the-projects-policy.png",
    ]


def test_only_the_whole_backtest_has_plain_names():
    assert suffix(None, ()) == ""
    assert len(suffix(8, ["every 2 partitions"] * 20)) <= 80

"""A version is trained again from its record, and is the same to the last bit, or what differs is named."""

from __future__ import annotations

import json

import pytest
from tests.support import flights
from typer.testing import CliRunner

from updraft import files
from updraft.cli import reproduce as command
from updraft.cli.main import app
from updraft.errors import DataError, InputError, IntegrityError, TrainingError
from updraft.jobs import run as training_job
from updraft.loop.in_process import play
from updraft.loop.plan import plan_training
from updraft.loop.reproduction import reproduce
from updraft.loop.train import enter, prepare, train_here

PASSED = {"passed": True, "reasons": [], "against": "base rate", "metrics": {}}


def trained(loop, run: str, key: str, version: str, **params) -> None:
    prepare(loop, run, key, params=params)
    result = train_here(loop, run)
    kept = {"features_sha256": result.features_sha256, "model_sha256": result.model_sha256}
    enter(loop, run, loop.training(run).plan, version, PASSED, kept)


@pytest.fixture(scope="module")
def loop(lake):
    home, rows = lake
    loop, models = flights.fresh_loop(home)
    for row in rows[:5]:
        play(loop, models, row)
    trained(loop, "first", rows[4].key, "11", rounds=20)
    return loop


def test_a_version_is_the_same_to_the_last_bit_and_nothing_of_the_deployment_changes(loop):
    before = files.read_bytes(loop.training("first").folder.result)
    decisions, trainings = loop.store.decisions(loop.name), loop.store.trainings(loop.name)
    again = reproduce(loop, "11")
    assert (again.identical, again.differences, again.largest_shift) == (True, (), 0.0)
    assert again.first_sha256 == loop.training("first").result.model_sha256
    assert files.read_bytes(loop.training("first").folder.result) == before
    assert (loop.store.decisions(loop.name), loop.store.trainings(loop.name)) == (decisions, trainings)


def test_another_version_of_a_library_is_named(loop, lake, monkeypatch):
    monkeypatch.setattr(training_job, "version", lambda name: "0.1" if name == "pandas" else "9.9")
    trained(loop, "elsewhere", lake[1][4].key, "12", rounds=21)
    monkeypatch.undo()
    again = reproduce(loop, "12")
    assert not again.identical
    told = {difference.what: difference.words for difference in again.differences}
    assert told["version of pandas"].startswith("version of pandas: 0.1 then, 2.")
    assert not any(what.startswith("file") for what in told)  # the trees themselves are the same
    assert again.largest_shift == 0.0


def test_what_is_not_there_or_not_what_it_was_is_told_by_name(loop, lake, tmp_path):
    with pytest.raises(InputError, match="there is no version '99'; there are "):
        reproduce(loop, "99")
    enter(loop, "by-nobody", plan_training(loop, lake[1][4].key), "13", PASSED, {})
    with pytest.raises(TrainingError, match="no request is kept of training by-nobody, which brought version 13"):
        reproduce(loop, "13")
    request = loop.training("first").request
    for url, error in (
        (request.snapshot_url, DataError),
        (f"{loop.training('first').result.model_url}/meta.json", IntegrityError),
    ):
        content = files.read_bytes(url)
        files.write_bytes(url, content.replace(b"1", b"2"))
        with pytest.raises(IntegrityError):
            reproduce(loop, "11")
        files.remove(url)
        with pytest.raises(error):
            reproduce(loop, "11")
        files.write_bytes(url, content)
    assert reproduce(loop, "11").identical


def test_the_command_says_so_and_ends_with_3_when_it_is_not_the_same(loop, monkeypatch):
    class Opened:
        def __enter__(self):
            return loop.store

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(command, "open_store", Opened)
    monkeypatch.setattr(command, "find_project", lambda name: loop.project)
    monkeypatch.setattr(command, "loop_of", lambda project, store: loop)
    same = CliRunner().invoke(app, ["reproduce", loop.name, "11"])
    assert (same.exit_code, "the same to the last bit: SHA-256 " in same.stdout) == (0, True)
    assert json.loads(CliRunner().invoke(app, ["reproduce", loop.name, "11", "--json"]).stdout)["identical"] is True
    monkeypatch.setattr(training_job, "version", lambda name: "9.9")
    other = CliRunner().invoke(app, ["reproduce", loop.name, "11"])
    assert other.exit_code == 3
    assert "version of xgboost: 3.2.0 then, 9.9 now" in other.stdout

"""A version is trained again from its record, and is the same to the last bit, or what differs is named."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace

import pytest
from tests.support import flights
from typer.testing import CliRunner

from updraft import files
from updraft.cli import lineage as lineage_command
from updraft.cli import reproduce as command
from updraft.cli.main import app
from updraft.data.snapshots import load_snapshot
from updraft.errors import DataError, InputError, IntegrityError, TrainingError
from updraft.jobs import run as training_job
from updraft.loop.in_process import play
from updraft.loop.lineage import lineage
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


def test_a_version_is_traced_back_to_its_files_and_forward_to_what_came_of_it(loop, lake, monkeypatch):
    traced = lineage(loop, "11")
    request = loop.training("first").request
    manifest = load_snapshot(request.snapshot_url, request.snapshot_sha256)
    assert tuple(partition.key for partition in traced.partitions) == request.window
    assert not any(partition.changed for partition in traced.partitions)
    for partition in traced.partitions:
        assert partition.features_sha256 == manifest.files[f"features/{partition.key}.parquet"].sha256
        assert set(partition.sources) == {"flights", "weather", "planes"}
        assert all(len(sha256) == 64 for sha256 in partition.sources.values())
    assert traced.features_code_sha256 == loop.features.sha256
    assert traced.parameters["rounds"] == 20
    assert "xgboost" in traced.environment
    as_dict = traced.as_dict()
    assert as_dict["back"]["model_sha256"] == loop.training("first").result.model_sha256
    assert as_dict["forward"]["decisions"]
    assert json.loads(json.dumps(as_dict)) == json.loads(json.dumps(as_dict, default=str))
    monkeypatch.setattr(lineage_command, "lineage", lambda *_: traced)
    monkeypatch.setattr(lineage_command, "find_project", lambda _: loop.project)
    monkeypatch.setattr(lineage_command, "open_store", lambda: nullcontext(loop.store))
    monkeypatch.setattr(lineage_command, "loop_of", lambda *_: loop)
    told = CliRunner().invoke(app, ["lineage", loop.name, "11"]).stdout
    assert f"snapshot {request.snapshot_sha256[:12]}" in told
    assert "rounds=20" in told
    with pytest.raises(InputError, match="there is no version '99'"):
        lineage(loop, "99")


def test_a_partition_that_was_published_anew_is_marked_in_the_lineage(loop):
    key = lineage(loop, "11").partitions[0].key
    row = loop.store.partition(loop.name, key)
    loop.store.record_partition(loop.name, replace(row, sha256="0" * 64))
    assert [partition.key for partition in lineage(loop, "11").partitions if partition.changed] == [key]
    loop.store.record_partition(loop.name, row)


def test_of_a_version_without_a_request_less_is_told(loop, lake):
    enter(loop, "by-nobody-either", plan_training(loop, lake[1][4].key), "14", PASSED, {})
    traced = lineage(loop, "14")
    assert (traced.model_sha256, traced.environment, traced.snapshot_url) == (None, {}, None)
    assert [partition.features_sha256 for partition in traced.partitions] == [None] * len(traced.partitions)

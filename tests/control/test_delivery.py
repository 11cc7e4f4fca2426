"""The figures of delivery: what counts as one, from when to when, in which month, and over which year."""

from __future__ import annotations

import json

import pytest
from tests.support.flights import fresh_loop
from typer.testing import CliRunner

from updraft.cli.main import app
from updraft.control.delivery import read_delivery
from updraft.control.project import read_project
from updraft.data.partitions import tick_of
from updraft.pages import rooms
from updraft.pages.rooms import Place
from updraft.pages.words import days
from updraft.store import tables
from updraft.store.records import IngestedPartition, ReleaseRow, TrainingRow
from updraft.store.store import Store
from updraft.store.transitions import open_release

NAME = "flight_delays"


def key(day: str) -> str:
    return f"{day}T0500"


def promote(store, version, day, *, learnt, opened=None, since=None, lane="refresh"):
    store.record_training(TrainingRow(f"run-{version}", NAME, key(learnt), None, None, "registered", version, {}))
    start = key(opened or day)
    counted = key(since) if since else None
    row = ReleaseRow(f"{NAME}-v{version}", NAME, lane, version, None, "closed", "promoted", None, start, None, counted)
    open_release(store, row)
    body = {"version": version, "previous": None, "lane": lane, "reason": "proved"}
    store.decide(NAME, key=key(day), kind="promote", subject=row.id, body=body)


def take_back(store, version, day, to="1", kind="roll_back"):
    serving, before = (to, version) if kind == "roll_back" else (version, to)
    subject = f"{NAME}-v{version}@{day}"
    store.decide(
        NAME, key=key(day), kind=kind, subject=subject, body={"version": serving, "previous": before, "reason": ""}
    )


def deliver(store):
    """Two years: a promotion long ago; in March a refresh and a change, of which the change is taken back in April; in April a reinstated one."""
    newest = IngestedPartition(key("2014-06-02"), "published", "file:///x", "a" * 64, 9, 0, None, {}, None)
    store.record_partition(NAME, newest)
    promote(store, "1", "2013-01-07", learnt="2013-01-07")
    promote(store, "2", "2014-03-03", learnt="2014-02-24")
    promote(store, "3", "2014-03-31", learnt="2014-02-10", opened="2014-02-24", since="2014-02-17", lane="change")
    take_back(store, "3", "2014-04-14", to="2")
    promote(store, "4", "2014-04-21", learnt="2014-04-21")
    take_back(store, "4", "2014-04-28", to="2")
    take_back(store, "4", "2014-05-05", to="2", kind="reinstate")


def test_a_month_counts_what_was_promoted_in_it_and_what_was_taken_back():
    store = Store.in_memory()
    deliver(store)
    delivery = read_delivery(store, NAME)
    assert delivery.until == key("2014-06-02")
    april, march = delivery.months
    assert (march.month, march.promotions, march.changes, march.taken_back) == ("2014-03", 2, 1, 1)
    assert march.data_days == (7 + 49) / 2
    assert march.change_days == 42  # with the evidence that it goes on with
    assert (march.failure_rate, march.restore_days) == (0.5, None)
    assert (april.month, april.promotions, april.taken_back, april.failure_rate) == ("2014-04", 1, 0, 0)
    assert april.restore_days == (14 + 7) / 2
    year = delivery.year
    assert (year.promotions, year.changes, year.taken_back, year.data_days) == (3, 1, 1, 7)
    assert year.failure_rate == pytest.approx(1 / 3)


def test_without_a_partition_or_a_promotion_there_are_no_figures(tmp_path):
    loop, _ = fresh_loop(tmp_path)
    assert read_delivery(loop.store, NAME).until is None
    row = IngestedPartition(key("2014-06-02"), "published", "file:///x", "a" * 64, 9, 0, None, {}, None)
    loop.store.record_partition(NAME, row)
    assert read_delivery(loop.store, NAME).year is None
    now = tick_of(key("2014-06-03"))
    assert b"Data to serving" not in rooms.project_page(read_project(loop, now), Place())
    deliver(loop.store)
    page = rooms.project_page(read_project(loop, now), Place()).decode()
    assert '<th scope="row">2014-03</th><td>2</td><td>1</td><td>28 d</td><td>42 d</td>' in page
    assert "<td>1 (50%)</td>" in page


def test_no_more_is_looked_at_than_asked_for(tmp_path):
    loop, _ = fresh_loop(tmp_path)
    deliver(loop.store)
    assert read_delivery(loop.store, NAME, most=1).year.promotions == 0  # the newest beginning is a reinstatement


def test_the_command_tells_the_same(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = Store.open(url)
    tables.metadata.create_all(store.engine)
    deliver(store)
    figures = read_delivery(store, NAME).model_dump(mode="json")
    store.close()
    monkeypatch.setenv("UPDRAFT_STORE", url)
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path))
    told = CliRunner().invoke(app, ["figures", NAME, "--json"])
    assert json.loads(told.stdout) == {NAME: figures}
    table = CliRunner().invoke(app, ["figures", NAME]).stdout
    assert f"{NAME}: the year up to 2 Jun 2014" in table
    assert "2014-04" in table


def test_days_are_written_as_people_do():
    assert [days(value) for value in (None, 0, 0.25, 1, 2.5, 49.0)] == ["–", "0 d", "6.0 h", "1 d", "2.5 d", "49 d"]

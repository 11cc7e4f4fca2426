"""What trainings cost: hours here and in pods, by month and over which year, their price, and what the newest one gained for it."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta

import pytest
from tests.support.flights import PROJECTS, fresh_loop
from typer.testing import CliRunner

from updraft.cli.main import app
from updraft.control.cost import read_spending
from updraft.control.project import read_project
from updraft.data.partitions import tick_of
from updraft.loop.decision_words import CARRIED
from updraft.pages import rooms
from updraft.pages.rooms import Place
from updraft.pages.words import amount
from updraft.store import tables
from updraft.store.records import IngestedPartition, TrainingRow
from updraft.store.store import Store

NAME = "flight_delays"
LOSS = "log_loss"


def key(day):
    return f"{day}T0500"


def trained(store, version, day, *, state="registered", gain=None, **took):
    gates = {"against": "base rate" if gain is None else "champion", "metrics": {}}
    if gain is not None:
        gates["metrics"] = {LOSS: {"candidate": 0.5 - gain, "against": 0.5}, "auc": {"candidate": 0.7, "against": 0.6}}
    result = {"gates": gates, **took}
    store.record_training(TrainingRow(f"run-{version}", NAME, key(day), None, None, state, version, result))


def a_year(store):
    """Here: half an hour of processor time in March, one training long ago; in pods, in April: two workers with a GPU each, then a refused one."""
    newest = IngestedPartition(key("2014-06-02"), "published", "file:///x", "a" * 64, 9, 0, None, {}, None)
    store.record_partition(NAME, newest)
    trained(store, "1", "2013-01-07", seconds=3600.0, cpu_seconds=3600.0)
    trained(store, "2", "2014-03-03", seconds=900.0, cpu_seconds=1800.0)
    trained(
        store,
        "3",
        "2014-04-07",
        seconds=3600.0,
        cpu_seconds=9.0,
        workers=2,
        pods=[_pod("4", 0), _pod("1500m", 1)],
        gain=0.02,
    )
    trained(store, "4", "2014-04-21", state="refused", seconds=1800.0, cpu_seconds=1.0, pods=[_pod("1", 0)], gain=-0.01)
    trained(store, None, "2014-05-05", state="failed")
    trained(store, "5", "2014-05-19", gain=0.1, seconds=7200.0, cpu_seconds=7200.0)  # learnt and paid for elsewhere
    carried = {"origin": "staging", "origin_version": "9", "by": "ann", "reason": "proved there"}
    store.decide(NAME, key=key("2014-05-19"), kind=CARRIED, subject="run-5", body=carried)


def _pod(cpu, gpu):
    return {"cpu": cpu, "gpu": gpu}


@pytest.fixture
def priced(tmp_path):
    path = tmp_path / "deployment.yaml"
    path.write_text("prices: {currency: EUR, cpu_hour: 0.1, gpu_hour: 2}\n")
    return path


def test_hours_are_those_used_here_and_those_that_a_pod_had(priced):
    store = Store.in_memory()
    a_year(store)
    spending = read_spending(store, NAME, LOSS, priced)
    april, march = spending.months
    assert (march.month, march.trainings, march.refused, march.cpu_hours, march.gpu_hours) == ("2014-03", 1, 0, 0.5, 0)
    assert march.cost == pytest.approx(0.05)
    assert (april.month, april.trainings, april.refused) == ("2014-04", 2, 1)
    assert (april.cpu_hours, april.gpu_hours) == (2 * 1.5 + 0.5, 2)
    assert april.cost == pytest.approx(0.35 + 4)
    year = spending.year
    assert (year.trainings, year.cpu_hours, year.gpu_hours, spending.failed) == (3, 4, 2, 1)
    assert year.cost == pytest.approx(march.cost + april.cost)


def test_the_newest_training_against_a_champion_says_what_it_gained_and_for_what(priced):
    store = Store.in_memory()
    a_year(store)
    newest = read_spending(store, NAME, LOSS, priced).newest
    assert (newest.version, newest.key) == ("4", key("2014-04-21"))
    assert (newest.gain, newest.cost) == (pytest.approx(-0.01), pytest.approx(0.05))
    trained(store, "6", "2014-05-26", gain=0.004, seconds=3600.0, cpu_seconds=7200.0)
    newest = read_spending(store, NAME, LOSS, priced).newest
    assert (newest.version, newest.gain, newest.cost) == ("6", pytest.approx(0.004), pytest.approx(0.2))


def test_without_prices_hours_are_told_and_why_there_is_no_price(tmp_path):
    store = Store.in_memory()
    a_year(store)
    (tmp_path / "plain.yaml").write_text("kubernetes: {namespace: ml}\n")
    spending = read_spending(store, NAME, LOSS, tmp_path / "plain.yaml")
    assert (spending.year.cpu_hours, spending.year.cost, spending.newest.cost) == (4, None, None)
    assert spending.unpriced == "no prices in plain.yaml"
    (tmp_path / "wrong.yaml").write_text("prices: {currency: EUR, cpu_hour: -1}\n")
    spending = read_spending(store, NAME, LOSS, tmp_path / "wrong.yaml")
    assert spending.year.cost is None
    assert "prices.cpu_hour" in spending.unpriced
    assert "wrong.yaml" in spending.unpriced


def test_the_project_page_has_them_with_the_gain(tmp_path):
    loop, _ = fresh_loop(tmp_path)
    now = tick_of(key("2014-06-03")) + timedelta(hours=1)
    assert b"Cost of trainings" not in rooms.project_page(read_project(loop, now), Place())
    a_year(loop.store)
    trained(loop.store, "6", "2014-05-26", gain=0.004, seconds=3600.0, cpu_seconds=7200.0)
    page = rooms.project_page(read_project(loop, now), Place()).decode()
    assert '<th scope="row">2014-04</th><td>2</td><td>1</td><td>3.50</td><td>2.00</td></tr>' in page
    assert "Version 6, trained at 26 May 2014, lowered the loss of its holdout by 0.004." in page
    assert "1 more brought nothing" in page
    assert "Not priced: no prices in deployment.yaml." in page


def test_the_command_tells_the_same(tmp_path, monkeypatch, priced):
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = Store.open(url)
    tables.metadata.create_all(store.engine)
    a_year(store)
    told = read_spending(store, NAME, LOSS, priced).model_dump(mode="json")
    store.close()
    for name, value in (("STORE", url), ("HOME", str(tmp_path)), ("DEPLOYMENT", str(priced))):
        monkeypatch.setenv(f"UPDRAFT_{name}", value)
    answer = CliRunner().invoke(app, ["cost", NAME, "--json"])
    assert json.loads(answer.stdout) == {NAME: told}
    table = CliRunner().invoke(app, ["cost", NAME]).stdout
    assert f"{NAME}: the year up to 2 Jun 2014" in table
    assert "EUR" in table
    assert "4.35" in table
    assert (
        "Version 4, trained at 21 Apr 2014, did not lower the loss of its holdout: 0.01 above the champion's, for 0.05"
        in table
    )


def test_a_project_that_cannot_be_read_is_left_out_with_its_problem(tmp_path, monkeypatch, priced):
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = Store.open(url)
    tables.metadata.create_all(store.engine)
    a_year(store)
    store.close()
    shutil.copytree(PROJECTS / NAME, tmp_path / "projects" / NAME)
    (tmp_path / "projects" / "broken").mkdir()
    (tmp_path / "projects" / "broken" / "project.yaml").write_text("name: broken\nowner: ann\n")
    for name, value in {
        "STORE": url,
        "HOME": tmp_path,
        "DEPLOYMENT": priced,
        "PROJECTS": tmp_path / "projects",
    }.items():
        monkeypatch.setenv(f"UPDRAFT_{name}", str(value))
    answer = CliRunner().invoke(app, ["cost"])
    assert answer.exit_code == 0, answer.output
    assert f"{NAME}: the year up to 2 Jun 2014" in answer.stdout
    assert "broken is left out: " in answer.stderr


def test_amounts_are_written_as_people_do():
    assert [amount(value) for value in (None, 0.0, 0.0123, 0.5, 1234.567)] == ["–", "0.00", "0.012", "0.50", "1,234.57"]

"""``updraft quarantine``: which rows broke the contract, of which partitions, and why."""

from __future__ import annotations

import json

import pytest
from tests.support.made_project import MadeProject
from typer.testing import CliRunner

from updraft.cli.main import app
from updraft.data.partitions import partitions
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.store.store import Store

RULES = """orders:
  rows:
    - {expect: column_values_to_be_between, column: amount, min_value: 0}
"""


@pytest.fixture
def shop(tmp_path, monkeypatch, store_url):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setenv("UPDRAFT_STORE", store_url)
    made = MadeProject(tmp_path, 2)
    made.write(lambda spec: spec["data"].update(private=["id"], refuse_above=0.2))
    (made.folder / "expectations.yaml").write_text(RULES)
    head, first, second, third, *rest = made.file(2).read_text().splitlines()
    cells = head.split(",")
    at = cells.index("amount")

    def spoilt(line: str, cell: str = "-5") -> str:
        parts = line.split(",")
        parts[at] = cell
        return ",".join(parts)

    made.file(2).write_text("\n".join([head, spoilt(first), spoilt(second), spoilt(third, "n34"), *rest, ""]))
    store = Store.open(store_url)
    loop = Loop(made.project, made.settings, store, KeptModels())
    for partition in partitions(loop.spec):
        ingest(loop, partition.key)
    store.close()
    return made, [partition.key for partition in partitions(loop.spec)]


def said(*arguments):
    done = CliRunner().invoke(app, ["quarantine", *arguments])
    return done.exit_code, done.stdout + done.stderr


def test_the_list_tells_partitions_with_rows_in_quarantine_and_the_reasons(shop):
    _, (_, second) = shop
    code, told = said("list", "shop")
    assert code == 0
    assert told.splitlines()[0] == f"{second}: 3 of 60 rows (5.0%), published"
    assert len(told.splitlines()) == 3
    assert told.splitlines()[1].startswith("  orders: amount")
    assert told.splitlines()[1].endswith(": 2")


def test_show_prints_the_rows_in_order_with_private_values_as_pseudonyms(shop):
    made, (_, second) = shop
    code, told = said("show", "shop", second, "--rows", "1")
    assert code == 0
    assert "amount=-5" in told
    assert "  orders: and 2 more (--rows)" in told
    ids = {line.split(",")[0] for line in made.file(2).read_text().splitlines()[1:]}
    rows = json.loads(said("show", "shop", second, "--json")[1])["rows"]["orders"]
    assert len(rows) == 3
    assert not {row["id"] for row in rows} & ids
    below, misfit = dict.fromkeys(row["_reasons"] for row in rows)
    assert json.loads(said("show", "shop", second, "--reason", below, "--json")[1])["rows"]["orders"] == rows[:2]
    told = said("show", "shop", second, "--reason", misfit)[1]
    assert f"  orders: {misfit} (amount: n34)" in told


def test_what_is_not_there_is_told_by_name(shop):
    _, (first, second) = shop
    assert said("show", "shop", first) == (0, f"shop: no row of {first} is in quarantine\n")
    code, told = said("show", "shop", "2031-01-01T0000")
    assert (code, f"partition '2031-01-01T0000' was not ingested; the newest one is {second}" in told) == (2, True)
    code, told = said("show", "shop", second, "--reason", "because")
    assert (code, "for 'because'; there are: amount" in told) == (2, True)


def test_rows_are_released_and_dropped_with_who_and_why(shop):
    _, (_, second) = shop
    code, told = said("release", "shop", second, "--reason", "refunds", "--breach", "amount below 0")
    assert code == 0, told
    assert "rows are released: 2 of orders" in told
    assert "it is published with 59 rows" in told
    assert "(row " in said("show", "shop", second)[1]
    code, told = said("drop", "shop", second, "--reason", "a typing error", "--json")
    assert (code, json.loads(told)["rows"]) == (0, {"orders": 1})
    assert said("list", "shop") == (0, "shop: no row is in quarantine\n")
    assert said("release", "shop", second, "--reason", " ")[0] == 2
    assert CliRunner().invoke(app, ["status", "shop"]).stdout.count("1 dropped by a person") == 1

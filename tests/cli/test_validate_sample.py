"""``updraft validate --data``: what the contract would do to a file, and nothing is kept of it."""

from __future__ import annotations

import json

import pytest
from tests.support.made_project import MadeProject
from typer.testing import CliRunner

from updraft.cli.main import app
from updraft.data.ingest import extract_partition, publish_partition, validate_partition

RULES = "orders:\n  rows:\n    - {expect: column_values_to_be_between, column: amount, min_value: 0}\n"
HEAD = "id,at,shop,amount,late"


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    project = MadeProject(tmp_path, 3)
    project.write(lambda spec: spec["data"].update(private=["id"], refuse_above=0.2))
    (project.folder / "expectations.yaml").write_text(RULES)
    return project


def sample(made, lines, *options, code=0):
    path = made.root / "sample.csv"
    path.write_text("\n".join([HEAD, *lines, ""]))
    before = sorted(made.root.rglob("*"))
    done = CliRunner().invoke(app, ["validate", "shop", "--data", str(path), *options])
    assert done.exit_code == code, done.output
    assert sorted(made.root.rglob("*")) == before
    return json.loads(done.stdout)["shop"] if "--json" in options else done.stdout


def rows(day, number=30, amount="5"):
    return [f"person{day}{n},2024-01-{day:02}T{n % 24:02}:{n // 24:02}:00Z,a,{amount},{n % 2}" for n in range(number)]


def test_rows_in_breach_are_told_with_examples_and_no_private_value(made):
    lines = [
        *rows(1),
        "person-x,2024-01-01T23:50:00Z,b,-7,1",
        "person-y,2024-01-01T23:51:00Z,b,n34,1",
        "person-z,,b,3,1",
    ]
    told = sample(made, [*lines, *rows(2), "person-w,2030-01-01T00:00:00Z,b,3,1"], "--json")
    assert (told["rows"], told["timeless"], told["outside"]) == (64, 1, 1)
    first, second = told["partitions"]
    assert (first["rows"], first["quarantined"], first["published"], first["state"]) == (32, 2, 30, "published")
    assert (second["rows"], second["quarantined"], second["published"]) == (30, 0, 30)
    examples = {text for texts in first["examples"].values() for text in texts}
    assert {"-7", "n34"} <= examples
    assert "person" not in json.dumps(told)
    assert {column["column"]: column["published"] for column in told["columns"]} == {
        "id": "as a pseudonym",
        "at": "as it is",
        "shop": "as it is",
        "amount": "as it is",
        "late": "never",
    }
    assert {column["origin"] for column in told["columns"]} == {"role", "new"}
    assert told["problems"] == []
    words = sample(made, [*lines, *rows(2)])
    assert "60 of 62 would be published" in words
    assert "person" not in words.replace(str(made.root), "")


def test_a_partition_that_would_be_refused_ends_with_3_and_says_why(made):
    told = sample(made, [*rows(1), *rows(2, 30, "-1")], "--json", code=3)
    assert [partition["state"] for partition in told["partitions"]] == ["published", "refused"]
    assert "data.refuse_above" in told["partitions"][1]["refusals"][0]
    assert "would be refused, 30 of 30 rows in breach" in sample(made, [*rows(1), *rows(2, 30, "-1")], code=3)


def test_the_types_that_are_pinned_hold_for_the_file(made):
    project, settings = made.project, made.settings
    for step in (extract_partition, validate_partition, publish_partition):
        step(project, settings, "2024-01-02T0000")
    told = sample(made, rows(2, 30, "many"), "--json", code=3)
    assert {column["column"]: column["origin"] for column in told["columns"]}["amount"] == "inferred"
    assert told["partitions"][0]["quarantined"] == 30
    path = made.root / "sample.csv"
    path.write_text("id,at,shop,late,new\n" + "".join(f"p{n},2024-01-02T0{n}:00:00Z,a,1,3\n" for n in range(5)))
    done = CliRunner().invoke(app, ["validate", "shop", "--data", str(path), "--json"])
    columns = {column["column"]: column for column in json.loads(done.stdout)["shop"]["columns"]}
    assert columns["amount"]["published"] == "missing"
    assert columns["new"]["origin"] == "new"


def test_texts_of_persons_in_what_would_be_published_are_told_by_column(made):
    lines = [line.replace(",a,", f",ask person{n}@shop.example,") for n, line in enumerate(rows(1))]
    told = sample(made, lines, "--json")
    assert any(
        "column 'shop' holds what looks like e-mail addresses in 30 of 30 texts" in note for note in told["notes"]
    )
    assert "shop.example" not in json.dumps(told)


def test_what_does_not_read_is_told_by_file_and_row(made):
    told = sample(made, [*rows(1), "person-x,soon,b,3,1"], "--json", code=2)
    assert "sample.csv" in told["problems"][0]
    assert "row 31" in told["problems"][0]
    assert "person" not in told["problems"][0].replace(str(made.root), "")
    done = CliRunner().invoke(app, ["validate", "shop", "--data", str(made.root / "none.csv")])
    assert done.exit_code == 2
    assert "none.csv" in done.output
    done = CliRunner().invoke(app, ["validate", "--data", "x.csv"])
    assert done.exit_code == 2
    assert "name it" in done.output


def test_the_file_stands_in_for_a_table_of_a_database_as_well(made):
    def of_a_table(spec):
        source = next(iter(spec["data"]["sources"].values()))
        del source["url"]
        source |= {"type": "sql", "connection": "nowhere", "table": "orders"}

    made.write(of_a_table)
    told = sample(made, rows(1), "--json")
    assert [(partition["key"][:10], partition["published"]) for partition in told["partitions"]] == [("2024-01-02", 30)]

"""``updraft validate`` on business figures: what is no number of a partition is told before anything is started."""

from __future__ import annotations

import json

import pytest
from tests.support.made_project import MadeProject
from typer.testing import CliRunner

from updraft.cli.main import app


@pytest.fixture
def deployment(tmp_path, monkeypatch):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    return tmp_path


def problems_of(project: str) -> list[str]:
    done = CliRunner().invoke(app, ["validate", project, "--json"])
    told = json.loads(done.stdout)[project]
    assert done.exit_code == (0 if told["sound"] else 2)
    return told["problems"]


def test_every_figure_that_is_none_is_told_with_file_and_key(deployment):
    made = MadeProject(deployment, 3)
    names = {
        "gone": {"expr": "sum(amuont)"},
        "outcome": "sum(late)",
        "query": "(select max(amount) from published)",
        "fine": {"expr": "sum(case when score > 0.4 and label = 0 then published.amount else 0 end)", "at_most": 7},
    }
    made.write(lambda spec: spec.update(monitoring={"figures": names}))
    gone, outcome, query = problems_of("shop")
    assert ": monitoring.figures.gone.expr" in gone
    assert "reads 'amuont', which is no column of the published rows" in gone
    assert "did you mean `amount`?" in gone
    assert ": monitoring.figures.outcome " in outcome
    assert "outcomes and columns of the label are not published" in outcome
    assert "has a query in it" in query

    kinds = {
        "rows": "amount",
        "text": "max(shop)",
        "truth": "max(label > 0)",
        "cast": "sum(cast(shop as int))",
        "fine": names["fine"],
    }
    made.write(lambda spec: spec["monitoring"].update(figures=kinds))
    rows, text, truth, cast = problems_of("shop")
    assert "must be part of an aggregate function" in rows
    assert "gives VARCHAR, and a figure is a number" in text
    assert "gives BOOLEAN, and a figure is a number" in truth
    assert "cannot be evaluated: a value does not convert to the type that is asked of it" in cast
    assert not any(f"'{shop}'" in problem for problem in (rows, text, truth, cast) for shop in "abc")

    made.write(lambda spec: spec["monitoring"].update(figures={"fine": names["fine"]}))
    assert problems_of("shop") == []

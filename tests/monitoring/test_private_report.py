"""What the project calls private is known under each name that the column has after the join; tests/loop/test_report.py has the page."""

from __future__ import annotations

from updraft.loop.report import private_features
from updraft.spec.load import load_project

POLICY = """name: shop
owner: team
description: Will a customer come back?
task: binary
data:
  schedule: "0 5 * * 1"
  start: 2026-01-05
  sources:
    visits: {type: file, url: "visits.csv", event_time: at}
    people: {type: file, url: "people.csv", join: [person]}
  key: [visit]
  label: {expr: "back > 0", matures_after: 1d}
  private: [street, people_town, visits_note]
"""


def project(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "project.yaml").write_text(POLICY)
    (folder / "features.py").write_text("def features(rows):\n    return rows\n")
    return load_project(folder)


def test_a_private_column_is_known_by_its_own_name_and_with_that_of_its_source(tmp_path):
    columns = ["street", "people_street", "people_town", "town", "note", "visits_note", "amount", "streets", "visits"]
    assert private_features(project(tmp_path), columns) == (
        "note",
        "people_street",
        "people_town",
        "street",
        "town",
        "visits_note",
    )

"""The report of a partition leaves out what the project calls private, under each name that the column has after the join."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from updraft.data.columns import CLUSTER, EVENT_TIME, ROW
from updraft.lake.places import Lake
from updraft.loop.report import private_features, write_partition_report
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


def test_the_report_of_a_partition_shows_no_private_column(tmp_path):
    rng = np.random.default_rng(0)
    rows = 300
    frame = pd.DataFrame({ROW: np.arange(rows), EVENT_TIME: 0, CLUSTER: 0, "amount": rng.normal(0, 1, rows)})
    frame["street"] = rng.choice(["aaaa1111aaaa1111", "bbbb2222bbbb2222"], rows)
    frame["people_town"] = rng.choice(["cccc3333cccc3333", "dddd4444dddd4444"], rows)
    shop = project(tmp_path)
    training = SimpleNamespace(version="1", result={"window": ["k1", "k2"]})
    store = SimpleNamespace(serving=lambda _: SimpleNamespace(champion="1"), training_of=lambda _, version: training)
    loop = SimpleNamespace(
        project=shop, spec=shop.spec, name=shop.name, store=store, feature_frame=lambda key: frame.copy(),
        lake=Lake(f"{tmp_path}/lake", shop.name),
    )  # fmt: skip
    with open(write_partition_report(loop, "k3"), encoding="utf-8") as file:
        page = file.read()
    assert '"amount"' in page
    for hidden in ("street", "people_town", "aaaa1111aaaa1111", "cccc3333cccc3333"):
        assert hidden not in page

"""The history that a backtest plays, from one file for each partition."""

from __future__ import annotations

import pytest
import yaml

from updraft import files
from updraft.backtest.history import history
from updraft.errors import SourceMissing
from updraft.settings import Settings
from updraft.spec.load import load_project

DAYS = range(1, 7)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "projects" / "shop"
    made.mkdir(parents=True)
    spec = {
        "name": "shop",
        "owner": "me",
        "data": {
            "schedule": "0 0 * * *",
            "start": "2024-01-01",
            "end": "2024-01-07",
            "sources": {
                "orders": {"type": "file", "url": f"file://{tmp_path}/orders-{{key}}.csv", "event_time": "at"},
                "shops": {"type": "file", "url": f"file://{tmp_path}/shops.csv", "join": ["shop"]},
            },
            "key": ["id"],
            "label": {"expr": "late", "matures_after": "1h"},
            "outcomes": ["late"],
        },
    }
    (made / "project.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    (made / "features.py").write_text("def features(rows):\n    return rows[['amount', 'shops_size']]\n")
    (tmp_path / "shops.csv").write_text("shop,size\na,1\nb,2\n")
    for day in DAYS:
        rows = [f"{100 * day + n},2024-01-0{day}T0{n}:00:00Z,{'ab'[n % 2]},{n},{n % 2}" for n in range(8)]
        (tmp_path / f"orders-2024-01-0{day + 1}T0000.csv").write_text("\n".join(["id,at,shop,amount,late", *rows, ""]))
    return made


def read(folder, tmp_path):
    told = []
    settings = Settings.from_env({"UPDRAFT_HOME": str(tmp_path / "home"), "UPDRAFT_PROJECTS": str(folder.parent)})
    return history(load_project(folder), settings, None, told.append).rows, told


def test_a_partition_without_its_file_is_left_out_and_said_so(folder, tmp_path):
    for day in (3, 5):
        (tmp_path / f"orders-2024-01-0{day}T0000.csv").unlink()
    rows, told = read(folder, tmp_path)
    assert [row.key for row in rows] == [f"2024-01-0{day}T0000" for day in (2, 4, 6, 7)]
    assert {row.state for row in rows} == {"published"}
    [line] = told
    assert line.startswith(
        "2 of 6 partitions are left out, as a source has no file; the first is 2024-01-03T0000: source orders"
    )


def test_a_file_that_comes_later_is_ingested_the_next_time(folder, tmp_path):
    late = tmp_path / "orders-2024-01-03T0000.csv"
    content = late.read_bytes()
    late.unlink()
    assert len(read(folder, tmp_path)[0]) == 5
    late.write_bytes(content)
    rows, told = read(folder, tmp_path)
    assert len(rows) == 6
    # The next partition reads the file too: labels of its last hour mature at that tick.
    assert told == [
        "1 partition is ingested again, as there is a change in the files of source orders; the first is 2024-01-04T0000"
    ]


def test_a_missing_file_of_all_partitions_ends_the_backtest(folder, tmp_path):
    (tmp_path / "shops.csv").unlink()
    with pytest.raises(SourceMissing, match=r"source shops: no file .*shops\.csv"):
        read(folder, tmp_path)


def test_another_unit_of_evidence_is_another_history(folder, tmp_path):
    first = read(folder, tmp_path)[0]
    text = (folder / "project.yaml").read_text()
    (folder / "project.yaml").write_text(text + "release: {cluster: week}\n")
    again = read(folder, tmp_path)[0]
    clusters = [set(files.read_parquet(rows[0].url)["_cluster"]) for rows in (first, again)]
    assert clusters == [{"2024-01-01"}, {"2024-W01"}]

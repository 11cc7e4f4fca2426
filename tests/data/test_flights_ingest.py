"""The reference project on its real data."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from updraft import files
from updraft.data.columns import LABEL, PARTITION, ROW
from updraft.data.ingest import extract_partition, publish_partition, read_partition, validate_partition
from updraft.spec.features import compute, load_features
from updraft.spec.load import load_project

PROJECT = Path(__file__).resolve().parents[2] / "include" / "projects" / "flight_delays"
BEFORE, KEY = "2013-02-11T0500", "2013-02-18T0500"


def test_the_week_of_the_impossible_wind_loses_that_row_and_nothing_else(settings) -> None:
    project = load_project(PROJECT)
    for key in (BEFORE, KEY):
        extract_partition(project, settings, key)
        checks = validate_partition(project, settings, key)
        found = publish_partition(project, settings, key)
    weather = checks.sources["weather"]
    assert weather.reasons == {"wind_speed not in 0 to 150": 1}
    assert [each.examples for each in weather.checks if not each.success] == [("1048.36058",)]
    [row] = pd.read_parquet(
        files.local_path(settings.lake) / f"flight_delays/quarantine/{KEY}/weather.parquet"
    ).to_dict("records")
    assert row["wind_speed"] == pytest.approx(1048.36058)
    assert weather.joined is not None
    assert weather.joined > 0.99
    rows = read_partition(found.url)
    assert found.rows == len(rows) == 6236
    assert rows["weather_wind_speed"].max() < 150
    assert not {"arr_delay", "dep_delay", "dep_time", "arr_time", "air_time"} & set(rows.columns)
    assert rows["tailnum"].dropna().str.fullmatch("[0-9a-f]{16}").all()
    assert rows["planes_seats"].notna().mean() > 0.8
    labels = read_partition(found.labels_url)
    assert set(labels[PARTITION]) == {BEFORE, KEY}
    assert 0.1 < labels[LABEL].mean() < 0.4
    own = labels[labels[PARTITION] == KEY]
    assert own[ROW].isin(rows[ROW]).all()
    made = compute(project, load_features(project), rows)
    assert len(made) == len(rows)
    assert made["wind_speed"].notna().mean() > 0.9

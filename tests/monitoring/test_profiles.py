"""Profiles: merging is exact, and the reference's bins come from the merge."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from updraft.errors import DataError
from updraft.monitoring.profiles import Profile, merge, profile
from updraft.monitoring.reference import Reference, earlier_seasons, fit_reference, same_season
from updraft.monitoring.sketch import CAP, Numbers, merge_numbers, summarise_numbers


def frame(rows=500, seed=0, start="2013-01-07"):
    rng = np.random.default_rng(seed)
    times = pd.Timestamp(start, tz="UTC") + pd.to_timedelta(np.sort(rng.integers(0, 7 * 86400, rows)), unit="s")
    local = times.tz_convert("America/New_York")
    return pd.DataFrame(
        {
            "temp": rng.normal(40, 15, rows).round(1),
            "noise": rng.standard_cauchy(rows) * 10.0 ** rng.integers(-3, 3, rows),
            "precip": np.where(rng.random(rows) < 0.9, 0, rng.exponential(size=rows)),
            "seats": pd.array(np.where(rng.random(rows) < 0.2, None, rng.integers(10, 300, rows)), dtype="Int64"),
            "origin": rng.choice(["EWR", "JFK", "LGA"], rows),
            "tail": rng.choice([f"N{number}" for number in range(40 * (seed % 3 + 1) ** 3)], rows),
            "late": rng.random(rows) < 0.2,
            "month": local.month,
            "day": local.day,
            "nothing": None,
            "_event_time": times,
            "_row": np.arange(rows, dtype="uint64"),
        }
    )


def same(one: Profile, other: Profile):
    """Counts are equal, means and M2 to rounding."""
    assert one.columns == other.columns
    assert (one.rows, one.oldest, one.newest, one.categories) == (
        other.rows,
        other.oldest,
        other.newest,
        other.categories,
    )
    for name, column in one.numbers.items():
        twin = other.numbers[name]
        assert (column.level, column.counters, column.nulls) == (twin.level, twin.counters, twin.nulls)
        assert (column.low, column.high, column.clock) == (twin.low, twin.high, twin.clock)
        assert column.mean == pytest.approx(twin.mean, rel=1e-9)
        assert column.m2 == pytest.approx(twin.m2, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_merging_gives_the_same_counts_in_any_order_and_grouping(seed):
    rng = np.random.default_rng(seed)
    parts = [profile(frame(int(rng.integers(1, 900)), seed * 10 + number)) for number in range(4)]
    whole = merge(parts)
    a, b, c, d = parts
    same(whole, merge([merge([a, b]), merge([c, d])]))
    same(whole, merge([a, merge([b, merge([c, d])])]))
    for order in itertools.islice(itertools.permutations(parts), 0, 24, 7):
        same(whole, merge(order))


def test_the_merge_of_the_parts_is_the_profile_of_the_whole():
    frames = [frame(700, seed) for seed in range(3)]
    same(merge(map(profile, frames)), profile(pd.concat(frames)))


def test_merging_with_nothing_changes_nothing_and_adding_is_symmetric():
    one, other = profile(frame(300, 1)), profile(frame(200, 2))
    assert merge([one]) == merge([one, Profile()]) == merge([Profile(), one])
    assert merge([one, other]).as_dict() == merge([other, one]).as_dict()


def test_a_column_that_is_missing_counts_as_null():
    whole = merge([profile(frame(300, 1)), profile(frame(200, 2).drop(columns=["temp", "origin"]))])
    assert whole.nulls("temp") == 200
    assert whole.nulls("origin") == 200
    assert whole.nulls("nothing") == 500


def test_text_does_not_merge_with_numbers():
    with pytest.raises(DataError, match="'temp' holds numbers in one partition and text in another"):
        merge([profile(frame()), profile(frame().astype({"temp": str}))])


def test_counts_moments_and_ends_are_those_of_pandas():
    rows = frame(5000, 3)
    found = profile(rows)
    for name in ("temp", "noise", "precip"):
        column = found.numbers[name]
        assert column.count == 5000
        assert sum(column.counters.values()) == 5000
        assert len(column.counters) <= CAP
        assert (column.low, column.high) == (rows[name].min(), rows[name].max())
        assert column.mean == pytest.approx(rows[name].mean())
        assert column.sd == pytest.approx(rows[name].std(ddof=0))
    assert found.numbers["seats"].nulls == rows["seats"].isna().sum()
    assert found.categories["origin"].counts == rows["origin"].value_counts().sort_index().to_dict()
    assert set(found.categories["late"].counts) == {"true", "false"}
    assert "_row" not in found.columns
    assert found.empty == ("nothing",)


def test_quantiles_are_near_the_exact_ones():
    numbers = np.random.default_rng(1).normal(1000, 20, 20_000)
    found = summarise_numbers(numbers)
    for share in (0.05, 0.5, 0.95):
        assert found.quantile(share) == pytest.approx(np.quantile(numbers, share), rel=1e-3)


def test_zero_negative_and_not_finite_numbers_are_counted():
    found = summarise_numbers(np.array([0.0, -0.0, -1.0, 1.0, np.nan, np.inf, -np.inf]))
    assert (found.count, found.nulls) == (4, 3)
    assert list(found.counters.values()) == [1, 2, 1]
    assert (found.low, found.high) == (-1, 1)
    assert merge_numbers(found, Numbers(nulls=2)).nulls == 5


def test_profiles_and_references_survive_json(tmp_path):
    found = profile(frame())
    assert Profile.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    assert Profile.from_dict(json.loads(json.dumps(Profile().as_dict()))) == Profile()
    reference = fit_reference([found, profile(frame(seed=1))])
    assert Reference.from_dict(json.loads(json.dumps(reference.as_dict()))) == reference


def test_a_file_has_the_profile_of_its_frame_whatever_its_row_groups(tmp_path, monkeypatch):
    rows = frame(1500, 5)
    rows.to_parquet(tmp_path / "one.parquet")
    rows.to_parquet(tmp_path / "many.parquet", row_group_size=100)
    whole = profile(f"file://{tmp_path / 'one.parquet'}")
    assert whole == profile(f"file://{tmp_path / 'one.parquet'}")
    monkeypatch.setattr("updraft.monitoring.profiles.CHUNK", 250)
    same(whole, profile(f"file://{tmp_path / 'many.parquet'}"))
    same(whole, profile(rows))


def test_an_unknown_column_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(DataError, match=r"no column \['tmep'\].*'temp'"):
        profile(frame(), columns=["tmep"])


def test_calendar_columns_are_skipped_with_a_reason():
    reference = fit_reference([profile(frame(seed=n, start=f"2013-0{n + 1}-25")) for n in range(4)])
    assert reference.skipped == {
        "month": "a calendar: the month of the event time",
        "day": "a calendar: the day of the event time",
        "nothing": "null in every row",
    }


def test_bins_hold_about_a_tenth_each_and_a_frequent_value_its_own():
    parts = [profile(frame(2000, seed)) for seed in range(5)]
    reference = fit_reference(parts)
    temp = reference.columns["temp"].rows
    assert len(temp) == 11
    assert max(temp[:-1]) < 1.3 * 1000
    assert max(reference.columns["precip"].rows) == pytest.approx(9000, rel=0.02)


def test_counts_of_the_partitions_add_up_to_those_of_the_reference():
    parts = [profile(frame(700, seed)) for seed in range(4)]
    reference = fit_reference(parts)
    for name, column in reference.columns.items():
        sums = np.sum([reference.counts(name, part)[1] for part in parts], axis=0)
        assert tuple(sums) == column.rows


def test_a_partition_that_is_counted_more_coarsely_brings_the_reference_to_its_bins():
    reference = fit_reference([profile(frame(700, seed)[["temp", "origin"]]) for seed in range(4)])
    wide = frame(700, 9)
    wide["temp"] = wide["temp"] * np.geomspace(1e-9, 1e9, len(wide))
    wide["origin"] = [f"name {number}" for number in range(len(wide))]
    for name in ("temp", "origin"):
        whole, part = reference.counts(name, profile(wide))
        assert len(whole) == len(part)
        assert sum(whole) == 2800
        assert sum(part) == 700


def test_a_file_without_rows_has_an_empty_profile(tmp_path):
    frame(5).head(0).to_parquet(tmp_path / "none.parquet")
    found = profile(str(tmp_path / "none.parquet"))
    assert (found.rows, found.newest, found.numbers) == (0, None, {})
    with pytest.raises(DataError, match="at least one partition with rows"):
        fit_reference([found])


def test_the_seasons_of_earlier_years_hold_every_tick_of_the_same_season_and_no_other():
    start = datetime(2011, 1, 3, 5, tzinfo=UTC)
    for now in (start + timedelta(days=day) for day in range(300, 1500, 37)):
        ticks = [
            start + timedelta(hours=12 * half) for half in range(3100) if start + timedelta(hours=12 * half) <= now
        ]
        spans = list(earlier_seasons(start, now))
        held = tuple(tick for tick in ticks if any(first <= tick <= last for first, last in spans))
        assert same_season(ticks, now, fewest=1) == held


def test_the_same_season_of_earlier_years_is_a_reference_where_there_is_one():
    start = datetime(2011, 1, 3, 5, tzinfo=UTC)
    ticks = [start + timedelta(weeks=week) for week in range(120)]
    first_year, third_year = ticks[30], ticks[110]
    assert same_season(ticks[:30], first_year) == ()
    weeks = [ticks.index(one) for one in same_season(ticks, third_year)]
    assert weeks[:12] == list(range(12))  # two years before, as far as the history goes
    assert 110 - 52 in weeks
    assert 110 not in weeks
    assert all(abs((110 - one) % 52.18) < 7 or abs((110 - one) % 52.18) > 45 for one in weeks)

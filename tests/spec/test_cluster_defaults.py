"""What a policy leaves unsaid about evidence follows from its schedule, such that something can be shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from updraft.spec.cluster_defaults import clusters_per_partition
from updraft.spec.evidence import evidence_words, undecidable
from updraft.spec.load import load_project
from updraft.spec.model import ProjectSpec

FLIGHTS = Path(__file__).resolve().parents[2] / "include" / "projects" / "flight_delays"
HOURLY, DAILY, WEEKLY, MONTHLY = "0 * * * *", "0 5 * * *", "0 5 * * 1", "0 5 1 * *"


def merged(first: dict, second: dict) -> dict:
    return first | {
        key: merged(first[key], value) if isinstance(value, dict) and isinstance(first.get(key), dict) else value
        for key, value in second.items()
    }


@pytest.fixture
def spec_of(make_project, smallest):
    """The spec of the smallest project with a schedule, and with more of a policy."""

    def made(schedule: str, more: str = "") -> ProjectSpec:
        text = smallest.replace('"0 5 * * *"', f'"{schedule}"')
        assert schedule in text
        return load_project(make_project(yaml.safe_dump(merged(yaml.safe_load(text), yaml.safe_load(more) or {})))).spec

    return made


@pytest.mark.parametrize(
    ("schedule", "cluster", "number"),
    [
        (WEEKLY, "day", 7),
        (WEEKLY, "week", 1),
        (DAILY, "day", 1),
        (DAILY, "hour", 24),
        (HOURLY, "day", 1 / 24),
        (HOURLY, "hour", 1),
        ("0 9,17 * * *", "hour", 8),
        ("0 5 * * 1-5", "day", 1),
        (MONTHLY, "day", 28),
        (DAILY, "customer", None),
    ],
)
def test_clusters_are_counted_by_the_shortest_partition(schedule, cluster, number):
    assert clusters_per_partition(schedule, cluster) == (None if number is None else pytest.approx(number))


@pytest.mark.parametrize("schedule", [HOURLY, "0 */6 * * *", DAILY, "0 5 * * 1-5", WEEKLY, MONTHLY])
def test_whatever_the_schedule_a_policy_that_says_nothing_can_decide_everything(spec_of, schedule):
    spec = spec_of(schedule)
    assert undecidable(spec) == []
    assert spec.release.refresh.holdout < spec.training.first_after <= spec.training.window


def test_days_where_partitions_hold_some_and_hours_where_they_hold_less_than_one(spec_of):
    clusters = {
        schedule: spec_of(schedule).release.cluster for schedule in (HOURLY, "0 */6 * * *", DAILY, WEEKLY, MONTHLY)
    }
    assert list(clusters.values()) == ["hour", "hour", "day", "day", "day"]


def test_weeks_are_as_ever_and_days_and_hours_count_more_partitions(spec_of):
    def told(spec):
        release, recalibrate = spec.release, spec.monitoring.remedies.recalibrate
        shadow = release.change.shadow
        return (
            *(spec.training.first_after, release.refresh.holdout, release.refresh.probation, recalibrate.window),
            *(shadow.at_least, shadow.at_most),
        )

    assert told(spec_of(WEEKLY)) == told(spec_of(MONTHLY)) == (8, 2, 4, 2, 2, 12)
    soon = "data: {label: {matures_after: 1h}}"
    assert told(spec_of(DAILY)) == told(spec_of(HOURLY, soon)) == (12, 6, 14, 5, 7, 32)
    assert told(spec_of(HOURLY)) == (12, 6, 14 + 23, 5, 7, 32 + 23)  # labels after a day


def test_the_reference_project_is_as_it_was():
    spec = load_project(FLIGHTS).spec
    assert (spec.release.cluster, spec.release.refresh.holdout, spec.release.refresh.probation) == ("day", 2, 4)
    assert (spec.training.first_after, spec.monitoring.remedies.recalibrate.window) == (8, 2)
    assert (spec.release.change.shadow.at_least, spec.release.change.shadow.at_most) == (2, 12)
    assert undecidable(spec) == []
    assert evidence_words(spec) == (
        "by day; a holdout of 2 partitions holds 14 clusters, and 5 are the least that decides anything"
    )


def test_what_is_stated_stays_and_what_it_cannot_decide_is_said_with_what_to_write(spec_of):
    spec = spec_of(
        DAILY,
        "release: {cluster: day, refresh: {holdout: 2, probation: 0}, change: {shadow: {at_least: 2, at_most: 4}}}\n"
        "monitoring: {remedies: {recalibrate: {window: 2}}}",
    )
    assert (spec.release.refresh.holdout, spec.training.first_after) == (2, 8)
    complaints = undecidable(spec)
    assert [line.partition(" ")[0] for line in complaints] == [
        "release.refresh.holdout",
        "release.change.shadow.at_most",
        "monitoring.remedies.recalibrate.window",
    ]
    assert complaints[0] == (
        "release.refresh.holdout = 2 holds 2 clusters (day), fewer than 5: no refit trial can call for a training, and no gate "
        "compares a model with the champion; write 5 or more, or a finer release.cluster"
    )
    assert undecidable(spec_of(HOURLY, "release: {cluster: day}"))[0].startswith(
        "release.refresh.holdout = 13 holds 0 clusters"
    )


def test_a_short_window_or_an_early_first_model_leaves_something_to_learn_from(spec_of):
    short = spec_of(DAILY, "training: {window: 9}")
    assert (short.release.refresh.holdout, short.training.first_after) == (4, 9)
    early = spec_of(DAILY, "training: {first_after: 4}")
    assert (early.release.refresh.holdout, early.training.first_after) == (3, 4)
    assert undecidable(early)


def test_a_policy_without_layers_or_with_clusters_of_a_column_is_left_alone(spec_of):
    assert spec_of(DAILY, "monitoring: {remedies: {recalibrate: null}}").monitoring.remedies.recalibrate is None
    by_column = spec_of(DAILY, "release: {cluster: customer}")
    assert (by_column.release.refresh.holdout, by_column.training.first_after) == (2, 8)
    assert evidence_words(by_column).startswith("by column customer")


def test_a_budget_lasts_the_year_and_a_probation_ends_before_the_next_refresh_however_short_partitions_are(spec_of):
    told = {}
    for schedule in (HOURLY, DAILY, "0 5 * * 1-5", WEEKLY, MONTHLY):
        retrain = spec_of(schedule).monitoring.remedies.retrain
        told[schedule] = (retrain.every, retrain.per_year)
    assert told == {
        **{HOURLY: (9 + 23, 2191), DAILY: (9, 91), "0 5 * * 1-5": (9, 66)},
        **{WEEKLY: (4, 13), MONTHLY: (4, 12)},
    }
    stated = spec_of(DAILY, "monitoring: {remedies: {retrain: {every: null, per_year: 5}}}").monitoring.remedies.retrain
    assert (stated.every, stated.per_year) == (None, 5)


def test_a_budget_that_follows_from_the_schedule_is_not_spent_in_its_first_months(spec_of):
    def rate(schedule, **stated):
        told = spec_of(schedule, f"monitoring: {{remedies: {{retrain: {json.dumps(stated)}}}}}" if stated else "")
        at_most = told.monitoring.remedies.retrain.at_most
        return str(at_most) if at_most else None

    assert rate(DAILY) == rate(HOURLY) == rate(WEEKLY) == "7 of 28"
    assert rate(MONTHLY) is None  # twelve a year are a training a month
    assert rate(DAILY, every=2) == "14 of 28"
    assert rate(DAILY, every=3) == "10 of 28"  # what every third partition comes to at most
    assert rate(DAILY, every=1, cooldown=0) is None
    assert rate(DAILY, per_year=91) is None  # whoever states a budget states how it is spent
    assert rate(DAILY, at_most="3 of 10") == "3 of 10"
    assert rate(DAILY, at_most=None) is None


@pytest.mark.parametrize(
    ("schedule", "matures_after"),
    [
        (DAILY, "7d"),
        (DAILY, "14d"),
        (DAILY, "30d"),
        (WEEKLY, "30d"),
        ("0 */6 * * *", "1d"),
        ("0 */6 * * *", "7d"),
        (HOURLY, "2d"),
    ],
)
def test_labels_that_mature_late_leave_enough_of_every_window(spec_of, schedule, matures_after):
    spec = spec_of(schedule, f"data: {{label: {{matures_after: {matures_after}}}}}")
    assert undecidable(spec) == []
    short = spec_of(
        schedule,
        f"data: {{label: {{matures_after: {matures_after}}}}}\nrelease: {{refresh: {{probation: 1, probation_at_most: 1}}}}",
    )
    [told] = undecidable(short)
    assert told.startswith("release.refresh.probation_at_most = 1 holds 0 clusters with labels")


@pytest.mark.parametrize(
    ("stated", "ends"),
    [("at_least: 14", (14, 32)), ("at_least: 40", (40, 40)), ("at_most: 20", (7, 20)), ("at_most: 3", (3, 3))],
)
def test_where_one_end_of_a_shadow_is_stated_the_schedule_says_the_other_and_does_not_contradict_it(
    spec_of, stated, ends
):
    shadow = spec_of(DAILY, f"release: {{change: {{shadow: {{{stated}}}}}}}").release.change.shadow
    assert (shadow.at_least, shadow.at_most) == ends


def test_weeks_as_clusters_of_weekly_partitions_have_a_rhythm_in_which_a_probation_ends(spec_of):
    assert undecidable(spec_of(WEEKLY, "release: {cluster: week}")) == []


@pytest.mark.parametrize(("retrain", "budget"), [("every: 1", 182), ("every: 1, cooldown: 0", 365), ("every: 20", 91)])
def test_a_budget_follows_from_a_rhythm_that_is_stated(spec_of, retrain, budget):
    spec = spec_of(DAILY, f"monitoring: {{remedies: {{retrain: {{{retrain}}}}}}}")
    assert spec.monitoring.remedies.retrain.per_year == budget

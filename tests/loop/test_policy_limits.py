"""What a policy comes to for hours, days and weeks: numbers that can be counted by hand."""

from __future__ import annotations

import pytest

from updraft.loop.policy_limits import Pace, policy_notes, policy_problems
from updraft.monitoring.drift import partitions_needed
from updraft.spec.document import read_document
from updraft.spec.model import Persistence, ProjectSpec

HOURLY, DAILY, WEEKLY = "0 * * * *", "0 5 * * *", "0 5 * * 1"


def spec(schedule, *, label=None, **parts):
    data = {
        "schedule": schedule,
        "start": "2024-01-01",
        "sources": {"orders": {"type": "file", "url": "file:///orders.csv", "event_time": "at"}},
        "key": ["id"],
        "label": {"expr": "late", "matures_after": label or "1h"},
    }
    return ProjectSpec.model_validate({"name": "shop", "owner": "me", "data": data, **parts})


OFTEN = {"monitoring": {"remedies": {"retrain": {"every": 4}}}, "release": {"refresh": {"probation": 4}}}
"""A probation as long as the time to the next refresh, of weeks."""


def note(made, key):
    [line] = [line for line in policy_notes(made) if line.startswith(f"{key}:")]
    return line


def retrain(**changes):
    return {"remedies": {"retrain": changes}}


@pytest.mark.parametrize(
    ("schedule", "hours"),
    [(HOURLY, 1), (DAILY, 24), (WEEKLY, 168), ("*/15 * * * *", 0.25), ("0 6,18 * * *", 12)],
)
def test_the_span_of_a_schedule(schedule, hours):
    assert Pace.of(spec(schedule)).span.total_seconds() == pytest.approx(3600 * hours, rel=0.001)


@pytest.mark.parametrize(
    ("schedule", "a_year", "spent", "silent", "least"),
    [(HOURLY, "2,190", "44 hours", "363 days", 2190), (DAILY, "91", "44 days", "321 days", 92)],
)
def test_a_budget_that_is_spent_long_before_the_year_says_when(schedule, a_year, spent, silent, least):
    told = note(spec(schedule, monitoring=retrain(every=4, per_year=12)), "monitoring.remedies.retrain")
    assert f"every 4 partitions is {a_year} trainings a year, and per_year allows 12" in told
    assert f"spent {spent} after the first training, and then nothing is trained for {silent}" in told
    assert f"write per_year: {least}" in told


def test_a_budget_of_triggers_may_be_spent():
    told = note(
        spec(DAILY, monitoring=retrain(every=None, on=["drift"], cooldown=2, per_year=12)),
        "monitoring.remedies.retrain",
    )
    assert "at most every 2 partitions, when a trigger calls for it is 182 trainings a year" in told
    assert "the budget may be spent 22 days after the first training" in told


def test_a_budget_that_is_enough_says_so():
    told = note(spec(WEEKLY, monitoring=retrain(every=8)), "monitoring.remedies.retrain")
    assert told.endswith("every 8 partitions is 7 trainings a year; per_year: 13 is enough")


def test_a_cooldown_longer_than_the_schedule_of_trainings_is_told():
    told = [line for line in policy_notes(spec(DAILY, monitoring=retrain(every=1, cooldown=5))) if "cooldown" in line]
    assert "every 1 cannot happen" in told[0]
    assert "it comes to every 5" in told[0]


def shadow(at_most, cluster):
    return {"cluster": cluster, "change": {"shadow": {"at_least": 2, "at_most": at_most}}}


def drift(alarms, **rest):
    return {"drift": {"false_alarms": alarms}, **rest}


def test_weekly_drift_once_a_year_needs_fourteen_partitions_and_the_first_model_has_eight():
    needed = partitions_needed(Persistence(hits=2, of=3), 1 / (365.25 / 7))
    triggers = {"retrain": {"every": None, "on": ["drift"], "per_year": 12}}
    told = note(spec(WEEKLY, monitoring=drift("1 per year", remedies=triggers)), "monitoring.drift")
    assert f"needs a reference of {needed} partitions, and the first model has 8" in told
    assert needed == 14
    assert "which may be never" in told


def test_drift_that_a_later_model_can_measure_says_when():
    told = note(spec(WEEKLY, monitoring=drift("1 per year")), "monitoring.drift")
    assert "not measured before the first 2 refreshes have passed the gates, 56 days after the first model" in told


def test_drift_that_no_window_is_long_enough_for_is_never_measured():
    told = note(spec(HOURLY, monitoring=drift("1 per year")), "monitoring.drift")
    assert "a model learns from 26 at most (training.window): drift is never measured" in told


def test_drift_that_the_first_model_can_measure_says_so():
    assert note(spec(WEEKLY), "monitoring.drift").endswith("which the first model has: drift is measured from it on")


@pytest.mark.parametrize(
    ("schedule", "release", "says"),
    [
        (DAILY, {}, "at_most 32 partitions bring 31 clusters with labels (release.cluster: day)"),
        (DAILY, {}, "comes after 7, so a change can be promoted after 8 partitions (8 days) at the earliest"),
        (WEEKLY, {}, "bring 83 clusters with labels (release.cluster: day)"),
        (WEEKLY, {}, "comes after 7, so a change can be promoted after 2 partitions (14 days) at the earliest"),
        (HOURLY, shadow(12, "day"), "bring 0 clusters with labels (release.cluster: day), and nothing is shown before 7"),
        (HOURLY, shadow(12, "day"), "every change is rejected as not shown in time, however good"),
        (DAILY, shadow(12, "week"), "bring 1 cluster with"),
        (HOURLY, shadow(12, "hour"), "bring 11 clusters"),
        (DAILY, {"cluster": "customer"}, "at least 7 values of customer"),
    ],
)  # fmt: skip
def test_a_shadow_says_whether_a_verdict_can_be_reached(schedule, release, says):
    assert says in note(spec(schedule, release=release), "release.change.shadow")


def test_labels_that_come_late_leave_less_for_a_verdict():
    assert "bring 5 clusters" in note(spec(DAILY, label="7d", release=shadow(12, "day")), "release.change.shadow")


@pytest.mark.parametrize(
    ("schedule", "parts", "says"),
    [
        (DAILY, OFTEN, "4 partitions, as the next refresh comes after 4 (4 days) bring 3 clusters with labels"),
        (DAILY, OFTEN, "a refresh that is worse is never rolled back by itself; raise it to 8 and retrain.every above 8"),
        (DAILY, {}, "can be rolled back from the 8th on"),
        (WEEKLY, {}, "can be rolled back from the 2nd on"),
        (DAILY, {"release": {"refresh": {"probation": 20}}}, "9 partitions, as the next refresh comes after 9 (9 days)"),
        (DAILY, {"release": {"refresh": {"probation": 0}}}, "stays until the next one"),
    ],
)  # fmt: skip
def test_a_probation_says_whether_it_can_end_in_a_rollback(schedule, parts, says):
    notes = [line for line in policy_notes(spec(schedule, **parts)) if line.startswith("release.refresh.probation")]
    assert says in notes[0]


@pytest.mark.parametrize(
    ("margin", "says"),
    [
        (
            0.0,
            "with release.margin: 0 only a refresh that is better can be shown no worse; else it is kept without a judgement",
        ),
        (0.02, "where its gain varies by less than 0.0"),
    ],
)
def test_a_probation_says_whether_a_refresh_that_is_as_good_can_be_shown_so(margin, says):
    assert says in note(spec(WEEKLY, release={"margin": margin}), "release.refresh.probation_at_most")


def test_groups_that_never_decide_are_told():
    groups = {"fairness": {"by": ["sex"], "metrics": ["selection_rate"]}}
    assert "holds 2 clusters" in note(spec(DAILY, gates=groups, release={"refresh": {"holdout": 2}}), "gates.fairness")
    assert not [line for line in policy_notes(spec(WEEKLY, gates=groups)) if line.startswith("gates.fairness")]


def test_slices_that_never_gate_are_told():
    slices = {"slices": {"by": ["shop"], "no_worse_than_champion_by": 0.1}}
    assert "holds 2 clusters" in note(spec(DAILY, gates=slices, release={"refresh": {"holdout": 2}}), "gates.slices")
    assert not [line for line in policy_notes(spec(WEEKLY, gates=slices)) if line.startswith("gates.slices")]


@pytest.mark.parametrize(
    ("schedule", "cluster", "first_after", "wrong"),
    [
        (DAILY, "week", 5, True),
        (DAILY, "week", 9, False),
        (HOURLY, "day", 8, True),
        (HOURLY, "hour", 8, False),
        (WEEKLY, "week", 8, False),
        (HOURLY, "customer", 8, False),
    ],
)
def test_a_first_window_within_one_cluster_is_a_problem(tmp_path, schedule, cluster, first_after, wrong):
    file = tmp_path / "project.yaml"
    file.write_text(f"name: shop\ntraining:\n  first_after: {first_after}\n")
    made = spec(schedule, training={"first_after": first_after}, release={"cluster": cluster})
    problems = [str(problem) for problem in policy_problems(read_document(file), made)]
    assert bool(problems) == wrong
    if wrong:
        assert f"project.yaml:3: training.first_after = {first_after}: " in problems[0]

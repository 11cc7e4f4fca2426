"""The drift alarm keeps the false-alarm rate that a project states, and finds a shift."""

import json

import numpy as np
import pytest

from updraft.errors import DataError
from updraft.monitoring import drift
from updraft.monitoring.profiles import Profile
from updraft.monitoring.reference import fit_reference
from updraft.monitoring.sketch import Categories, summarise_numbers
from updraft.spec.model import Drift, Persistence

QUARTERLY = Drift.model_validate({"false_alarms": "1 per quarter", "persist": "2 of 3"})


def stable(length, *, carry, seed, columns=10, bins=6, rows=5000, spread=0.1):
    """Profiles of a stable world: each week's log-odds wander about fixed ones, carrying over by AR(1)."""
    rng = np.random.default_rng(seed)
    shocks = rng.normal(size=(length + 30, columns, bins)) + 0.3 * rng.normal(size=(length + 30, 1, 1))
    state = np.zeros_like(shocks)
    for week in range(1, len(state)):
        state[week] = carry * state[week - 1] + np.sqrt(1 - carry**2) * shocks[week]
    odds = np.exp(rng.normal(size=(columns, bins)) / 2 + spread * np.exp(rng.normal(size=(columns, 1))) * state[30:])
    counts = rng.multinomial(rows, odds / odds.sum(axis=-1, keepdims=True))
    names = [str(one) for one in range(bins)]
    return [
        Profile(
            rows,
            categories={
                f"c{column:02d}": Categories(
                    0, {name: int(one) for name, one in zip(names, week[column], strict=True) if one}
                )
                for column in range(columns)
            },
        )
        for week in counts
    ]


def alarms_per_quarter(policy, *, carry, reference=26, after=65, histories=12):
    onsets = 0
    for seed in range(histories):
        weeks = stable(reference + after, carry=carry, seed=seed)
        threshold = drift.calibrate(weeks[:reference], policy, 52)
        fitted = fit_reference(weeks[:reference])
        before = False
        for end in range(reference + 3, len(weeks) + 1):
            alarm = drift.assess(fitted, threshold, weeks[end - 3 : end]).alarm
            onsets += alarm and not before
            before = alarm
    return onsets / (histories * after / 13)


@pytest.mark.parametrize("carry", [0.0, 0.5])
def test_stable_histories_bring_about_the_stated_number_of_false_alarms(carry):
    # 150 quarters from 30 references, whose own luck makes the standard error about twice that of a count.
    assert 0.6 < alarms_per_quarter(QUARTERLY, carry=carry, histories=30) < 1.4


def test_a_rarer_rate_is_had_too():
    yearly = Drift.model_validate({"false_alarms": "1 per year", "persist": "2 of 3"})
    assert alarms_per_quarter(yearly, carry=0.0) < 0.6


def test_many_independent_rows_do_not_make_an_alarm_of_every_week():
    weeks = stable(40, carry=0, seed=3, rows=1_000_000)
    threshold = drift.calibrate(weeks[:26], QUARTERLY, 52)
    fitted = fit_reference(weeks[:26])
    assert sum(drift.assess(fitted, threshold, [week]).above for week in weeks[26:]) < 8


def test_a_lasting_shift_in_one_column_alarms_at_its_second_week_and_names_the_column():
    weeks = stable(28, carry=0.3, seed=1)
    odd = Categories(0, {"0": 4500, "1": 500})
    weeks[26:] = [Profile(week.rows, categories={**week.categories, "c07": odd}) for week in weeks[26:]]
    threshold, fitted = drift.calibrate(weeks[:26], QUARTERLY, 52), fit_reference(weeks[:26])
    first = drift.assess(fitted, threshold, weeks[24:27])
    second = drift.assess(fitted, threshold, weeks[25:28])
    assert (first.column, first.alarm, first.above) == ("c07", False, 1)
    assert (second.column, second.alarm, second.above) == ("c07", True, 2)
    assert second.score > second.threshold
    assert "c07 is furthest from the reference" in second.reason


def test_too_short_a_history_says_so_instead_of_alarming():
    weeks = stable(9, carry=0, seed=1)
    threshold = drift.calibrate(weeks[:5], QUARTERLY, 52)
    report = drift.assess(fit_reference(weeks[:5]), threshold, weeks[5:])
    assert threshold.value is None
    assert not report.alarm
    assert report.reason == "too short a history: 5 partitions, and 1 per quarter at 2 of 3 needs 8"


def test_a_rarer_alarm_needs_a_longer_history():
    rule = Persistence(hits=1, of=1)
    assert drift.partitions_needed(rule, 4 / 52) < drift.partitions_needed(rule, 1 / 52)
    assert drift.partitions_needed(Persistence(hits=2, of=3), 1 / 52) < drift.partitions_needed(rule, 1 / 52)


def test_calibration_is_the_same_at_every_run_and_survives_json():
    weeks = stable(26, carry=0.3, seed=2)
    threshold = drift.calibrate(weeks, QUARTERLY, 52)
    assert drift.calibrate(weeks, QUARTERLY, 52) == threshold
    assert drift.Threshold.from_dict(json.loads(json.dumps(threshold.as_dict()))) == threshold
    json.dumps(drift.assess(fit_reference(weeks), threshold, weeks[-3:]).as_dict())


def test_psi_by_hand():
    # (0.5 - 0.25) ln 2 + (0.5 - 0.75) ln (2/3), with a million rows so that the half row of smoothing does not show.
    assert drift.psi([500_000, 500_000], [250_000, 750_000]) == pytest.approx(0.25 * np.log(3), rel=1e-4)
    assert drift.psi([5, 5], [50, 50]) == pytest.approx(0)


def test_a_column_that_changed_its_type_is_an_error_and_no_score():
    weeks = stable(27, carry=0, seed=4)
    threshold = drift.calibrate(weeks[:26], QUARTERLY, 52)
    changed = Profile(weeks[26].rows, numbers={"c03": summarise_numbers(np.arange(5000.0))})
    with pytest.raises(DataError, match="'c03' is a category in the reference"):
        drift.assess(fit_reference(weeks[:26]), threshold, [changed])


def test_an_empty_partition_is_no_drift():
    weeks = stable(26, carry=0, seed=5)
    threshold = drift.calibrate(weeks, QUARTERLY, 52)
    report = drift.assess(fit_reference(weeks), threshold, [Profile()])
    assert (report.alarm, report.score, report.reason) == (False, None, "no partition with rows to look at")

"""Verdicts on evidence that is known."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from tests.support.pictures import assert_drawn

from updraft.release.picture import evidence_picture
from updraft.release.verdict import Champion, ClusterGain, Verdict, gains_of, judge_change, judge_probation
from updraft.spec.model import Release, SliceGate

POLICY = Release()
GUARD = SliceGate(by=("origin",), no_worse_than_champion_by=0.02)


def evidence(mean: float, days: int, *, sd: float = 0.01, per: int = 7, **slices: float) -> list[ClusterGain]:
    """Days of a fixed noise around a mean gain; slices have 100 rows a day and gains around their own mean."""
    noise = np.random.default_rng(3).normal(0, sd, days)
    return [
        ClusterGain(
            f"d{day:03}",
            f"w{day // per:02}",
            1000,
            float(mean + noise[day]),
            {f"origin={name}": (100, gain + float(noise[day])) for name, gain in slices.items()},
        )
        for day in range(days)
    ]


def test_a_picture_without_a_band_says_why(monkeypatch) -> None:
    from matplotlib.axes import Axes

    written: list[str] = []
    draw = Axes.text
    monkeypatch.setattr(
        Axes, "text", lambda axes, x, y, words, **more: (written.append(words), draw(axes, x, y, words, **more))[1]
    )
    assert_drawn(evidence_picture(evidence(0.02, 3), POLICY, title="x"))
    assert written == ["no bound yet from 3 days: the first look is after 7"]
    written.clear()
    assert_drawn(evidence_picture(evidence(0.02, 28), POLICY, title="x"))
    assert written == []


def test_a_clear_gain_is_promoted() -> None:
    found = judge_change(evidence(0.02, 28), POLICY)
    assert found.verdict is Verdict.PROMOTE
    assert found.bound.lower > 0
    assert found.reason.startswith("shown better than the champion: mean gain +0.0")


def test_a_clear_gain_waits_for_the_least_number_of_partitions() -> None:
    found = judge_change(evidence(0.03, 21, per=21), POLICY)
    assert found.verdict is Verdict.HOLD
    assert "waits for 2 partitions" in found.reason


def test_a_clear_loss_is_rejected_at_once() -> None:
    found = judge_change(evidence(-0.03, 21, per=21), POLICY)
    assert found.verdict is Verdict.REJECT
    assert found.reason.startswith("shown worse than the champion")


def test_equal_models_are_held_and_then_not_shown_in_time() -> None:
    assert judge_change(evidence(0, 35), POLICY).verdict is Verdict.HOLD
    found = judge_change(evidence(0, 84), POLICY)
    assert found.verdict is Verdict.REJECT
    assert found.reason.startswith("not shown in time (12 partitions)")


def test_partitions_without_evidence_count_towards_the_end_when_the_caller_counts_them() -> None:
    assert judge_change(evidence(0, 7), POLICY, partitions=12).verdict is Verdict.REJECT


def test_no_evidence_is_held() -> None:
    found = judge_change([], POLICY, GUARD)
    assert found.verdict is Verdict.HOLD
    assert "no matured rows" in found.reason


def test_a_margin_lets_an_equal_model_pass_and_a_worse_one_not() -> None:
    policy = Release(margin=0.01)
    assert judge_change(evidence(0, 56), policy).verdict is Verdict.PROMOTE
    assert judge_change(evidence(-0.03, 56), policy).verdict is Verdict.REJECT


def test_a_slice_that_is_shown_worse_holds_a_promotion_and_then_ends_it() -> None:
    found = judge_change(evidence(0.02, 42, JFK=-0.06, EWR=0.04), POLICY, GUARD)
    assert found.verdict is Verdict.HOLD
    assert "shown worse on origin=JFK" in found.reason
    assert [name for name, one in found.slices.items() if one.shown_inferior] == ["origin=JFK"]
    assert judge_change(evidence(0.02, 84, JFK=-0.06), POLICY, GUARD).verdict is Verdict.REJECT


def test_a_slice_within_its_limit_holds_nothing() -> None:
    assert judge_change(evidence(0.02, 42, JFK=-0.01), POLICY, GUARD).verdict is Verdict.PROMOTE


def test_a_slice_with_too_few_rows_or_clusters_or_of_another_column_is_not_guarded() -> None:
    clusters = evidence(0.02, 42, JFK=-0.06)
    assert not judge_change(clusters, POLICY, GUARD.model_copy(update={"min_rows": 5000})).slices
    assert not judge_change(clusters, POLICY, GUARD.model_copy(update={"min_clusters": 43})).slices
    assert not judge_change(clusters, POLICY, GUARD.model_copy(update={"by": ("carrier",)})).slices


def test_more_slices_make_each_bound_wider() -> None:
    one = judge_change(evidence(0.02, 42, JFK=0), POLICY, GUARD).slices["origin=JFK"].bound
    many = judge_change(evidence(0.02, 42, JFK=0, EWR=0, LGA=0), POLICY, GUARD).slices["origin=JFK"].bound
    assert many.upper > one.upper


def test_a_probation_rolls_back_only_what_is_shown_worse() -> None:
    assert judge_probation(evidence(-0.03, 28), POLICY).verdict is Verdict.ROLL_BACK
    assert judge_probation(evidence(0, 28), POLICY).verdict is Verdict.HOLD
    assert judge_probation(evidence(0.03, 28), POLICY).verdict is Verdict.KEEP
    assert judge_probation(evidence(-0.03, 28), Release(margin=0.06)).verdict is Verdict.KEEP
    assert judge_probation(evidence(0, 5), Release(margin=0.06)).verdict is Verdict.HOLD


def test_a_verdict_reads_as_its_word() -> None:
    assert judge_probation(evidence(-0.03, 28), POLICY).verdict == "roll_back"


def test_a_cluster_weighs_the_same_however_many_rows_it_has() -> None:
    clusters = evidence(0.02, 28)
    busy = [ClusterGain(c.cluster, c.key, c.rows * (1 + 9 * (i % 2)), c.gain) for i, c in enumerate(clusters)]
    assert judge_change(busy, POLICY).bound == judge_change(clusters, POLICY).bound


def test_parts_of_one_cluster_are_put_together_by_rows() -> None:
    parts = [ClusterGain("a", "w1", 10, 1.0), ClusterGain("b", "w1", 5, 0.5), ClusterGain("a", "w2", 30, 0.0)]
    assert gains_of(parts) == [(40, 0.25), (5, 0.5)]


def test_the_promise_holds_at_the_margin_whatever_the_margin() -> None:
    with_margin = judge_change(evidence(0.02 - 0.01, 20), Release(margin=0.01))
    without = judge_change(evidence(0.02, 20), POLICY)
    assert with_margin.bound.lower + 0.01 == pytest.approx(without.bound.lower)


def test_a_judgement_is_json() -> None:
    text = json.dumps(judge_change(evidence(0.02, 3, JFK=0.1), POLICY, GUARD).as_dict(), allow_nan=False)
    assert json.loads(text)["bound"]["lower"] is None
    found = judge_change(evidence(0.02, 42, JFK=-0.06), POLICY, GUARD).as_dict()
    assert found["slices"]["origin=JFK"]["shown_inferior"] is True
    assert math.isfinite(found["bound"]["upper"])


def test_the_picture_is_the_same_bytes_for_the_same_evidence() -> None:
    clusters = evidence(0.02, 42)
    first, second = (evidence_picture(clusters, POLICY, title="flight_delays v7") for _ in range(2))
    assert first == second
    assert_drawn(first)
    assert_drawn(evidence_picture([], POLICY, title="nothing yet"))
    assert first != evidence_picture(evidence(0.01, 42), POLICY, title="flight_delays v7")


def held_against(clusters: list[ClusterGain], **since: str) -> list[ClusterGain]:
    """The same evidence, held against ``v5`` until week KEY and against ``v7`` after it: ``v7="w01"``."""
    return [replace(cluster, against="7" if cluster.key > since["v7"] else "5") for cluster in clusters]


NOW = Champion("7", "w01")


def test_a_gain_over_what_serves_no_more_does_not_promote_before_it_holds_against_what_serves() -> None:
    shown = held_against(evidence(0.02, 28), v7="w01")
    before = [cluster for cluster in shown if cluster.against == "5"]
    assert judge_change(before, POLICY).verdict is Verdict.PROMOTE
    waits = judge_change(before, POLICY, champion=NOW)
    assert waits.verdict is Verdict.HOLD
    assert (
        "nothing came in since version 7 serves; waits for 7 clusters with a mean gain above 0 since then"
        in waits.reason
    )
    assert judge_change(shown[:20], POLICY, champion=NOW).verdict is Verdict.HOLD  # six days
    now = judge_change(shown[:21], POLICY, champion=NOW)
    assert now.verdict is Verdict.PROMOTE
    assert now.reason.endswith("over the 7 that came in since version 7 serves")


def test_a_challenger_that_is_behind_what_serves_now_is_not_promoted_for_what_it_gained_before() -> None:
    better, behind = evidence(0.015, 49, sd=0.012), evidence(-0.004, 56, sd=0.012)[49:]
    mixed, now = held_against(better + behind, v7="w06"), Champion("7", "w06")
    assert judge_change(mixed, POLICY).verdict is Verdict.PROMOTE
    assert judge_change(mixed, POLICY, champion=now).verdict is Verdict.HOLD
    in_time = judge_change(mixed, POLICY, champion=now, partitions=POLICY.change.shadow.at_most)
    assert in_time.verdict is Verdict.REJECT
    assert in_time.reason.startswith("not shown in time (12 partitions) to hold against what serves now: shown better")


def test_a_challenger_that_is_shown_worse_than_what_serves_now_is_rejected_whatever_it_gained_before() -> None:
    mixed = held_against(evidence(0.03, 14) + evidence(-0.03, 35)[14:], v7="w01")
    told = judge_change(mixed, POLICY, champion=NOW)
    assert told.verdict is Verdict.REJECT
    assert told.reason.startswith("shown worse since version 7 serves: -0.0")


def test_champions_that_follow_each_other_too_fast_for_evidence_do_not_starve_a_shadow() -> None:
    shown = held_against(evidence(0.02, 28), v7="w02")
    newest = Champion("9", "w03")
    assert judge_change(shown, POLICY, champion=newest).verdict is Verdict.HOLD
    assert judge_change(shown, POLICY, champion=newest, partitions=12).verdict is Verdict.PROMOTE


def test_labels_that_come_later_than_champions_count_for_the_recipe() -> None:
    """What came in since version 7 serves is about version 5: so it says, and decides."""
    shown = [replace(cluster, against="5") for cluster in evidence(0.02, 28)]
    told = judge_change(shown, POLICY, champion=NOW)
    assert told.verdict is Verdict.PROMOTE
    assert told.reason.endswith("over the 14 that came in since version 7 serves, 0 of them held against it")


def test_evidence_against_what_serves_all_along_is_judged_as_ever() -> None:
    shown = [replace(cluster, against="7") for cluster in evidence(0.02, 28)]
    assert judge_change(shown, POLICY, champion=Champion("7", "w03")) == judge_change(shown, POLICY)

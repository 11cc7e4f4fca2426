"""Gates of a holdout."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from updraft.errors import DataError
from updraft.evaluation.gates import GateResult, judge_gates
from updraft.spec.model import Gates, Limit, SliceGate
from updraft.tasks.binary import BINARY
from updraft.tasks.metrics import Auc
from updraft.tasks.regression import REGRESSION
from updraft.tasks.resamples import ClusterResamples
from updraft.tasks.task_type import TaskType

ROWS, DAYS = 6000, 14
RNG = np.random.default_rng(11)
DAY = np.array([f"2013-02-{1 + day:02}" for day in np.sort(RNG.integers(0, DAYS, ROWS))], dtype=object)
TRUE = np.clip(RNG.beta(2, 5, ROWS), 0.02, 0.98)
LABEL = (RNG.random(ROWS) < TRUE).astype(float)
ORIGIN = np.array(["EWR", "JFK", "LGA"], dtype=object)[RNG.integers(0, 3, ROWS)]
GATES = Gates(
    log_loss=Limit(no_worse_than_champion_by=0.002),
    auc=Limit(no_worse_than_champion_by=0.01),
    slices=SliceGate(by=("origin",), no_worse_than_champion_by=0.02),
)


def blurred(noise: float, where: np.ndarray | None = None, seed: int = 1) -> np.ndarray:
    """The true probabilities with noise in their logits, on some rows."""
    logit = np.log(TRUE / (1 - TRUE))
    added = np.random.default_rng(seed).normal(0, noise, ROWS)
    return 1 / (1 + np.exp(-(logit + (added if where is None else np.where(where, added, 0)))))


def judged(
    candidate: np.ndarray, champion: np.ndarray | None, gates: Gates = GATES, task: TaskType = BINARY
) -> GateResult:
    return judge_gates(
        label=LABEL,
        candidate=candidate,
        champion=champion,
        cluster=DAY,
        slices={"origin": ORIGIN},
        gates=gates,
        task=task,
    )


def test_a_better_model_passes() -> None:
    found = judged(TRUE, blurred(0.8))
    assert found.passed
    assert found.reasons == ()
    assert found.reason.startswith("passed every gate against the champion: log_loss 0.")
    assert all(m.worse_by < 0 and m.lower < m.worse_by < m.upper < 0 for m in found.metrics)


def test_a_worse_model_is_refused_with_every_gate_that_it_missed() -> None:
    found = judged(blurred(0.8), TRUE)
    assert not found.passed
    assert len([r for r in found.reasons if r.startswith("worse than the champion")]) == 2


def test_a_model_that_is_worse_within_the_limit_passes() -> None:
    found = judged(blurred(0.1), TRUE, Gates(log_loss=Limit(no_worse_than_champion_by=0.01)))
    assert found.passed
    assert 0 < found.metrics[0].worse_by < 0.01


def test_the_first_model_must_beat_the_base_rate_of_the_holdout() -> None:
    assert judged(TRUE, None).passed
    found = judged(np.full(ROWS, 0.5), None)
    assert not found.passed
    assert found.against == "base rate"
    assert "does not beat the base rate" in found.reason


def test_the_base_rate_itself_does_not_beat_the_base_rate() -> None:
    assert not judged(np.full(ROWS, LABEL.mean()), None).passed


def test_a_project_without_gates_still_asks_for_more_than_the_base_rate() -> None:
    assert judged(blurred(0.8), TRUE, Gates()).passed
    assert not judged(np.full(ROWS, 0.5), TRUE, Gates()).passed


def test_a_slice_that_is_shown_worse_refuses_a_model_that_is_better_overall() -> None:
    jfk = ORIGIN == "JFK"
    found = judged(np.where(jfk, blurred(1.5), TRUE), np.where(jfk, TRUE, blurred(2.0)))
    assert not found.passed
    assert [name for name, one in found.slices.items() if not one.comparison.passed] == ["origin=JFK"]
    assert "origin=JFK: log_loss is shown worse" in found.reason


def test_a_slice_that_is_worse_by_chance_refuses_nothing() -> None:
    few = np.zeros(ROWS, dtype=bool)
    few[np.flatnonzero(ORIGIN == "LGA")[:30]] = True
    found = judged(np.where(few, blurred(0.6), TRUE), np.where(few, TRUE, blurred(0.3)))
    assert found.passed


def test_a_small_slice_is_reported_and_does_not_gate() -> None:
    gates = GATES.model_copy(update={"slices": SliceGate(by=("origin",), no_worse_than_champion_by=0, min_rows=3000)})
    jfk = ORIGIN == "JFK"
    found = judged(np.where(jfk, blurred(1.5), TRUE), np.where(jfk, TRUE, blurred(2.0)), gates)
    assert found.passed
    assert not found.slices["origin=JFK"].gates
    assert found.slices["origin=JFK"].comparison.worse_by > 0


def test_equal_slices_are_refused_no_more_often_than_five_times_in_a_hundred() -> None:
    gates = Gates(
        log_loss=Limit(no_worse_than_champion_by=1),
        slices=SliceGate(by=("carrier",), no_worse_than_champion_by=0.0, min_rows=50),
    )
    refused = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, 9])
        rows = 1500
        true = rng.beta(2, 5, rows)
        label = (rng.random(rows) < true).astype(float)
        noise = rng.normal(0, 0.05, (2, rows))
        found = judge_gates(
            label=label,
            candidate=np.clip(true + noise[0], 0.01, 0.99),
            champion=np.clip(true + noise[1], 0.01, 0.99),
            cluster=rng.integers(0, 14, rows).astype(str).astype(object),
            slices={"carrier": rng.integers(0, 8, rows).astype(str).astype(object)},
            gates=gates,
            task=BINARY,
        )
        refused += not found.passed
    assert refused <= 7  # P(more | 5 %) < 2 %


def test_the_resampled_auc_is_the_auc_of_the_resample() -> None:
    resamples, auc = ClusterResamples.of(DAY[:700]), Auc()
    found = auc.resampled(LABEL[:700], np.round(TRUE[:700], 1), resamples)
    for resample in (0, 17):
        rows = np.repeat(np.arange(700), resamples.counts[resample].astype(int)[resamples.codes])
        assert found[resample] == pytest.approx(auc.value(LABEL[rows], np.round(TRUE[rows], 1)))


def test_a_holdout_of_one_class_cannot_be_judged_by_auc_and_says_so() -> None:
    found = judge_gates(
        label=np.zeros(100),
        candidate=np.full(100, 0.1),
        champion=np.full(100, 0.2),
        cluster=DAY[:100],
        slices={},
        gates=Gates(auc=Limit(no_worse_than_champion_by=0.01)),
        task=BINARY,
    )
    assert not found.passed
    assert "one class only" in found.reason
    json.dumps(found.as_dict(), allow_nan=False)


def test_regression_is_gated_on_its_own_metrics() -> None:
    label = RNG.normal(10, 3, ROWS)
    gates = Gates(rmse=Limit(no_worse_than_champion_by=0.1), mae=Limit(no_worse_than_champion_by=0.1))
    call = {"label": label, "cluster": DAY, "slices": {}, "gates": gates, "task": REGRESSION}
    near, far = label + RNG.normal(0, 1, ROWS), label + RNG.normal(0, 2, ROWS)
    assert judge_gates(candidate=near, champion=far, **call).passed
    assert len(judge_gates(candidate=far, champion=near, **call).reasons) == 2
    assert judge_gates(candidate=near, champion=None, **call).passed


def test_a_gate_that_does_not_fit_the_task_is_an_error() -> None:
    with pytest.raises(DataError, match=r"gates\.auc does not fit a regression model"):
        judged(TRUE, None, Gates(auc=Limit(no_worse_than_champion_by=0)), task=REGRESSION)


def test_a_missing_column_to_slice_by_is_an_error() -> None:
    gates = GATES.model_copy(update={"slices": SliceGate(by=("carrier",), no_worse_than_champion_by=0)})
    with pytest.raises(DataError, match=r"gates\.slices\.by names carrier"):
        judged(TRUE, blurred(0.1), gates)


def test_a_score_that_is_no_number_is_an_error() -> None:
    with pytest.raises(DataError, match="score of row 3 is no number"):
        judged(np.where(np.arange(ROWS) == 3, math.nan, TRUE), None)


def test_the_result_is_json_and_the_same_every_time() -> None:
    first, second = (json.dumps(judged(blurred(0.3), TRUE).as_dict(), allow_nan=False) for _ in range(2))
    assert first == second


def judged_on_days(days: int, candidate: np.ndarray, champion: np.ndarray | None, gates: Gates = GATES) -> GateResult:
    rows = np.isin(DAY, np.unique(DAY)[:days])
    return judge_gates(
        label=LABEL[rows],
        candidate=candidate[rows],
        champion=None if champion is None else champion[rows],
        cluster=DAY[rows],
        slices={"origin": ORIGIN[rows]},
        gates=gates,
        task=BINARY,
    )


@pytest.mark.parametrize("days", [1, 2, 4])
def test_on_too_few_clusters_a_gate_decides_nothing_about_the_champion_and_says_so(days: int) -> None:
    for candidate, champion in ((blurred(0.5), TRUE), (TRUE, blurred(0.5))):
        assert judged(candidate, champion).passed is (candidate is TRUE)
        found = judged_on_days(days, candidate, champion)
        assert found.passed
        assert found.against == "base rate"
        counted = f"{days} cluster{'s' * (days > 1)}, too few to show anything (the least is 5)"
        assert found.note.startswith(f"the holdout holds {counted}: it is not judged against the champion")
        assert found.note in found.reason
        assert found.as_dict()["note"] == found.note
    assert not judged_on_days(days, np.full(ROWS, 0.5), TRUE).passed  # a model that knows nothing does not go on


def test_a_first_model_on_too_few_clusters_says_on_how_little_it_rests() -> None:
    found = judged_on_days(2, TRUE, None)
    assert found.passed
    assert found.note == "the holdout holds 2 clusters, too few to show anything (the least is 5)"


def test_five_clusters_decide_and_nothing_is_noted() -> None:
    found = judged_on_days(5, blurred(0.8), TRUE)
    assert not found.passed
    assert found.against == "champion"
    assert found.note == ""
    assert "note" not in found.as_dict()


def test_a_slice_of_fewer_clusters_does_not_gate_whatever_the_policy_says_is_enough() -> None:
    first_days = np.isin(DAY, np.unique(DAY)[:3])
    few = np.where(first_days, "rare", "other").astype(object)
    gates = Gates(
        log_loss=Limit(no_worse_than_champion_by=1),
        slices=SliceGate(by=("origin",), no_worse_than_champion_by=0, min_clusters=2),
    )
    found = judge_gates(
        label=LABEL,
        candidate=np.where(first_days, blurred(1.5), TRUE),
        champion=TRUE,
        cluster=DAY,
        slices={"origin": few},
        gates=gates,
        task=BINARY,
    )
    assert not found.slices["origin=rare"].gates
    assert found.passed


def test_without_a_stated_gate_what_misses_the_base_rate_passes_where_the_champion_is_worse_still() -> None:
    """A world that got harder to predict: every refresh was refused, and the worst of all served for ever."""
    bare = Gates()
    worse, worst = blurred(4.0), blurred(6.0)
    assert not judged(worse, None, bare).passed
    outcome = judged(worse, worst, bare)
    assert (outcome.passed, outcome.against, [m.metric for m in outcome.metrics]) == (True, "champion", ["log_loss"])
    assert "(no better than the base rate, 0." in outcome.reason
    assert outcome.reason.endswith("; the champion is worse than both)")
    assert not judged(worst, worse, bare).passed
    assert judged(worst, worse, bare).reasons[0].startswith("does not beat the base rate: ")
    assert judged(TRUE, worst, bare).against == "base rate"
    assert not judged(worst, worst, bare).passed  # no better than the champion


def test_few_clusters_let_nothing_pass_for_being_better_than_the_champion() -> None:
    few = np.isin(DAY, sorted(set(DAY))[:3])
    outcome = judge_gates(
        label=LABEL[few], candidate=blurred(4.0)[few], champion=blurred(6.0)[few], cluster=DAY[few], slices={}, gates=Gates(), task=BINARY
    )  # fmt: skip
    assert (outcome.passed, outcome.against) == (False, "base rate")

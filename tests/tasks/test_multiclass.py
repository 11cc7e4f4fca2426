"""The task of several classes against known answers: closed forms, scikit-learn, and the binary task where there are two columns."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from updraft.errors import DataError, TrainingError
from updraft.tasks.calibration import PlattScaling, VectorLayer, VectorScaling
from updraft.tasks.losses import BRIER, BRIER_OF_CLASSES, CLIP, LOG_LOSS_OF_CLASSES, ZERO_ONE
from updraft.tasks.multiclass import MULTICLASS
from updraft.tasks.registry import task_type
from updraft.tasks.resamples import ClusterResamples

NAMES = ("low", "middle", "high", "none of them")
TASK = MULTICLASS.of_classes(NAMES)
RNG = np.random.default_rng(11)
ROWS = 4000
MARGIN = RNG.normal(0, 1.2, (ROWS, len(NAMES)))
SCORE = TASK.link(MARGIN)
LABEL = np.array([RNG.choice(len(NAMES), p=p) for p in SCORE], np.float64)
CLUSTER = np.array([f"d{row % 12:02}" for row in range(ROWS)], object)


def test_the_task_is_its_list_of_classes() -> None:
    assert task_type("multiclass", NAMES) is TASK
    assert TASK.shape == (4,)
    assert TASK.outputs == ("score of low", "score of middle", "score of high", "score of none of them")
    assert TASK.xgboost.params == {"num_class": 4}
    assert task_type("multiclass", NAMES[:3]) != TASK


def test_metrics_are_those_of_scikit_learn() -> None:
    found = TASK.measure(LABEL, SCORE)
    one_hot = TASK.outcomes(LABEL)
    assert found["log_loss"] == pytest.approx(log_loss(LABEL, SCORE), rel=1e-12)
    assert found["accuracy"] == accuracy_score(LABEL, SCORE.argmax(axis=1))
    assert found["auc"] == pytest.approx(roc_auc_score(LABEL, SCORE, multi_class="ovr", average="macro"), rel=1e-12)
    assert found["brier"] == pytest.approx(
        brier_score_loss(LABEL, SCORE, labels=range(4), scale_by_half=False), rel=1e-12
    )
    assert found["brier"] == pytest.approx(((SCORE - one_hot) ** 2).sum(axis=1).mean(), rel=1e-12)


def test_of_two_classes_losses_are_those_of_the_binary_task() -> None:
    ones, p = (RNG.random(500) < 0.4).astype(float), RNG.random(500)
    both = np.column_stack([1 - p, p])
    np.testing.assert_allclose(BRIER_OF_CLASSES(ones, both), 2 * BRIER(ones, p), atol=1e-12)
    np.testing.assert_array_equal(ZERO_ONE(ones, both), (p > 0.5) != ones)


def test_a_class_that_was_taken_for_impossible_costs_a_finite_loss() -> None:
    certain = np.array([[1.0, 0.0, 0.0, 0.0]])
    assert LOG_LOSS_OF_CLASSES(np.array([3.0]), certain) == pytest.approx([-math.log(CLIP)])
    assert TASK.measure(np.array([3.0, 0.0]), np.vstack([certain, certain]))["accuracy"] == 0.5
    unseen = TASK.label_totals(np.array([0.0, 0.0, 1.0, 2.0]))
    start = np.array(TASK.start(unseen))
    np.testing.assert_allclose(TASK.link(start[None, :])[0], np.array([2.5, 1.5, 1.5, 0.5]) / 6)
    assert TASK.margin_loss(np.array([3.0]), start[None, :]) == pytest.approx([math.log(12)])


def test_a_label_beyond_the_scores_is_refused_with_its_row() -> None:
    with pytest.raises(DataError, match="the label of row 1 is 4, and there are scores of 4 classes"):
        TASK.headline.value(np.array([0.0, 4.0]), SCORE[:2])


def test_the_auc_of_resamples_is_that_of_their_rows() -> None:
    resamples = ClusterResamples.of(CLUSTER)
    auc = TASK.metric("auc").resampled(LABEL, SCORE, resamples)
    accuracy = TASK.metric("accuracy").resampled(LABEL, SCORE, resamples)
    for number in (0, 7):
        rows = np.concatenate(
            [
                np.flatnonzero(resamples.codes == group)
                for group, times in enumerate(resamples.counts[number])
                for _ in range(int(times))
            ]
        )
        assert auc[number] == pytest.approx(TASK.metric("auc").value(LABEL[rows], SCORE[rows]), rel=1e-9)
        assert accuracy[number] == pytest.approx(TASK.metric("accuracy").value(LABEL[rows], SCORE[rows]), rel=1e-9)


def test_the_auc_is_the_mean_of_the_classes_that_are_there() -> None:
    some = LABEL < 2
    one = [TASK.metric("auc").value(LABEL[some], SCORE[some])]
    assert one == pytest.approx(
        [np.mean([roc_auc_score(LABEL[some] == c, SCORE[some][:, c]) for c in (0, 1)])], rel=1e-12
    )
    assert math.isnan(TASK.metric("auc").value(np.zeros(3), SCORE[:3]))


def test_vector_scaling_without_a_prior_is_the_free_maximum_of_the_likelihood() -> None:
    """Each class's own margin is one column of a multinomial regression whose other coefficients are zero; the gradient there is zero."""
    twisted = MARGIN * [2.0, 0.5, 1.0, 1.5] + [0.3, 0.0, -0.4, 0.1]
    layer = VectorScaling().fit(LABEL, twisted, prior_rows=0.0)
    centred = twisted - twisted.mean(axis=1, keepdims=True)
    off = TASK.link(layer.apply(twisted)) - TASK.outcomes(LABEL)
    np.testing.assert_allclose(off.sum(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose((off * centred).sum(axis=0), 0, atol=1e-5)
    best = TASK.mean_margin_loss(LABEL, layer.apply(twisted))
    assert best < TASK.mean_margin_loss(LABEL, twisted)
    free = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        centred, LABEL
    )  # has more freedom: it is the lower end
    assert log_loss(LABEL, free.predict_proba(centred)) <= best


def test_vector_scaling_of_two_classes_is_platts_sigmoid() -> None:
    """With margins (-m/2, m/2) and one strong direction, both find the same probabilities."""
    m = RNG.normal(0, 2, 3000)
    ones = (RNG.random(3000) < 1 / (1 + np.exp(-(0.4 + 0.5 * m)))).astype(float)
    platt = PlattScaling().fit(ones, m, 1e-9)
    layer = VectorScaling().fit(ones, np.column_stack([-m / 2, m / 2]), 1e-9)
    of_both = layer.apply(np.column_stack([-m / 2, m / 2]))
    np.testing.assert_allclose(of_both[:, 1] - of_both[:, 0], platt.apply(m), atol=1e-5)


def test_a_strong_prior_keeps_the_layer_at_the_identity_and_what_is_common_to_all_classes_does_not_matter() -> None:
    layer = VectorScaling().fit(LABEL, 3 * MARGIN, prior_rows=1e12)
    np.testing.assert_allclose(layer.slopes, 1, atol=1e-6)
    np.testing.assert_allclose(layer.intercepts, 0, atol=1e-6)
    shifted = MARGIN + RNG.normal(0, 50, (ROWS, 1))
    ours, theirs = (VectorScaling().fit(LABEL, margin, 30.0) for margin in (MARGIN, shifted))
    np.testing.assert_allclose(ours.slopes, theirs.slopes, rtol=1e-6)
    np.testing.assert_allclose(TASK.link(ours.apply(MARGIN)), TASK.link(theirs.apply(shifted)), rtol=1e-6)


def test_margins_that_separate_the_classes_still_have_a_layer() -> None:
    margin = 200.0 * TASK.outcomes(LABEL)
    layer = VectorScaling().fit(LABEL, margin, prior_rows=0.1)
    assert np.isfinite([*layer.slopes, *layer.intercepts]).all()


def test_the_margin_of_one_class_that_says_the_opposite_is_made_to_say_nothing() -> None:
    """The other classes keep their slopes: the layer is the best one of those whose slopes are not below the least."""
    turned = MARGIN * [1.0, 1.0, -1.0, 1.0]
    family = VectorScaling()
    layer = family.fit(LABEL, turned, prior_rows=1.0)
    assert layer.keeps_order
    assert layer.slopes[2] == family.least_slope
    assert min(layer.slopes[:2]) > 0.3
    best = TASK.mean_margin_loss(LABEL, layer.apply(turned))
    for place in range(8):
        for step in (-0.02, 0.02):
            parameters = np.array([*layer.intercepts, *layer.slopes])
            parameters[place] += step
            if parameters[6] < family.least_slope:
                continue
            other = VectorLayer(tuple(parameters[:4]), tuple(parameters[4:]))
            assert best < TASK.mean_margin_loss(LABEL, other.apply(turned)) + 1e-6


def test_a_class_that_is_turned_round_keeps_no_order() -> None:
    assert VectorLayer((0.0, 0.0), (0.5, 2.0)).keeps_order
    assert not VectorLayer((0.0, 0.0), (0.5, -0.1)).keeps_order


def test_labels_that_are_no_positions_and_labels_of_one_class_are_refused() -> None:
    for wrong in (4.0, -1.0, 0.5):
        with pytest.raises(TrainingError, match="positions in a list of 4 classes"):
            TASK.label_totals(np.array([0.0, wrong]))
    with pytest.raises(TrainingError, match="every label of the 3 rows is high: nothing to learn"):
        TASK.start(TASK.label_totals(np.array([2.0, 2.0, 2.0])))
    with pytest.raises(TrainingError, match="no labelled row"):
        TASK.start(TASK.label_totals(np.array([])))


def test_the_card_is_told_which_classes_were_never_seen() -> None:
    facts = TASK.label_facts(TASK.label_figures(np.array([0.0, 0.0, 2.0])))
    assert facts["classes"] == "low (2 rows), middle (0 rows), high (1 rows), none of them (0 rows)"
    assert facts["never seen"].startswith("middle, none of them:")
    assert TASK.label_facts({}) == {}


def test_reliability_is_of_the_likeliest_class() -> None:
    right, said = TASK.reliability(np.array([1.0, 0.0]), np.array([[0.2, 0.7, 0.1, 0.0], [0.1, 0.2, 0.3, 0.4]]))
    assert right.tolist() == [1.0, 0.0]
    assert said.tolist() == [0.7, 0.4]

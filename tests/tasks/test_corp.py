"""CORP: known answers and the identity."""

import numpy as np
import pytest

from updraft.errors import DataError
from updraft.tasks.corp import decompose
from updraft.tasks.losses import BRIER, LOG_LOSS


def sample(rows=6500, seed=1, ties=False):
    rng = np.random.default_rng(seed)
    truth = rng.beta(2, 6, rows)
    y = (rng.random(rows) < truth).astype(float)
    p = 1 / (1 + np.exp(-(1.7 * np.log(truth / (1 - truth)) + 0.4)))
    return y, p.round(2) if ties else p


@pytest.mark.parametrize("loss", [LOG_LOSS, BRIER], ids=lambda loss: loss.name)
@pytest.mark.parametrize("ties", [True, False])
def test_loss_is_mcb_minus_dsc_plus_unc_and_no_part_is_negative(loss, ties):
    y, p = sample(ties=ties)
    parts = decompose(y, p, loss)
    assert parts.loss == pytest.approx(parts.mcb - parts.dsc + parts.unc, abs=1e-12)
    assert min(parts.mcb, parts.dsc, parts.unc) >= 0


def test_brier_of_four_rows_by_hand():
    # PAV pools the middle two rows: calibrated scores 0, 1/2, 1/2, 1.
    parts = decompose([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.8], BRIER)
    assert parts.loss == pytest.approx((0.01 + 0.36 + 0.36 + 0.04) / 4)
    assert parts.unc == pytest.approx(0.25)
    assert parts.dsc == pytest.approx(0.25 - 0.125)
    assert parts.mcb == pytest.approx(parts.loss - 0.125)


def test_it_agrees_with_scikit_learn_isotonic_regression():
    from sklearn.isotonic import IsotonicRegression
    from sklearn.metrics import log_loss

    y, p = sample(ties=True)
    fitted = IsotonicRegression(y_min=0, y_max=1).fit_transform(p, y)
    p = p.clip(1e-7, 1 - 1e-7)
    assert decompose(y, p).mcb == pytest.approx(log_loss(y, p) - log_loss(y, fitted), abs=1e-6)


def test_a_monotone_distortion_moves_miscalibration_and_leaves_discrimination():
    y, p = sample()
    straight, bent = decompose(y, p), decompose(y, p**2)
    assert bent.dsc == pytest.approx(straight.dsc, abs=1e-12)
    assert bent.mcb > straight.mcb


def test_certain_scores_that_are_wrong_cost_a_finite_log_loss():
    parts = decompose([0, 1, 1], [1.0, 0.0, 1.0])
    assert np.isfinite(parts.loss)
    assert parts.dsc >= 0


def test_labels_of_one_kind_have_no_uncertainty():
    parts = decompose([1, 1, 1], [0.5, 0.6, 0.7])
    assert parts.unc == 0
    assert parts.dsc == 0
    assert parts.mcb == parts.loss


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ([], [], "no rows"),
        ([0, 1], [0.5], "equal length"),
        ([0, 2], [0.5, 0.5], "neither 0 nor 1"),
        ([0, 1], [0.5, float("nan")], "no probability"),
        ([0, 1], [0.5, 1.5], "no probability"),
    ],
)
def test_bad_input_is_refused_in_words(y, p, words):
    with pytest.raises(DataError, match=words):
        decompose(y, p)

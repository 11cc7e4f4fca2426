"""The absolute guard: a model that is worse than none is seen, one that is as good as none hardly ever."""

import numpy as np
import pytest

from updraft.monitoring.guard import Served, worse_than_none
from updraft.tasks.binary import BINARY
from updraft.tasks.regression import REGRESSION

KNOWN = np.array([0.0, 0.0, 1.0, 0.0])


def served(rng, *, says=1.0, days=14, rows=100, lift=0.0) -> Served:
    """Days of a model: ``says`` is how much of the truth its margins hold, ``lift`` what is added to them."""
    truth = rng.normal(-1.1, 1.0, days * rows) + np.repeat(rng.normal(0, 0.3, days), rows)
    label = (rng.random(len(truth)) < 1 / (1 + np.exp(-truth))).astype(float)
    noise = rng.normal(0, 1.0, len(truth))
    margin = -1.1 + says * (truth + 1.1) + (1 - abs(says)) * noise + lift
    return Served(
        label, 1 / (1 + np.exp(-margin)), np.repeat([f"d{day:02}" for day in range(days)], rows).astype(object)
    )


def test_a_good_model_is_let_be():
    rng = np.random.default_rng(1)
    assert not [told for _ in range(200) if (told := worse_than_none(BINARY, served(rng), KNOWN))]


def test_scores_that_rank_the_wrong_way_round_are_seen():
    told = worse_than_none(BINARY, served(np.random.default_rng(2), says=-0.5), KNOWN)
    assert told == "its scores rank the wrong way round: rows with higher scores had lower labels, over 14 clusters"
    rng = np.random.default_rng(3)
    truth = rng.normal(10, 3, 1400)
    days = np.repeat([f"d{day}" for day in range(14)], 100).astype(object)
    assert "rank the wrong way" in worse_than_none(REGRESSION, Served(truth, 20 - truth, days), truth)
    assert worse_than_none(REGRESSION, Served(truth, truth + 1, days), truth) is None


def test_a_model_that_costs_more_than_a_constant_is_seen():
    told = worse_than_none(BINARY, served(np.random.default_rng(4), lift=2.5), KNOWN)
    assert told is not None
    assert told.startswith("it is worse than no model: log_loss 1.")
    assert told.endswith("of its holdout's base rate, over 14 clusters")
    assert (
        worse_than_none(BINARY, served(np.random.default_rng(4), lift=2.5), np.array([])) is None
    )  # nothing to hold it against


def test_a_model_that_says_nothing_is_called_worse_as_rarely_as_stated():
    rng = np.random.default_rng(5)
    looks = [served(rng, says=0.0, days=7, rows=60) for _ in range(1500)]
    ranked = [told for look in looks if (told := worse_than_none(BINARY, look, np.array([])))]
    assert len(ranked) <= 1500 * 0.01 + 3 * np.sqrt(1500 * 0.01)


@pytest.mark.parametrize("days", [1, 4])
def test_too_few_clusters_show_nothing(days):
    assert worse_than_none(BINARY, served(np.random.default_rng(6), says=-1.0, days=days), KNOWN) is None


def test_a_constant_and_no_rows_show_nothing():
    one = served(np.random.default_rng(7))
    assert worse_than_none(BINARY, Served(one.label, np.full_like(one.score, 0.25), one.cluster), KNOWN) is None
    nothing = np.array([])
    assert worse_than_none(BINARY, Served(nothing, nothing, nothing.astype(object)), KNOWN) is None

"""A jump of the loss: its error rate and power by simulation, and the times of the trainings that follow it."""

import numpy as np
import pytest

from updraft.monitoring.jump import LEVEL, REMEMBERED, loss_jump, until_next


def test_equal_losses_are_no_jump_and_neither_is_a_fall():
    assert loss_jump([0.5] * 10) is None
    assert loss_jump([0.5, 0.51, 0.49, 0.5, 0.52, 0.1]) is None
    assert loss_jump([]) is None


def test_too_few_earlier_partitions_show_nothing():
    assert loss_jump([0.5, 0.51, 0.49, 0.5, 9.0]) is None
    assert loss_jump([0.5, 0.51, 0.49, 0.5, 0.51, 9.0]) is not None


def test_a_loss_that_is_no_number_decides_nothing():
    assert loss_jump([0.5, 0.51, 0.49, 0.5, 0.52, 0.5, float("nan")]) is None
    assert loss_jump([float("nan"), 0.51, 0.49, 0.5, 0.52, 0.5, 9.0]) is None


def test_the_bound_is_that_of_a_prediction_interval():
    from scipy.stats import t

    earlier = [0.50, 0.54, 0.47, 0.52, 0.49, 0.51]
    s = np.std(earlier, ddof=1)
    bound = np.mean(earlier) + t.ppf(1 - LEVEL, 5) * s * np.sqrt(1 + 1 / 6)
    jump = loss_jump([*earlier, bound + 1e-9])
    assert jump is not None
    assert jump.bound == pytest.approx(bound, rel=1e-12)
    assert (jump.earlier, jump.usual) == (6, pytest.approx(np.mean(earlier)))
    assert loss_jump([*earlier, bound - 1e-9]) is None
    words = jump.words("2024-01-08T0000", "log_loss")
    assert words.startswith(
        f"the loss jumped: log_loss {bound:.4f} on 2024-01-08T0000; 6 partitions before it had 0.5050"
    )


def test_only_the_last_partitions_are_remembered():
    jump = loss_jump([9.0, *([0.5, 0.52] * (REMEMBERED // 2)), 0.9])
    assert jump is not None
    assert jump.earlier == REMEMBERED


@pytest.mark.parametrize("earlier", [5, 12])
def test_equal_partitions_jump_as_rarely_as_stated_and_a_doubled_loss_is_seen(earlier):
    rng = np.random.default_rng(earlier)
    equal = rng.normal(0.5, 0.03, (4000, earlier + 1))
    assert sum(loss_jump(row) is not None for row in equal) <= 4000 * LEVEL + 3 * np.sqrt(4000 * LEVEL)
    changed = equal[:500].copy()
    changed[:, -1] += 0.5
    assert sum(loss_jump(row) is not None for row in changed) > 490


def test_trainings_follow_a_jump_at_growing_distances():
    """Each training that is due is tried at once; the cooldown is somebody else's."""
    tried, at = [], 0
    for since_jump in range(40):
        due_in = until_next(since_jump, since_jump - at, within=16)
        if due_in is not None and due_in <= 0:
            tried.append(since_jump)
            at = since_jump
    assert tried == [1, 3, 7, 15]  # 31 would come 16 after the last one: age is what calls for it


@pytest.mark.parametrize(("since_jump", "since_attempt"), [(None, 3), (3, None), (2, 3), (30, 15)])
def test_nothing_follows_without_a_jump_before_its_own_training_or_where_age_comes_first(since_jump, since_attempt):
    assert until_next(since_jump, since_attempt, within=9) is None


def test_it_is_told_how_far_away_the_next_one_is():
    assert [until_next(since, since - 3, within=9) for since in (3, 5, 7, 9)] == [4, 2, 0, -2]

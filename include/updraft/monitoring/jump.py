"""A jump of the loss: is the newest partition outside of what the model's earlier ones led to expect?

Ranking that got slowly worse is shown by a refit trial; a world that has just changed is not, as nothing to refit on is there yet. So after
a jump a model is learnt at once and again as partitions of the changed world come in, each after twice the time of the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from updraft.tasks.clusters import FEWEST_CLUSTERS

LEVEL = 0.01
"""Chance that the next of equal partitions counts as a jump: four times a year of daily ones."""
REMEMBERED = 12
"""Earlier partitions that the newest one is held against, at most."""


@dataclass(frozen=True)
class Jump:
    """The loss on the newest partition, beyond what its earlier ones led to expect."""

    loss: float
    usual: float
    """Mean over the earlier partitions."""
    bound: float
    """The highest loss that was to be expected."""
    earlier: int
    """Number of them."""

    def words(self, key: str, name: str) -> str:
        """The jump in a sentence.

        :param key: of the newest partition.
        :param name: of the loss.
        """
        return (
            f"the loss jumped: {name} {self.loss:.4f} on {key}; {self.earlier} partitions before it had {self.usual:.4f}, "
            f"which lets expect at most {self.bound:.4f}"
        )


def loss_jump(losses: Sequence[float]) -> Jump | None:
    """Whether the last loss lies above the prediction interval of those before it (normal, one-sided, :data:`LEVEL`); None when not.

    The interval of the mean and the next value of one sample is Student's: ``mean + t(n - 1) * s * sqrt(1 + 1 / n)``.

    :param losses: mean loss of one model on each partition that it had not seen, in order.
    """
    import numpy as np
    from scipy.special import stdtrit

    earlier = np.asarray(losses[-1 - REMEMBERED : -1], np.float64)
    if len(earlier) < FEWEST_CLUSTERS or not np.isfinite(losses[-1 - REMEMBERED :]).all():
        return None
    mean, spread = float(earlier.mean()), float(earlier.std(ddof=1))
    bound = mean + float(stdtrit(len(earlier) - 1, 1 - LEVEL)) * spread * float(np.sqrt(1 + 1 / len(earlier)))
    if spread == 0.0 or losses[-1] <= bound:
        return None
    return Jump(float(losses[-1]), mean, bound, len(earlier))


def until_next(since_jump: int | None, since_attempt: int | None, within: int) -> int | None:
    """Partitions until the next of the trainings that follow a jump is due: 1, 3, 7 … after it, each gap twice the last one and one.

    :param since_jump: partitions since the last jump; None when there was none.
    :param since_attempt: partitions since the last training that was tried.
    :param within: partitions between trainings from which on age alone calls for one.
    :return: nought or less when it is due; None when none follows.
    """
    if since_jump is None or since_attempt is None or since_attempt > since_jump:
        return None
    gap = since_jump - since_attempt + 1
    return gap - since_attempt if gap < within else None

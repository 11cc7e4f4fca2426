"""When a trial is given up: the median rule, as limits that are known before it starts.

Golovin et al. 2017 ("Google Vizier", section 3.2.2) stop a trial whose best value so far is worse than the median of
what the trials before it had reached by then; Optuna's ``MedianPruner`` asks its storage for that after every round.
Here the limits are part of the trial's request: so a trial stays a function of its file, the same in a process and in a
pod that reaches no database, and the same when it is killed and goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from statistics import median

AFTER_TRIALS = 4
"""With fewer trials there is no median to speak of (Optuna's default is 5)."""


def stop_above(curves: Sequence[Sequence[float]], after_rounds: int) -> tuple[float | None, ...]:
    """Limits by round on a trial's lowest validation loss so far; empty while too few trials have ended.

    Every trial counts, in the rounds that it did not reach with the best that it had. Optuna counts whole trials alone:
    those that were not given up are the better half, their median a stricter one each time, and good trials fall to it
    (docs/search.md has the figures).

    :param curves: validation loss after each round, of the trials that have ended, however they did.
    :param after_rounds: rounds that every trial may have.
    """
    if len(curves) < AFTER_TRIALS:
        return ()
    lowest = [list(accumulate(curve, min)) for curve in curves]
    rounds = max(map(len, lowest))
    limits = [median(losses[min(at, len(losses) - 1)] for losses in lowest) for at in range(rounds)]
    return tuple(None if at < after_rounds else limit for at, limit in enumerate(limits))

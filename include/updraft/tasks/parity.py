"""What a model does to the rows of a group, as rates that groups are compared by: parity means that they are the same for every group.

Selection rate, true and false positive rate as fairlearn defines them (Bird et al. 2020, ``fairlearn.metrics``): demographic parity is the same
selection rate for all, equalised odds the same true and false positive rates (Hardt et al. 2016). Calibration within groups is the mean of label
less score (Kleinberg et al. 2017).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class GroupRate:
    """The mean of a number over those rows of a group that it is defined for."""

    name: str
    words: str
    """What its gap tells, for the description of the key."""
    counted: Callable[[NDArray[np.float64]], NDArray[np.bool_]]
    """Of labels: which rows it is the mean over."""
    number: Callable[[NDArray[np.float64], NDArray[np.float64], float], NDArray[np.float64]]
    """Of labels, scores and the score from which a row is selected."""


def _all(label: NDArray[np.float64]) -> NDArray[np.bool_]:
    import numpy as np

    return np.ones(len(label), dtype=np.bool_)


def _selected(label: NDArray[np.float64], score: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(score >= threshold, np.float64)


BINARY_RATES = (
    GroupRate("selection_rate", "demographic parity", _all, _selected),
    GroupRate(
        "true_positive_rate",
        "equal opportunity; with the next one equalised odds",
        lambda label: label > 0.5,
        _selected,
    ),
    GroupRate(
        "false_positive_rate", "of the rows of label 0, how many are selected", lambda label: label <= 0.5, _selected
    ),
    GroupRate("calibration", "mean of label less score", _all, lambda label, score, threshold: label - score),
)
"""Of labels 0 and 1, and scores that are probabilities of 1."""

"""A paired trial: would a remedy have lowered the loss on rows whose labels are known? By cluster, one look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.05
FEWEST_CLUSTERS = 5


@dataclass(frozen=True)
class Trial:
    """Mean gain over clusters (positive: the remedy helps), its standard error, and whether either sign is shown.

    A trial starts a remedy or withholds one; it never promotes a model: that takes the anytime-valid bound of ``updraft.release``.
    """

    gain: float
    error: float
    clusters: int
    shown_positive: bool
    shown_negative: bool

    @property
    def words(self) -> str:
        """The trial in a few words."""
        return f"{self.gain:+.4f} ± {self.error:.4f} over {self.clusters} clusters"

    def as_dict(self) -> dict[str, float | int | bool]:
        """For a diagnosis or a decision's body."""
        return {
            "gain": round(self.gain, 6),
            "error": round(self.error, 6),
            "clusters": self.clusters,
            "shown": self.shown_positive,
        }


def paired_trial(gain: NDArray[np.float64], cluster: NDArray[np.object_]) -> Trial:
    """One-sided t tests on cluster means, each at 5 %.

    :param gain: per row, loss without the remedy minus loss with it.
    :param cluster: per row, the cluster's name.
    """
    import numpy as np
    from scipy.special import stdtrit

    _, codes = np.unique(cluster.astype(str), return_inverse=True)
    means = np.bincount(codes, gain) / np.bincount(codes)
    count = len(means)
    error = float(means.std(ddof=1) / np.sqrt(count)) if count > 1 else float("inf")
    mean = float(means.mean())
    if count < FEWEST_CLUSTERS or error == 0.0:
        return Trial(mean, error if np.isfinite(error) else 0.0, count, shown_positive=False, shown_negative=False)
    critical = float(stdtrit(count - 1, 1 - LEVEL)) * error
    return Trial(mean, error, count, shown_positive=mean > critical, shown_negative=mean < -critical)

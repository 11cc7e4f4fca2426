"""A paired trial: would a remedy have lowered the loss on rows whose labels are known? By cluster, one look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft.tasks.clusters import counted, too_few

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.05


@dataclass(frozen=True)
class Trial:
    """Mean gain over clusters (positive: the remedy helps), its standard error, and whether either sign is shown.

    A trial starts a remedy or withholds one; it never promotes a model: that takes the anytime-valid bound of ``updraft.release``.
    """

    gain: float
    error: float | None
    """None of a single cluster, which does not tell how much clusters differ."""
    clusters: int
    shown_positive: bool
    shown_negative: bool

    @property
    def words(self) -> str:
        """The trial in a few words; where it rests on too few clusters, that it decides nothing."""
        error = "" if self.error is None else f" ± {self.error:.4f}"
        return f"{self.gain:+.4f}{error} over {too_few(self.clusters) or counted(self.clusters)}"

    def as_dict(self) -> dict[str, float | int | bool | None]:
        """For a diagnosis or a decision's body."""
        told: dict[str, float | int | bool | None] = {
            "gain": round(self.gain, 6),
            "error": None if self.error is None else round(self.error, 6),
            "clusters": self.clusters,
            "shown": self.shown_positive,
        }
        return told | ({"too_few": True} if too_few(self.clusters) else {})


def paired_trial(gain: NDArray[np.float64], cluster: NDArray[np.object_], level: float = LEVEL) -> Trial:
    """One-sided t tests on cluster means, each at ``level``; fewer than :data:`~updraft.tasks.clusters.FEWEST_CLUSTERS` show nothing.

    :param gain: per row, loss without the remedy minus loss with it.
    :param cluster: per row, the cluster's name.
    """
    import numpy as np
    from scipy.special import stdtrit

    _, codes = np.unique(cluster.astype(str), return_inverse=True)
    means = np.bincount(codes, gain) / np.bincount(codes)
    count = len(means)
    error = float(means.std(ddof=1) / np.sqrt(count)) if count > 1 else None
    mean = float(means.mean())
    if error is None or error == 0.0 or too_few(count):
        return Trial(mean, error, count, shown_positive=False, shown_negative=False)
    critical = float(stdtrit(count - 1, 1 - level)) * error
    return Trial(mean, error, count, shown_positive=mean > critical, shown_negative=mean < -critical)

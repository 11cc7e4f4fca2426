"""Resampling of whole clusters: what rows of one day or one customer share stays together (Cameron, Gelbach, Miller 2008)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 1000
GROUPS = 200
"""More clusters than this are resampled in groups of whole ones: as good, and the pairs of groups fit in memory."""


@dataclass(frozen=True, eq=False)
class ClusterResamples:
    """Rows' groups of clusters, and how often each group is drawn in each resample."""

    codes: NDArray[np.intp]
    """Shape (rows,): each row's group."""
    clusters: int
    groups: int
    counts: NDArray[np.float64]
    """Shape (resamples, groups); each row of it sums to ``groups``."""

    @classmethod
    def of(cls, cluster: NDArray[np.object_]) -> ClusterResamples:
        """Resamples of the rows of some clusters, always the same ones.

        :param cluster: shape (rows,), each row's cluster.
        """
        import numpy as np

        names, codes = np.unique(np.asarray(cluster).astype(str), return_inverse=True)
        groups = min(len(names), GROUPS)
        counts = _counts(groups) if groups else np.zeros((RESAMPLES, 0))
        return cls(codes % max(groups, 1), len(names), groups, counts)

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over rows in each resample: shape (resamples,)."""
        import numpy as np

        totals = self.counts @ np.bincount(self.codes, values, self.groups)
        return np.asarray(totals / (self.counts @ np.bincount(self.codes, minlength=self.groups)), dtype=np.float64)


def _counts(groups: int) -> NDArray[np.float64]:
    import numpy as np

    generator = np.random.default_rng(1)
    return generator.multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES).astype(np.float64)

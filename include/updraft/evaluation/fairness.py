"""How far the groups of a column lie apart in what a model does to them, and whether that is shown to be more than is allowed.

The *gap* of a rate is the largest less the smallest over the groups of a column. Its bootstrap is biased: the largest of several noisy rates lies
too high, the smallest too low, so a model that treats all alike has a gap in every resample. So a gap is bounded by its pairs: it is at least as
large as the difference of any two groups, and is shown to be above a limit when one of these differences is. Each difference has the standard
deviation of whole clusters resampled, with a t quantile at a level that is shared out among all pairs of all checks (Bonferroni): a model whose gaps
are as allowed is refused in about one of twenty evaluations at most. ``tests/evaluation/test_fairness.py`` simulates that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from updraft.errors import DataError
from updraft.tasks.resamples import RESAMPLES, ClusterResamples
from updraft.tasks.task_type import TaskType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from updraft.spec.fairness import Fairness

NO_VALUE = "(no value)"
"""Rows without a value in the column: their rate is told, and they are no group that decides."""
MOST_GROUPS = 20
"""Groups of a column that decide, the largest ones; and of those that do not, how many are told by name."""


LONGEST_NAME = 80
"""Characters of a value that are told; a longer one is told apart by some of its hash."""
ROUNDING = 1e-9
"""Differences of rates that are none."""


@dataclass(frozen=True)
class Group:
    """The rows of one value of the column that a rate is made of."""

    name: str
    rows: int
    clusters: int
    candidate: float
    champion: float | None
    decides: bool

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "rows": self.rows,
            "clusters": self.clusters,
            "candidate": _rounded(self.candidate),
            "champion": _rounded(self.champion),
            "decides": self.decides,
        }


@dataclass(frozen=True)
class Gap:
    """One rate over the groups of one column."""

    column: str
    rate: str
    groups: tuple[Group, ...]
    """Those that decide, largest first, then the largest of the others."""
    left_out: int
    """Groups beside those that decide, named or not; rows without a value are none."""
    candidate: float
    """Largest less smallest rate over the groups that decide; NaN where fewer than two do."""
    champion: float | None
    lower: float
    upper: float
    """Where the gap lies, or without a limit the gap less the champion's: each end at the level shared out; NaN where nothing is shown."""
    limit: float | None
    """None where the champion's gap is the limit."""
    passed: bool
    undecided: str = ""
    """Why it decides nothing; empty where it does."""

    @property
    def name(self) -> str:
        """Rate and column, as people name it."""
        return f"{self.rate} by {self.column}"

    @property
    def words(self) -> str:
        """Its figures in a few words, without the outcome."""
        if self.undecided:
            return f"{self.name}: {self.undecided}"
        deciding = [group for group in self.groups if group.decides]
        low, high = (pick(deciding, key=lambda group: group.candidate) for pick in (min, max))
        against = f", the champion's {self.champion:.4f}" if self.champion is not None else ""
        return f"{self.name}: gap {self.candidate:.4f}{against} ({low.name} {low.candidate:.4f}, {high.name} {high.candidate:.4f})"

    @property
    def told(self) -> str:
        """Its figures, and which groups it leaves out."""
        return f"{self.words}; {self.not_deciding}" if self.left_out else self.words

    @property
    def not_deciding(self) -> str:
        """The groups that do not decide, named; empty where every group decides."""
        named = [group.name for group in self.groups if not group.decides and group.name != NO_VALUE]
        if not self.left_out:
            return ""
        more = f" and {self.left_out - len(named)} more" if self.left_out > len(named) else ""
        return f"left out as too small: {', '.join(named)}{more}"

    @property
    def refusal(self) -> str:
        """Why it refuses, in one sentence."""
        allowed = f"above the {self.limit:g} allowed" if self.limit is not None else "larger than the champion's"
        least = "at least" if self.limit is not None else "larger by at least"
        return f"{self.words}, shown to be {allowed} ({least} {self.lower:.4f})"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, for the training's row and the decision."""
        figures = {key: _rounded(getattr(self, key)) for key in ("candidate", "champion", "lower", "upper")}
        return figures | {
            "limit": self.limit,
            "passed": self.passed,
            "undecided": self.undecided,
            "words": self.told,
            "groups": {group.name: group.as_dict() for group in self.groups},
            "left_out": self.left_out,
        }


def _rounded(value: float | None) -> float | None:
    return round(value, 9) if value is not None and math.isfinite(value) else None


def compare_groups(
    *,
    label: NDArray[np.float64],
    candidate: NDArray[np.float64],
    champion: NDArray[np.float64] | None,
    cluster: NDArray[np.object_],
    values: Mapping[str, NDArray[np.object_]],
    fairness: Fairness,
    task: TaskType,
    level: float,
) -> tuple[Gap, ...]:
    """Every rate over the groups of every column.

    :param label: shape (rows,).
    :param candidate: scores of the same rows, as are ``champion``, where there is one.
    :param cluster: shape (rows,), the unit of evidence.
    :param values: by column, shape (rows,): the values that are the groups; None or NaN where a row has none.
    :param level: the error that all checks together may make.
    :raises DataError: when a column is missing, or the task has no such rate.
    """
    rates = {rate.name: rate for rate in task.group_rates}
    if unfit := [name for name in fairness.metrics if name not in rates]:
        known = f"groups are compared by {', '.join(rates)}" if rates else "its scores select no row"
        raise DataError(f"gates.fairness.metrics: {unfit[0]} does not fit a {task.name} model; {known}")
    if missing := [column for column in fairness.by if column not in values]:
        raise DataError(f"gates.fairness.by names {missing[0]}, which the compared rows do not have")
    scores = (candidate,) if champion is None else (candidate, champion)
    compared = []
    for column in fairness.by:
        names = group_names(values[column])
        for name in fairness.metrics:
            counted = rates[name].counted(label)
            numbers = tuple(rates[name].number(label, score, fairness.threshold)[counted] for score in scores)
            compared.append((column, name, _Rates.of(names[counted], numbers, cluster[counted], fairness)))
    deciding = sum(rated.deciding > 1 for _, _, rated in compared)
    return tuple(rated.gap(column, name, fairness, level / max(deciding, 1)) for column, name, rated in compared)


def group_names(values: NDArray[np.object_]) -> NDArray[np.object_]:
    """What each row's group is called: its value as text, and NO_VALUE where it has none.

    A whole number is called the same where a null beside it has made a float of it. A text stands in quotes where it is empty, spelt as NO_VALUE, or
    holds what cannot be printed.
    """
    import numpy as np
    import pandas as pd

    codes, distinct = pd.factorize(pd.Series(values, dtype=object), use_na_sentinel=True)
    named = np.array([*(_called(value) for value in distinct), NO_VALUE], dtype=object)
    return np.asarray(named[codes], dtype=object)


def _called(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    if len(text) > LONGEST_NAME:
        digest = sha256(text.encode(errors="backslashreplace")).hexdigest()
        text = f"{text[:LONGEST_NAME]}… {digest[:8]}"
    return repr(text) if text in (NO_VALUE, "") or not text.isprintable() else text


@dataclass(frozen=True, eq=False)
class _Rates:
    """One rate of each group, of the candidate and of the champion where there is one."""

    groups: tuple[Group, ...]
    """As a gap has them."""
    left_out: int
    rates: NDArray[np.float64]
    """Of the groups that decide, shape (models × groups,), the candidate's first."""
    covariance: NDArray[np.float64] | None
    """Of :attr:`rates` when whole clusters are resampled; None where too few resamples have rows of every group."""

    @property
    def deciding(self) -> int:
        return sum(group.decides for group in self.groups)

    @classmethod
    def of(
        cls,
        names: NDArray[np.object_],
        numbers: Sequence[NDArray[np.float64]],
        cluster: NDArray[np.object_],
        fairness: Fairness,
    ) -> _Rates:
        """:param numbers: of each model, whose means are the rates."""
        import numpy as np
        import pandas as pd

        codes, distinct = pd.factorize(names)
        rows = np.bincount(codes, minlength=len(distinct))
        _, cluster_codes = np.unique(cluster.astype(str), return_inverse=True)
        pairs = np.unique(np.column_stack([codes, cluster_codes]), axis=0)
        clusters = np.bincount(pairs[:, 0].astype(np.intp), minlength=len(distinct))
        means = [np.bincount(codes, number, len(distinct)) / np.maximum(rows, 1) for number in numbers]
        by_size = sorted(range(len(distinct)), key=lambda code: (-rows[code], distinct[code]))
        big = [
            code
            for code in by_size
            if distinct[code] != NO_VALUE
            and rows[code] >= fairness.min_rows
            and clusters[code] >= fairness.min_clusters
        ][:MOST_GROUPS]
        unvalued = [code for code in by_size if distinct[code] == NO_VALUE]
        small = [code for code in by_size if code not in {*big, *unvalued}]
        groups = tuple(
            Group(
                str(distinct[code]),
                int(rows[code]),
                int(clusters[code]),
                float(means[0][code]),
                float(means[1][code]) if len(means) > 1 else None,
                code in big,
            )
            for code in (*big, *small[:MOST_GROUPS], *unvalued)
        )
        rates = np.concatenate([mean[big] for mean in means])
        return cls(groups, len(small), rates, _covariance(codes, big, numbers, cluster) if len(big) > 1 else None)

    def gap(self, column: str, rate: str, fairness: Fairness, level: float) -> Gap:
        """The gap, held against its limit."""
        limit = None if isinstance(fairness.no_worse_than, str) else float(fairness.no_worse_than)
        size, nan = self.deciding, float("nan")
        of_models = self.rates.reshape(-1, size) if size else self.rates.reshape(1, 0)
        gaps = [float(of.max() - of.min()) if size > 1 else nan for of in of_models]
        compares = len(self.rates) > size
        told = Gap(
            column,
            rate,
            self.groups,
            self.left_out,
            gaps[0],
            gaps[1] if compares and size > 1 else None,
            nan,
            nan,
            limit,
            True,
        )
        if size < 2:
            return replace(
                told,
                undecided=f"{size} group{'' if size == 1 else 's'} with enough rows and clusters, nothing to compare",
            )
        if self.covariance is None:
            return replace(told, undecided="groups share too few clusters to be compared")
        if limit is None and not compares:
            return replace(told, undecided="no champion to compare with")
        lower, upper = self._bounds(level, against_champion=limit is None)
        return replace(told, lower=lower, upper=upper, passed=not lower > (limit or 0.0) + ROUNDING)

    def _bounds(self, level: float, *, against_champion: bool) -> tuple[float, float]:
        """The ends of the gap, or of the candidate's gap less the champion's.

        The candidate's gap is the largest difference of all ordered pairs, so the largest lower end of them bounds it from below. It is above the
        champion's where one difference is above every one of the champion's: what is sure of all of them is the smallest lower end.
        """
        import numpy as np
        from scipy.special import stdtrit

        assert self.covariance is not None
        size = self.deciding
        first, second = np.nonzero(~np.eye(size, dtype=np.bool_))
        clusters = np.array([group.clusters for group in self.groups if group.decides])
        fewest = np.minimum(clusters[first], clusters[second])
        pairs = np.zeros((len(first), size))
        pairs[np.arange(len(first)), first], pairs[np.arange(len(first)), second] = 1.0, -1.0
        ours, theirs = self.rates[:size], self.rates[size:]
        of_ours = self.covariance[:size, :size]
        share = level / len(first)
        variance = np.einsum("ij,jk,ik->i", pairs, of_ours, pairs)
        if not against_champion:
            half = stdtrit(fewest - 1, 1 - share) * np.sqrt(np.maximum(variance, 0) * fewest / (fewest - 1))
            return float(max((pairs @ ours - half).max(), 0.0)), float((pairs @ ours + half).max())
        of_theirs = np.einsum("ij,jk,ik->i", pairs, self.covariance[size:, size:], pairs)
        both = pairs @ self.covariance[:size, size:] @ pairs.T
        variance = np.maximum(variance[:, None] + of_theirs[None, :] - 2 * both, 0)
        least = np.minimum(fewest[:, None], fewest[None, :])
        half = stdtrit(least - 1, 1 - share) * np.sqrt(variance * least / (least - 1))
        excess = (pairs @ ours)[:, None] - (pairs @ theirs)[None, :]
        return float((excess - half).min(axis=1).max()), float((excess + half).max(axis=0).min())


def _covariance(
    codes: NDArray[np.intp], big: Sequence[int], numbers: Sequence[NDArray[np.float64]], cluster: NDArray[np.object_]
) -> NDArray[np.float64] | None:
    import numpy as np

    mine = np.isin(codes, list(big))
    resamples = ClusterResamples.of(cluster[mine])
    codes, rates = codes[mine], []
    for number in numbers:
        for code in big:
            rows = codes == code
            above = resamples.counts @ np.bincount(resamples.codes[rows], number[mine][rows], resamples.groups)
            below = resamples.counts @ np.bincount(resamples.codes[rows], minlength=resamples.groups)
            with np.errstate(invalid="ignore", divide="ignore"):
                rates.append(above / below)
    resampled = np.array(rates)
    known = np.isfinite(resampled).all(axis=0)
    if known.sum() < RESAMPLES // 2:
        return None
    return np.atleast_2d(np.cov(resampled[:, known], bias=True))

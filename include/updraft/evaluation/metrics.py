"""Losses per row and metrics over rows, for binary and regression tasks; intervals by resampling clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from updraft.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METRICS = {"binary": ("log_loss", "brier", "auc"), "regression": ("rmse", "mae")}
"""Metrics by task."""
HIGHER_IS_BETTER = frozenset({"auc"})
CLIP = 1e-7
"""Probabilities are kept this far from 0 and 1: one certain mistake costs at most 16.1 of log loss, not infinity."""


def row_loss(metric: str, label: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
    """The loss of each row; lower is better.

    :param metric: ``log_loss`` (nats), ``brier``, ``squared_error`` or ``absolute_error``; ``rmse`` and ``mae`` give
        the losses that they average.
    :param label: shape (rows,); 0 or 1 for ``log_loss`` and ``brier``.
    :param score: shape (rows,); the probability of 1, or the predicted value.
    :raises DataError: for a metric that is not a sum over rows (``auc``), or a score that is no number.
    """
    import numpy as np

    label, score = _checked(label, score)
    if metric == "log_loss":
        clipped = np.clip(score, CLIP, 1 - CLIP)
        return -(label * np.log(clipped) + (1 - label) * np.log1p(-clipped))
    if metric in ("brier", "squared_error", "rmse"):
        return (label - score) ** 2
    if metric in ("absolute_error", "mae"):
        return np.abs(label - score)
    raise DataError(
        f"{metric} has no loss per row; use log_loss, brier or squared_error (release.metric), or absolute_error"
    )


def _checked(label: NDArray[np.float64], score: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    label, score = np.asarray(label, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if label.shape != score.shape or label.ndim != 1:
        raise DataError(f"labels of shape {label.shape} cannot be compared with scores of shape {score.shape}")
    for name, values in (("score", score), ("label", label)):
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            raise DataError(f"the {name} of row {bad} is no number; drop rows without a label before comparing models")
    return label, score


def log_loss(label: NDArray[np.float64], score: NDArray[np.float64]) -> float:
    """Mean negative log-likelihood in nats."""
    return float(row_loss("log_loss", label, score).mean())


def brier(label: NDArray[np.float64], score: NDArray[np.float64]) -> float:
    """Mean squared difference of probability and outcome (Brier 1950)."""
    return float(row_loss("brier", label, score).mean())


def rmse(label: NDArray[np.float64], score: NDArray[np.float64]) -> float:
    """Root of the mean squared error, in the label's unit."""
    return float(row_loss("squared_error", label, score).mean() ** 0.5)


def mae(label: NDArray[np.float64], score: NDArray[np.float64]) -> float:
    """Mean absolute error, in the label's unit."""
    return float(row_loss("absolute_error", label, score).mean())


def auc(label: NDArray[np.float64], score: NDArray[np.float64]) -> float:
    """Probability that a random 1 is scored above a random 0, ties counting half (Mann–Whitney).

    NaN when only one class is present: then there is nothing to rank.
    """
    import numpy as np
    from scipy.stats import rankdata

    label, score = _checked(label, score)
    positive = label > 0.5
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return float("nan")
    ranks = np.asarray(rankdata(score), dtype=np.float64)
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def metric_value(metric: str, label: NDArray[np.float64], score: NDArray[np.float64]) -> float:
    """A metric over all rows.

    :raises DataError: for an unknown metric, or no rows.
    """
    known = {"log_loss": log_loss, "brier": brier, "auc": auc, "rmse": rmse, "mae": mae}
    if metric not in known:
        raise DataError(f"unknown metric {metric}; known are {', '.join(known)}")
    if not len(label):
        raise DataError(f"{metric} of no rows: no row with a known label was compared")
    return known[metric](label, score)


def all_metrics(task: str, label: NDArray[np.float64], score: NDArray[np.float64]) -> dict[str, float]:
    """Every metric of a task (``binary``, ``regression``).

    :raises DataError: for an unknown task, or no rows.
    """
    if task not in METRICS:
        raise DataError(f"no metrics are known for task {task}; known tasks are {', '.join(METRICS)}")
    return {metric: metric_value(metric, label, score) for metric in METRICS[task]}


def base_rate(task: str, metric: str, label: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a model without features would say of these very rows: their mean, or for ``mae`` their median.

    It has seen the holdout's own labels, so that beating it is not luck of the base rate.
    """
    import numpy as np

    centre = np.median(label) if task == "regression" and metric == "mae" else np.mean(label)
    return np.full(len(label), float(centre))


def cluster_bootstrap(
    sums: NDArray[np.float64], rows: NDArray[np.float64], *, resamples: int = 1000, seed: int = 1
) -> NDArray[np.float64]:
    """Means over rows, when whole clusters are drawn with replacement (Cameron, Gelbach, Miller 2008).

    Rows of one cluster stay together, as they share what made them alike (weather, a customer).

    :param sums: shape (clusters,) or (clusters, quantities); sums over each cluster's rows.
    :param rows: shape (clusters,), rows of each cluster; (clusters, quantities) when quantities differ in their rows.
    :return: shape (resamples,) or (resamples, quantities); NaN where a resample holds no row.
    """
    import numpy as np

    sums, rows = np.asarray(sums, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    counts = resampled_counts(len(sums), resamples=resamples, seed=seed)
    total, weight = counts @ sums, counts @ rows
    if total.ndim > weight.ndim:
        weight = weight[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(weight > 0, total / weight, np.nan), dtype=np.float64)


def resampled_counts(clusters: int, *, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each cluster is drawn in each resample: shape (resamples, clusters), each row sums to ``clusters``."""
    import numpy as np

    generator = np.random.default_rng(seed)
    return generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples).astype(np.float64)

"""Columns that tell the label as nothing does that is known when the prediction is made. They are refused by name, before anything is learnt.

A guard against mistakes, which speaks up only where there is hardly another explanation: what tells the label *nearly* alone may be a fine feature.
Its error rates are measured in ``tests/data/test_leakage.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from updraft.tasks.binary import BINARY
from updraft.tasks.regression import REGRESSION

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

TELLS = 0.999
"""Area under the curve, rank correlation, or share of rows in the class that its value says, from which a column alone tells the label."""
LEAST, LEAST_OF_A_CLASS = 200, 20
"""Rows, and rows of a class, from which that is told."""
_LEVELS = 100
"""Values of a column that are taken for names of the label's classes."""
COPIES = 0.01
"""Share of the rows of a holdout that may be in what was learnt from."""
MEND = "put it under data.outcomes, or, where it is known when the prediction is made, under data.not_leaks"


def leaks(
    columns: pd.DataFrame, label: NDArray[np.float64], task: str, *, partition: NDArray[np.str_]
) -> dict[str, str]:
    """Columns that leak the label, and why, each as the end of a sentence.

    :param columns: numbers, truth values, texts or times; a row each.
    :param label: of the same rows, as the task's numbers; NaN where it is not known.
    :param task: name of the task.
    :param partition: of each row the key of its partition: a weekday, or the weather, is one value in all of a day.
    """
    told = {}
    for column in columns:
        why = _comes_with(columns[column], label, partition) or _tells(columns[column], label, task)
        if why is not None:
            told[str(column)] = why
    return told


def later_times(columns: pd.DataFrame, event_time: pd.Series) -> dict[str, str]:
    """Columns of times that lie after the row's own time in more than a hundredth of its rows, and why."""
    import pandas as pd

    told = {}
    for column in columns:
        if not pd.api.types.is_datetime64_any_dtype(columns[column]):
            continue
        times = pd.to_datetime(columns[column], utc=True)
        share = (
            float((times > pd.to_datetime(event_time, utc=True))[times.notna()].mean()) if times.notna().any() else 0.0
        )
        if share > COPIES:
            told[str(column)] = f"lies after the row's own time in {share:.0%} of its rows"
    return told


def copied(window: pd.DataFrame, holdout: pd.DataFrame) -> int:
    """Rows of a holdout that stand in the rest of its window as they are, keys, features and label."""
    import pandas as pd

    own, rest = (pd.util.hash_pandas_object(frame.astype(str), index=False) for frame in (holdout, window))
    return int(own.isin(rest).sum())


def _comes_with(values: pd.Series, label: NDArray[np.float64], partition: NDArray[np.str_]) -> str | None:
    """Filled in where the label is known, and missing or one value where it is not: what is scored has no label yet.

    One value says nothing of a column that is one value in a whole partition whose labels are known, too.
    """
    import numpy as np

    known = ~np.isnan(label)
    if min(known.sum(), (~known).sum()) < LEAST:
        return None
    here, there = values[known], values[~known]
    if here.notna().mean() < 1 - COPIES or here.nunique() < 2:
        return None
    if there.notna().mean() <= COPIES:
        return "is missing where the label is not known yet, and filled in where it is: it comes with the label"
    varies = here.groupby(partition[known]).nunique(dropna=False).min() > 1
    if varies and there.nunique(dropna=False) == 1 and here.eq(there.iloc[0]).mean() < 1 / 2:
        return "is one value where the label is not known yet, and varies where it is: it comes with the label"
    return None


def _tells(values: pd.Series, label: NDArray[np.float64], task: str) -> str | None:
    import numpy as np

    known = ~np.isnan(label) & values.notna().to_numpy()
    if known.sum() < LEAST:
        return None
    of_rows, target = values[known], label[known]
    if task == REGRESSION.name:
        return _in_order(of_rows, target)
    _, counts = np.unique(target, return_counts=True)
    if len(counts) < 2 or np.sort(counts)[-2] < LEAST_OF_A_CLASS:
        return None
    return next(filter(None, (_separates(of_rows, target, task), _names(of_rows, target))), None)


def _separates(values: pd.Series, target: NDArray[np.float64], task: str) -> str | None:
    import numpy as np
    import pandas as pd

    if task != BINARY.name or not pd.api.types.is_numeric_dtype(values) or values.nunique() < 2:
        return None
    ranks, ones = values.astype(float).rank().to_numpy(), target == 1
    pairs = ones.sum() * (~ones).sum()
    area = float((ranks[ones].sum() - ones.sum() * (ones.sum() + 1) / 2) / pairs)
    area = max(area, 1 - area)
    return f"tells the label alone (AUC {np.floor(area * 1e4) / 1e4:.4f})" if area >= TELLS else None


def _in_order(values: pd.Series, target: NDArray[np.float64]) -> str | None:
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(values) or values.nunique() < 2 or len(set(target)) < 2:
        return None
    correlation = abs(float(values.astype(float).rank().corr(pd.Series(target, values.index).rank())))
    return f"tells the label alone (rank correlation {correlation:.4f})" if correlation >= TELLS else None


def _names(values: pd.Series, target: NDArray[np.float64]) -> str | None:
    """Each of its few values is in one class: learnt of one half of the rows, and tried on the other."""
    import numpy as np
    import pandas as pd

    if not 2 <= values.nunique() <= _LEVELS:
        return None
    labels = pd.Series(target, values.index)
    half = np.arange(len(values)) % 2 == 0
    said = values[~half].map(
        labels[half].groupby(values[half].astype(object)).agg(lambda of: of.value_counts().idxmax())
    )
    right, usual = float((said == labels[~half]).mean()), float(labels[~half].value_counts(normalize=True).max())
    if right < TELLS or 1 - usual < 10 * (1 - TELLS):
        return None
    return f"tells the label alone (right in {np.floor(right * 1e4) / 1e2:.2f} % of rows)"


def sentences(told: dict[str, str], accepted: tuple[str, ...]) -> Iterator[str]:
    """One sentence for each column, with the mend; none for those that the project says are no leaks."""
    for column, why in told.items():
        if column not in accepted:
            yield f"{column!r} {why}; {MEND}"

"""Columns that seem to be known only with the outcome: a model that reads them is a marvel in a backtest, and useless in service."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from updraft.data.duck import name
from updraft.draft.label import Label
from updraft.draft.table import Column, Table
from updraft.draft.words import AFTERWARDS_WORDS, OUTCOME_WORDS, has_word, words_of
from updraft.tasks.binary import BINARY
from updraft.tasks.regression import REGRESSION

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

DETERMINES = 0.99
"""Area under the curve of a column alone from which it tells the label, and is none of its causes; of numbers the rank correlation."""
_LATER = 0.01
"""Share of rows whose time is after the event from which a column of times is one of what came after it."""
_LEAST = 20
"""Rows that tell something about a column."""


def suspects(table: Table, label: Label, known: Collection[str]) -> dict[str, str]:
    """Columns that look like a leak, and why, each as the end of a sentence.

    :param known: columns that are not looked at: the label's own, the key and the event time.
    """
    others = [column for column in table.columns.values() if column.name not in known and column.kind is not None]
    sample = table.sample(f"{label.number} AS _label")
    labelled = sample[sample["_label"].notna()]
    told: dict[str, str] = {}
    for column in others:
        why = _later(table, column) or _with_the_label(table, label, column) or _by_name(column, label)
        if why is None and label.task in (BINARY.name, REGRESSION.name):
            why = _determines(labelled, column, label)
        if why is not None:
            told[column.name] = why
    return told


def _later(table: Table, column: Column) -> str | None:
    if column.kind != "time":
        return None
    (share,) = table.asked(
        f"count(*) FILTER ({name(column.name)} > {name(table.event_time)}) / count({name(column.name)})"
    )
    return f"is after the event time in {share:.0%} of rows" if share > _LATER else None


def _with_the_label(table: Table, label: Label, column: Column) -> str | None:
    """Missing in some rows, and the label is missing in each of them: they come together."""
    if column.missing < _LEAST or label.labelled == table.rows:
        return None
    own, number = name(column.name), label.number
    (labelled,) = table.asked(f"count(*) FILTER ({own} IS NULL AND ({number}) IS NOT NULL)")
    return "is missing only where the label is missing, so it may come with it" if not labelled else None


def _by_name(column: Column, label: Label) -> str | None:
    if has_word(column.name, AFTERWARDS_WORDS):
        return "has the name of what is known only when it is over"
    own, of_label = words_of(column.name), {word for read in label.columns for word in words_of(read)} & OUTCOME_WORDS
    stems = {word[:5] for word in of_label if len(word) >= 5}
    if any(word in of_label or word[:5] in stems for word in own):
        return "has the name of the label"
    return None


def _determines(rows: pd.DataFrame, column: Column, label: Label) -> str | None:
    import numpy as np
    import pandas as pd

    values, target = rows[column.name], rows["_label"].to_numpy(np.float64)
    if column.kind in ("number", "integer", "boolean"):
        score = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        known_rows = ~np.isnan(score)
    elif column.kind == "text" and column.distinct <= len(rows) / _LEAST:
        half = np.arange(len(rows)) % 2 == 0  # what a category says is learnt of one half, and tried on the other
        means = pd.Series(target[half]).groupby(values[half].to_numpy()).mean()
        score = values.map(means).to_numpy(np.float64, na_value=np.nan)
        known_rows = ~np.isnan(score) & ~half
    else:
        return None
    if known_rows.sum() < _LEAST or len(np.unique(target[known_rows])) < 2 or len(np.unique(score[known_rows])) < 2:
        return None
    if label.task == BINARY.name:
        area = _area(target[known_rows], score[known_rows])
        return f"tells the label alone (AUC {area:.3f})" if area >= DETERMINES else None
    correlation = abs(float(np.corrcoef(_ranks(target[known_rows]), _ranks(score[known_rows]))[0, 1]))
    return f"tells the label alone (rank correlation {correlation:.3f})" if correlation >= DETERMINES else None


def _area(target: NDArray[np.float64], score: NDArray[np.float64]) -> float:
    """Area under the ROC curve, whichever way the score points."""
    ones = int(target.sum())
    zeros = len(target) - ones
    ranks = _ranks(score)
    area = float((ranks[target == 1].sum() - ones * (ones + 1) / 2) / (ones * zeros))
    return max(area, 1 - area)


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    import numpy as np
    import pandas as pd

    return np.asarray(pd.Series(values).rank(), np.float64)

"""The expressions of ``monitoring.figures``: bound to the columns that they may read, and evaluated over the rows of one partition.

An expression sees two tables with the same rows: ``published``, the columns that were published (private ones as pseudonyms; neither outcomes nor
columns of the label), and ``scored``:

    score      DOUBLE: what was served, after calibration; of a binary label its probability, of a number the prediction, and where the label has
               classes the probability of the class that is predicted
    label      DOUBLE; where the label has classes VARCHAR, the class
    predicted  VARCHAR, where the label has classes: the most probable one
"""

# ruff: noqa: S608  -- SQL is composed of names that data/duck.py has quoted, and of expressions that read_figure has read
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from updraft.data.catalogue import TYPES
from updraft.data.columns import CLUSTER, EVENT_TIME, ROW
from updraft.data.duck import attempt, connection, first, kind_of
from updraft.data.vectors import as_values
from updraft.errors import DataError
from updraft.spec.figure import LABEL, PREDICTED, PUBLISHED, SCORE, SCORED, read_figure
from updraft.spec.problems import did_you_mean

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Evaluated:
    """What came of an expression."""

    value: float | None
    why: str | None = None
    """Why there is no value, as the end of a sentence and without a value of a row; None when there is one."""
    failed: bool = False
    """Whether the expression is no figure of these columns, or failed on the rows; one that gives null did not."""


def scored_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """The columns of ``scored`` that an expression may read.

    :param classes: of the label; none where it is a number.
    """
    return (SCORE, LABEL, PREDICTED) if classes else (SCORE, LABEL)


def unknown_columns(expr: str, published: Iterable[str], classes: Sequence[str]) -> str | None:
    """Which names of an expression are no column, as the end of a sentence; None when all are. Columns of Updraft's own are none."""
    columns = [column for column in published if column not in (ROW, EVENT_TIME, CLUSTER)]
    columns += [column for column in scored_columns(classes) if column not in columns]
    unknown = read_figure(expr).unknown(columns)
    if not unknown:
        return None
    named = ", ".join(map(repr, unknown))
    hint = did_you_mean(unknown[0], columns) or f"; there are {', '.join(columns)}"
    return f"reads {named}, which is no column of the published rows (outcomes and columns of the label are not published){hint}"


def scored_table(
    row: pd.Series[Any], label: NDArray[np.float64], score: pd.Series[Any], classes: Sequence[str]
) -> pa.Table:
    """ROW and what an expression may read of how rows were scored.

    :param row: their ROW; :param label: as labels are kept, of classes their positions; :param score: as predictions keep it.
    """
    import numpy as np
    import pyarrow as pa

    rows = pa.array(row.to_numpy(np.uint64))
    served = as_values(score)
    if not classes:
        return pa.table({ROW: rows, SCORE: pa.array(served), LABEL: pa.array(label)})
    names = np.asarray(classes, dtype=object)
    by_class = served.reshape(len(row), -1) if len(row) else np.empty((0, len(classes)))
    return pa.table(
        {
            ROW: rows,
            SCORE: pa.array(by_class.max(axis=1) if len(row) else np.empty(0)),
            LABEL: pa.array(names[label.astype(int)].tolist(), pa.string()),
            PREDICTED: pa.array(names[by_class.argmax(axis=1)].tolist() if len(row) else [], pa.string()),
        }
    )


def evaluate_figures(
    expressions: Mapping[str, str], published: pa.Table, scored: pa.Table, classes: Sequence[str]
) -> dict[str, Evaluated]:
    """Evaluate expressions over the rows that are in both tables, each by itself: one that fails keeps no other from its value.

    :param expressions: by name. :param published: ROW and the columns that they read, or more.
    :param scored: see :func:`scored_table`. :param classes: of the label.
    """
    with connection() as con:
        con.register(PUBLISHED, published)
        con.register(SCORED, scored)
        return {name: _evaluated(con, expr, published.column_names, classes) for name, expr in expressions.items()}


def _evaluated(
    con: duckdb.DuckDBPyConnection, expr: str, published: Sequence[str], classes: Sequence[str]
) -> Evaluated:
    import math

    try:
        if wrong := _fault(con, expr, published, classes):
            return Evaluated(None, wrong, failed=True)
        [value] = attempt(
            lambda: first(con, f"SELECT CAST(value AS DOUBLE) FROM ({_query(expr)})"),
            lambda error: DataError(kind_of(error)),
        )
    except DataError as error:
        return Evaluated(None, f"cannot be evaluated: {error}", failed=True)
    if value is None:
        return Evaluated(None, "is null for these rows")
    if not math.isfinite(value):
        return Evaluated(None, "is no finite number for these rows")
    return Evaluated(float(value))


def _fault(con: duckdb.DuckDBPyConnection, expr: str, published: Sequence[str], classes: Sequence[str]) -> str | None:
    """Why an expression is no number of a partition, whatever its rows hold; as the end of a sentence. None when it is one."""
    if wrong := read_figure(expr).wrong or unknown_columns(expr, published, classes):
        return wrong
    [(_, kind, *_)] = attempt(
        lambda: con.execute(f"DESCRIBE {_query(expr)}").fetchall(), lambda error: DataError(kind_of(error))
    )
    if str(kind).partition("(")[0] not in TYPES["number"]:
        return f"gives {kind}, and a figure is a number"
    return None


def _query(expr: str) -> str:
    """One row, whatever the expression is: a column outside of every aggregate is refused."""
    return f"SELECT (\n{expr}\n) AS value FROM {PUBLISHED} JOIN {SCORED} USING ({ROW}) GROUP BY ()"

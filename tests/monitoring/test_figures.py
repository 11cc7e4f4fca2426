"""Business figures of a partition: what each expression comes to over its scored rows, and which limits it breaks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.support import flights

from updraft import files
from updraft.data.columns import ROW
from updraft.data.figures import scored_table
from updraft.data.vectors import as_cells
from updraft.monitoring.figures import Figured, compute_figures, shown
from updraft.spec.figure import Figure


def computed(figures: dict[str, str], published: pa.Table, label, score, classes=()) -> dict[str, Figured]:
    row = pd.Series(published[ROW].to_numpy()[: len(label)])
    scored = scored_table(row, np.asarray(label, float), pd.Series(score), classes)
    return compute_figures({name: Figure(expr=expr) for name, expr in figures.items()}, published, scored, classes)


def values(figured: dict[str, Figured]) -> dict[str, float | None]:
    return {name: figure.value for name, figure in figured.items()}


def test_figures_of_flights_are_those_that_pandas_counts(tmp_path):
    [row] = flights.ingested(tmp_path, 1)
    frame = files.read_parquet(row.url, row.sha256).sort_values(ROW, ignore_index=True)
    rng = np.random.default_rng(1)
    score, label = rng.random(len(frame)), (rng.random(len(frame)) < 0.2).astype(float)
    label_known = 400
    figures = {
        "miles_warned": "sum(case when score > 0.8 then distance else 0 end)",
        "caught": "sum(case when score > 0.8 and label = 1 then 1 end)",
        "of_one_airport": "count(*) filter (where origin = 'JFK' and score <= 0.8)",
        "share": "avg((score > 0.8)::int)",
        "spread": "quantile_cont(scored.score, 0.9) - min(score)",
    }
    told = values(computed(figures, pa.Table.from_pandas(frame), label[:label_known], score[:label_known]))
    known, warned = frame[:label_known], score[:label_known] > 0.8
    assert told == {
        "miles_warned": float(known["distance"][warned].sum()),
        "caught": float((warned & (label[:label_known] == 1)).sum()),
        "of_one_airport": float(((known["origin"] == "JFK") & ~warned).sum()),
        "share": pytest.approx(warned.mean()),
        "spread": pytest.approx(np.quantile(score[:label_known], 0.9) - score[:label_known].min()),
    }


UGLY = pa.table(
    {
        ROW: pa.array([7, 8, 9], pa.uint64()),
        'Amount "net", €': pa.array([1.5, None, -3.0]),
        "Score": pa.array([700, 650, None], pa.int32()),
        "note": pa.array(["12", "secret-19", None]),
        "empty": pa.array([None, None, None], pa.float64()),
        "order": pa.array([1, 2, 3]),
    }
)


def test_nulls_one_class_and_strange_names_do_not_keep_a_figure_from_its_value():
    figures = {
        "net": 'sum("amount ""net"", €")',
        "limit": "avg(published.score) - 100 * max(scored.score)",
        "none": "sum(case when label = 1 then 1 else 0 end)",
        "order": 'max("order") -- the last one',
    }
    assert values(computed(figures, UGLY, [0, 0, 0], [0.5, 0.25, 0.125])) == {
        "net": -1.5,
        "limit": 625.0,
        "none": 0.0,
        "order": 3.0,
    }


@pytest.mark.parametrize(
    ("expr", "why"),
    [
        ("sum(case when label = 1 then 1 end)", "is null for these rows"),
        ("avg(empty)", "is null for these rows"),
        ("count(*) / sum(label)", "is no finite number for these rows"),
        ("sum(note::int)", "cannot be evaluated: a value does not convert to the type that is asked of it"),
        ("max(score)", 'cannot be evaluated: Binder Error: Ambiguous reference to column name "score"'),
        ("order", "Error"),
        ('"order"', "must be part of an aggregate function"),
        ("max(note)", "gives VARCHAR, and a figure is a number"),
        ("sum(gone)", "reads 'gone', which is no column of the published rows"),
        ("max(_row)", "reads '_row', which is no column of the published rows"),
        ("count(published)", "reads 'published', which is no column"),
        ("(select count(*) from scored)", "has a query in it"),
        ("sum(getenv('HOME')::int)", "cannot be evaluated"),
    ],
)
def test_a_figure_without_a_value_says_why_without_a_value_of_a_row_and_keeps_no_other_from_its_own(expr, why):
    told = computed({"bad": expr, "good": "count(*)"}, UGLY, [0, 0, 0], [0.5, 0.25, 0.125])
    assert told["bad"].value is None
    assert why in str(told["bad"].why)
    assert "secret" not in str(told["bad"].why)
    assert told["good"].value == 3


def test_without_a_labelled_row_there_is_no_value_and_rows_without_a_label_do_not_count():
    assert computed({"n": "count(*)"}, UGLY, [], [])["n"].why == "has no scored row with a label"
    assert values(computed({"n": "count(*)"}, UGLY, [1], [0.5])) == {"n": 1.0}


def test_with_classes_the_score_is_that_of_the_predicted_class_and_label_and_prediction_are_names():
    classes = ("low", "it's", "high")
    score = as_cells(np.array([[0.5, 0.2, 0.3], [0.1, 0.2, 0.7], [0.2, 0.6, 0.2]]))
    figures = {
        "sure": "sum(score)",
        "missed": "count(*) filter (where predicted <> label)",
        "high": "count(*) filter (where label = 'high')",
        "own": "count(*) filter (where predicted = 'it''s')",
    }
    table = UGLY.drop_columns(["Score"])
    told = values(computed(figures, table, [0, 2, 2], score, classes))
    assert told == {"sure": pytest.approx(1.8), "missed": 1.0, "high": 2.0, "own": 1.0}


@pytest.mark.parametrize(
    ("figure", "breach"),
    [
        (Figured(5.0, None, None, None), None),
        (Figured(None, "is null for these rows", None, None), None),
        (Figured(5.0, None, 5.0, 5.0), None),
        (Figured(4.0, None, 5.0, None), "is 4, below at_least: 5"),
        (Figured(1234567.8, None, None, 1000.0), "is 1,234,568, above at_most: 1,000"),
        (Figured(None, "is null for these rows", None, 3.0), "is null for these rows, so its limit cannot be held"),
    ],
)
def test_a_limit_is_broken_beyond_it_and_where_there_is_no_value(figure, breach):
    assert figure.breach == breach


def test_figures_are_written_for_people():
    assert [shown(value) for value in (None, 0.0, 0.051234, 999.94, -12345.6)] == [
        "–",
        "0",
        "0.05123",
        "999.9",
        "-12,346",
    ]

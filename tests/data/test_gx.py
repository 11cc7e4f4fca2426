"""What one statement measures is what Great Expectations measures itself, for every expectation that a contract may name."""

from __future__ import annotations

from datetime import date

import pytest
from tests.support import great_expectations_own

from updraft.data import gx
from updraft.data.catalogue import TABLE
from updraft.data.duck import connection, names

ROWS = (
    "(1, 'a', 1.5, 1.5, TIMESTAMPTZ '2024-01-01 00:00:00+00'), (2, 'b', 7.25, 3.0, TIMESTAMPTZ '2024-01-02 00:00:00+00'), "
    "(3, 'a', NULL, NULL, NULL), (4, 'it''s', -2.0, NULL, TIMESTAMPTZ '2024-01-04 00:00:00+00'), "
    "(5, NULL, 4.0, 4.0, TIMESTAMPTZ '2024-01-05 12:00:00+00'), (6, 'long', 4.0, 9.5, TIMESTAMPTZ '2024-01-05 12:00:00+00'), "
    "(7, 'a', 4.0, -1.0, TIMESTAMPTZ '2024-01-05 12:00:00+00')"
)
COLUMNS = ["id", "text", "number", "other", "at"]
NUMBER, TEXT = {"column": "number"}, {"column": "text"}
RANGES = [  # beside the lowest and the highest of the numbers, their middle and their moments
    {"min_value": -2.0, "max_value": 7.25},
    {"min_value": -2.0, "strict_min": True},
    {"max_value": 7.25, "strict_max": True},
    {"min_value": 0.5, "max_value": 5},
    {"max_value": 0.9},
]
SETS = [["a", "b", "it's", "long"], ["a", "b"], ["a", "b", "it's", "long", "more"]]
MEASURES = [
    f"column_{measure}_to_be_between"
    for measure in (
        "min",
        "max",
        "mean",
        "median",
        "sum",
        "stdev",
        "unique_value_count",
        "proportion_of_unique_values",
        "proportion_of_non_null_values",
    )
]
CASES = [
    *((called, NUMBER | bounds) for called in MEASURES for bounds in RANGES),
    ("column_max_to_be_between", {"column": "at", "max_value": "2024-01-05T00:00:00+00:00"}),
    ("column_max_to_be_between", {"column": "at", "min_value": "2024-01-05T00:00:00+00:00"}),
    *(
        (
            "column_quantile_values_to_be_between",
            NUMBER | {"quantile_ranges": {"quantiles": [0.25, 0.9], "value_ranges": ends}},
        )
        for ends in ([[-2, 2], [7, 8]], [[2, 3], [None, 8]])
    ),
    *(
        (f"column_distinct_values_to_{what}_set", TEXT | {"value_set": values})
        for what in ("be_in", "contain", "equal")
        for values in SETS
    ),
    ("table_row_count_to_be_between", {"min_value": 7, "max_value": 7}),
    ("table_row_count_to_be_between", {"min_value": 7, "strict_min": True}),
    ("table_row_count_to_equal", {"value": 7}),
    ("table_row_count_to_equal", {"value": 8}),
    ("table_column_count_to_be_between", {"min_value": 5, "max_value": 5}),
    ("table_column_count_to_be_between", {"max_value": 4}),
    ("table_columns_to_match_set", {"column_set": COLUMNS[::-1]}),
    ("table_columns_to_match_set", {"column_set": ["id", "text"], "exact_match": False}),
    ("table_columns_to_match_set", {"column_set": ["id", "text"]}),
    ("column_to_exist", TEXT),
    ("column_to_exist", {"column": "texts"}),
]
MOSTLY = [
    ("column_values_to_not_be_null", NUMBER),
    ("column_values_to_be_null", {"column": "other"}),
    ("column_values_to_be_between", NUMBER | {"min_value": 0, "max_value": 5}),
    ("column_values_to_be_between", NUMBER | {"min_value": 4, "strict_min": True}),
    ("column_values_to_be_between", {"column": "at", "min_value": "2024-01-02T00:00:00+00:00"}),
    ("column_values_to_be_in_set", TEXT | {"value_set": ["a", "it's"]}),
    ("column_values_to_not_be_in_set", TEXT | {"value_set": ["a"]}),
    ("column_values_to_be_unique", NUMBER),
    ("compound_columns_to_be_unique", {"column_list": ["number", "at"]}),
    ("column_value_lengths_to_be_between", TEXT | {"min_value": 2}),
    ("column_value_lengths_to_equal", TEXT | {"value": 1}),
    ("column_pair_values_a_to_be_greater_than_b", {"column_A": "number", "column_B": "id"}),
    ("column_pair_values_a_to_be_greater_than_b", {"column_A": "number", "column_B": "id", "or_equal": True}),
    ("column_pair_values_to_be_equal", {"column_A": "number", "column_B": "other"}),
]
NOT_THERE = ("column_values_to_match_regex", "column_values_to_not_match_regex")
"""Great Expectations has no regex in DuckDB's dialect; tests/data/test_validation.py has them."""


@pytest.fixture(scope="module", params=[ROWS, None], ids=["rows", "empty"])
def con(request):
    with connection() as made:
        made.execute(f"CREATE TABLE all_rows AS SELECT * FROM (VALUES {ROWS}) AS v({names(COLUMNS)})")
        made.execute(f"CREATE VIEW t AS SELECT * FROM all_rows{'' if request.param else ' WHERE FALSE'}")
        yield made


def held_against(con, cases) -> None:
    ours = gx.judge(con, "t", COLUMNS, [gx.Question(called, args) for called, args in cases])
    with great_expectations_own.engine(con) as engine:
        theirs = engine.run("t", cases)
    for case, mine, own in zip(cases, ours, theirs, strict=True):
        result = own.result or {}
        assert mine.error is None, case
        assert mine.success == own.success, (case, mine, result)
        assert mine.unexpected == int(result.get("unexpected_count") or 0), (case, result)
        assert same(mine.observed, gx._plain(result.get("observed_value"))), (case, mine, result)


def same(ours, theirs) -> bool:
    if isinstance(ours, list):
        return sorted(map(str, ours)) == sorted(map(str, theirs))  # Great Expectations orders names anew
    return ours == pytest.approx(theirs) if isinstance(ours, int | float) else ours == theirs


def test_every_measure_and_judgement_is_that_of_great_expectations(con) -> None:
    held_against(con, CASES)


def test_every_count_of_rows_is_that_of_great_expectations_whatever_the_share(con) -> None:
    held_against(con, [(called, args | {"mostly": share}) for called, args in MOSTLY for share in (1.0, 0.7, 0.5, 0.3)])


@pytest.mark.parametrize("measure", ["min", "max"])
@pytest.mark.parametrize("type_of_times", ["TIMESTAMP", "TIMESTAMPTZ"])
@pytest.mark.parametrize("bound", [date(2024, 1, 3), "2024-01-03"])
def test_a_bound_that_is_a_day_is_judged_as_great_expectations_does(measure, type_of_times, bound) -> None:
    with connection() as con:
        con.execute(f"CREATE TABLE t AS SELECT {type_of_times} '2024-01-04 10:00:00' AS at")
        cases = [
            (f"column_{measure}_to_be_between", {"column": "at", side: bound}) for side in ("min_value", "max_value")
        ]
        ours = gx.judge(con, "t", ["at"], [gx.Question(called, args) for called, args in cases])
        with great_expectations_own.engine(con) as engine:
            theirs = engine.run("t", cases)
    assert [mine.error for mine in ours] == [None, None]
    assert [mine.success for mine in ours] == [own.success for own in theirs] == [True, False]


def test_a_column_without_a_value_is_in_breach_of_no_set_whatever_its_type() -> None:
    cases = [
        ("column_values_to_be_in_set", {"column": "code", "value_set": ["a", "b"]}),
        ("column_values_to_not_be_in_set", {"column": "code", "value_set": ["a"]}),
        ("column_distinct_values_to_be_in_set", {"column": "code", "value_set": ["a", "b"]}),
        ("column_values_to_not_be_null", {"column": "code"}),
    ]
    with connection() as con:
        con.execute("CREATE TABLE t AS SELECT NULL::INTEGER AS code FROM range(3)")
        ours = gx.judge(con, "t", ["code"], [gx.Question(called, args) for called, args in cases])
    assert [(mine.success, mine.error) for mine in ours] == [(True, None), (True, None), (True, None), (False, None)]


def test_no_expectation_of_the_catalogue_is_left_out() -> None:
    assert {called for called, _ in (*CASES, *MOSTLY)} | set(NOT_THERE) == set(TABLE)


def test_an_expectation_that_cannot_be_computed_takes_no_other_with_it() -> None:
    with connection() as con:
        con.execute("CREATE TABLE t AS SELECT 'x' AS text, 1 AS number")
        text, number, compared = gx.judge(
            con,
            "t",
            ["text", "number"],
            [
                gx.Question("column_mean_to_be_between", {"column": "text", "max_value": 5}),
                gx.Question("column_mean_to_be_between", {"column": "number", "max_value": 5}),
                gx.Question("column_max_to_be_between", {"column": "text", "max_value": 5}),
            ],
        )
    assert not text.success
    assert text.error == "the type of the column does not fit"
    assert (number.success, number.observed, number.error) == (True, 1.0, None)
    assert compared.error == "Great Expectations cannot compute it on this column"


def test_a_version_whose_judgement_is_not_known_is_refused(monkeypatch) -> None:
    import great_expectations

    from updraft.errors import SettingsError

    monkeypatch.setattr(great_expectations, "__version__", "2.0.0")
    with pytest.raises(SettingsError, match=r"great_expectations 2\.0\.0"):
        gx.load.__wrapped__()

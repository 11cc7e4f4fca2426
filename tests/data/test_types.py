"""The types of columns: told once, and the same for every later file. Nothing is dropped, merged or rounded by reading it."""

from __future__ import annotations

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Barrier, get_ident

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.support.tables import Table, day

from updraft.data import extraction
from updraft.data.columns import LABEL, ROW
from updraft.data.ingest import (
    extract_partition,
    publish_partition,
    read_checks,
    read_partition,
    validate_partition,
)
from updraft.data.pinned import read_schema
from updraft.errors import DataError, PartitionRefused
from updraft.lake.places import Lake


@pytest.fixture
def table(tmp_path) -> Table:
    return Table(tmp_path)


def loose(table: Table) -> None:
    """Let a partition be published whatever share of its rows is in breach."""
    table.data["refuse_above"] = 1.0


# -- labels -------------------------------------------------------------------------------------------------------------------


def test_labels_stay_what_they_were_written_as_whatever_tomorrows_file_holds(table) -> None:
    table.csv(1, "x", ["1", "2", "3"], ["0.4", "2.5", "12.7"])
    table.csv(2, "x", ["1", "2", "3"], ["1", "2", "3"])
    table.ingest(1)
    assert table.labels(2) == [0.4, 2.5, 12.7]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_labels_mature_while_tomorrows_are_still_empty(table, suffix) -> None:
    table.suffix = suffix
    for number, labels in ((1, [0.0, 1.0, 1.0]), (2, [None, None, None])):
        times = pd.date_range(f"2024-01-{number:02}", periods=3, freq="h", tz="UTC")
        frame = pd.DataFrame(
            {"id": ["a", "b", "c"], "at": times, "x": [1.0, 2.0, 3.0], "y": pd.array(labels, "Float64")}
        )
        table.write(number, frame if suffix == "parquet" else frame.to_csv(index=False))
    table.ingest(1)
    assert table.ingest(2).rows == 3
    assert table.labels(2) == [0, 1, 1]


@pytest.mark.parametrize("expr", ["y", "y > 0", "y + 1", "y = 'yes'", "CASE WHEN y THEN 1 ELSE 0 END"])
def test_a_label_without_a_single_value_yet_is_no_error_whatever_it_is_made_of(table, expr) -> None:
    table.data["label"] = {"expr": expr, "matures_after": "1d"}
    table.csv(1, "x", ["1", "2"], ["", ""])
    assert table.ingest(1).rows == 2


@pytest.mark.parametrize("words", [("true", "false"), ("True", "False"), ("TRUE", "FALSE")])
def test_labels_of_true_and_false_are_published_and_so_is_the_new_partition(table, words) -> None:
    table.csv(1, "x", ["1", "2"], list(words))
    table.csv(2, "x", ["1", "2"], ["", ""])
    table.csv(3, "x", ["1", "2"], [words[1], words[1]])
    assert [table.ingest(number).rows for number in (1, 2, 3)] == [2, 2, 2]
    assert table.labels(2) == [1, 0]


# -- identities ---------------------------------------------------------------------------------------------------------------


def identified(table: Table, number: int, ids: list[str]) -> None:
    rows = [f"{name},2024-01-{number:02}T{place:02}:00:00Z,{place},1" for place, name in enumerate(ids)]
    table.write(number, "\n".join(["id,at,x,y", *rows, ""]))


@pytest.mark.parametrize(
    "ids",
    [
        ["1.1", "1.10", "1.100"],
        ["1e3", "1000", "1000.0"],
        ["007", "7", "07"],
        ["9223372036854775808", "9223372036854775809", "18446744073709551617"],
        ["true", "True", "TRUE"],
        ["2024-01-01", "2024-1-1", "2024-01-01 00:00:00"],
        ["NA", "null", "nan"],
        ["inf", "Infinity", "INF"],
        [" a", "a", "a "],
    ],
)
def test_ids_that_differ_in_a_character_are_different_rows(table, ids) -> None:
    identified(table, 1, ids)
    assert list(table.rows(1)["id"]) == ids
    assert table.rows(1)[ROW].is_unique


def test_labels_find_their_rows_whatever_the_other_days_ids_look_like(table) -> None:
    for number, ids in ((1, ["007", "008"]), (2, ["301", "302"]), (3, ["n1", "n2"])):
        identified(table, number, ids)
    for number in (1, 2):
        rows, labels = table.rows(number), read_partition(table.ingest(number + 1).labels_url)
        assert set(labels[ROW]) == set(rows[ROW])


def test_ids_of_parquet_are_the_same_rows_with_a_gap_in_their_column_and_without(table) -> None:
    table.suffix = "parquet"
    for number, ids in ((1, [7, 8]), (2, [7.0, 8.0])):
        times = pd.date_range(f"2024-01-{number:02}", periods=2, freq="h", tz="UTC")
        table.write(number, pd.DataFrame({"id": ids, "at": times, "x": 1.0, "y": 1}))
    assert list(table.rows(1)[ROW]) == list(table.rows(2)[ROW])


def test_a_stated_type_holds_for_a_key_too(table) -> None:
    table.contract = {"rows": {"columns": {"id": "integer"}}}
    identified(table, 1, ["007", "8"])
    assert list(table.rows(1)["id"]) == [7, 8]


# -- columns ------------------------------------------------------------------------------------------------------------------


def test_one_odd_cell_is_a_breach_of_its_row_and_changes_no_other(table) -> None:
    table.csv(1, "x", [*map(str, range(40)), "n34"])
    ingested = table.ingest(1)
    assert (ingested.rows, ingested.quarantined) == (40, 1)
    assert sorted(table.rows(1)["x"]) == list(range(40))
    [row] = table.quarantined(1).to_dict("records")
    assert (row["_reasons"], row["_misfits"], row["id"]) == ("x is no number", "x: n34", "n40")


@pytest.mark.parametrize(
    "cell", ["Infinity", "-inf", "1e999", "n17", "1_000", "0x1F", "12,5", "007", "2024-01-01", "true"]
)
def test_what_is_no_number_is_a_breach_in_a_later_file_too(table, cell) -> None:
    loose(table)
    table.csv(1, "x", ["1.5", "2.5"])
    table.csv(2, "x", ["1.5", f'"{cell}"'])
    table.ingest(1)
    assert list(table.rows(2)["x"]) == [1.5]
    assert list(table.quarantined(2)["_reasons"]) == ["x is no number"]


def test_what_is_infinite_in_parquet_is_a_breach_of_its_row_as_in_text(table) -> None:
    loose(table)
    typed(table, 1, x=[1.5, math.inf, math.nan], f=pd.array([1.0, 2.0, -math.inf], "float32"))
    rows = table.rows(1)
    assert (list(rows["x"]), list(rows["f"])) == ([1.5], [1])
    assert list(table.quarantined(1)["_misfits"]) == ["x: inf", "f: -inf"]


def test_numbers_too_large_for_an_integer_are_numbers(table) -> None:
    table.csv(1, "x", ["1e30", "2", "-1e308", ""])
    rows = table.rows(1)
    assert list(rows["x"])[:3] == [1e30, 2, -1e308]
    assert rows["x"].isna()[3]


def test_whole_numbers_today_and_decimals_tomorrow_are_both_numbers(table) -> None:
    table.csv(1, "x", ["1", "2"])
    table.csv(2, "x", ["1.25", "2"])
    table.csv(3, "x", ["3", "-4"])
    assert list(table.rows(1)["x"]) == [1, 2]
    assert list(table.rows(2)["x"]) == [1.25, 2]
    assert list(table.rows(3)["x"]) == [3, -4]


@pytest.mark.parametrize(
    "cells",
    [
        ["NO", "NO", "NO"],
        ["F", "F", "F"],
        ["yes", "no", "yes"],
        ["NA", "US", "NA"],
        ["t", "f", "t"],
        ["01234", "56789", "01111"],
    ],
)
def test_words_stay_words(table, cells) -> None:
    table.csv(1, "x", cells)
    assert list(table.rows(1)["x"]) == cells


def test_a_later_zip_code_with_a_leading_zero_names_what_was_told_and_how_to_say_otherwise(table) -> None:
    table.csv(1, "zip", ["12345", "54321"])
    table.csv(2, "zip", ["01234", "02345"])
    table.ingest(1)
    with pytest.raises(PartitionRefused, match=r"zip is no number \(2\).*state it under `rows.columns`.*`zip: text`"):
        table.ingest(2)
    table.contract = {"rows": {"columns": {"zip": "text"}}}
    assert list(table.rows(2)["zip"]) == ["01234", "02345"]
    assert list(table.rows(1)["zip"]) == ["12345", "54321"]


@pytest.mark.parametrize("stated", [False, True])
def test_whole_numbers_beyond_what_a_float_holds_are_kept_or_refused_and_never_rounded(table, stated) -> None:
    """And what becomes of a row does not depend on the other day."""
    loose(table)
    exact = ["9007199254740993", "9007199254740995"]
    table.csv(1, "x", exact)
    assert list(table.rows(1)["x"]) == exact  # ids, most likely: they stay as they are written
    if stated:
        table.contract = {"rows": {"columns": {"z": "number"}}}
    table.csv(2, "z", ["0.5", "2", "1706677200000000"])
    table.csv(3, "z", ["0.5", exact[0]])
    assert list(table.rows(2)["z"]) == [0.5, 2, 1706677200000000]
    assert list(table.rows(3)["z"]) == [0.5]
    assert list(table.quarantined(3)["_misfits"]) == [f"z: {exact[0]}"]
    table.contract = {"rows": {"columns": {"x": "integer"}}}
    assert list(table.rows(1)["x"]) == [int(each) for each in exact]


def typed(table: Table, number: int, **columns: object) -> None:
    """Write the file of a day as Parquet."""
    table.suffix = "parquet"
    length = len(next(iter(columns.values())))
    times = pd.date_range(f"2024-01-{number:02}", periods=length, freq="h", tz="UTC")
    table.write(number, pd.DataFrame({"id": [f"n{n}" for n in range(length)], "at": times, "y": 1.0, **columns}))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_row_is_the_same_row_at_both_ticks_whatever_the_other_day_holds(table, suffix) -> None:
    table.suffix = suffix
    table.contract = {"rows": {"columns": {"id": "number", "shop": "number"}}}
    table.data["private"], table.release = ["card"], {"cluster": "shop"}
    for number, ids in ((1, [1, 2]), (2, [3, 3.5])):
        times = pd.date_range(f"2024-01-{number:02}", periods=2, freq="h", tz="UTC")
        frame = pd.DataFrame({"id": ids, "at": times, "shop": ids, "card": ids, "y": 1})
        table.write(number, frame.to_csv(index=False) if suffix == "csv" else frame)
    rows, labels = table.rows(1), read_partition(table.ingest(2).labels_url)
    assert list(labels[ROW]) == list(rows[ROW])
    assert list(labels["_cluster"]) == list(rows["_cluster"]) == ["1", "2"]


def test_a_private_number_has_one_pseudonym_in_whole_and_in_other_partitions(table) -> None:
    table.data["private"] = ["price"]
    table.contract = {"rows": {"rows": [{"expect": "column_values_to_be_between", "column": "price", "min_value": 0}]}}
    table.csv(1, "price", ["250", "250"])
    table.csv(2, "price", ["250", "0.5"])
    assert table.rows(1)["price"][0] == table.rows(2)["price"][0]


@pytest.mark.parametrize(
    ("use", "kept"), [({"private": ["x"]}, 3), ({"key": ["x"]}, 3), ({"private": ["no_such"]}, None)]
)
def test_a_column_that_becomes_a_name_is_read_as_one_whatever_was_told_before(table, use, kept) -> None:
    if kept is None:
        table.data.update(use)
        table.csv(1, "x", ["1", "2", "3"])
        with pytest.raises(DataError, match="no source has a column 'no_such'"):
            table.ingest(1)
        assert read_schema(Lake(table.settings.lake, "table"), "rows") == {}
        return
    table.csv(1, "x", ["1", "2", "3"])
    table.ingest(1)
    table.data.update(use)
    table.csv(2, "x", ["1.1", "1.10", "1.100"])
    assert table.rows(2)["x"].nunique() == kept


def test_lists_structures_and_times_are_no_less_than_they_were(table) -> None:
    loose(table)
    typed(
        table,
        1,
        many=[[1, 2], [3]],
        one=[{"a": 1}, {"a": 2}],
        d=[date(2024, 1, 1)] * 2,
        empty=[None, None],
        gap=[math.nan] * 2,
    )
    typed(
        table,
        2,
        many=[[1.5], [2.4]],
        one=[{"a": 1.5, "b": "x"}] * 2,
        d=[pd.Timestamp("2024-01-01 17:45")] * 2,
        empty=["a", "b"],
        gap=["c", "d"],
    )
    assert table.ingest(1).rows == 2
    assert table.ingest(2).quarantined == 2
    assert set(table.quarantined(2)["_reasons"]) == {"many is no BIGINT[]; one is no STRUCT(a BIGINT); d is no time"}
    typed(
        table,
        3,
        many=[[1], [2]],
        one=[{"a": 1}] * 2,
        d=[pd.Timestamp("2024-01-01")] * 2,
        empty=["a", "b"],
        gap=["c", "d"],
    )
    rows = table.rows(3)
    assert [list(each) for each in rows["many"]] == [[1], [2]]
    assert (list(rows["empty"]), list(rows["gap"])) == (["a", "b"], ["c", "d"])


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("2024-01-31", "2024-01-31 17:45:00"),
        ("2024-01-31 05:00:00", "2024-01-31 05:00:00+02:00"),
        ("2024-01-31", "2024-01-31T23:30:00-05:00"),
    ],
)
def test_no_clock_and_no_offset_is_dropped(table, first, later) -> None:
    loose(table)
    table.csv(1, "d", [first, first])
    table.csv(2, "d", [first, later])
    table.ingest(1)
    assert (table.ingest(2).rows, list(table.quarantined(2)["_misfits"])) == (1, [f"d: {later}"])


@pytest.mark.parametrize("time_format", ["unix", "%d/%m/%Y %H:%M"])
def test_the_form_of_the_event_time_is_not_asked_of_other_columns(table, time_format) -> None:
    table.source["time_format"] = time_format
    at = "1704099600" if time_format == "unix" else "01/01/2024 09:00"
    table.write(1, f"id,at,d,y\na,{at},2024-01-31T05:00:00Z,1\nb,{at},2024-01-30T05:00:00Z,1\n")
    assert [str(each) for each in table.rows(1)["d"]] == ["2024-01-31 05:00:00+00:00", "2024-01-30 05:00:00+00:00"]


def test_a_point_between_decimal_commas_is_no_number_and_thousands_are_told(table) -> None:
    loose(table)
    table.csv(1, "x", ['"1,000"', '"12,500"'])
    with pytest.raises(
        DataError, match="numbers with three digits behind a comma, such as thousands; write them without"
    ):
        table.ingest(1)
    table.source["decimal"] = ","
    table.csv(1, "x", ['"1,5"', '"2,5"', "3"])
    table.csv(2, "x", ['"1,5"', "1.234"])
    assert list(table.rows(1)["x"]) == [1.5, 2.5, 3]
    assert (list(table.rows(2)["x"]), list(table.quarantined(2)["_misfits"])) == ([1.5], ["x: 1.234"])


def test_a_label_whose_name_changes_its_case_matures(table) -> None:
    table.write(1, "id,at,x,Y\na,2024-01-01T00:00:00Z,1,0\nb,2024-01-01T01:00:00Z,1,1\n")
    table.write(2, "id,at,x,y\na,2024-01-02T00:00:00Z,1,0\n")
    table.ingest(1)
    assert table.labels(2) == [0, 1]


def test_a_wide_file_is_typed_without_a_query_that_grows_with_its_square(table) -> None:
    names = [f"c{place}" for place in range(400)]
    lines = [
        f"n{row},2024-01-01T{row:02}:00:00Z,1,{','.join(str(row + place / 4) for place in range(400))}"
        for row in range(5)
    ]
    table.write(1, "\n".join([f"id,at,y,{','.join(names)}", *lines, ""]))
    extract_partition(table.project, table.settings, day(1))
    assert (
        sum(kind.kind == "number" for kind in read_schema(Lake(table.settings.lake, "table"), "rows").values()) == 401
    )


def test_missing_is_one_thing_in_numbers(table) -> None:
    table.csv(1, "x", ["1.5", "", "NA", "NaN", "null", "N/A", " "])
    assert table.rows(1)["x"].isna().sum() == 6


def test_the_projects_null_words_are_missing_texts(table) -> None:
    table.source["nulls"] = ["NA", "-"]
    table.csv(1, "x", ["NA", "-", "a", ""])
    assert list(table.rows(1)["x"].isna()) == [True, True, False, True]


def test_a_column_added_later_is_told_from_the_first_file_with_values_in_it(table) -> None:
    table.csv(1, "x", ["1", "2"])
    for number, values in ((2, ["", ""]), (3, ["0.5", "1"])):
        rows = [f"n{p},2024-01-{number:02}T00:00:00Z,1,1,{value}" for p, value in enumerate(values)]
        table.write(number, "\n".join(["id,at,x,y,z", *rows, ""]))
    assert [table.ingest(number).rows for number in (1, 2, 3)] == [2, 2, 2]
    assert list(table.rows(3)["z"]) == [0.5, 1]
    pinned = read_schema(Lake(table.settings.lake, "table"), "rows")["z"]
    assert (pinned.kind, pinned.since) == ("number", day(3))


def test_a_schema_that_cannot_be_read_is_named(table) -> None:
    table.csv(1, "x", ["1", "2"])
    table.ingest(1)
    path = table.folder / "home" / "lake" / "table" / "schema" / "rows.json"
    path.write_text('{"columns": {"x": {"kind": "nmber"}}}')
    with pytest.raises(DataError, match=r"schema/rows\.json: the schema of source rows cannot be read"):
        table.ingest(1)


def test_nanoseconds_booleans_with_gaps_and_decimals_of_parquet_are_what_they_are(table) -> None:
    table.suffix = "parquet"
    times = pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC")
    table.contract = {"rows": {"columns": {"t": "time", "b": "boolean", "d": "number", "n": "integer"}}}
    from decimal import Decimal

    frame = pd.DataFrame({"id": ["a", "b", "c"], "at": times, "t": times, "y": [0, 1, 0]})
    frame["b"] = pd.array([True, None, False], "boolean")
    frame["d"] = [Decimal("1.10"), None, Decimal("2.25")]
    frame["n"] = [1.0, None, 3.0]
    table.write(1, frame)
    rows = table.rows(1)
    assert list(rows["t"]) == list(times)
    assert list(rows["b"].isna()) == [False, True, False]
    assert rows["d"].dtype == "float64"
    assert list(rows["d"])[::2] == [1.1, 2.25]
    assert list(rows["n"])[::2] == [1, 3]


def test_decimals_below_one_are_the_texts_that_a_file_of_texts_has(table) -> None:
    """DuckDB writes a decimal without a place before the point as .01: another key than 0.01, and another category."""
    from decimal import Decimal

    table.suffix = "parquet"
    table.contract = {"rows": {"columns": {"x": "text"}}}
    frame = pd.DataFrame({"id": ["a", "b", "c"], "at": pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC")})
    table.write(1, frame.assign(y=[0, 1, 0], x=["0.01", "-0.50", "1.00"]))
    later = frame.assign(at=frame["at"] + pd.Timedelta(days=1), y=[0, 1, 0])
    table.write(2, later.assign(id=["d", "e", "f"], x=[Decimal("0.01"), Decimal("-0.50"), None]))
    assert list(table.rows(1)["x"]) == ["0.01", "-0.50", "1.00"]
    assert list(table.rows(2)["x"])[:2] == ["0.01", "-0.50"]


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("c", [1, 2], "value_set holds values that are no texts, and c is text; write each in quotes"),
        ("c", ["1", 2], "value_set holds values that are no texts, and c is text"),
        ("x", [1, "two"], "value_set holds texts that are no numbers, and x is a number"),
    ],
)
@pytest.mark.parametrize("kind", ["column_values_to_be_in_set", "column_distinct_values_to_be_in_set"])
def test_a_set_of_values_of_another_type_is_told_whatever_the_file_holds(table, column, values, says, kind) -> None:
    level = "rows" if kind == "column_values_to_be_in_set" else "table"
    table.contract = {
        "rows": {"columns": {"c": "text"}, level: [{"expect": kind, "column": column, "value_set": values}]}
    }
    table.write(1, "id,at,x,c,y\nn0,2024-01-01T00:00:00Z,1,1,0\nn1,2024-01-01T01:00:00Z,2,2,1\n")
    with pytest.raises(PartitionRefused, match=says):
        table.ingest(1)


def test_a_set_of_numbers_may_be_written_as_texts(table) -> None:
    table.contract = {
        "rows": {"rows": [{"expect": "column_values_to_be_in_set", "column": "x", "value_set": ["1", "2"]}]}
    }
    table.csv(1, "x", ["1", "2"])
    assert table.ingest(1).rows == 2


@pytest.mark.parametrize(("written", "reads"), [("[NO, SE]", ["NO", "SE"]), ("['010', '10']", ["010", "10"])])
def test_a_set_in_yaml_is_what_stands_there(table, written, reads) -> None:
    table.csv(1, "c", reads)
    project = table.project
    text = f"rows: {{columns: {{c: text}}, rows: [{{expect: column_values_to_be_in_set, column: c, value_set: {written}}}]}}"
    (project.folder / "expectations.yaml").write_text(text)
    extract_partition(project, table.settings, day(1))
    assert validate_partition(project, table.settings, day(1)).quarantined == 0


# -- times --------------------------------------------------------------------------------------------------------------------


def timed(table: Table, number: int, times: list[str]) -> None:
    rows = [f'n{place},"{time}",{place},1' for place, time in enumerate(times)]
    table.write(number, "\n".join(["id,at,x,y", *rows, ""]))


@pytest.mark.parametrize(
    "times", [["01/02/2024 10:00", "01/02/2024 11:00"], ["1.2.24", "3.2.24"], ["13/01/2024", "14/01/2024"]]
)
def test_day_and_month_are_never_guessed(table, times) -> None:
    timed(table, 2, times)
    with pytest.raises(DataError, match=r"day and month in an order that cannot be told, in row 1 .*time_format"):
        table.ingest(2)


def test_times_are_read_as_the_project_says(table) -> None:
    table.source["time_format"] = "%m/%d/%Y %H:%M"
    timed(table, 2, ["01/02/2024 10:00", "01/02/2024 11:00"])
    assert [str(time) for time in table.rows(2)["at"]] == ["2024-01-02 10:00:00+00:00", "2024-01-02 11:00:00+00:00"]
    timed(table, 2, ["01/02/2024 10:00", "2024-01-02"])
    with pytest.raises(DataError, match=r"is not written as time_format '%m/%d/%Y %H:%M' says in row 2"):
        table.ingest(2)


@pytest.mark.parametrize(("written", "factor"), [("unix", 1), ("unix_ms", 1000)])
def test_times_may_be_counted_from_1970(table, written, factor) -> None:
    start = int(pd.Timestamp("2024-01-02T10:00Z").timestamp()) * factor
    timed(table, 2, [str(start), str(start + 3600 * factor)])
    with pytest.raises(DataError, match="no time in row 1"):
        table.ingest(2)
    table.source["time_format"] = written
    assert [time.hour for time in table.rows(2)["at"]] == [10, 11]


def test_wall_clock_times_are_read_in_their_zone(table) -> None:
    table.source["time_zone"] = "America/New_York"
    timed(table, 2, ["2024-01-01 20:00", "2024-01-02T10:00", "2024-01-02T10:00:00Z"])
    assert [str(time) for time in table.rows(2)["at"]] == [
        "2024-01-02 01:00:00+00:00", "2024-01-02 10:00:00+00:00", "2024-01-02 15:00:00+00:00"
    ]  # fmt: skip


NIGHT = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
"""Wall-clock times of 27 October 2024 in Oslo, where it was three o'clock twice: the hour from two to three stands there two times."""


def by_the_hour(table: Table, times: list[str], zone: str = "Europe/Oslo", **source: object) -> pd.DataFrame:
    """What is published of two shops that tell one row at each time: shop and time name a row."""
    table.data |= {"key": ["shop", "at"], "start": "2024-10-27", "schedule": "0 0 * * *"}
    table.source |= {"time_zone": zone, **source}
    lines = [f"{shop},{time},{place},1" for shop in ("a", "b") for place, time in enumerate(times)]
    key = "2024-10-28T0000"
    (table.folder / f"{key}.csv").write_text("\n".join(["shop,at,x,y", *lines, ""]))
    extract_partition(table.project, table.settings, key)
    validate_partition(table.project, table.settings, key)
    return read_partition(publish_partition(table.project, table.settings, key).url).sort_values(["shop", "x"])


@pytest.mark.parametrize("back", [False, True], ids=["in order", "newest first"])
@pytest.mark.parametrize("date_format", [None, "%d.%m.%Y %H:%M"])
def test_of_two_rows_in_the_hour_that_clocks_repeat_the_first_is_the_earlier(table, back, date_format) -> None:
    day_written = "2024-10-27" if date_format is None else "27.10.2024"
    times = [f"{day_written} {time}" for time in (NIGHT[::-1] if back else NIGHT)]
    rows = by_the_hour(table, times, **({"time_format": date_format} if date_format else {}))
    hours = [
        "2024-10-26 23:30",
        "2024-10-27 00:00",
        "2024-10-27 00:30",
        "2024-10-27 01:00",
        "2024-10-27 01:30",
        "2024-10-27 02:00",
    ]
    for shop in ("a", "b"):
        at = list(rows[rows["shop"] == shop]["at"].dt.strftime("%Y-%m-%d %H:%M"))
        assert at == [hour for hour in (hours[::-1] if back else hours) if hour >= "2024-10-27"]
    checks = read_checks(table.project, table.settings, "2024-10-28T0000").sources["rows"]
    assert (checks.repeated, checks.outside, checks.quarantined) == (8, 2, 0)


def test_rows_that_say_their_offset_are_no_twins_and_true_duplicates_stay_duplicates(table) -> None:
    loose(table)
    rows = by_the_hour(table, ["2024-10-27 02:00:00+02:00", "2024-10-27 02:00", "2024-10-27 05:00", "2024-10-27 05:00"])
    assert [str(at) for at in rows["at"]] == ["2024-10-27 00:00:00+00:00", "2024-10-27 01:00:00+00:00"] * 2
    rows = by_the_hour(table, ["2024-10-27 02:00"] * 3)
    assert [str(at) for at in rows["at"]] == ["2024-10-27 00:00:00+00:00"] * 2  # the second and third are one row twice


def test_half_an_hour_is_repeated_on_lord_howe_island(table) -> None:
    table.data["schedule"] = "0 0 * * *"
    times = ["2024-04-07 01:15", "2024-04-07 01:45", "2024-04-07 01:45", "2024-04-07 02:15"]
    table.data |= {"key": ["shop", "at"], "start": "2024-04-06"}
    table.source |= {"time_zone": "Australia/Lord_Howe"}
    key = "2024-04-07T0000"
    lines = [f"a,{time},{place},1" for place, time in enumerate(times)]
    (table.folder / f"{key}.csv").write_text("\n".join(["shop,at,x,y", *lines, ""]))
    extract_partition(table.project, table.settings, key)
    validate_partition(table.project, table.settings, key)
    rows = read_partition(publish_partition(table.project, table.settings, key).url)
    assert list(rows["at"].dt.strftime("%H:%M")) == ["14:15", "14:45", "15:15", "15:45"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_time_that_the_zone_skips_is_in_no_partition_and_counted(table, suffix) -> None:
    table.suffix, table.source["time_zone"] = suffix, "Europe/Oslo"
    table.data["start"] = "2024-03-31"
    key = "2024-04-01T0000"
    frame = pd.DataFrame(
        {"id": ["a", "b", "c"], "at": pd.to_datetime(["2024-03-31 01:59", "2024-03-31 02:30", "2024-03-31 03:00"])}
    )
    frame = frame.assign(x=[1, 2, 3], y=1)
    path = table.folder / f"{key}.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    extract_partition(table.project, table.settings, key)
    checks = validate_partition(table.project, table.settings, key).sources["rows"]
    assert (checks.rows, checks.timeless, checks.skipped, checks.read) == (2, 1, 1, 3)
    page = table.folder / "home" / "lake" / "table" / "docs" / key / "index.html"
    assert "1 of them as their time zone skips the time that they have" in page.read_text()


def test_a_column_of_times_that_the_zone_skips_has_breaches(table) -> None:
    loose(table)
    table.source["time_zone"] = "Europe/Oslo"
    table.contract = {"rows": {"columns": {"d": "time"}}}
    table.csv(2, "d", ["2024-03-31 01:59", "2024-03-31 02:30"])
    assert table.ingest(2).quarantined == 1
    assert list(table.quarantined(2)["_misfits"]) == ["d: 2024-03-31 02:30"]


def test_the_columns_of_a_schema_are_the_same_for_every_order_of_the_files(table) -> None:
    table.csv(1, "x", ["1", "2"], ["0.5", "1"])
    table.csv(2, "x", ["1.5", "2"], ["0", "1"])
    table.ingest(2)
    table.ingest(1)
    assert sorted(read_partition(table.ingest(2).labels_url)[LABEL]) == [0.5, 1]


def test_an_extraction_that_is_killed_before_it_wrote_a_file_leaves_a_schema_that_the_next_one_reads(table) -> None:
    table.csv(1, "x", ["1", "2"])
    extract_partition(table.project, table.settings, day(1))
    table.csv(1, "x", ["1.5", "2"])
    assert list(table.rows(1)["x"]) == [1.5, 2]


@pytest.mark.parametrize(("missing", "labels"), [("exclude", [1, 2]), ("zero", [1, 0, 2])])
def test_a_label_that_is_not_finite_is_left_out_and_counted(table, missing, labels) -> None:
    table.data["label"] = {"expr": "CASE WHEN x > 2 THEN 1 / 0.0 ELSE x END", "matures_after": "1d", "missing": missing}
    table.csv(1, "x", ["1", "9", "", "2"])
    table.csv(2, "x", ["1", "2"])
    table.ingest(1)
    ingested = table.ingest(2)
    assert list(read_partition(ingested.labels_url)[LABEL]) == labels
    counts = ingested.checks["labels"]
    assert (counts["published"], counts["missing"], counts["infinite"]) == (len(labels), 3 - len(labels), 1)


def test_two_ingestions_of_one_partition_at_once_leave_one_schema_and_the_same_rows(table) -> None:
    table.csv(1, "x", [str(number / 4) for number in range(200)])
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: table.ingest(1), range(4)))
    assert len({(each.sha256, each.rows) for each in made}) == 1
    assert read_schema(Lake(table.settings.lake, "table"), "rows")["x"].kind == "number"
    assert table.ingest(1).sha256 == made[0].sha256


def both_at_once(table: Table, monkeypatch, *numbers: int) -> None:
    """Extract partitions at once, each of which has told its types before the first writes any down."""
    told, begun = Barrier(len(numbers)), Counter()
    check = extraction.check_mentions

    def when_all_have_told(*arguments: object) -> None:
        check(*arguments)
        begun[get_ident()] += 1
        if begun[get_ident()] == 1:
            told.wait(60)

    monkeypatch.setattr(extraction, "check_mentions", when_all_have_told)
    project, settings = table.project, table.settings
    with ThreadPoolExecutor(len(numbers)) as pool:
        list(pool.map(lambda number: extract_partition(project, settings, day(number)), numbers))


def raw_type(table: Table, number: int, column: str) -> str:
    path = table.folder / "home" / "lake" / "table" / "raw" / day(number) / "rows.parquet"
    return str(pq.read_schema(path).field(column).type)


def test_two_ingestions_at_once_that_tell_other_types_end_with_one(table, monkeypatch) -> None:
    loose(table)
    table.csv(1, "x", ["1.5", "2.5"])
    table.csv(2, "x", ["a", "b"])
    both_at_once(table, monkeypatch, 1, 2)
    pinned = read_schema(Lake(table.settings.lake, "table"), "rows")["x"]
    kind = {"number": "double", "text": "string"}[pinned.kind]
    written = [raw_type(table, number, "x") for number in (1, 2)]
    assert kind in written
    assert [each == "string" for each in written] == [kind == "string"] * 2


def test_what_two_ingestions_tell_at_once_of_other_columns_is_written_down_of_both(table, monkeypatch) -> None:
    table.csv(1, "a", ["1.5", "2.5"])
    table.csv(2, "b", ["1.5", "2.5"])
    both_at_once(table, monkeypatch, 1, 2)
    assert {"a", "b"} <= set(read_schema(Lake(table.settings.lake, "table"), "rows"))

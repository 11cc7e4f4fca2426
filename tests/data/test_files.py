"""Files as they really come: how they are written, what is wrong with them, and that every row of them is accounted for."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest
from tests.support.tables import Table

from updraft.data.ingest import extract_partition, read_checks, validate_partition
from updraft.errors import DataError, PartitionRefused

GOOD = "id,at,x,y\nn0,2024-01-01T00:00:00Z,1,0\nn1,2024-01-01T01:00:00Z,2,1\n"
SECRET = "anna-secret"


@pytest.fixture
def table(tmp_path) -> Table:
    return Table(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace(",", "|"),
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.rstrip("\n"),
        GOOD.replace("n0", '"n0"'),
    ],
)
def test_a_csv_is_read_however_its_lines_are_written(table, content) -> None:
    table.write(1, content)
    assert list(table.rows(1)["x"]) == [1, 2]


def test_a_separator_inside_of_names_and_texts_changes_nothing(table) -> None:
    table.write(1, 'id;at;"a,b,c,d";y\nn0;2024-01-01T00:00:00Z;"x;""y"", z";1\n')
    assert list(table.rows(1)["a,b,c,d"]) == ['x;"y", z']


@pytest.mark.parametrize("encoding", ["latin-1", "windows-1252", "utf-16"])
def test_another_encoding_is_named_with_its_line_and_read_when_it_is_said(table, encoding) -> None:
    table.csv(1, "x", ["a", "b"])
    content = (GOOD.replace("1,0", "Blåbær,0")).encode(encoding)
    table.write(1, content)
    with pytest.raises(DataError, match=r"line 2 is not written in UTF-8|is written in utf-16"):
        table.ingest(1)
    table.source["encoding"] = encoding
    assert list(table.rows(1)["x"]) == ["Blåbær", "2"]


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_read_where_the_project_says_so(table, order) -> None:
    table.source["encoding"] = "utf-16"
    table.write(1, GOOD.replace("1,0", "Blåbær €,0").encode(order))
    assert list(table.rows(1)["x"]) == ["Blåbær €", "2"]


@pytest.mark.parametrize(
    ("encoding", "content", "says"),
    [
        ("latin-1", GOOD.replace("2,1", "€,1").encode("cp1252"), "line 3 has a character that latin-1 has not.*windows-1252"),
        ("latin-1", b"\xef\xbb\xbf" + GOOD.encode(), "is written in UTF-8; leave `encoding: latin-1` out"),
        ("windows-1252", GOOD.encode() + b"n2,2024-01-01T02:00:00Z,\x81,1\n", "line 4 is not written in windows-1252"),
        ("windows-1252", GOOD.encode("utf-16"), "is written in utf-16; say so"),
        ("utf-16", GOOD.encode(), "is not written in utf-16; save it as UTF-8"),
        ("utf-16", GOOD.encode("utf-16")[:-1], "line 3 is not written in utf-16: it may have been cut off"),
        ("utf-8", GOOD.encode("utf-16-le"), "holds zero bytes; if it is written in UTF-16, say so"),
        ("utf-8", GOOD.encode("utf-32"), "is written in utf-32; save it as UTF-8"),
        ("utf-16", GOOD.encode("utf-32"), "is written in utf-32; save it as UTF-8"),
        ("utf-8", gzip.compress(GOOD.encode(), mtime=0), "is packed with gzip; name it .csv.gz"),
        ("utf-8", b"PK\x03\x04 and more", "is a zip archive or a workbook"),
        ("utf-8", b"PAR1\x00\x00" + GOOD.encode(), "is a Parquet file; name it .parquet"),
        ("utf-8", b"\n<!DOCTYPE html>\n<html>not found</html>", "is a web page"),
        ("utf-8", GOOD.replace("x,y", '"x\nz",y').encode(), "the first line has a quote .* that does not close"),
    ],
)  # fmt: skip
def test_bytes_that_are_not_what_the_project_says_are_told_with_what_they_are(table, encoding, content, says) -> None:
    table.source["encoding"] = encoding
    table.write(1, content)
    with pytest.raises(DataError, match=says):
        table.ingest(1)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda _: b"", "is empty"),
        (lambda content: content[: len(content) // 2], "ends before its Parquet does: it was cut off"),
        (lambda _: GOOD.encode(), "is no Parquet file; name it as what it is"),
        (gzip.compress, "is packed with gzip"),
        (lambda content: content.replace(b"/////", b"///,/"), "as its schema is broken; write or copy it again"),
        (lambda content: content[:4] + bytes(len(content) - 12) + content[-8:], "as it is broken: .*; write or copy it again"),
    ],
    ids=["empty", "cut off", "CSV", "packed", "notes", "overwritten"],
)  # fmt: skip
def test_a_broken_parquet_file_says_what_happened_to_it(table, spoil, says) -> None:
    table.suffix = "parquet"
    times = pd.date_range("2024-01-01", periods=2, freq="h", tz="UTC")
    frame = pd.DataFrame({"id": ["a", "b"], "at": times, "x": [1.0, 2.0], "y": [0, 1]})
    table.write(1, frame)
    path = table.folder / "2024-01-02T0000.parquet"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=says):
        table.ingest(1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (GOOD + "n2,2024-01", r"line 4 has 2 fields where the first line names 4 columns .*may have been cut off"),
        (
            GOOD + f"n2,2024-01-01T02:00:00Z,{SECRET}, Oslo,1\n",
            r"line 4 has 5 fields .*a text with a comma in it must stand in quotes",
        ),
        (GOOD + f'n2,2024-01-01T02:00:00Z,"{SECRET},1\n', "line 4 has a quote .* that does not close"),
        ("", "is empty: it has not even a header"),
        ("\n\n", "is empty"),
        (GOOD.split("\n", 1)[1].replace("n0", SECRET), r"has no header: 3 of the 4 cells of its first line are values"),
        (
            f"{SECRET},Oslo\nbob,Bergen\n",
            r"has no column 'at', 'id', of all that project.yaml names; its first line has 2 cells",
        ),
        (GOOD.replace("id,at", "id,time"), r"has no column 'at' \(event_time\); its columns are id, time, x, y"),
        (GOOD.replace("id,at", "ID,AT"), r"has no column 'at' \(event_time\); it has 'AT', written otherwise"),
        (GOOD.replace("x,y", "at,y"), "several columns that differ at most in their case: 'at'"),
        (GOOD.replace("x,y", "Y,y"), "several columns that differ at most in their case: 'Y', 'y'"),
        (GOOD.replace("x,y", "_row,y"), "names begin with an underscore: '_row'"),
        (GOOD.replace("x,y", "_reasons,y"), "names begin with an underscore: '_reasons'"),
        (GOOD.replace("x,y", ",y"), "column 3 of 4 has no name"),
        (GOOD.replace(",y", ",y,").replace(",0", ",0,").replace("2,1", "2,1,"), "the first line ends with a comma"),
        (
            GOOD.replace(",", ";").replace(";1;", ";1,5;").replace(";2;", ";2,5;"),
            r"'x': numbers with a decimal comma; say so with `decimal",
        ),
        (GOOD.encode() + b"\x00\x01", r"line 4 has 1 fields"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place_and_mend_and_without_a_cell(table, content, says) -> None:
    table.write(1, content)
    with pytest.raises(DataError, match=says) as raised:
        table.ingest(1)
    assert SECRET not in str(raised.value)
    assert "2024-01-01T0" not in str(raised.value).replace("2024-01-02T0000", "")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(GOOD.encode(), mtime=0)[:-12], "ends before its gz archive does: it was cut off"),
        (GOOD.encode(), "is no gz file, or a broken one.*name it without .gz"),
    ],
    ids=["cut off", "not packed"],
)
def test_a_broken_archive_says_what_happened_to_it(table, content, says) -> None:
    table.suffix = "csv.gz"
    table.write(1, content)
    with pytest.raises(DataError, match=says):
        table.ingest(1)


def test_decimal_commas_are_read_where_the_project_says_so(table) -> None:
    table.source["decimal"] = ","
    table.write(1, GOOD.replace(",", ";").replace(";1;", ";1,5;").replace(";2;", ";-2;"))
    assert list(table.rows(1)["x"]) == [1.5, -2]


def test_names_of_ours_are_left_out_where_the_project_keeps_others(table) -> None:
    table.source["columns"] = ["x"]
    table.write(1, GOOD.replace("id,at,x,y", "id,at,x,y,_row").replace("1,0", "1,0,5").replace("2,1", "2,1,5"))
    assert "x" in table.rows(1)


def test_the_index_of_pandas_is_no_column(table) -> None:
    table.suffix = "parquet"
    times = pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC")
    frame = pd.DataFrame({"id": ["a", "b", "c"], "at": times, "x": [1.0, 2.0, 3.0], "y": [0, 1, 0]})
    table.write(1, frame[frame["x"] != 2])
    assert list(table.rows(1)["x"]) == [1, 3]


@pytest.mark.parametrize("name", ["_slice", "_misfits", "_n", "_event_time", "_anything"])
def test_names_of_ours_are_refused_in_parquet_too(table, name) -> None:
    table.suffix = "parquet"
    times = pd.date_range("2024-01-01", periods=2, freq="h", tz="UTC")
    table.write(1, pd.DataFrame({"id": ["a", "b"], "at": times, name: [1.0, 2.0], "y": [0, 1]}))
    with pytest.raises(DataError, match=f"names begin with an underscore: '{name}'"):
        table.ingest(1)


def test_a_private_column_is_private_however_its_name_is_written_twice(table) -> None:
    table.data["private"] = ["email"]
    table.write(1, f"id,at,email,Email,y\nn0,2024-01-01T00:00:00Z,{SECRET},{SECRET},1\n")
    with pytest.raises(DataError, match="'Email', 'email'"):
        table.ingest(1)


# -- every row is accounted for -----------------------------------------------------------------------------------------------


def test_the_rows_of_a_file_are_published_quarantined_outside_or_without_a_time(table) -> None:
    table.data["refuse_above"] = 0.5
    lines = [
        "n0,2024-01-01T00:00:00Z,1,0", "n1,2024-01-01T01:00:00Z,2,1", "n2,2024-01-01T02:00:00Z,,1",
        "n3,2099-01-01T02:00:00Z,4,1", "n4,2023-12-31T23:59:59Z,5,1", "n5,,6,1", "n6,NA,7,1",
    ]  # fmt: skip
    table.contract = {"rows": {"rows": [{"expect": "column_values_to_not_be_null", "column": "x"}]}}
    table.write(1, "\n".join(["id,at,x,y", *lines, ""]))
    published = table.ingest(1).rows
    checks = read_checks(table.project, table.settings, "2024-01-02T0000").sources["rows"]
    assert (published, checks.quarantined, checks.outside, checks.timeless) == (2, 1, 2, 2)
    assert checks.read == published + checks.quarantined + checks.outside + checks.timeless == len(lines)


def test_yesterdays_file_under_todays_key_is_refused_with_both_times(table) -> None:
    table.write(2, GOOD)
    says = r"its 2 rows lie outside of the partition .*at goes from 2024-01-01T00.* to 2024-01-01T01.*; is it the file of another key\?"
    with pytest.raises(PartitionRefused, match=says):
        table.ingest(2)


def test_rows_without_any_time_are_refused_and_no_rows_are_empty(table) -> None:
    table.write(1, "id,at,x,y\nn0,,1,0\nn1,,1,0\n")
    with pytest.raises(PartitionRefused, match="2 rows have no at"):
        table.ingest(1)
    table.write(1, "id,at,x,y\n")
    assert table.ingest(1).state == "empty"


def test_an_earlier_file_that_does_not_read_any_more_costs_its_labels_alone(table) -> None:
    table.write(1, GOOD)
    table.write(2, GOOD.replace("2024-01-01", "2024-01-02"))
    table.ingest(1)
    table.write(1, GOOD + "n2,2024")
    second = table.ingest(2)
    assert (second.rows, second.labels_url) == (2, None)
    [(key, why)] = second.checks["unread"].items()
    assert key == "2024-01-02T0000"
    assert "line 4 has 2 fields" in why
    page = table.folder / "home" / "lake" / "table" / "docs" / "2024-01-03T0000" / "index.html"
    assert "The labels of partition 2024-01-02T0000 are missing" in page.read_text()
    table.write(1, GOOD)
    assert table.labels(2) == [0, 1]


def test_a_raw_file_of_an_earlier_version_asks_to_be_extracted_again(table) -> None:
    table.write(1, GOOD)
    key = "2024-01-02T0000"
    extract_partition(table.project, table.settings, key)
    path = table.folder / "home" / "lake" / "table" / "raw" / key / "rows.parquet"
    pd.read_parquet(path).drop(columns="_misfits").to_parquet(path)
    with pytest.raises(
        DataError, match="source rows was extracted by an earlier version of Updraft; clear the task extract_partition"
    ):
        validate_partition(table.project, table.settings, key)

"""A backtest tells of the data as they are now: whatever its history follows from, a change of it is seen and said."""

from __future__ import annotations

import gzip
import os

import pytest
from tests.support.made_project import MadeProject

from updraft import files
from updraft.backtest import dependencies
from updraft.backtest.history import history
from updraft.data.columns import LABEL, ROW
from updraft.errors import DataError
from updraft.lake.places import Lake
from updraft.loop.sealed_notes import SealedNotes

DAYS = 3


@pytest.fixture
def made(tmp_path):
    return MadeProject(tmp_path, DAYS)


def read(made):
    told = []
    return history(made.project, made.settings, None, told.append), told


def labels(past):
    frames = [files.read_parquet(row.labels_url) for row in past.rows if row.labels_url]
    return [int(value) for frame in frames for value in frame.sort_values(ROW)[LABEL]]


def test_an_unchanged_history_is_taken_as_it_is_and_nothing_is_said(made):
    first, _ = read(made)
    again, told = read(made)
    assert [(row.key, row.sha256, row.labels_sha256) for row in again.rows] == [
        (row.key, row.sha256, row.labels_sha256) for row in first.rows
    ]
    assert told == []


def test_flipped_labels_are_ingested_again_and_said_so(made):
    before = labels(read(made)[0])
    for day in range(1, DAYS + 1):
        made.write_day(day, lambda day, n: 1 - int(n % 7 > 3 + day % 2))
    past, told = read(made)
    assert labels(past) == [1 - value for value in before]
    assert told == [
        "3 partitions are ingested again, as there is a change in the files of source orders; the first is 2024-01-02T0000"
    ]


def test_one_changed_file_has_only_the_partitions_ingested_again_that_read_it(made):
    read(made)
    made.write_day(2, lambda day, n: n % 2)
    _, [line] = read(made)
    assert line.startswith(
        "2 partitions are ingested again"
    )  # its own, and the one at whose tick the last labels mature
    assert line.endswith("the first is 2024-01-03T0000")


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("data.label.matures_after", lambda spec: spec["data"]["label"].update(matures_after="2d")),
        ("data.label.expr", lambda spec: spec["data"]["label"].update(expr="late = 0")),
        ("data.label.missing", lambda spec: spec["data"]["label"].update(missing="zero")),
        ("data.private", lambda spec: spec["data"].update(private=["shop"])),
        ("data.refuse_above", lambda spec: spec["data"].update(refuse_above=0.5)),
        ("data.sources.orders", lambda spec: spec["data"]["sources"]["orders"].update(columns=["amount", "shop"])),
        ("release.cluster", lambda spec: spec["release"].update(cluster="day")),
    ],
)
def test_a_changed_key_of_the_project_is_named(made, key, change):
    read(made)
    made.write(change)
    _, [line] = read(made)
    assert f"as there is a change in {key}" in line


@pytest.mark.parametrize("file", ["features.py", "expectations.yaml"])
def test_a_changed_file_beside_the_project_is_named(made, file):
    contract = "orders:\n  columns: {amount: number}\n"
    (made.folder / "expectations.yaml").write_text(contract)
    read(made)
    path = made.folder / file
    path.write_text(path.read_text() + "# another\n")
    _, [line] = read(made)
    assert f"a change in {file};" in line


def test_a_policy_that_changes_no_partition_has_none_ingested_again(made):
    read(made)
    made.write(lambda spec: (spec["training"].update(window=9), spec["data"].update(end="2024-01-03")))
    past, told = read(made)
    assert [row.key for row in past.rows] == ["2024-01-02T0000", "2024-01-03T0000"]
    assert told == []


def test_a_file_of_all_partitions_is_looked_at_once_and_never_read_to_see_whether_it_changed(made, monkeypatch):
    lines = [made.file(day).read_text().splitlines() for day in range(1, DAYS + 1)]
    whole = made.root / "orders.csv"
    whole.write_text("\n".join([lines[0][0], *(line for day in lines for line in day[1:]), ""]))
    made.write(lambda spec: spec["data"]["sources"]["orders"].update(url=f"file://{whole}"))
    read(made)
    looked_at = []
    real = dependencies.locate
    monkeypatch.setattr(
        dependencies, "locate", lambda url, *, source: looked_at.append(url) or real(url, source=source)
    )
    state = whole.stat()
    content = whole.read_text()
    whole.write_text("no such table, but of the same size and time\n".ljust(len(content)))
    os.utime(whole, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert read(made)[1] == []
    assert looked_at == [f"file://{whole}"]
    whole.write_text(content.replace(",a,", ",b,"))
    assert read(made)[1][0].startswith("3 partitions are ingested again")


def test_a_reference_that_does_not_name_its_partitions_goes_with_a_change_and_stays_without_one(made):
    read(made)
    lake = Lake(made.settings.lake, "shop")
    place = lake.season_place("2024-01-01", "0" * 64)
    files.write_json(lake.at(place), {})
    read(made)
    assert lake.season_places() == [place]
    made.write_day(2, lambda day, n: n % 2)
    read(made)
    assert lake.season_places() == []


def test_types_are_told_anew_from_changed_files_and_one_history_has_one_type_a_column(made):
    read(made)
    made.file(1).write_text(made.file(1).read_text().replace(",a,", ",1,").replace(",b,", ",2,").replace(",c,", ",3,"))
    past, told = read(made)
    assert told[0].startswith("2 partitions are ingested again, as there is a change in the files of source orders")
    assert told[1].startswith("all partitions are ingested again, as columns may have other types now: orders.")
    assert "orders.shop" in told[1]
    # The oldest file says that shops are numbers, as in a deployment that begins with it: those of the others fit it no more.
    assert [row.state for row in past.rows] == ["published", "refused", "refused"]


def test_a_note_of_an_earlier_form_counts_as_changed(made):
    read(made)
    lake = Lake(made.settings.lake, "shop")
    notes, place = SealedNotes.of(lake, made.settings), lake.ingested_place("2024-01-03T0000")
    notes.write(place, {"stamp": "0" * 64, "row": notes.read(place)["row"]})
    [line] = read(made)[1]
    assert line.startswith(
        "1 partition is ingested again, as there is a change in the form in which the history is kept"
    )


def spoil(path, how):
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2 - 7])
    elif how == "utf-16":
        path.write_bytes(content.decode().encode("utf-16"))
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "unreadable":
        path.unlink()
        path.symlink_to("/proc/self/mem")  # refuses to be read, whoever asks
    elif how == "page":
        path.write_text("<html>\n<body>403</body>\n</html>\n")
    else:
        path.write_bytes(gzip.compress(content))


@pytest.mark.parametrize("how", ["cut", "utf-16", "empty", "page", "packed", "unreadable"])
def test_a_file_that_does_not_read_leaves_its_partition_out_with_file_and_cause(made, how):
    spoil(made.file(3), how)
    past, _ = read(made)
    assert [row.key for row in past.rows] == ["2024-01-02T0000", "2024-01-03T0000"]
    [left_out] = past.left_out
    assert (left_out.key, left_out.state) == ("2024-01-04T0000", "failed")
    assert str(made.file(3)) in left_out.reason


def test_a_mended_file_is_played_the_next_time(made):
    content = made.file(3).read_bytes()
    spoil(made.file(3), "utf-16")
    read(made)
    made.file(3).write_bytes(content)
    past, _ = read(made)
    assert len(past.rows) == DAYS
    assert past.left_out == ()


def test_a_refused_partition_is_listed_with_its_reason_each_time(made):
    contract = "orders:\n  rows:\n    - {expect: column_values_to_be_between, column: amount, min_value: 0}\n"
    (made.folder / "expectations.yaml").write_text(contract)
    text = made.file(3).read_text()
    made.file(3).write_text(text.replace(",a,", ",a,-"))
    for _ in range(2):
        past, _ = read(made)
        assert [row.state for row in past.rows] == ["published", "published", "refused"]
        [left_out] = past.left_out
        assert (left_out.key, left_out.state) == ("2024-01-04T0000", "refused")
        assert "orders" in left_out.reason


def test_a_feature_function_that_fails_on_one_partition_leaves_that_one_out(made):
    (made.folder / "features.py").write_text(
        "def features(rows):\n    assert not (rows['id'].astype(str) >= '3').any(), 'the third day'\n    return rows[['amount']]\n"
    )
    past, _ = read(made)
    [left_out] = past.left_out
    assert (left_out.key, left_out.state) == ("2024-01-04T0000", "failed")
    assert "features.py:2" in left_out.reason


def test_a_history_without_one_partition_that_can_be_ingested_ends_with_the_first_reason(made):
    for day in range(1, DAYS + 1):
        spoil(made.file(day), "utf-16")
    with pytest.raises(DataError, match=r"no partition could be ingested; the first, 2024-01-02T0000: source orders"):
        read(made)


def test_the_one_file_of_all_partitions_that_does_not_read_ends_the_backtest_at_once(made):
    shops = made.root / "shops.csv"
    shops.write_bytes("shop,size\na,1\n".encode("utf-16"))
    source = {"type": "file", "url": f"file://{shops}", "join": ["shop"]}
    made.write(lambda spec: spec["data"]["sources"].update(shops=source))
    with pytest.raises(DataError, match=r"^source shops: .*shops\.csv is written in utf-16"):
        read(made)

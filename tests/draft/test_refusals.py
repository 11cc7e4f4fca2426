"""`updraft init` refuses what cannot work, in a line that says what would help, and writes nothing."""

from __future__ import annotations

import pytest
from tests.draft.conftest import orders

from updraft.draft import folder
from updraft.errors import InputError


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        (lambda rows: rows.drop(columns="placed"), (), ["no column of", "reads as a time in every row", "--time-format"]),
        (lambda rows: rows.rename(columns={"placed": "birth_date"}), (), ["no column of", "Add a column with it"]),
        (lambda rows: rows.assign(late=1), (), ["one value in all of 1,200 rows", "nothing to learn"]),
        (lambda rows: rows.assign(late=""), ("--label", "late"), ["known only in the future"]),
        (lambda rows: rows.drop(columns="late"), (), ["Which column is the label", "--label"]),
        (lambda rows: rows.assign(late=rows["items"] % 3), ("--label", "late"), ["3 different whole numbers", "--task regression"]),
        (lambda rows: rows.assign(late=rows["shop"]), ("--label", "late"), ["3 different values", "write a comparison"]),
        (lambda rows: rows, ("--label", "amount", "--task", "binary"), ["comparison"]),
        (lambda rows: rows, ("--label", "late", "--task", "multiclass"), ["2 different values", "learns 3 to 100 classes"]),
        (lambda rows: rows, ("--label", "amount", "--task", "multiclass"), ["learns 3 to 100 classes"]),
        (lambda rows: rows, ("--label", "late", "--task", "ranking"), ["--task 'ranking' is no task; there are binary, "]),
        (lambda rows: rows, ("--label", "lat"), ["reads lat, which is no column; did you mean `late`?"]),
        (lambda rows: rows, ("--label", "shop || 'x'"), ["text that is no number"]),
        (lambda rows: rows, ("--label", "placed"), ["is a time", "IS NOT NULL"]),
        (lambda rows: rows, ("--matures-after", "90d"), ["the history is 20 days long"]),
        (lambda rows: rows, ("--matures-after", "soon"), ["--matures-after 'soon'", "write a duration"]),
        (lambda rows: rows, ("--time", "plased"), ["--time 'plased' is no column", "`placed`"]),
        (lambda rows: rows, ("--time", "shop"), ["does not read as a time", "--time-format"]),
        (lambda rows: rows, ("--time", "placed", "--time-format", "%d/%m/%Y"), ["as --time-format '%d/%m/%Y' says"]),
        (lambda rows: rows, ("--key", "shop"), ["does not tell rows apart"]),
        (lambda rows: rows, ("--key", "id"), ["--key 'id' is no column"]),
        (lambda rows: rows, ("--key", "order_id,late"), ["--key 'late' is a column of the label"]),
        (lambda rows: rows, ("--schedule", "often"), ["--schedule 'often'", "hourly, daily, weekly"]),
        (lambda rows: rows, ("--time-zone", "Oslo"), ["Oslo"]),
        (lambda rows: rows.head(20), (), ["20 rows, too few"]),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_what_would_help(drafting, change, options, says):
    said = drafting.refused(drafting.csv(change(orders())), *options)
    for words in says:
        assert words in said


def test_both_the_label_and_the_key_are_asked_for_at_once(drafting):
    said = drafting.refused(drafting.csv(orders().drop(columns="order_id").rename(columns={"late": "x"})))
    assert "--label" in said
    assert "--key" in said


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("postgresql://me:secret@db/shop", "has to name a host, a database and one table"),
        ("postgresql://me:se/cret@db:x/shop?table=orders", "does not read as an address"),
        ("postgresql://me:secret@127.0.0.1:1/shop?table=orders", "the database does not answer"),
        ("mysql://me:secret@db/shop?table=orders", "drafted from PostgreSQL and from files"),
        ("nothing.csv", "no such file or folder"),
        ("https://shop.test/orders/", "does not tell its files"),
        ("orders-{key}.csv", "write a star"),
    ],
)
def test_what_is_no_table_is_refused(drafting, data, says):
    said = drafting.refused(data)
    assert says in said
    assert "secret" not in said


def test_a_folder_of_several_kinds_or_of_none_is_refused(drafting):
    days = drafting.root / "days"
    days.mkdir()
    assert "no file that is read" in drafting.refused(days)
    drafting.csv(orders(), "days/a.csv")
    orders().to_parquet(days / "b.parquet")
    assert "several kinds (.csv, .parquet)" in drafting.refused(days)


def test_a_file_that_does_not_read_is_refused_with_its_line(drafting):
    path = drafting.csv(orders())
    path.write_text(path.read_text() + "1,2\n")
    said = drafting.refused(path)
    assert "has 2 fields where the first line names 6 columns" in said


@pytest.mark.parametrize("name", ["Shop", "9", "a-b", "../shop", ""])
def test_a_name_that_is_none_is_refused(drafting, name):
    done = drafting.init(drafting.csv(orders()), name=name)
    assert done.exit_code == 2
    assert "no name of a project" in done.stderr
    assert not drafting.projects.exists()


def test_a_folder_that_is_there_is_never_written_over(drafting):
    there = drafting.projects / "shop"
    there.mkdir(parents=True)
    (there / "notes.txt").write_text("mine")
    done = drafting.init(drafting.csv(orders()), "--yes")
    assert done.exit_code == 2
    assert "is there already" in done.stderr
    assert [path.name for path in drafting.projects.iterdir()] == ["shop"]
    assert (there / "notes.txt").read_text() == "mine"


def test_a_folder_is_put_in_place_whole_or_not_at_all(drafting, monkeypatch):
    target = drafting.projects / "shop"
    with pytest.raises(InputError, match="cannot be written"):
        folder.put(target, {"project.yaml": "name: shop\n", "no/such/folder.py": ""})
    assert not target.exists()
    assert list(drafting.projects.iterdir()) == []
    folder.put(target, {"project.yaml": "name: shop\n"})
    with pytest.raises(InputError, match="is there already"):
        folder.put(target, {"project.yaml": ""})
    assert (target / "project.yaml").read_text() == "name: shop\n"

"""Every row and every label of a partition is accounted for, in the store and in words."""

from __future__ import annotations

import pytest
from tests.support.tables import Table, day

from updraft.alerts import outbox
from updraft.alerts.alert import Alert
from updraft.data.lost_labels import form_of
from updraft.loop.accounting import accounted, in_words
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.spec.model import Project
from updraft.store.store import Store

SECRET = "Anna"


@pytest.fixture
def table(tmp_path) -> Table:
    return Table(tmp_path, data={"refuse_above": 0.4})


@pytest.fixture
def store():
    made = Store.in_memory()
    yield made
    made.close()


def take(table: Table, store: Store, number: int):
    """Ingest a day as the loop does."""
    project: Project = table.project
    (project.folder / "features.py").write_text("def features(rows):\n    return rows[['x']]\n")
    return ingest(Loop(project, table.settings, store, KeptModels()), day(number))


def write(table: Table, number: int, ids: list[str], more: str = "") -> None:
    rows = [f"{name},2024-01-{number:02}T{place:02}:00:00Z,{place},1" for place, name in enumerate(ids)]
    table.write(number, "\n".join(["id,at,x,y", *rows, more]))


def told(store: Store) -> dict[str, Alert]:
    return {stored.alert.entry: stored.alert for stored in outbox.standing(store.engine, "table").latest}


@pytest.mark.parametrize(
    ("then", "lost", "forms"),
    [
        (["7", "8", "9"], 3, ("9", "999")),
        (["007", "8", "009"], 1, ("9", "999")),
        (["007", "008", "009"], 0, ("", "")),
        (["Oslo-1", "Oslo-2", "Oslo-3"], 3, ("Aaaa-9", "999")),
    ],
)
def test_labels_that_find_no_row_are_counted_with_the_forms_of_both_keys(table, store, then, lost, forms) -> None:
    write(table, 1, ["007", "008", "009"])
    take(table, store, 1)
    write(table, 1, then)
    write(table, 2, ["010"])
    labels = take(table, store, 2).checks["labels"]
    assert (labels["published"], labels["without_row"]) == (3, lost)
    assert (labels["form"], labels["form_of_rows"]) == forms
    assert store.partition("table", day(2)).checks["labels"] == labels
    words = in_words(accounted(store.partition("table", day(2))))
    assert (f"{lost} find no row (their keys look like {forms[0]!r}" in words) == bool(lost)
    alert = told(store).get("labels_lost")
    assert (alert is not None) == (lost == 3)  # one of three is less than data.refuse_above
    if alert:
        assert f"their keys look like {forms[0]}" in alert.detail


def test_the_form_of_a_private_key_is_not_told(table, store) -> None:
    table.data["private"] = ["id"]
    write(table, 1, [f"{SECRET}1", f"{SECRET}2"])
    take(table, store, 1)
    write(table, 1, [f"{SECRET.lower()}1", f"{SECRET}2"])
    write(table, 2, [f"{SECRET}3"])
    labels = take(table, store, 2).checks["labels"]
    assert (labels["without_row"], labels["form"], labels["form_of_rows"]) == (1, "private", "private")


def test_the_same_share_again_is_no_news(table, store) -> None:
    for number in (1, 2, 3):
        write(table, number, ["007", "008"])
        take(table, store, number)
        write(table, number, ["7", "8"])
    lost = [alert for alert in outbox.standing(store.engine, "table").latest if alert.alert.entry == "labels_lost"]
    assert [alert.alert.key for alert in lost] == [day(2)]


def test_labels_of_rows_in_breach_and_of_a_partition_that_was_never_published_are_told_apart(table, store) -> None:
    write(table, 1, ["a", "b", "c"])
    take(table, store, 1)
    write(table, 1, ["a", "b", "b"])
    write(table, 2, ["d"])
    labels = take(table, store, 2).checks["labels"]
    assert (labels["published"], labels["in_breach"], labels["without_row"]) == (1, 2, 0)
    assert "labels: 1 published, 2 of rows in breach" in in_words(accounted(store.partition("table", day(2))))


def test_the_rows_of_a_partition_add_up_in_words(table, store) -> None:
    write(table, 1, ["a", "b", "b", "c", "d"], "e,2099-01-01,1,1\nf,,1,1\n")
    account = accounted(take(table, store, 1))
    lost = account["quarantined"] + account["outside"] + account["timeless"] + account["refused"]
    assert account["read"] == 7 == account["published"] + lost
    assert in_words(account) == (
        "7 rows read = 3 published + 2 quarantined (id is not unique: 2) + 1 outside of the partition + 1 without a time; "
        "labels: 0 published"
    )


@pytest.mark.parametrize(
    ("value", "form"), [("007", "999"), ("ÅbÇ-1 x", "AaA-9 a"), (7.5, "9.9"), ("x" * 50, "a" * 40 + "…")]
)
def test_the_form_of_a_key_says_nothing_of_its_value(value, form) -> None:
    assert form_of(value) == form

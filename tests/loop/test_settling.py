"""Rows in quarantine are released or dropped by a person: recorded, and everything that follows from them is made anew."""

from __future__ import annotations

import threading

import pytest
from tests.support.made_project import MadeProject

from updraft import files
from updraft.data.columns import LABEL, PARTITION
from updraft.errors import InputError, PartitionRefused
from updraft.loop import settling
from updraft.loop.accounting import accounted, in_words
from updraft.loop.chosen_rows import Chosen
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.loop.quarantined import quarantine_of, quarantined_rows
from updraft.loop.settling import settle_quarantine
from updraft.loop.unpublished import find_unpublished
from updraft.spec.load import load_project
from updraft.store.store import Store

FIRST, SECOND, THIRD = (f"2024-01-{day:02}T0000" for day in (2, 3, 4))
RULES = "orders:\n  rows:\n    - {expect: column_values_to_be_between, column: amount, min_value: 0}\n"


@pytest.fixture
def loop(tmp_path):
    made = MadeProject(tmp_path, 3)
    made.write(lambda spec: spec["data"].update(private=["shop"], refuse_above=0.2))
    (made.folder / "expectations.yaml").write_text(RULES)
    spoil(made, {5: "-5", 6: "-5", 7: "n34"})
    store = Store.in_memory()
    opened = Loop(load_project(made.folder), made.settings, store, KeptModels())
    for key in (FIRST, SECOND, THIRD):
        ingest(opened, key)
    yield opened
    store.close()


def spoil(made, amounts, day=1):
    """Give rows of a day, counted from 0, another amount."""
    head, *lines = made.file(day).read_text().splitlines()
    for row, amount in amounts.items():
        cells = lines[row].split(",")
        cells[3] = amount
        lines[row] = ",".join(cells)
    made.file(day).write_text("\n".join([head, *lines, ""]))


def rows(loop, key=FIRST):
    row = loop.store.partition(loop.name, key)
    return files.read_parquet(row.url, row.sha256)


def labels(loop):
    """Labels of rows of the first partition, in whichever file they matured."""
    total = 0
    for key in (FIRST, SECOND, THIRD):
        row = loop.store.partition(loop.name, key)
        frame = files.read_parquet(row.labels_url, row.labels_sha256)
        total += int((frame[PARTITION] == FIRST).sum())
        assert frame[LABEL].notna().all()
    return total


def settle(loop, chosen=Chosen(), how="release", key=FIRST):  # noqa: B008  frozen
    return settle_quarantine(loop, key, chosen, how=how, by="ann", reason="a new rule")


def decisions(loop):
    return [
        (decision.kind, decision.body["rows"])
        for decision in loop.store.decisions(loop.name, kinds=("release_rows", "drop_rows"))
    ]


def reasons(loop):
    quarantined = quarantine_of(loop, FIRST)
    return dict(quarantined.reasons["orders"]) if quarantined else {}


def test_released_rows_enter_their_partition_with_features_profile_and_labels(loop):
    below = next(iter(reasons(loop)))
    before, labelled = loop.store.partition(loop.name, FIRST), labels(loop)
    assert (before.rows, before.quarantined) == (57, 3)
    settled = settle(loop, Chosen(breach=below))
    assert settled.rows == {"orders": 2}
    after = loop.store.partition(loop.name, FIRST)
    assert (after.rows, after.quarantined) == (59, 1)
    assert after.sha256 != before.sha256
    assert after.profile["rows"] == 59
    assert (rows(loop)["amount"] == -5).sum() == 2
    assert len(loop.feature_frame(FIRST)) == 59
    assert labels(loop) == labelled + 2
    assert in_words(accounted(after)).startswith("60 rows read = 59 published + 1 quarantined")
    [decision] = loop.store.decisions(loop.name, kinds=("release_rows",))
    assert (decision.body["by"], decision.body["reason"]) == ("ann", "a new rule")
    assert decision.body["breaches"] == {"orders": {below: 2}}
    ingest(loop, FIRST)  # whatever ingests it again, what was released stays
    assert loop.store.partition(loop.name, FIRST).sha256 == after.sha256


def test_what_a_column_cannot_hold_is_released_as_missing_and_said_twice_is_one_decision(loop):
    assert settle(loop).rows == {"orders": 3}
    assert quarantine_of(loop, FIRST) is None
    assert rows(loop)["amount"].isna().sum() == 1
    assert settle(loop).rows == {}
    assert decisions(loop) == [("release_rows", {"orders": 3})]


def test_dropped_rows_are_settled_and_a_named_row_comes_back(loop):
    [frame] = quarantined_rows(loop, quarantine_of(loop, FIRST)).values()
    number = int(frame["_number"].iloc[0])
    settled = settle(loop, how="drop")
    assert settled.rows == {"orders": 3}
    assert quarantine_of(loop, FIRST) is None
    row = loop.store.partition(loop.name, FIRST)
    assert (row.rows, row.quarantined) == (57, 0)
    assert "3 dropped by a person" in in_words(accounted(row))
    with_row = settle(loop, Chosen(rows=(number,)))
    assert with_row.rows == {"orders": 1}
    assert loop.store.partition(loop.name, FIRST).rows == 58
    assert [kind for kind, _ in decisions(loop)] == ["drop_rows", "release_rows"]


def test_a_partition_that_was_refused_for_rows_is_published_without_those_that_are_dropped(tmp_path):
    made = MadeProject(tmp_path, 2)
    (made.folder / "expectations.yaml").write_text(RULES)
    spoil(made, dict.fromkeys(range(30), "-1"))
    store = Store.in_memory()
    loop = Loop(load_project(made.folder), made.settings, store, KeptModels())
    with pytest.raises(PartitionRefused):
        ingest(loop, FIRST)
    ingest(loop, SECOND)
    now = loop.partition(SECOND).tick
    assert [partition.fate for partition in find_unpublished(store, loop.spec, now)] == ["refused"]
    settled = settle(loop, how="drop")
    assert (settled.state, settled.newly_published, settled.published) == ("published", True, 30)
    assert find_unpublished(store, loop.spec, now) == []
    store.close()


def test_killed_after_the_decision_the_same_command_goes_on(loop, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(settling, "rebuild", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            settle(loop)
    assert loop.store.partition(loop.name, FIRST).rows == 57
    assert settle(loop).rows == {}
    assert loop.store.partition(loop.name, FIRST).rows == 60
    assert decisions(loop) == [("release_rows", {"orders": 3})]


def test_two_at_once_are_one_after_the_other(tmp_path, store_url):
    made = MadeProject(tmp_path, 2)
    made.write(lambda spec: spec["data"].update(refuse_above=0.2))
    (made.folder / "expectations.yaml").write_text(RULES)
    spoil(made, {5: "-5", 6: "-5"})
    store = Store.open(store_url)
    loop = Loop(load_project(made.folder), made.settings, store, KeptModels())
    ingest(loop, FIRST)
    ingest(loop, SECOND)
    came = []
    threads = [threading.Thread(target=lambda: came.append(settle(loop).rows)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came, key=len) == [{}, {"orders": 2}]
    assert len(decisions(loop)) == 1
    assert store.partition(loop.name, FIRST).rows == 60
    store.close()


def test_rows_without_a_key_or_with_one_twice_are_not_released(loop, tmp_path):
    made_file = tmp_path / "orders-2024-01-02T0000.csv"
    head, first, *lines = made_file.read_text().splitlines()
    made_file.write_text("\n".join([head, first, first.replace("-5", "4"), *lines, ""]))
    ingest(loop, FIRST)
    with pytest.raises(InputError, match=r"keys \(id\) would be there more than once"):
        settle(loop)
    assert decisions(loop) == []


def test_what_is_not_there_is_told_by_name(loop):
    with pytest.raises(InputError, match="there are: amount"):
        settle(loop, Chosen(breach="never heard of"))
    with pytest.raises(InputError, match="row 99 of orders does not break the contract"):
        settle(loop, Chosen(rows=(99,)))
    with pytest.raises(InputError, match="rows of orders do"):
        settle(loop, Chosen(source="other"))
    with pytest.raises(InputError, match=r"no row of \S+ is in quarantine"):
        settle(loop, key=THIRD)
    assert decisions(loop) == []

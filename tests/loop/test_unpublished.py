"""What is not published is wanted, with its reason and the next step, until it is published or passed over."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.broken_feeds import ingest as ingest_as_recorded
from tests.support.made_project import MadeProject

from updraft.data.partitions import tick_of
from updraft.errors import DataError, InputError, PartitionRefused, SourceMissing
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import _records_failure, ingest
from updraft.loop.unpublished import find_unpublished, pass_over
from updraft.spec.load import load_project
from updraft.store.store import Store

LATER = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = [f"2024-01-{day:02}T0000" for day in range(2, 13)]


@pytest.fixture
def shop(tmp_path):
    return MadeProject(tmp_path, days=10)


@pytest.fixture
def store(store_url):
    opened = Store.open(store_url)
    yield opened
    opened.close()


def loop_of(shop: MadeProject, store: Store) -> Loop:
    return Loop(load_project(shop.folder), shop.settings, store, KeptModels())


def wanted(loop: Loop, now: datetime = LATER) -> list[str]:
    return [partition.words for partition in find_unpublished(loop.store, loop.spec, now)]


def open_history(shop: MadeProject) -> None:
    shop.write(lambda spec: spec["data"].pop("end"))


def test_nothing_is_wanted_of_an_empty_store_and_of_a_history_that_is_published(shop, store):
    loop = loop_of(shop, store)
    assert wanted(loop) == []
    for key in DAYS[:3]:
        ingest(loop, key)
    assert wanted(loop) == []


def test_a_refused_partition_is_wanted_with_its_reason_until_it_is_mended(shop, store):
    sound = shop.file(2).read_text()
    loop = loop_of(shop, store)
    ingest(loop, DAYS[0])
    shop.file(2).write_text(sound.replace("2024-01-02", "2024-02-02"))
    with pytest.raises(PartitionRefused):
        ingest(loop, DAYS[1])
    [words] = wanted(loop)
    assert words.startswith(f"partition {DAYS[1]}, refused: orders: ")
    assert f"clear the run of shop.ingest for {DAYS[1]}" in words
    assert f"updraft pass-over shop {DAYS[1]} --reason WHY" in words
    shop.file(2).write_text(sound)
    ingest(loop, DAYS[1])
    assert wanted(loop) == []


def test_a_feature_function_that_fails_is_told_with_its_error_until_it_is_mended(shop, store):
    sound = (shop.folder / "features.py").read_text()
    ingest(loop_of(shop, store), DAYS[0])
    (shop.folder / "features.py").write_text("def features(rows):\n    raise ValueError('a bug')\n")
    with pytest.raises(DataError):
        ingest(loop_of(shop, store), DAYS[1])
    [words] = wanted(loop_of(shop, store))
    assert words.startswith(f"partition {DAYS[1]}, failed: publish_partition: DataError: ")
    assert "a bug" in words
    assert f"Mend the cause, and clear the run of shop.ingest for {DAYS[1]}" in words
    (shop.folder / "features.py").write_text(sound)
    ingest(loop_of(shop, store), DAYS[1])
    assert wanted(loop_of(shop, store)) == []


def test_a_file_that_was_cut_is_told_with_file_and_line(shop, store):
    loop = loop_of(shop, store)
    ingest(loop, DAYS[0])
    shop.file(2).write_text(shop.file(2).read_text()[:-20] + '"')
    with pytest.raises(DataError):
        ingest(loop, DAYS[1])
    [words] = wanted(loop)
    assert ", failed: extract_partition: DataError: " in words
    assert shop.file(2).name in words


def test_a_file_that_is_not_there_is_late_and_its_next_step_waits_for_it(shop, store):
    loop = loop_of(shop, store)
    ingest(loop, DAYS[0])
    shop.file(2).unlink()
    with pytest.raises(SourceMissing):
        ingest(loop, DAYS[1])
    [words] = wanted(loop)
    assert words.startswith(f"partition {DAYS[1]}, late: extract_partition: SourceMissing: ")
    assert "When the file is there, clear the run" in words
    shop.write_day(2)
    ingest(loop, DAYS[1])
    assert wanted(loop) == []


def test_a_published_partition_that_is_ingested_anew_and_fails_is_wanted_and_says_that_the_older_one_stays(shop, store):
    loop = loop_of(shop, store)
    sound = shop.file(1).read_text()
    ingest(loop, DAYS[0])
    shop.file(1).write_bytes(gzip.compress(sound.encode()))
    with pytest.raises(DataError):
        ingest(loop, DAYS[0])
    [words] = wanted(loop)
    assert "What was published of it before stays. Mend the cause, and clear the run" in words
    assert "pass-over" not in words
    shop.file(1).write_text(sound.replace("2024-01-01", "2024-02-01"))
    with pytest.raises(PartitionRefused):
        ingest(loop, DAYS[0])
    [words] = wanted(loop)
    assert ", failed: validate_partition: PartitionRefused: orders: " in words
    assert store.partition_row("shop", DAYS[0]).state == "published"
    shop.file(1).write_text(sound)
    ingest(loop, DAYS[0])
    assert wanted(loop) == []


def test_partitions_between_ingested_ones_are_missing_and_told_in_one_line(shop, store):
    for key in (DAYS[0], DAYS[3], DAYS[5]):
        ingest_as_recorded(store, "shop", key)
    loop = loop_of(shop, store)
    first, second = wanted(loop)
    assert first.startswith(f"2 partitions from {DAYS[1]} to {DAYS[2]}, missing: later ones were ingested")
    assert "updraft pass-over shop KEY --reason WHY" in first
    assert second.startswith(f"partition {DAYS[4]}, missing")


def test_an_open_history_has_a_partition_for_each_tick_an_hour_after_it_and_one_that_has_ended_is_never_late(
    shop, store
):
    for key in DAYS[:2]:
        ingest_as_recorded(store, "shop", key)
    tick = tick_of(DAYS[2])
    assert wanted(loop_of(shop, store), tick + timedelta(hours=48)) != []  # data.end lies ahead of the clock
    assert wanted(loop_of(shop, store)) == []
    open_history(shop)
    loop = loop_of(shop, store)
    assert wanted(loop, tick + timedelta(minutes=59)) == []
    [words] = wanted(loop, tick + timedelta(minutes=61))
    assert words.startswith(f"partition {DAYS[2]}, late: shop.ingest has not finished with it")
    [words] = wanted(loop, tick + timedelta(days=400))
    assert words.startswith("6 partitions from ")  # no more than a training looks back on


def test_what_left_the_training_window_is_wanted_no_more(shop, store):
    ingest_as_recorded(store, "shop", DAYS[0])
    ingest_as_recorded(store, "shop", DAYS[1], state="refused")
    loop = loop_of(shop, store)
    for key in DAYS[2:7]:
        ingest_as_recorded(store, "shop", key)
        assert [words.partition(":")[0] for words in wanted(loop)] == [f"partition {DAYS[1]}, refused"]
    ingest_as_recorded(store, "shop", DAYS[7])
    assert wanted(loop) == []


def test_a_partition_that_is_passed_over_is_wanted_no_more_and_the_decision_says_by_whom_and_why(shop, store):
    ingest_as_recorded(store, "shop", DAYS[0])
    ingest_as_recorded(store, "shop", DAYS[1], state="refused")
    ingest_as_recorded(store, "shop", DAYS[3])
    loop = loop_of(shop, store)
    with pytest.raises(InputError, match=f"{DAYS[0]} is not wanted; wanted are {DAYS[1]}, {DAYS[2]}"):
        pass_over(store, loop.spec, [DAYS[1], DAYS[0]], by="me", reason="gone", now=LATER)
    assert store.decisions("shop") == []
    for _ in range(2):
        pass_over(store, loop.spec, [DAYS[1], DAYS[2]], by="me", reason="gone", now=LATER)
    assert wanted(loop) == []
    assert [decision.body for decision in store.decisions("shop")] == [
        {"partition": key, "fate": fate, "by": "me", "reason": "gone"}
        for key, fate in ((DAYS[1], "refused"), (DAYS[2], "missing"))
    ]


def test_a_schedule_that_was_changed_expects_nothing_of_the_time_before(shop, store):
    for key in ("2024-01-02T0130", "2024-01-03T0130", DAYS[2], DAYS[3]):
        ingest_as_recorded(store, "shop", key)
    assert wanted(loop_of(shop, store)) == []


def test_what_failed_for_another_reason_than_ours_is_told_without_words_that_may_quote_data(shop, store):
    loop = loop_of(shop, store)
    ingest_as_recorded(store, "shop", DAYS[0])
    with pytest.raises(ZeroDivisionError), _records_failure(loop, DAYS[1], "extract_partition"):
        raise ZeroDivisionError("N14228")
    [words] = wanted(loop)
    assert words.startswith(
        f"partition {DAYS[1]}, failed: extract_partition: ZeroDivisionError; its words are in the task's log. It is"
    )


@pytest.mark.parametrize("key", ["2024-1-3T0000", "2024-01-03T0130", "soon", "x" * 400])
def test_a_run_with_a_key_that_is_no_partitions_leaves_nothing_that_is_wanted(shop, store, key):
    loop = loop_of(shop, store)
    ingest_as_recorded(store, "shop", DAYS[0])
    with pytest.raises(DataError):
        ingest(loop, key)
    assert wanted(loop) == []

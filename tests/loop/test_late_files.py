"""A file that is not there yet is waited for until the next tick; on-call hears once that it is late, and what is broken is not waited for."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.made_project import MadeProject
from typer.testing import CliRunner

from updraft.alerts.outbox import recent
from updraft.backtest.dependencies import _of_project
from updraft.cli.main import app
from updraft.data.partitions import tick_of
from updraft.errors import DataError, SourceAway, SourceBehind, SourceMissing
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import extract, ingest
from updraft.loop.late_files import Wait, await_file, content_so_far, look_for_files
from updraft.loop.policy_limits import policy_notes
from updraft.loop.unpublished import find_unpublished, pass_over
from updraft.spec.load import load_project, load_project_or_problems
from updraft.spec.model import Project
from updraft.store.store import Store

FIRST, KEY = "2024-01-02T0000", "2024-01-03T0000"
TICK = tick_of(KEY)
HOUR = timedelta(hours=1)


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


def missing(loop: Loop) -> SourceMissing:
    with pytest.raises(SourceMissing) as caught:
        extract(loop, KEY)
    return caught.value


def waits(loop: Loop, now: datetime, *, waited: bool = False) -> datetime | None:
    return await_file(loop, KEY, missing(loop), now, run="http://airflow/dags/shop.ingest/runs/r", waited=waited)


@pytest.mark.parametrize(
    ("schedule", "late_after", "until"),
    [("0 0 * * *", 6 * HOUR, 24 * HOUR), ("0 * * * *", HOUR / 4, HOUR), ("0 0 * * 1", 24 * HOUR, 7 * 24 * HOUR)],
)
def test_unless_stated_a_file_may_take_a_quarter_of_the_way_to_the_next_tick_and_a_day_at_most(
    shop, schedule, late_after, until
):
    shop.write(lambda spec: spec["data"].update(schedule=schedule))
    monday = "2024-01-08T0000"
    wait = Wait.of(shop.project.spec, monday, "orders")
    assert (wait.late_at - wait.tick, wait.until - wait.tick) == (late_after, until)


def test_what_a_source_states_holds_and_is_told_where_the_next_tick_comes_before(shop):
    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(wait="90m"))
    spec = shop.project.spec
    assert Wait.of(spec, KEY, "orders").late_at == TICK + 1.5 * HOUR
    assert not [note for note in policy_notes(spec) if ".wait" in note]
    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(wait="2d"))
    spec = shop.project.spec
    assert Wait.of(spec, KEY, "orders").late_at == TICK + 24 * HOUR
    [note] = [note for note in policy_notes(spec) if ".wait" in note]
    assert note.startswith("data.sources.orders.wait: 2d is longer than from a tick to the next (24 hours)")


def test_a_wait_that_is_no_duration_is_named_with_what_to_write(shop):
    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(wait="soon"))
    found = load_project_or_problems(shop.folder)
    assert not isinstance(found, Project)
    [problem] = map(str, found.problems)
    assert "data.sources.orders.wait" in problem
    assert "6h" in problem


def test_how_long_a_file_is_waited_for_changes_no_training(shop):
    before = _of_project(shop.project)
    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(wait="2h"))
    assert _of_project(shop.project) == before


def test_a_file_is_waited_for_told_once_when_it_is_late_and_read_when_it_comes(shop, store):
    loop = loop_of(shop, store)
    ingest(loop, FIRST)
    shop.file(2).unlink()
    assert waits(loop, TICK + HOUR) == TICK + 6 * HOUR
    assert recent(store.engine, "shop") == []
    [partition] = find_unpublished(store, loop.spec, TICK + HOUR)
    assert partition.fate == "waiting"
    assert "orders-2024-01-03T0000.csv" in partition.reason
    assert "from 2024-01-03 06:00 UTC on it is late, and on-call is told" in partition.next_step
    for _ in range(2):  # a task that was killed tells it again
        assert waits(loop, TICK + 6 * HOUR, waited=True) == TICK + 24 * HOUR
    [alert] = [stored.alert for stored in recent(store.engine, "shop")]
    assert alert.title == "File of orders is late"
    assert "before 2024-01-04 00:00 UTC is read by itself" in alert.does
    assert f"clear the run of shop.ingest for {KEY}" in alert.needs
    assert f"updraft pass-over shop {KEY}" in alert.needs
    [partition] = find_unpublished(store, loop.spec, TICK + 7 * HOUR)
    assert partition.fate == "late"
    assert "read by itself if it comes before 2024-01-04 00:00 UTC; later, clear the run" in partition.next_step
    assert look_for_files(loop, KEY) is None
    shop.write_day(2)
    assert look_for_files(loop, KEY) is not None
    ingest(loop, KEY)
    assert find_unpublished(store, loop.spec, TICK + 8 * HOUR) == []


def test_at_the_next_tick_the_wait_ends_and_clearing_the_run_is_what_is_left(shop, store):
    loop = loop_of(shop, store)
    ingest(loop, FIRST)
    shop.file(2).unlink()
    assert waits(loop, TICK + 24 * HOUR, waited=True) is None
    [alert] = [stored.alert for stored in recent(store.engine, "shop")]
    assert f"When it is there, clear the run of shop.ingest for {KEY}" in alert.needs
    [partition] = find_unpublished(store, loop.spec, TICK + 24 * HOUR)
    assert partition.fate == "late"
    assert partition.next_step.startswith("clear the run of shop.ingest")


@pytest.mark.parametrize("now", [TICK - HOUR, TICK + 24 * HOUR, datetime(2026, 1, 1, tzinfo=UTC)])
def test_a_partition_of_the_past_or_of_the_future_is_not_waited_for(shop, store, now):
    shop.file(2).unlink()
    loop = loop_of(shop, store)
    assert waits(loop, now) is None
    assert recent(store.engine, "shop") == []


def test_a_partition_that_is_passed_over_while_its_file_is_waited_for_is_waited_for_no_more(shop, store):
    loop = loop_of(shop, store)
    ingest(loop, FIRST)
    shop.file(2).unlink()
    waits(loop, TICK + HOUR)
    pass_over(store, loop.spec, [KEY], by="ann", reason="the shop was closed", now=TICK + 2 * HOUR)
    assert look_for_files(loop, KEY) == "pass_over"
    assert find_unpublished(store, loop.spec, TICK + 3 * HOUR) == []


def test_a_file_that_is_broken_is_not_waited_for(shop, store):
    shop.file(2).write_text("no header\n1\n")
    loop = loop_of(shop, store)
    assert look_for_files(loop, KEY) is not None  # it is there
    with pytest.raises(DataError) as caught:
        extract(loop, KEY)
    assert not isinstance(caught.value, SourceMissing)


def in_one_file(shop: MadeProject, days: int) -> None:
    """The orders of these first days in one file of all time."""
    lines = [line for day in range(1, days + 1) for line in shop.file(day).read_text().splitlines()[day > 1 :]]
    whole = shop.root / "orders.csv"
    whole.write_text("\n".join([*lines, ""]))
    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(url=f"file://{whole}"))


def behind(loop: Loop) -> SourceBehind:
    with pytest.raises(SourceBehind) as caught:
        extract(loop, KEY, of_now=True)
    return caught.value


def test_a_file_of_all_time_that_does_not_reach_the_partition_is_waited_for_and_told_as_late(shop, store):
    in_one_file(shop, days=1)
    loop = loop_of(shop, store)
    extract(loop, FIRST, of_now=True)
    ingest(loop, FIRST)
    error = behind(loop)
    assert (
        "orders.csv holds nothing from 2024-01-02T00:00:00+00:00 on yet, where partition 2024-01-03T0000 begins"
        in str(error)
    )
    assert "its newest row is of 2024-01-01T23:" in str(error)
    run = "http://airflow/dags/shop.ingest/runs/r"
    assert await_file(loop, KEY, error, TICK + HOUR, run=run, waited=False) == TICK + 6 * HOUR
    [partition] = find_unpublished(store, loop.spec, TICK + HOUR)
    assert (partition.fate, "its newest row is of 2024-01-01T23:" in partition.reason) == ("waiting", True)
    for _ in range(2):
        assert await_file(loop, KEY, error, TICK + 6 * HOUR, run=run, waited=True) == TICK + 24 * HOUR
    [alert] = [stored.alert for stored in recent(store.engine, "shop")]
    assert alert.text.startswith(f"Nothing of orders has come for partition {KEY} yet")
    in_one_file(shop, days=2)
    assert extract(loop, KEY, of_now=True).sources["orders"].rows == 2 * 60
    assert ingest(loop, KEY).state == "published"
    assert find_unpublished(store, loop.spec, TICK + 8 * HOUR) == []


def test_a_file_of_all_time_with_later_rows_and_none_of_the_partition_says_that_it_is_empty(shop, store):
    shop.file(2).write_text(shop.file(2).read_text().splitlines()[0] + "\n")
    in_one_file(shop, days=2)
    loop = loop_of(shop, store)
    behind(loop)
    in_one_file(shop, days=3)
    extract(loop, KEY, of_now=True)
    assert ingest(loop, KEY).state == "empty"


@pytest.mark.parametrize("rows", [0, 1])
def test_a_file_of_all_time_says_of_what_it_begins_with_whatever_it_ends_with(shop, store, rows):
    """No row at all; or one row, in the first second of the partition."""
    whole = shop.root / "orders.csv"
    whole.write_text("\n".join(["id,at,shop,amount,late", *["1,2024-01-02T00:00:00Z,a,1,0"][:rows], ""]))
    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(url=f"file://{whole}"))
    loop = loop_of(shop, store)
    if rows:
        assert extract(loop, KEY, of_now=True).sources["orders"].rows == 1
    else:
        assert str(behind(loop)).endswith("it has no row with a time")


def test_a_feed_that_says_its_rows_are_there_at_the_tick_and_a_history_are_empty_at_once(shop, store):
    in_one_file(shop, days=1)
    assert ingest(loop_of(shop, store), KEY).state == "empty", "a replay, a backtest"
    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(wait="0s"))
    loop = loop_of(shop, store)
    extract(loop, KEY, of_now=True)
    assert content_so_far(loop, KEY) is None


def test_what_was_not_there_in_time_is_told_by_status_with_what_to_do(shop, store):
    in_one_file(shop, days=1)
    loop = loop_of(shop, store)
    ingest(loop, FIRST)
    behind(loop)  # in a run that is cleared after the next tick, and so waits for nothing
    [partition] = find_unpublished(store, loop.spec, TICK + 24 * HOUR)
    assert partition.fate == "late"
    assert "holds nothing from 2024-01-02T00:00:00+00:00 on yet" in partition.reason
    assert f"clear the run of shop.ingest for {KEY}" in partition.next_step


@contextmanager
def written_on(path):
    """Write on to a file until the end, in the midst of a line."""
    done = threading.Event()

    def write():
        with path.open("a") as file:
            while not done.is_set():
                file.write("1,2024-01-02")
                file.flush()
                time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


def test_a_file_that_is_still_being_written_is_waited_for_and_not_broken(shop, store):
    loop = loop_of(shop, store)
    with written_on(shop.file(2)), pytest.raises(SourceAway, match="still being written") as caught:
        extract(loop, KEY)
    assert await_file(loop, KEY, caught.value, TICK + HOUR, run="", waited=False) == TICK + 6 * HOUR
    with pytest.raises(DataError) as caught:  # nobody writes on, so it is broken
        extract(loop, KEY)
    assert not isinstance(caught.value, SourceAway)
    shop.write_day(2)
    assert extract(loop, KEY).sources["orders"].rows == 2 * 60  # with those of the day before, whose labels mature


def test_status_lists_what_is_waited_for_and_wants_nobody_for_it(shop, store, store_url, monkeypatch):
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    shop.write(lambda spec: spec["data"].update(end=tomorrow.isoformat(), start="2026-01-01"))
    loop = loop_of(shop, store)
    key = f"{datetime.now(UTC):%Y-%m-%d}T0000"
    with pytest.raises(SourceMissing) as caught:
        extract(loop, key)
    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(wait="24h"))
    await_file(loop_of(shop, store), key, caught.value, datetime.now(UTC), run="", waited=False)
    for name, value in {
        "UPDRAFT_HOME": str(shop.root / "home"),
        "UPDRAFT_PROJECTS": str(shop.folder.parent),
        "UPDRAFT_STORE": store_url,
    }.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["status", "shop", "--json"])
    told = json.loads(result.stdout)["shop"]
    [line] = told["waiting"]
    assert line.startswith(f"partition {key}, waiting: ")
    assert f"{tomorrow} 00:00 UTC" in line
    assert told["wanted"] == []
    assert result.exit_code == 0

"""The trigger survives being rebuilt and fires for a file that is whole, for the end of its time, and for what the task has to tell."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.exceptions import TaskDeferred
from tests.support.made_project import MadeProject

from updraft.alerts.outbox import recent
from updraft.data.partitions import KEY_FORMAT


@pytest.fixture
def shop(store, tmp_path, monkeypatch):
    """The project with its newest tick a moment ago, and the file of that partition missing."""
    from updraft_airflow import deployment

    made = MadeProject(tmp_path, days=1)
    made.write(lambda spec: spec["data"].update(schedule="* * * * *", start="2026-01-01"))
    made.write(lambda spec: spec["data"].pop("end"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(made.folder.parent))
    deployment.settings.cache_clear()
    return made


def key_of_now() -> str:
    return datetime.now(UTC).strftime(KEY_FORMAT)


def file_of(shop, key):
    return shop.root / f"orders-{key}.csv"


def trigger(key, seconds=20.0):
    from updraft_airflow.triggers.file import FileTrigger

    return FileTrigger("shop", key, (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat())


async def first(one, seconds):
    async with asyncio.timeout(seconds):
        return await anext(one.run())


def test_it_is_rebuilt_from_its_serialized_form():
    from airflow.sdk.module_loading import import_string

    path, arguments = trigger("2026-01-02T0000").serialize()
    assert import_string(path)(**arguments).serialize() == (path, arguments)


def test_it_fires_when_time_is_up(shop):
    assert asyncio.run(first(trigger(key_of_now(), 0.5), 10)).payload["why"] == "time is up"


def test_it_fires_for_a_file_that_has_come_and_not_while_it_still_grows(shop):
    key = key_of_now()

    async def comes():
        waiting = asyncio.create_task(first(trigger(key), 20))
        with file_of(shop, key).open("a") as file:
            for _ in range(100):  # many times between two looks
                file.write("x" * 100)
                file.flush()
                await asyncio.sleep(0.01)
                assert not waiting.done()
        return await waiting

    assert asyncio.run(comes()).payload["why"] == "its files are there"


def test_it_wakes_the_task_for_what_a_person_must_mend(shop):
    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(url="package://no_such_package_here/{key}.csv"))
    assert asyncio.run(first(trigger(key_of_now()), 10)).payload["why"] == "DataError"


def test_a_source_that_does_not_answer_is_waited_out(shop, caplog):
    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(url="http://127.0.0.1:1/{key}.csv"))
    assert asyncio.run(first(trigger(key_of_now(), 2.0), 20)).payload["why"] == "time is up"
    assert "cannot look" in caplog.text


class Run:
    """What Airflow says of a run."""

    def __init__(self, run_id):
        self.run_id, self.dag_id = run_id, "shop.ingest"


def context(key, run="scheduled__x"):
    return {"partition_key": key, "dag_run": Run(run)}


def task():
    from updraft_airflow.operators.ingest import ExtractPartition

    return ExtractPartition(task_id="extract_partition", project="shop")


def test_the_task_defers_until_the_file_is_late_and_a_replay_never_waits(shop):
    from airflow.sdk.exceptions import AirflowFailException

    key = key_of_now()
    with pytest.raises(TaskDeferred) as deferred:
        task().execute(context(key))
    assert deferred.value.method_name == "resume"
    assert deferred.value.trigger.serialize()[1]["key"] == key
    with pytest.raises(AirflowFailException, match="SourceMissing"):
        task().execute(context(key, "replay__x"))


def test_when_the_next_tick_has_come_it_ends_for_good_and_its_failure_is_told_once(shop, store):
    from updraft_airflow.notifiers.failure import AlreadyTold, UpdraftNotifier

    key = (datetime.now(UTC) - timedelta(minutes=2)).strftime(KEY_FORMAT)
    with pytest.raises(AlreadyTold) as caught:
        task().resume(context(key), {"why": "time is up"})
    UpdraftNotifier(project="shop").notify({**context(key), "exception": caught.value})
    assert [stored.alert.title for stored in recent(store.engine, "shop")] == ["File of orders is late"]


def test_a_partition_that_is_passed_over_ends_as_skipped(shop, store):
    from airflow.sdk.exceptions import AirflowSkipException

    key = key_of_now()
    store.decide("shop", key=key, kind="pass_over", subject=key, body={"partition": key})
    with pytest.raises(AirflowSkipException, match="passed over"):
        task().resume(context(key), {"why": "its files are there"})


def test_rows_that_are_not_in_the_file_of_all_time_yet_are_waited_for_without_a_worker_until_it_changes(shop):
    """The task reads the file once for each content of it, and is done with the first that reaches the partition."""

    def write(*moments):
        lines = [f"{number},{moment:%Y-%m-%dT%H:%M:%SZ},a,1,0" for number, moment in enumerate(moments)]
        (shop.root / "orders.csv").write_text("\n".join(["id,at,shop,amount,late", *lines, ""]))

    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(url=f"file://{shop.root}/orders.csv", wait="1m"))
    shop.write(lambda spec: spec["data"].update(schedule="0 * * * *"))
    tick = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    key, before = tick.strftime(KEY_FORMAT), tick - timedelta(hours=30)
    write(before)
    with pytest.raises(TaskDeferred) as deferred:
        task().execute(context(key))
    _, arguments = deferred.value.trigger.serialize()
    assert arguments["seen"] is not None
    still = type(deferred.value.trigger)(
        **{**arguments, "until": (datetime.now(UTC) + timedelta(seconds=1)).isoformat()}
    )
    assert asyncio.run(first(still, 10)).payload["why"] == "time is up", "nothing has changed"

    async def rows_come():
        soon = {**arguments, "until": (datetime.now(UTC) + timedelta(seconds=20)).isoformat()}
        waiting = asyncio.create_task(first(type(still)(**soon), 20))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        write(before, tick - timedelta(minutes=2))
        return await waiting

    assert asyncio.run(rows_come()).payload["why"] == "its files are there"
    assert task().resume(context(key), {"why": "its files are there"}) == {"rows": {"orders": 1}}


def test_a_replay_takes_a_file_of_all_time_as_it_is(shop):
    (shop.root / "orders.csv").write_text("id,at,shop,amount,late\n1,2026-01-01T00:00:00Z,a,1,0\n")
    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(url=f"file://{shop.root}/orders.csv"))
    assert task().execute(context(key_of_now(), "replay__x")) == {"rows": {"orders": 0}}

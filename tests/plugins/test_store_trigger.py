"""The trigger survives being rebuilt, fires when there is something to do, waits while there is not, and waits out a store that is away."""

from __future__ import annotations

import asyncio

import pytest
from tests.support import releases
from tests.support.flights import PROJECTS

from updraft.loop.monitor import MONITOR
from updraft.store.records import EpisodeRow, ReleaseRow
from updraft.store.transitions import open_release


def trigger(question="remedy", subject=""):
    from updraft_airflow.triggers.store import StoreTrigger

    return StoreTrigger("flight_delays", question, subject)


async def first(one, seconds):
    async with asyncio.timeout(seconds):
        return await anext(one.run())


def test_it_is_rebuilt_from_its_serialized_form():
    from airflow.sdk.module_loading import import_string

    path, arguments = trigger("release", "flight_delays-v1").serialize()
    again = import_string(path)(**arguments)
    assert again.serialize() == (path, arguments)


def test_it_fires_when_an_episode_is_due(store):
    store.open_episode(EpisodeRow("e1", "flight_delays", "2013-02-25T0500", "first", "retrain", "due", {}, None, None))
    event = asyncio.run(first(trigger(), 10))
    assert event.payload["act"] == "look"


def test_it_waits_and_notes_the_tick_while_nothing_is_due(store):
    store.mark_seen("flight_delays", MONITOR, "2013-02-25T0500")
    with pytest.raises(TimeoutError):
        asyncio.run(first(trigger(), 1.5))
    assert store.seen("flight_delays")["remedy"] == "2013-02-25T0500"


def test_it_fires_for_a_release_that_was_closed_by_somebody_else(store):
    row = ReleaseRow(
        "flight_delays-v1", "flight_delays", "change", "1", None, "shadow", None, None, "2013-02-25T0500", None
    )
    open_release(store, row)
    releases.closed(store, row.id, key="2013-03-04T0500", outcome="rejected", reason="by hand")
    assert asyncio.run(first(trigger("release", row.id), 10)).payload["act"] == "look"


def test_a_store_that_is_away_is_waited_out(postgres_url, tmp_path, monkeypatch, caplog):
    from updraft_airflow import deployment

    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(PROJECTS))
    monkeypatch.setenv("UPDRAFT_STORE", "postgresql+psycopg2://nobody:x@127.0.0.1:1/none")
    deployment.settings.cache_clear()
    with pytest.raises(TimeoutError):
        asyncio.run(first(trigger(), 2.5))
    deployment.settings.cache_clear()
    assert "cannot look" in caplog.text


def test_a_project_that_is_being_edited_is_waited_out(store, tmp_path, monkeypatch, caplog):
    import shutil

    from updraft_airflow import deployment

    folder = shutil.copytree(PROJECTS / "flight_delays", tmp_path / "projects" / "flight_delays")
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(folder.parent))
    deployment.settings.cache_clear()
    store.open_episode(EpisodeRow("e1", "flight_delays", "2013-02-25T0500", "first", "retrain", "due", {}, None, None))
    whole = (folder / "project.yaml").read_text()
    (folder / "project.yaml").write_text(whole[: len(whole) // 2] + "\n  half: [")

    async def edited():
        waiting = asyncio.create_task(first(trigger(), 20))
        await asyncio.sleep(1)
        assert not waiting.done()
        (folder / "project.yaml").write_text(whole)
        return await waiting

    assert asyncio.run(edited()).payload["act"] == "look"
    assert "cannot look" in caplog.text

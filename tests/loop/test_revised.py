"""A partition that is delivered again with other content: the versions in use that learnt from what it was are named."""

from __future__ import annotations

import pytest
from tests.support.made_project import MadeProject
from tests.support.releases import promoted

from updraft.alerts.outbox import recent
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.loop.learners import learners_in_use
from updraft.spec.load import load_project
from updraft.store.records import ReleaseRow, TrainingRow
from updraft.store.store import Store
from updraft.store.transitions import open_release

FIRST, SECOND = (f"2024-01-{day:02}T0000" for day in (2, 3))


@pytest.fixture
def made(tmp_path):
    return MadeProject(tmp_path, 2)


@pytest.fixture
def loop(made):
    store = Store.in_memory()
    opened = Loop(load_project(made.folder), made.settings, store, KeptModels())
    for key in (FIRST, SECOND):
        ingest(opened, key)
    yield opened
    store.close()


def serves(loop, version, window):
    """A version that learnt from a window serves from the second partition on."""
    store, release = loop.store, f"{loop.name}-v{version}"
    store.record_training(
        TrainingRow(f"run{version}", loop.name, SECOND, None, None, "registered", version, {"window": window})
    )
    against = store.serving(loop.name).champion
    open_release(store, ReleaseRow(release, loop.name, "refresh", version, against, "shadow", None, None, SECOND, None))
    promoted(store, release, key=SECOND)


def delivered_again(made, loop, without=0):
    lines = made.file(1).read_text().splitlines()
    made.file(1).write_text("\n".join([*lines[: len(lines) - without], ""]))
    return ingest(loop, FIRST)


def told(loop):
    return [stored.alert for stored in recent(loop.store.engine, loop.name) if stored.alert.entry == "revised"]


def test_the_versions_in_use_that_learnt_from_it_are_named(made, loop):
    for version, window in (("1", [FIRST]), ("2", [SECOND]), ("3", [FIRST, SECOND])):
        serves(loop, version, window)
    assert learners_in_use(loop, FIRST) == ("3",), "2 served before and has not learnt from it; 1 is in use no more"
    before = loop.store.partition_row(loop.name, FIRST).rows
    now = delivered_again(made, loop, without=5)
    assert now.rows < before
    [alert] = told(loop)
    assert f"It has {now.rows} rows now, and had {before}." in alert.text
    assert "in the window of version 3." in alert.text
    assert alert.key == FIRST
    delivered_again(made, loop)
    assert len(told(loop)) == 1, "the same content is nothing new"


def test_what_nobody_in_use_learnt_from_is_not_told(made, loop):
    serves(loop, "1", [SECOND])
    delivered_again(made, loop, without=5)
    assert told(loop) == []

"""A tick, a sensor's look and `status` read as much after a long history as after a short one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support import hours

from updraft.cli.status import describe
from updraft.control.delivery import read_delivery
from updraft.control.fleet import read_row
from updraft.control.metrics import project_samples
from updraft.control.partition import read_partition
from updraft.control.project import read_project
from updraft.control.release import read_release
from updraft.loop.alerting.release_alerts import of_release
from updraft.loop.in_process import play
from updraft.loop.kept_out import lasting_signs
from updraft.loop.sensor_looks import ask
from updraft.loop.watchdog import overdue_training
from updraft.spec.model import Alerts
from updraft.store.migrations import upgrade
from updraft.store.store import Store

SHORT, LONG = 260, 2600
"""Hours. The short history is longer than the week that a feed is held against."""


@contextmanager
def reads(store: Store) -> Iterator[Counter[str]]:
    """Rows that each statement brought, while it lasts; statements that brought none count as well."""
    counted: Counter[str] = Counter()

    def count(connection, cursor, statement, parameters, context, executemany):
        counted[f"{statement} (statements)"] += 1
        counted[statement] += max(cursor.rowcount, 0)

    sa.event.listen(store.engine, "after_cursor_execute", count)
    try:
        yield counted
    finally:
        sa.event.remove(store.engine, "after_cursor_execute", count)


def reads_after(store: Store, folder: Path, length: int) -> dict[str, Counter[str]]:
    """What each question reads after a history of so many hours."""
    loop, models = hours.begin(folder, store)
    hours.lengthen(loop, models, length)
    assert store.state_problems(loop.name) == []
    assert store.verify_chain(loop.name) > 2 * length - 30
    for row in hours.ticks(loop, models, range(length, length + 3)):
        play(loop, models, row)  # what is kept in the lake is there from now on
    [row] = hours.ticks(loop, models, range(length + 3, length + 4))
    [open_release] = store.releases(loop.name, states=("probation",))
    watched = loop.spec.model_copy(update={"alerts": Alerts(training_older_than=5)})
    assert overdue_training(store, watched) is not None
    questions: dict[str, Callable[[], object]] = {
        "tick": lambda: play(loop, models, row),
        "remedy": lambda: ask(loop, "remedy"),
        "release": lambda: ask(loop, "release", open_release.id),
        "telling": lambda: of_release(loop, open_release.id),
        "status": lambda: describe(store, loop.name, 3, loop, loop.partition(row.key).tick),
        "silence": lambda: overdue_training(store, watched),
        "signs": lambda: lasting_signs(store, loop.name, row.key, [("nulls", "heat")]),
        "fleet": lambda: read_row(loop, loop.partition(row.key).tick),
        "metrics": lambda: list(project_samples(loop, loop.partition(row.key).tick)),
        "project": lambda: read_project(loop, loop.partition(row.key).tick, decisions=4, promotions=4),
        "delivery": lambda: read_delivery(store, loop.name, most=4),
        "release page": lambda: read_release(loop, open_release.id),
        "partition": lambda: read_partition(loop, row.key),
    }
    told = {}
    for name, question in questions.items():
        with reads(store) as told[name]:
            question()
    assert "champion" in store.predictions(loop.name, row.key)
    assert store.decisions(loop.name)[-1].subject == row.key  # it was diagnosed
    return told


@pytest.fixture(scope="module")
def counted(postgres_server, tmp_path_factory):
    """What each question reads, after the short history and after the long one."""
    told = {}
    for length in (SHORT, LONG):
        url = postgres_server.new_database()
        upgrade(url)
        store = Store.open(url)
        told[length] = reads_after(store, tmp_path_factory.mktemp("hours"), length)
        store.close()
        postgres_server.drop_database(url)
    return told


@pytest.mark.parametrize(
    "question",
    [
        "tick",
        "remedy",
        "release",
        "telling",
        "status",
        "silence",
        "signs",
        "fleet",
        "metrics",
        "project",
        "delivery",
        "release page",
        "partition",
    ],
)
def test_ten_times_the_history_brings_not_one_more_statement_or_row(counted, question):
    short, long = counted[SHORT][question], counted[LONG][question]
    assert sum(short.values()) > 3
    assert {name: (short[name], long[name]) for name in {*short, *long} if short[name] != long[name]} == {}

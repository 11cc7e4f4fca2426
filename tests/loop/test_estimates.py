"""The estimate of a partition's loss: there before its labels, beside what came true after them, and read by nothing that decides."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa
from tests.support import flights, hours

from updraft.cli.status import describe
from updraft.control.partition import read_partition
from updraft.control.project import read_project
from updraft.errors import DataError
from updraft.loop.estimates import came_true, estimate_loss
from updraft.loop.in_process import play
from updraft.loop.monitor import monitor_partition
from updraft.loop.score import score_partition
from updraft.loop.version_history import version_history
from updraft.pages import rooms
from updraft.store import tables
from updraft.store.estimates import Estimates
from updraft.store.store import Store


def estimates_of(loop, newest=100):
    return Estimates(loop.store.engine).newest(loop.name, newest=newest)


@pytest.fixture(scope="module")
def hourly(tmp_path_factory):
    """An hourly project, whose labels are known an hour later, with a long record of estimates."""
    store = Store.in_memory()
    loop, models = hours.begin(tmp_path_factory.mktemp("hours"), store)
    hours.lengthen(loop, models, 60)
    for row in hours.ticks(loop, models, range(60, 62)):
        play(loop, models, row)
    return loop, models


def test_it_is_there_before_the_labels_shown_and_then_held_against_them(hourly):
    loop, _ = hourly
    [row] = hours.ticks(loop, None, range(62, 63))
    loop.store.record_partition(loop.name, row)
    score_partition(loop, row.key)
    now = loop.partition(row.key).tick

    *_, (before, _), (estimate, measured) = estimates_of(loop)
    assert (estimate.key, measured) == (row.key, None)
    assert before.key < row.key
    assert estimate.lower < estimate.value < estimate.upper
    assert estimate.errors == 20
    assert set(estimate.figures) == {"auc"}

    view = read_project(loop, now)
    newest = view.estimates.waiting[-1]
    assert (newest.key, newest.value) == (row.key, estimate.value)
    sentence = f"estimated {estimate.value:.3g} ({estimate.lower:.3g} to {estimate.upper:.3g}), no labels yet; of the last 20 estimates"
    assert view.estimates.words.startswith(sentence)
    page = rooms.project_page(view, rooms.Place()).decode()
    assert sentence in page
    assert f"{row.key}: log_loss estimated" in page  # the mark in the chart
    assert 'class="interval"' in page
    told = describe(loop.store, loop.name, 3, loop, now)["estimate"]
    assert (told["key"], told["words"]) == (row.key, view.estimates.words)
    assert read_partition(loop, row.key).estimate.came_true is None
    assert "No labels yet." in rooms.partition_page(read_partition(loop, row.key), rooms.Place()).decode()

    monitor_partition(loop, row.key, lambda run: None)
    [following] = hours.ticks(loop, None, range(63, 64))
    loop.store.record_partition(loop.name, following)
    score_partition(loop, following.key)
    monitor_partition(loop, following.key, lambda run: None)
    [performance] = loop.store.performance(loop.name, key=row.key)
    newest_true = came_true(loop)[-1]
    assert newest_true.estimate == estimate  # what was estimated stays as it was
    assert newest_true.value == performance.metrics["log_loss"]
    assert newest_true.error == pytest.approx(newest_true.value - estimate.value)
    shown = read_partition(loop, row.key)
    assert shown.estimate.came_true == newest_true.value
    assert "What came true so far" in rooms.partition_page(shown, rooms.Place()).decode()
    record = read_project(loop, now).estimates.record
    assert (record.with_interval, record.came_true) == (20, 20)
    assert record.held == sum(row.held for row in came_true(loop))


def test_scoring_again_estimates_nothing_anew(hourly):
    loop, _ = hourly
    before = estimates_of(loop)
    for estimate, _ in before[-3:]:
        score_partition(loop, estimate.key)
    assert estimates_of(loop) == before


def test_without_a_record_there_is_no_interval_and_some_of_the_labels_are_no_record(lake):
    """A week's flights are known a day after it: at its tick all but the last day's have labels."""
    home, rows = lake
    loop, _ = flights.played(home, rows[:10])
    (_, measured), (newest, partly) = estimates_of(loop)
    assert (newest.key, newest.lower, newest.upper, newest.errors) == (rows[9].key, None, None, 0)
    assert partly.rows < newest.rows
    assert [true.estimate.key for true in came_true(loop)] == [rows[8].key]
    assert came_true(loop)[0].held is None
    assert measured.as_of == rows[9].key
    words = read_project(loop, loop.partition(rows[9].key).tick).estimates.record.words
    assert words == "not enough record yet for an interval: 1 of 9 estimates have come true"


def test_estimates_that_are_absurd_change_no_decision_and_no_loss(lake):
    home, rows = lake
    plain, models = flights.copied(*flights.played(home, rows[:9]))
    absurd, other = flights.copied(plain, models)
    for row in rows[9:11]:
        play(plain, models, row)
        with absurd.store.engine.begin() as connection:
            connection.execute(sa.update(tables.estimates).values(value=99.0, spread=0.0, lower=98.0, upper=100.0))
        play(absurd, other, row)
    assert estimates_of(absurd)[-2][0].value == 99.0
    decided = [
        [(link.key, link.kind, link.subject, link.body) for link in loop.store.decisions(loop.name)]
        for loop in (plain, absurd)
    ]
    assert decided[0] == decided[1]
    assert plain.store.performance(plain.name) == absurd.store.performance(absurd.name)


def test_an_estimate_that_fails_stops_nothing_and_one_of_no_rows_is_none(lake, monkeypatch, caplog):
    home, rows = lake
    loop, models = flights.copied(*flights.played(home, rows[:9]))
    assert estimate_loss(loop, rows[8].key, "1", None, np.empty(0)) is None

    def fails(*_, **__):
        raise DataError("2013-02-25T0500 is no tick of data.schedule")

    monkeypatch.setattr("updraft.loop.score.estimate_loss", fails)
    play(loop, models, rows[9])
    assert "champion" in loop.store.predictions(loop.name, rows[9].key)
    assert loop.store.decisions(loop.name)[-1].key == rows[9].key
    assert "could not be estimated" in caplog.text


def test_of_a_regression_it_is_what_similar_scores_lost(tmp_path, monkeypatch):
    """The same hours, whose label is learnt as a number: each of 0 or 1."""
    changed = {
        "task: binary": "task: regression",
        '"failed > 0"': '"failed"',
        "log_loss: {no_worse_than_champion_by: 0.5}": "rmse: {no_worse_than_champion_by: 0.5}",
        "metric: log_loss": "metric: squared_error",
    }
    spec = hours._SPEC
    for before, after in changed.items():
        assert before in spec
        spec = spec.replace(before, after)
    monkeypatch.setattr(hours, "_SPEC", spec)
    loop, models = hours.begin(tmp_path, Store.in_memory())
    for row in hours.ticks(loop, models, range(hours.PLAYED, hours.PLAYED + 2)):
        play(loop, models, row)
    *_, (estimate, performance), (_, not_yet) = estimates_of(loop)
    assert not_yet is None
    assert estimate.metric == "rmse"
    assert estimate.figures == {}
    assert estimate.value == pytest.approx(performance.metrics["rmse"], rel=0.3)
    view = read_project(loop, loop.partition(estimate.key).tick)
    assert [point.loss for point in view.losses][-1] == performance.metrics["rmse"]  # in one chart with the estimates
    assert view.row.metric == "rmse"
    [of_version, *_] = version_history(loop, view.row.champion).scored
    assert of_version.loss is not None  # told by the same metric there

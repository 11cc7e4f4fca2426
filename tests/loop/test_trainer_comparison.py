"""The project's trainers learn from one window and are held against each other, and against what served, on one holdout."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
from tests.support import flights
from typer.testing import CliRunner

from updraft.cli import compare
from updraft.cli.main import app
from updraft.errors import TrainingError
from updraft.loop import trainer_comparison
from updraft.loop.trainer_comparison import CHAMPION, compare_trainers
from updraft.spec.model import Trainer

GOOD = Trainer(name="xgboost", params={"max_depth": 4, "eta": 0.2, "rounds": 40})
POOR = Trainer(name="lightgbm", params={"rounds": 1, "learning_rate": 0.001})


def with_trainers(loop, *trainers):
    training = loop.spec.training.model_copy(update={"trainers": trainers})
    project = loop.project.model_copy(update={"spec": loop.spec.model_copy(update={"training": training})})
    return replace(loop, project=project)


@pytest.fixture(scope="module")
def loop(lake):
    home, rows = lake
    return flights.played(home, rows[:11])[0]


def test_each_is_measured_on_the_same_rows_and_the_better_one_is_shown(loop):
    compared = compare_trainers(with_trainers(loop, POOR, GOOD))
    poor, good, served = compared.contenders
    assert [contender.trainer for contender in compared.contenders] == ["lightgbm", "xgboost", CHAMPION]
    assert poor.rows == good.rows >= served.rows > 0
    assert poor.gain is None
    assert good.gain.shown_positive
    assert good.measured["log_loss"] < poor.measured["log_loss"]
    assert set(good.measured) == set(loop.spec.task_type.metric_names)
    assert set(compared.holdout) < set(compared.window)
    assert good.seconds > 0
    assert served.measured["log_loss"] < poor.measured["log_loss"]


def test_nothing_is_started_and_what_was_learnt_is_not_learnt_again(loop):
    before = loop.store.decisions(loop.name), loop.store.versions(loop.name)
    asked = with_trainers(loop, POOR, GOOD)
    first, second = compare_trainers(asked), compare_trainers(asked)
    assert [contender.measured for contender in first.contenders] == [c.measured for c in second.contenders]
    assert all(contender.seconds is None for contender in second.contenders)
    assert before == (loop.store.decisions(loop.name), loop.store.versions(loop.name))


def test_what_cannot_learn_here_is_left_out_by_name(loop, monkeypatch):
    monkeypatch.setattr(trainer_comparison, "learns_here", lambda name: name == "lightgbm")
    assert list(compare_trainers(with_trainers(loop, POOR, GOOD)).left_out) == ["xgboost"]
    monkeypatch.setattr(trainer_comparison, "learns_here", lambda name: False)
    with pytest.raises(TrainingError, match=r"none of its trainers can learn here \(lightgbm, xgboost\)"):
        compare_trainers(with_trainers(loop, POOR, GOOD))


def test_without_a_partition_it_says_so(tmp_path):
    empty, _ = flights.fresh_loop(tmp_path)
    with pytest.raises(TrainingError, match="no partition is published yet"):
        compare_trainers(empty)


def test_the_command_shows_a_table_and_says_what_follows(loop, monkeypatch):
    asked = with_trainers(loop, POOR, GOOD)
    monkeypatch.setattr(compare, "find_project", lambda name: asked.project)
    monkeypatch.setattr(compare, "loop_of", lambda project, store: asked)
    monkeypatch.setattr(compare, "open_store", lambda: nullcontext(asked.store))
    shown = CliRunner().invoke(app, ["compare", loop.name]).output
    assert (
        "xgboost is shown better than lightgbm: start it by the form of flight_delays.train (trainer: xgboost)" in shown
    )
    assert "what served" in shown
    assert shown.splitlines()[1].split()[:3] == ["trainer", "rows", "log_loss"]

"""A world that changes just after a training: the cooldown holds the next one back, and must not let the jump be forgotten."""

import pytest
from tests.support import hours

from updraft.data.columns import LABEL
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels, play
from updraft.settings import Settings
from updraft.spec.model import RefreshLane, Remedies, Retrain
from updraft.store.store import Store

EVERY, COOLDOWN, HOLDOUT = 8, 3, 6


@pytest.fixture
def played(tmp_path, monkeypatch):
    """Plays hours of a world that turns round at a given hour, and returns the episodes."""

    def play_hours(turns_at, cooldown=COOLDOWN, at_most=None):
        right = hours.events

        def turned(hour):
            rows = right(hour)
            return rows.assign(**{LABEL: 1.0 - rows[LABEL]}) if hour >= turns_at else rows

        monkeypatch.setattr(hours, "events", turned)
        project = hours.project(tmp_path)
        spec = project.spec
        lane = RefreshLane(holdout=HOLDOUT, shadow=0, probation=1)
        retrain = Retrain(every=EVERY, on=("jump",), cooldown=cooldown, per_year=10_000, at_most=at_most)
        spec = spec.model_copy(
            update={
                "training": spec.training.model_copy(update={"first_after": HOLDOUT + 3, "window": 20}),
                "release": spec.release.model_copy(update={"refresh": lane}),
                "monitoring": spec.monitoring.model_copy(
                    update={"remedies": Remedies(recalibrate=None, retrain=retrain)}
                ),
            }
        )
        settings = Settings(
            home=tmp_path, projects=tmp_path, lake=f"file://{tmp_path / 'lake'}", store="", mlflow="", airflow=""
        )
        models, store = KeptModels(), Store.in_memory()
        loop = Loop(project.model_copy(update={"spec": spec}), settings, store, models)
        for hour in range(FIRST + EVERY + 6):
            play(loop, models, hours.ingested(loop, hour))
        return [(row.opened_at, row.cause, row.diagnosis["words"]) for row in store.episodes(loop.name)]

    return play_hours


FIRST = HOLDOUT + 3
"""Hour at whose tick the first model comes: the labels of so many hours before it are known."""


def test_a_jump_within_the_cooldown_is_answered_when_it_is_over(played):
    by_age = FIRST + EVERY
    episodes = played(
        turns_at=by_age
    )  # the new model scores the hour after it first, whose labels are known two ticks after the training
    assert [(at, cause) for at, cause, _ in episodes][:3] == [
        (hours.key(FIRST), "first"),
        (hours.key(by_age), "age"),
        (hours.key(by_age + COOLDOWN), "jump"),
    ]
    words = episodes[2][2]
    assert f"on {hours.key(by_age + 1)};" in words
    assert words.endswith("the cooldown held its training back")


def test_without_a_jump_the_cooldown_holds_nothing_back(played):
    assert [cause for _, cause, _ in played(turns_at=10_000)] == ["first", "age"]


def test_without_a_cooldown_the_jump_is_answered_at_once(played):
    by_age = FIRST + EVERY
    at, cause, words = played(turns_at=by_age, cooldown=0)[2]
    assert (at, cause) == (hours.key(by_age + 2), "jump")
    assert "cooldown" not in words


def test_a_jump_while_the_rate_holds_trainings_back_is_answered_when_it_allows_one(played):
    by_age, of = FIRST + EVERY, 12
    episodes = played(turns_at=by_age, at_most=f"2 of {of}")
    assert [(at, cause) for at, cause, _ in episodes][:3] == [
        (hours.key(FIRST), "first"),
        (hours.key(by_age), "age"),
        (hours.key(FIRST + of), "jump"),
    ]
    assert episodes[2][2].endswith(f"at_most: 2 of {of} held its training back")

"""The study in a real PostgreSQL: written once by each trial's number, in a schema of its own."""

from __future__ import annotations

import threading

import optuna
import pytest
import sqlalchemy as sa

from updraft.search.sampling import distributions
from updraft.search.study import SCHEMA, Study
from updraft.spec.search import Search

pytestmark = pytest.mark.integration
SPACE = distributions(
    "xgboost",
    Search.model_validate(
        {"space": {"max_depth": {"at_least": 2, "at_most": 9}, "eta": {"at_least": 0.1, "at_most": 1}}}
    ).space,
)


@pytest.fixture
def engine(postgres_url):
    made = sa.create_engine(postgres_url)
    yield made
    made.dispose()


@pytest.fixture
def study(engine):
    made = Study(engine, "flights:run")
    yield made
    made.close()


def begin(study, number, depth=3):
    params = {"max_depth": depth, "eta": 0.5}
    study.begin(number, {**params, "rounds": 9}, params, SPACE)


def test_a_trial_is_kept_with_its_number_its_parameters_and_its_loss(study, engine):
    begin(study, 4)
    assert study.rows()[4].state == "running"
    study.end(4, [0.7, 0.5, 0.6], pruned=False)
    again = Study(engine, "flights:run")
    row = again.rows()[4]
    assert (row.state, row.loss, row.rounds) == ("done", 0.5, 3)
    assert row.params == {"max_depth": 3, "eta": 0.5, "rounds": 9}
    assert row.searched == {"max_depth": 3, "eta": 0.5}
    again.close()


def test_a_trial_that_was_given_up_has_the_loss_of_its_last_round(study):
    begin(study, 0)
    study.end(0, [0.7, 0.5, 0.6], pruned=True)
    row = study.rows()[0]
    assert (row.state, row.loss, row.rounds) == ("pruned", 0.6, 3)


def test_beginning_and_ending_twice_changes_nothing(study):
    for _ in range(2):
        begin(study, 0)
        study.end(0, [0.7, 0.5], pruned=False)
    study.end(0, [0.1], pruned=True)
    begin(study, 0, depth=8)
    assert list(study.rows()) == [0]
    assert study.rows()[0].loss == 0.5


def test_two_that_begin_the_same_trial_at_once_begin_it_once(engine):
    studies = [Study(engine, "flights:race") for _ in range(4)]
    threads = [threading.Thread(target=begin, args=(each, 0)) for each in studies]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    with engine.connect() as connection:
        count = connection.execute(sa.text(f"select count(*) from {SCHEMA}.trials")).scalar()
    assert count == 1
    for each in studies:
        each.close()


def test_two_that_open_the_first_study_at_once_make_its_tables_once(engine):
    opened, failed = [], []

    def open_it():
        try:
            opened.append(Study(engine, "flights:first"))
        except (sa.exc.SQLAlchemyError, optuna.exceptions.OptunaError) as error:  # a thread's error is lost otherwise
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    assert len(opened) == 3
    for each in opened:
        each.close()


def test_a_failed_trial_says_why_and_begins_anew(study):
    begin(study, 0)
    study.give_up(0, "its task failed")
    study.give_up(1, "out of time")
    assert {number: (row.state, row.why) for number, row in study.rows().items()} == {
        0: ("failed", "its task failed"),
        1: ("failed", "out of time"),
    }
    begin(study, 0)
    study.end(0, [0.4], pruned=False)
    study.give_up(0, "too late")
    assert (study.rows()[0].state, study.rows()[0].loss) == ("done", 0.4)


def test_a_long_curve_is_kept_in_few_points_with_its_best_and_its_last(study, postgres_url):
    begin(study, 0)
    curve = [1 / (1 + at) if at < 333 else 0.5 for at in range(1000)]
    study.end(0, curve, pruned=False)
    storage = optuna.storages.RDBStorage(
        postgres_url, engine_kwargs={"connect_args": {"options": f"-csearch_path={SCHEMA}"}}
    )
    [trial] = optuna.load_study(study_name="flights:run", storage=storage).get_trials()  # as Optuna's own tools read it
    assert trial.value == curve[332]
    assert trial.intermediate_values[333] == curve[332]
    assert trial.intermediate_values[1000] == 0.5
    assert len(trial.intermediate_values) <= 22
    storage.engine.dispose()


def test_the_parameter_that_makes_the_difference_is_told(study):
    for number in range(12):
        params = {"max_depth": 2 + number % 8, "eta": 0.1 + 0.07 * number}
        study.begin(number, params, params, SPACE)
        study.end(number, [abs(params["max_depth"] - 5) + 0.001 * number], pruned=False)
    importance = study.importance()
    assert importance["max_depth"] > importance["eta"]


def test_few_trials_tell_nothing_of_importance(study):
    begin(study, 0)
    study.end(0, [0.5], pruned=False)
    assert study.importance() == {}

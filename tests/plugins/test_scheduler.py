"""The scheduler's loop begins anew when its database is back, and dies of everything else as ever."""

from __future__ import annotations

import logging
import threading
import time

import pytest
import sqlalchemy as sa
from airflow import settings
from sqlalchemy.exc import OperationalError

from updraft_airflow import scheduler


class Runner:
    """What the loop is given."""

    log = logging.getLogger("test")


@pytest.fixture
def database(tmp_path, monkeypatch):
    """An engine whose database cannot be opened before a folder is there."""
    monkeypatch.setattr(scheduler, "AWAY_PAUSE", 0.05)
    monkeypatch.setattr(scheduler, "GRACE", 0.2)
    engine = sa.create_engine(f"sqlite:///{tmp_path}/away/database")
    monkeypatch.setattr(settings, "engine", engine)
    yield engine, tmp_path / "away"
    engine.dispose()


def query(engine):
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")


def test_while_the_database_is_away_the_scheduler_waits_and_its_loop_begins_anew_after_it(database, caplog):
    engine, folder = database
    turns = []

    def loop(runner):
        turns.append(time.monotonic())
        query(engine)

    waiting = threading.Thread(target=scheduler.outlasting(loop), args=(Runner(),))
    waiting.start()
    time.sleep(0.5)
    assert waiting.is_alive()
    folder.mkdir()
    waiting.join(timeout=10)
    assert not waiting.is_alive()
    assert len(turns) == 2
    assert caplog.records[0].message.startswith("The database is away (")
    assert any(record.message.startswith("The database is back after") for record in caplog.records)


def test_an_error_of_a_database_that_answers_ends_the_loop(database):
    engine, folder = database
    folder.mkdir()

    def loop(runner):
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT * FROM nothing")

    with pytest.raises(OperationalError):
        scheduler.outlasting(loop)(Runner())


def test_the_loop_of_this_airflow_is_the_one_that_outlasts(monkeypatch):
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    loop = SchedulerJobRunner._run_scheduler_loop
    own = getattr(loop, "__wrapped__", loop)  # a test of the executor before this one has had it wrapped in this process
    monkeypatch.setattr(SchedulerJobRunner, "_run_scheduler_loop", own)
    scheduler.outlast_databases()
    scheduler.outlast_databases()  # once
    assert SchedulerJobRunner._run_scheduler_loop.__wrapped__ is own

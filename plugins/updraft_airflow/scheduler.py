"""The scheduler's loop outlasts a database that goes away in the midst of its work, in place of dying and starting again."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from airflow import settings
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from sqlalchemy import Engine

AWAY_PAUSE = 0.5
"""Seconds between two looks for a database that is away."""
GRACE = 12.0
"""Seconds at most from the database's return until the scheduler goes on: a running task tells that it lives again within ten
(``execution_api_retry_wait_max``)."""


def outlast_databases() -> None:
    """Let this process's scheduler go on when its database is back; for the scheduler's process, before its loop begins."""
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    loop = SchedulerJobRunner._run_scheduler_loop
    if not hasattr(loop, "__wrapped__"):
        SchedulerJobRunner._run_scheduler_loop = outlasting(loop)


def outlasting(loop: Callable[[Any], None]) -> Callable[[Any], None]:
    """A scheduler's loop that begins anew when its database went away and is back. Any other error ends it, as ever."""

    @wraps(loop)
    def run(runner: Any) -> None:
        while True:
            try:
                return loop(runner)
            except DBAPIError as error:
                lost = error.connection_invalidated
                was_away = settings.engine is not None and await_database(settings.engine, runner.log)
                if not (lost or was_away):
                    raise
                runner.log.warning("The scheduler goes on after its database was away: %s", error.orig)

    return run


def await_database(engine: Engine, log: Any) -> bool:
    """Come back when Airflow's database answers; whether it was away.

    After it was, the tasks that run are given as long to say that they live, else all of them would count as dead.
    """
    since = time.monotonic()
    away = False
    while True:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
            break
        except DBAPIError as error:
            if not away:
                log.warning("The database is away (%s); waiting for it", error.orig)
            away = True
            time.sleep(AWAY_PAUSE)
    if away:
        log.warning("The database is back after %.0f s", time.monotonic() - since)
        time.sleep(min(time.monotonic() - since, GRACE))
    return away

"""Fixtures that every room may use."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator

import pytest
from tests.support.postgres import Postgres, running_postgres
from tests.support.slack import SlackServer, running_slack

pytest_plugins = ["tests.support.cluster", "tests.support.team_airflow", "tests.support.lanes", "tests.support.cost"]

# Importing Airflow writes its configuration into its home: let that be nobody's own. Before any test imports it.
_airflow_home = tempfile.TemporaryDirectory(prefix="updraft-airflow-")
os.environ["AIRFLOW_HOME"] = _airflow_home.name
# What is dear to make, for all processes of this run: who makes the folder is the first of them and removes it.
if "UPDRAFT_TESTS_SHARED" not in os.environ:
    _shared = tempfile.TemporaryDirectory(prefix="updraft-tests-")
    os.environ["UPDRAFT_TESTS_SHARED"] = _shared.name


# Five thousand tests and a dozen heavy libraries are a million objects, which live to the end: to look through them for garbage again and again
# takes a quarter of the time of collecting the tests. So nothing is looked for until they are there, and they are never looked at.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else DuckDB's binding finds at the end that nothing was given back, and prints a page of it
    gc.enable()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One PostgreSQL for the whole test run, started by the first test that asks for it."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """SQLAlchemy URL (``postgresql+psycopg2://…``) of an empty database of this test's own."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def store_url(postgres_server: Postgres) -> Iterator[str]:
    """The same of a store that is up to date and holds nothing yet."""
    url = postgres_server.new_store()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def slack_server() -> Iterator[SlackServer]:
    """A local server that speaks Slack's API."""
    with running_slack() as server:
        yield server

"""A deployment of the reference project on a real store, for what runs inside Airflow."""

from __future__ import annotations

import pytest
from tests.support.flights import PROJECTS

from updraft.store.store import Store


@pytest.fixture
def store(store_url, tmp_path, monkeypatch):
    from updraft_airflow import deployment

    for name, value in {
        "UPDRAFT_HOME": str(tmp_path),
        "UPDRAFT_PROJECTS": str(PROJECTS),
        "UPDRAFT_STORE": store_url,
        "UPDRAFT_MLFLOW": "http://127.0.0.1:1",
        "UPDRAFT_POLL_SECONDS": "0.05",
    }.items():
        monkeypatch.setenv(name, value)
    for cached in (deployment.settings, deployment._store, deployment._registry):
        cached.cache_clear()
    found = Store.open(store_url)
    yield found
    found.close()
    deployment.store().close()
    for cached in (deployment.settings, deployment._store, deployment._registry):
        cached.cache_clear()

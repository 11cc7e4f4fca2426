"""`/updraft/metrics`: for whoever shows the deployment's token, and nobody else."""

from __future__ import annotations

import pytest

from updraft.errors import SettingsError
from updraft.settings import Settings

TOKEN = "5f0e2b6c9d1a4e7f"


@pytest.fixture
def answered(store, monkeypatch):
    """What the app answers to a scraper that shows a header, where the deployment has a token or none."""
    from starlette.testclient import TestClient

    from updraft_airflow import deployment
    from updraft_airflow.pages import access
    from updraft_airflow.pages import app as pages

    def answered(token, authorization=None):
        monkeypatch.setenv("UPDRAFT_METRICS_TOKEN", token)
        deployment.settings.cache_clear()
        headers = {} if authorization is None else {"Authorization": authorization}
        with TestClient(pages.app) as client:
            return client.get("/metrics", headers=headers)

    access.catalogue.cache_clear()
    yield answered
    access.catalogue.cache_clear()


def test_without_a_token_of_the_deployment_there_are_no_metrics(answered):
    for shown in (None, "Bearer ", f"Bearer {TOKEN}"):
        answer = answered("", shown)
        assert answer.status_code == 404
        assert answer.json() == {"detail": "no metrics: UPDRAFT_METRICS_TOKEN is not set for the API server"}


@pytest.mark.parametrize(
    "shown",
    [None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}0", f"Bearer {TOKEN[:-1]}", "Bearer \xff"],
)
def test_another_token_is_refused(answered, shown):
    answer = answered(TOKEN, shown.encode("latin-1") if shown is not None else None)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_a_scraper_reads_every_project(answered):
    answer = answered(TOKEN, f"Bearer {TOKEN}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "private, no-store"
    assert 'updraft_project_state{project="flight_delays",state="no model yet"} 1\n' in answer.text
    assert "\nupdraft_store_up 1\n" in f"\n{answer.text}"


def test_a_token_that_is_easily_guessed_or_no_header_is_refused_without_being_quoted():
    assert Settings.from_env({"UPDRAFT_METRICS_TOKEN": TOKEN}).metrics_token == TOKEN
    assert TOKEN not in repr(Settings.from_env({"UPDRAFT_METRICS_TOKEN": TOKEN}))
    for token in ("short", "a" * 20 + " ", "é" * 20, "a" * 20 + "\n"):
        with pytest.raises(SettingsError, match="UPDRAFT_METRICS_TOKEN must be 16") as error:
            Settings.from_env({"UPDRAFT_METRICS_TOKEN": token})
        assert token not in str(error.value)

"""One project's error, of whatever kind, does not stop the upkeep of the others."""

from __future__ import annotations

import shutil

import pytest
from airflow.sdk.exceptions import AirflowFailException
from tests.support.broken_feeds import ingest, keys_of, trained
from tests.support.flights import PROJECTS, flights


def test_the_other_projects_are_kept_up_and_the_task_fails_at_the_end(store, tmp_path, monkeypatch):
    from updraft_airflow import deployment
    from updraft_airflow.operators.maintenance import ForEachProject

    for name in ("alpha", "beta", "gamma"):
        folder = shutil.copytree(PROJECTS / "flight_delays", tmp_path / "projects" / name)
        spec = folder / "project.yaml"
        spec.write_text(spec.read_text().replace("name: flight_delays", f"name: {name}"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    deployment.settings.cache_clear()
    seen = []

    class Step(ForEachProject):
        def step(self, loop):
            seen.append(loop.name)
            if loop.name == "beta":
                raise KeyError("a secret cell")
            return 1

    with pytest.raises(AirflowFailException, match="beta: KeyError") as failed:
        Step(task_id="keep_up").execute({})
    assert seen == ["alpha", "beta", "gamma"]
    assert "secret" not in str(failed.value)


def test_a_feed_that_is_refused_for_weeks_is_told_by_the_daily_upkeep_as_nothing_else_runs(store):
    from updraft.alerts import outbox
    from updraft_airflow.operators.maintenance import WatchLearning

    spec = flights().spec
    keys = keys_of(spec, 21)
    for key in keys[:9]:
        ingest(store, spec.name, key)
    trained(store, spec.name, keys[8])
    watch = WatchLearning(task_id="watch_learning")
    assert watch.execute({}) == {spec.name: "no training is overdue"}
    for key in keys[9:]:
        ingest(store, spec.name, key, state="refused", labels=None)
    for _ in range(2):
        assert watch.execute({})[spec.name].startswith(f"no training since {keys[8]}, 12 partitions")
    [told] = outbox.recent(store.engine, spec.name)
    assert "12 partitions were refused since" in told.alert.text

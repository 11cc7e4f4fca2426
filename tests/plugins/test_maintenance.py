"""One project's error, of whatever kind, does not stop the upkeep of the others."""

from __future__ import annotations

import shutil

import pytest
from airflow.sdk.exceptions import AirflowFailException
from tests.support.flights import PROJECTS


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

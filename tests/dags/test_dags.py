"""The DAG files, parsed as Airflow parses them: exactly the DAGs that the projects call for, each documented and owned."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from updraft.cli.main import app

ROOT = Path(__file__).parents[2]
STAGES = ("ingest", "score", "monitor", "watch", "train", "release", "rollback")
READ = textwrap.dedent(
    """
    import json, runpy, sys
    from airflow.sdk import DAG
    found, loaded = {}, {}
    for path in sys.argv[1:]:
        for dag in [one for one in runpy.run_path(path).values() if isinstance(one, DAG)]:
            found[dag.dag_id] = {
                "doc": dag.doc_md, "tasks": {t.task_id: {"retries": t.retries, "owner": t.owner} for t in dag.tasks},
                "catchup": dag.catchup, "max_active_runs": dag.max_active_runs, "file": path,
                "kinds": {t.task_id: getattr(t, "operator_class", type(t)).__name__ for t in dag.tasks},
                "pools": {t.task_id: [t.pool, t.pool_slots] for t in dag.tasks},
                "after": {t.task_id: sorted(t.upstream_task_ids) for t in dag.tasks},
                "at_once": {t.task_id: t.max_active_tis_per_dagrun for t in dag.tasks},
            }
    heavy = ["pandas", "numpy", "mlflow", "great_expectations", "evidently", "xgboost", "duckdb", "sklearn", "scipy", "pyarrow", "dvc",
             "kubernetes", "airflow.providers.cncf.kubernetes.operators.pod"]
    print(json.dumps({"dags": found, "heavy": [name for name in heavy if name in sys.modules]}))
    """
)


def parsed(projects: Path, tmp_path: Path, asked: str = "", environment: str = "") -> dict:
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "include", "plugins")),
        "UPDRAFT_PROJECTS": str(projects),
        "UPDRAFT_ENVIRONMENT": environment,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
    }
    if asked:
        env |= {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": asked, "_AIRFLOW_PARSING_CONTEXT_TASK_ID": "any"}
    files = sorted(str(path) for path in (ROOT / "dags").glob("*.py"))
    assert len(files) == 9
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, *files], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return parsed(ROOT / "include" / "projects", tmp_path_factory.mktemp("parse"))


def test_the_reference_project_has_exactly_its_dags(reference):
    assert set(reference["dags"]) == {f"flight_delays.{stage}" for stage in STAGES} | {"maintenance"}


def test_the_page_about_drift_is_written_when_it_was_decided(reference):
    assert reference["dags"]["flight_delays.monitor"]["after"]["write_report"] == ["decide_remedies"]


def test_parsing_imports_no_heavy_library(reference):
    assert reference["heavy"] == []


def test_every_dag_says_its_cadence_and_what_to_do_when_it_fails(reference):
    for name, dag in reference["dags"].items():
        assert "**Cadence:**" in dag["doc"], name
        assert "When it fails" in dag["doc"], name
        assert dag["catchup"] is False


def test_every_task_has_an_owner_and_retries(reference):
    for name, dag in reference["dags"].items():
        assert dag["tasks"], name
        for task in dag["tasks"].values():
            assert task["retries"] >= 1
            assert task["owner"] == ("updraft" if name == "maintenance" else "flight-ops-ml")


def test_partitions_are_played_one_at_a_time(reference):
    for stage in ("ingest", "score", "monitor", "watch", "train"):
        assert reference["dags"][f"flight_delays.{stage}"]["max_active_runs"] == 1


def test_a_broken_project_is_a_placeholder_and_leaves_the_others_running(tmp_path):
    projects = tmp_path / "projects"
    shutil.copytree(ROOT / "include" / "projects" / "flight_delays", projects / "flight_delays")
    for name, content in (("broken_yaml", "name: [\n"), ("my model", "name: x\n")):
        (projects / name).mkdir()
        (projects / name / "project.yaml").write_text(content)
    found = parsed(projects, tmp_path)["dags"]
    assert {"broken_yaml.broken", "my_model.broken", "flight_delays.ingest"} <= set(found)
    assert "project.yaml" in found["broken_yaml.broken"]["doc"]
    alone = parsed(projects, tmp_path, asked="my_model.broken")["dags"]
    assert "my_model.broken" in alone


def test_a_project_that_init_made_has_its_dags_at_the_next_parse(tmp_path, monkeypatch):
    projects, data = tmp_path / "projects", tmp_path / "orders.csv"
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(projects))
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    rows = [f"{n},2024-01-{1 + n // 60:02}T{n % 24:02}:00:00Z,{n % 9},{int(n % 7 > 3)}" for n in range(1200)]
    data.write_text("\n".join(["id,at,amount,late", *rows, ""]))
    done = CliRunner().invoke(app, ["init", "shop", "--data", str(data), "--owner", "me"])
    assert done.exit_code == 0, done.output
    found = parsed(projects, tmp_path)["dags"]
    assert set(found) == {f"shop.{stage}" for stage in STAGES} | {"maintenance"}
    assert {task["owner"] for task in found["shop.ingest"]["tasks"].values()} == {"me"}


def test_a_task_process_builds_only_the_dag_that_it_was_asked_for(tmp_path):
    projects = tmp_path / "projects"
    for name in ("one", "two"):
        shutil.copytree(ROOT / "include" / "projects" / "flight_delays", projects / name)
        spec = projects / name / "project.yaml"
        spec.write_text(spec.read_text().replace("name: flight_delays", f"name: {name}"))
    assert set(parsed(projects, tmp_path, asked="two.score")["dags"]) == {"two.score", "maintenance"}


def test_one_word_moves_the_training_into_a_pod_and_changes_no_other_task(reference, tmp_path):
    projects = tmp_path / "projects"
    shutil.copytree(ROOT / "include" / "projects" / "flight_delays", projects / "flight_delays")
    spec = projects / "flight_delays" / "project.yaml"
    spec.write_text(spec.read_text().replace("compute: {backend: local}", "compute: {backend: kubernetes}"))
    dag, before = parsed(projects, tmp_path)["dags"]["flight_delays.train"], reference["dags"]["flight_delays.train"]
    assert before["kinds"]["train_model"] == "TrainModel"
    assert dag["kinds"] == before["kinds"] | {"train_model": "TrainInPod"}
    assert dag["tasks"]["train_model"]["retries"] > before["tasks"]["train_model"]["retries"]


def test_the_dags_are_those_of_the_environment_that_is_chosen(reference, tmp_path):
    projects = tmp_path / "projects"
    shutil.copytree(ROOT / "include" / "projects" / "flight_delays", projects / "flight_delays")
    (projects / "flight_delays" / "project.staging.yaml").write_text("training: {compute: {backend: kubernetes}}\n")
    dag = parsed(projects, tmp_path, asked="flight_delays.train", environment="staging")["dags"]["flight_delays.train"]
    assert reference["dags"]["flight_delays.train"]["kinds"]["train_model"] == "TrainModel"
    assert dag["kinds"]["train_model"] == "TrainInPod"


def test_a_project_that_says_what_to_search_has_one_dag_more_whose_trials_are_mapped_and_counted(tmp_path):
    projects = tmp_path / "projects"
    shutil.copytree(ROOT / "include" / "projects" / "flight_delays", projects / "flight_delays")
    spec = projects / "flight_delays" / "project.yaml"
    search = "search: {parallel: 3, space: {max_depth: {at_least: 2, at_most: 8}}}"
    own = spec.read_text()
    for compute, kind, pool in (
        ("{backend: local}", "SearchTrial", ["training", 1]),
        ("{backend: kubernetes, gpu: 2}", "TrialInPod", ["gpu", 2]),
        ("{backend: kubernetes}", "TrialInPod", ["default_pool", 1]),
        ("{backend: kubernetes, gpu: 1, queue: research, workers: 2}", "TrialInQueue", ["gpu", 1]),
    ):
        spec.write_text(own.replace("compute: {backend: local}", f"compute: {compute}\n  {search}"))
        found = parsed(projects, tmp_path)
        assert set(found["dags"]) == {f"flight_delays.{stage}" for stage in (*STAGES, "search")} | {"maintenance"}
        dag = found["dags"]["flight_delays.search"]
        assert dag["kinds"]["search_trial"] == kind
        assert dag["pools"]["search_trial"] == pool
        assert dag["at_once"]["search_trial"] == 3
        assert "**Cadence:**" in dag["doc"]
        if "kubernetes" not in compute:
            assert found["heavy"] == []

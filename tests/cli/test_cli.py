"""The command line: help with an example, JSON for scripts, exit codes that mean something."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from updraft.release.power import detectable_gain, spread
from updraft.store.migrations import upgrade
from updraft.store.records import (
    EpisodeRow,
    EvidenceRow,
    IngestedPartition,
    PartitionRow,
    ReleaseRow,
    TrainingRow,
)
from updraft.store.store import Store

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "validate",
    "status",
    "replay",
    "backtest",
    "rightsize",
    "train run",
    "rollback",
    "readmit",
    "keys rotate",
    "doctor",
)


def run(*arguments, **env):
    known = {name: value for name, value in os.environ.items() if not name.startswith("UPDRAFT_")}
    known |= {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "include", "plugins")), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "updraft.cli", *arguments],
        env=known | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def deployment(postgres_url, tmp_path):
    upgrade(postgres_url)
    return {"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_STORE": postgres_url, "UPDRAFT_MLFLOW": "http://127.0.0.1:1"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, tmp_path):
    done = run(*command.split(), "--help", UPDRAFT_HOME=str(tmp_path))
    assert done.returncode == 0
    assert f"Example: updraft {command}" in " ".join(done.stdout.split())


def test_a_sound_project_validates(tmp_path):
    done = run("validate", "flight_delays", "--json", UPDRAFT_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["flight_delays"]["sound"] is True


def test_a_broken_project_ends_with_2_and_every_problem(tmp_path):
    folder = tmp_path / "projects" / "bad"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text("name: bad\nowner: me\ndata: {schedule: never, start: soon}\nrelase: {}\n")
    done = run("validate", UPDRAFT_HOME=str(tmp_path), UPDRAFT_PROJECTS=str(tmp_path / "projects"))
    assert done.returncode == 2
    for word in ("schedule", "start", "relase", "release", "features.py"):
        assert word in done.stdout


def test_a_project_that_does_not_fit_its_sources_ends_with_2_and_every_column_that_is_not_there(tmp_path):
    folder = shutil.copytree(ROOT / "include" / "projects" / "flight_delays", tmp_path / "projects" / "flight_delays")
    text = (folder / "project.yaml").read_text()
    for right, wrong in (
        ("key: [carrier, flight,", "key: [carier, flight,"),
        ("by: [origin, carrier]", "by: [orign, carrier]"),
        ("join: [tailnum]", "join: [tailnumber]"),
    ):
        assert right in text
        text = text.replace(right, wrong)
    (folder / "project.yaml").write_text(text)
    done = run("validate", UPDRAFT_HOME=str(tmp_path), UPDRAFT_PROJECTS=str(folder.parent))
    assert done.returncode == 2
    for words in (
        "project.yaml:13: data.key = ['carier', 'flight', 'origin', 'time_hour']: no column 'carier' in flights; did you mean `carrier`?",
        "gates.slices.by = ['orign', 'carrier']: no column 'orign' in the published rows; did you mean `origin`?",
        "data.sources.planes.join",
    ):
        assert words in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("expr", "says"),
    [
        ("arr_dely > 15", "no column 'arr_dely' in flights; did you mean `arr_delay`?"),
        (
            "arr_delay >> > 15",
            "is no SQL expression (DuckDB) for a number or true/false: Parser Error: syntax error at or near",
        ),
    ],
)
def test_a_label_that_cannot_be_evaluated_is_told_before_anything_runs(tmp_path, expr, says):
    folder = shutil.copytree(ROOT / "include" / "projects" / "flight_delays", tmp_path / "projects" / "flight_delays")
    text = (folder / "project.yaml").read_text()
    assert "arr_delay > 15" in text
    (folder / "project.yaml").write_text(text.replace("arr_delay > 15", expr))
    done = run("validate", UPDRAFT_HOME=str(tmp_path), UPDRAFT_PROJECTS=str(folder.parent))
    assert done.returncode == 2
    assert says in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "run", "nowhere/request.json"), "there is no such file"),
        (("backtest", "flight_delays", "--policy", "sometimes"), "no policy ['sometimes']"),
    ],
)
def test_wrong_input_ends_with_2_and_starts_nothing(tmp_path, arguments, says):
    done = run(*arguments, UPDRAFT_HOME=str(tmp_path))
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / "lake").exists()


def test_an_unknown_project_ends_with_2_and_the_known_ones(tmp_path):
    done = run("backtest", "flight_delay", UPDRAFT_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "flight_delays" in done.stderr


def test_an_unknown_policy_ends_with_2_and_the_known_ones(tmp_path):
    done = run("backtest", "flight_delays", "--policy", "sometimes", UPDRAFT_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "every 8 partitions" in done.stderr


def test_settings_that_are_wrong_end_with_2(tmp_path):
    done = run("validate", UPDRAFT_HOME=str(tmp_path), UPDRAFT_POLL_SECONDS="soon")
    assert done.returncode == 2
    assert "UPDRAFT_POLL_SECONDS='soon'" in done.stderr


def test_the_exit_codes_stand_in_the_help():
    done = run("--help")
    assert "2 wrong input" in " ".join(done.stdout.split())


def test_status_without_a_store_says_how_to_get_one(tmp_path):
    done = run("status", UPDRAFT_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "make up" in done.stderr


def test_status_tells_an_empty_project(deployment):
    done = run("status", "flight_delays", **deployment)
    assert done.returncode == 0, done.stderr
    assert "no champion yet" in done.stdout


def test_status_ends_with_3_when_a_person_is_wanted(deployment):
    store = Store.open(deployment["UPDRAFT_STORE"])
    words = {"words": "the last 2 trainings did not help"}
    store.open_episode(
        EpisodeRow("e", "flight_delays", "2013-04-01T0500", "performance", "person", "closed", words, "", "")
    )
    store.close()
    done = run("status", "--json", **deployment)
    assert done.returncode == 3
    assert json.loads(done.stdout)["flight_delays"]["wanted"] == [words["words"]]


def test_validate_tells_what_a_change_must_show_and_counts_the_margin(deployment):
    store = Store.open(deployment["UPDRAFT_STORE"])
    key, release = "2013-04-01T0500", "flight_delays-v2"
    partition = PartitionRow(key, "published", None, "0" * 64, 1, 0, None)
    store.record_partition("flight_delays", IngestedPartition(**asdict(partition), checks={}, profile=None))
    store.open_release(ReleaseRow(release, "flight_delays", "change", "2", "1", "shadow", None, None, key, None))
    gains = [0.02 * (-1) ** n + 0.001 * n for n in range(28)]
    rows = [EvidenceRow(f"2013-04-{1 + n:02}", key, 100, gain, {}) for n, gain in enumerate(gains)]
    store.record_evidence("flight_delays", release, rows)
    store.close()
    done = run("validate", "flight_delays", **deployment)
    assert done.returncode == 0, done.stderr
    needed = detectable_gain(*spread(gains), clusters=84, confidence=0.95, margin=0.01)
    words = f"must gain {needed:.4f}" if needed > 0 else f"may cost up to {-needed:.4f}"
    assert f"a change {words} in log_loss" in " ".join(done.stdout.split())


def test_readmitting_what_is_not_kept_out_is_wrong_input(deployment):
    done = run("readmit", "flight_delays", "2013-04-01T0500", "--reason", "test", **deployment)
    assert done.returncode == 2
    assert "partition 2013-04-01T0500 is not kept out" in done.stderr


def test_what_is_kept_out_wants_a_person_until_it_is_readmitted(deployment):
    store = Store.open(deployment["UPDRAFT_STORE"])
    key = "2013-04-01T0500"
    partition = PartitionRow(key, "published", None, "0" * 64, 1, 0, None)
    store.record_partition("flight_delays", IngestedPartition(**asdict(partition), checks={}, profile=None))
    found = {"words": "the feed is broken", "content": "0" * 64, "signs": [["nulls", "temp"]]}
    store.open_episode(EpisodeRow("e", "flight_delays", key, "feed", "quarantine", "closed", found, "", key))
    status = run("status", "flight_delays", **deployment)
    assert status.returncode == 3
    assert f"nothing is learnt from {key}" in status.stdout
    done = run("readmit", "flight_delays", key, "--reason", "kilometres from now on", **deployment)
    assert done.returncode == 0, done.stderr
    status = run("status", "flight_delays", **deployment)
    assert status.returncode == 0, status.stdout
    assert "readmitted partition 2013-04-01T0500" in status.stdout
    store.close()


def test_a_rollback_without_a_previous_champion_fails_with_words(deployment):
    done = run("rollback", "flight_delays", "--reason", "test", **deployment)
    assert done.returncode == 1
    assert "no previous champion" in done.stderr


def test_a_request_that_is_not_there_is_named(tmp_path):
    done = run("train", "run", str(tmp_path / "none.json"), UPDRAFT_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "none.json" in done.stderr


def test_a_damaged_env_file_is_named(tmp_path):
    (tmp_path / "env.json").write_text("{")
    done = run("status", UPDRAFT_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "env.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_rightsize_proposes_from_what_trainings_used(deployment):
    store = Store.open(deployment["UPDRAFT_STORE"])
    used = {"peak_memory_mb": 800.0, "seconds": 3600.0, "cpu_seconds": 3600.0}
    row = TrainingRow("run-1", "flight_delays", "2013-03-04T0500", None, "a" * 64, "registered", "1", used)
    store.record_training(row)
    store.close()
    done = run("rightsize", "flight_delays", "--json", **deployment)
    assert done.returncode == 0, done.stderr
    found = {each["key"]: each for each in json.loads(done.stdout)["proposals"]}
    assert (found["memory"]["now"], found["memory"]["then"]) == ("4Gi", "1Gi")
    assert found["memory"]["saving"] == "saves 3.00 GiB hours"
    assert "training.compute.memory: 4Gi -> 1Gi" in run("rightsize", "flight_delays", **deployment).stdout


def test_a_broken_deployment_is_told_for_a_project_that_trains_in_pods(tmp_path):
    projects = tmp_path / "projects"
    shutil.copytree(ROOT / "include" / "projects" / "flight_delays", projects / "flight_delays")
    spec = projects / "flight_delays" / "project.yaml"
    (tmp_path / "deployment.yaml").write_text("kubernetes: {namespac: a}\n")
    env = {"UPDRAFT_PROJECTS": str(projects), "UPDRAFT_DEPLOYMENT": str(tmp_path / "deployment.yaml")}
    assert run("validate", UPDRAFT_HOME=str(tmp_path), **env).returncode == 0
    spec.write_text(spec.read_text().replace("compute: {backend: local}", "compute: {backend: kubernetes}"))
    done = run("validate", UPDRAFT_HOME=str(tmp_path), **env)
    assert done.returncode == 2
    assert "did you mean `namespace`" in done.stdout


def test_validate_tells_what_is_wrong_in_the_file_and_with_the_sources_at_once(tmp_path):
    folder = tmp_path / "projects" / "flight_delays"
    shutil.copytree(ROOT / "include" / "projects" / "flight_delays", folder)
    text = (folder / "project.yaml").read_text()
    for old, new in (
        ("arr_delay > 15", "arr_dely > 15"),
        ("by: [origin,", "by: [orign,"),
        ("margin: 0.01 ", "margin: x "),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "project.yaml").write_text(text)
    done = run("validate", UPDRAFT_HOME=str(tmp_path), UPDRAFT_PROJECTS=str(tmp_path / "projects"))
    assert done.returncode == 2
    for word in ("did you mean `arr_delay`?", "did you mean `origin`?", "release.margin"):
        assert word in done.stdout

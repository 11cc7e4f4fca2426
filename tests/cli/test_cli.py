"""The command line: help with an example, JSON for scripts, exit codes that mean something."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.support import releases
from tests.support.broken_feeds import NULLS, UNIT, ingest, keep_out, keys_of

from updraft.alerts import known, messages, outbox
from updraft.release.power import detectable_gain, spread
from updraft.spec.load import load_project
from updraft.store.records import (
    EpisodeRow,
    EvidenceRow,
    FailedIngestion,
    IngestedPartition,
    PartitionRow,
    PerformanceRow,
    PredictionRow,
    ReleaseRow,
    TrainingRow,
)
from updraft.store.store import Store
from updraft.store.transitions import open_release

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "validate",
    "status",
    "replay",
    "backtest",
    "rightsize",
    "train run",
    "rollback",
    "reinstate",
    "readmit",
    "pass-over",
    "show",
    "diff",
    "promote",
    "admit",
    "reproduce",
    "compare",
    "explain",
    "quarantine list",
    "quarantine show",
    "keys rotate",
    "backup",
    "restore",
    "doctor",
)


def run(*arguments, **env):
    known = {name: value for name, value in os.environ.items() if not name.startswith("UPDRAFT_") and name != "COLUMNS"}
    known |= {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "include", "plugins"))}
    return subprocess.run(
        [sys.executable, "-m", "updraft.cli", *arguments],
        env=known | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def deployment(store_url, tmp_path):
    return {"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_STORE": store_url, "UPDRAFT_MLFLOW": "http://127.0.0.1:1"}


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
    assert "  partitions: none yet; 0 rows quarantined\n" in done.stdout
    upcoming = [line for line in done.stdout.splitlines() if line.startswith("  next: ")]
    assert [line.split()[1] for line in upcoming] == ["partition", "the"]
    told = json.loads(run("status", "flight_delays", "--json", **deployment).stdout)["flight_delays"]["next"]
    assert [f"  next: {line}" for line in told] == upcoming


def test_status_is_told_again_in_a_pipe_a_block_for_each_look_until_it_is_interrupted(deployment):
    told, code = watched(subprocess.PIPE, deployment)
    blocks = told.split(" UTC, again every 1 s until Ctrl-C\n")
    assert len(blocks) >= 3
    assert "\x1b" not in told
    assert blocks[1].splitlines()[:2] == ["flight_delays: no champion yet", blocks[2].splitlines()[1]]
    assert code == 0


def test_status_is_told_again_in_the_same_place_of_a_terminal(deployment):
    told, code = watched("terminal", deployment)
    clears = told.count("\x1b[H\x1b[2J")
    assert clears == told.count(" UTC, again every 1 s until Ctrl-C") >= 2
    assert told.count("no champion yet") >= 2
    assert code == 0


def test_json_is_told_once(deployment):
    done = run("status", "--watch", "5", "--json", **deployment)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--watch is for people" in done.stderr


def watched(to, deployment):
    """What `updraft status --watch` tells in two looks, on a pipe or on a terminal, and its exit code when it is interrupted then."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("UPDRAFT_") and name != "COLUMNS"}
    known |= {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "include", "plugins")), "TERM": "xterm"}
    reading, writing = os.pipe() if to == subprocess.PIPE else pty.openpty()
    command = [sys.executable, "-m", "updraft.cli", "status", "flight_delays", "--watch", "1"]
    # As a terminal starts it: where tests that run in the background ignore the signal, so would it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, env=known | deployment, stdin=subprocess.DEVNULL, stdout=writing)
    signal.signal(signal.SIGINT, before)
    os.close(writing)
    told = ""
    try:
        while told.count("decisions:") < 2:
            told += os.read(reading, 65536).decode()
        process.send_signal(signal.SIGINT)
        return told, process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
        os.close(reading)


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
    open_release(store, ReleaseRow(release, "flight_delays", "change", "2", "1", "shadow", None, None, key, None))
    gains = [0.02 * (-1) ** n + 0.001 * n for n in range(28)]
    rows = [EvidenceRow(f"2013-04-{1 + n:02}", key, 100, gain, {}) for n, gain in enumerate(gains)]
    store.record_evidence("flight_delays", release, rows)
    store.close()
    done = run("validate", "flight_delays", **deployment)
    assert done.returncode == 0, done.stderr
    needed = detectable_gain(*spread(gains), clusters=84, confidence=0.95, margin=0.02)
    words = f"must gain {needed:.4f}" if needed > 0 else f"may cost up to {-needed:.4f}"
    assert f"a change {words} in log_loss" in " ".join(done.stdout.split())


def test_readmitting_what_is_not_kept_out_is_wrong_input(deployment):
    done = run("readmit", "flight_delays", "2013-04-01T0500", "--reason", "test", **deployment)
    assert done.returncode == 2
    assert "partition 2013-04-01T0500 is not kept out" in done.stderr


def test_what_is_kept_out_wants_a_person_until_it_is_readmitted(deployment):
    store = Store.open(deployment["UPDRAFT_STORE"])
    key = "2013-04-01T0500"
    keep_out(store, "flight_delays", key, [NULLS])
    status = run("status", "flight_delays", **deployment)
    assert status.returncode == 3
    assert "  kept out of trainings: 1 of the newest 1 partitions: nulls of temp (1)\n" in status.stdout
    assert "updraft readmit flight_delays --column temp --sign nulls --reason WHY; if it is a fault" in status.stdout
    done = run("readmit", "flight_delays", key, "--reason", "kilometres from now on", **deployment)
    assert done.returncode == 0, done.stderr
    status = run("status", "flight_delays", **deployment)
    assert status.returncode == 0, status.stdout
    assert "readmitted partition 2013-04-01T0500" in status.stdout
    assert "kept out" not in status.stdout
    store.close()


def test_a_column_is_readmitted_for_good_and_that_is_taken_back(deployment):
    store = Store.open(deployment["UPDRAFT_STORE"])
    keys = [f"2013-04-{day:02}T0500" for day in (1, 8, 15, 22)]
    for key in keys[:3]:
        keep_out(store, "flight_delays", key, [NULLS])
    keep_out(store, "flight_delays", keys[3], [NULLS, UNIT])
    status = json.loads(run("status", "flight_delays", "--json", **deployment).stdout)["flight_delays"]
    assert status["kept_out"]["partitions"] == 4
    assert [(sign["kind"], sign["partitions"]) for sign in status["kept_out"]["signs"]] == [("nulls", 4), ("unit", 1)]
    assert "--column temp --sign nulls --always" in status["wanted"][0]  # it has lasted
    assert "--always" not in status["wanted"][1]
    unknown = run("readmit", "flight_delays", "--column", "tmp", "--reason", "test", **deployment)
    assert unknown.returncode == 2
    assert "nulls of temp (4), unit of distance (1)" in unknown.stderr
    done = run("readmit", "flight_delays", "--column", "temp", "--always", "--reason", "no sensor", **deployment)
    assert done.returncode == 0, done.stderr
    assert f"may learn from 3 partitions again, from {keys[0]} to {keys[2]}" in done.stdout
    assert "1 partitions stay kept out, as they show other signs beside: unit of distance (1)" in done.stdout
    assert set(store.accepted_signs("flight_delays")) == {NULLS}
    assert store.kept_out("flight_delays", until="2014") == {keys[3]}
    undone = run("readmit", "flight_delays", "--column", "temp", "--undo", "--reason", "a fault", **deployment)
    assert undone.returncode == 0, undone.stderr
    assert "nulls of temp: a fault again from the next partition on" in undone.stdout
    assert store.accepted_signs("flight_delays") == {}
    told = run("status", "flight_delays", **deployment).stdout
    assert "nulls of temp: no fault any more (by " in told
    assert "nulls of temp: a fault again (by " in told
    store.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name one PARTITION, or the signs"),
        (("2013-04-01T0500", "--column", "temp"), "name one PARTITION, or the signs"),
        (("2013-04-01T0500", "--always"), "give --column COLUMN"),
        (("--column", "temp", "--always", "--undo"), "contradict each other"),
        (("--column", "temp", "--sign", "odd"), "'odd': no such kind of sign; there are nulls,"),
    ],
)
def test_a_readmission_that_names_nothing_or_too_much_is_wrong_input(deployment, arguments, says):
    done = run("readmit", "flight_delays", *arguments, "--reason", "test", **deployment)
    assert done.returncode == 2
    assert says in done.stderr


def test_status_tells_the_newest_alerts_first_and_breaks_no_line_where_there_is_no_terminal(deployment):
    store = Store.open(deployment["UPDRAFT_STORE"])
    long = "words that are far beyond what eighty columns hold " * 4
    for number in range(10):
        alert = messages.failure("flight_delays", dag="d", task=f"t{number}", run=long, error="boom")
        outbox.record(store.engine, alert)
    outbox.resolve(store.engine, "flight_delays", messages.task_incident("d", "t8"), long, words=None)
    store.close()
    known.note(Path(deployment["UPDRAFT_HOME"]), connected=True)
    status = run("status", "flight_delays", **deployment)
    told = [line.strip() for line in status.stdout.splitlines() if "failed: Run" in line]
    assert [line.partition(" failed")[0] for line in told] == ["d.t9", "resolved: d.t8", "d.t7"]
    assert "Airflow has a Slack connection" in status.stdout, "this process has none of its own"
    assert all(line.endswith("its retries are spent. boom") for line in told)
    assert "  newest alerts:\n" in status.stdout


REFUSED_CHECKS = {
    "refusals": ["flights: 9 of 9 rows"],
    "sources": {"flights": {"rows": 9, "quarantined": 9, "outside": 2, "timeless": 1, "reasons": {"no tailnum": 9}}},
}


def test_status_wants_what_is_not_published_until_a_person_passes_over_it(deployment):
    store = Store.open(deployment["UPDRAFT_STORE"])
    keys = keys_of(load_project(ROOT / "include" / "projects" / "flight_delays").spec, 4)
    ingest(store, "flight_delays", keys[0])
    store.record_partition(
        "flight_delays",
        IngestedPartition(keys[1], "refused", None, None, 0, 9, None, REFUSED_CHECKS, None),
    )
    refused = messages.refused("flight_delays", key=keys[1], rules=["9 of 9 rows"], by_rows=True, links={})
    outbox.record(store.engine, refused)
    failed = FailedIngestion(keys[2], "publish_partition", "DataError", "features(): no column 'x'", passes=False)
    store.record_failed_ingestion("flight_delays", failed)
    store.close()
    status = run("status", "flight_delays", **deployment)
    assert status.returncode == 3
    wanted = [line for line in status.stdout.splitlines() if line.startswith("  wanted: ")]
    assert [line.partition(".")[0] for line in wanted] == [
        f"  wanted: partition {keys[1]}, refused: flights: 9 of 9 rows",
        f"  wanted: partition {keys[2]}, failed: publish_partition: DataError: features(): no column 'x'",
    ]
    assert (
        f"    {keys[1]}: 12 rows read = 0 published + 9 quarantined (no tailnum: 9) + 2 outside of the partition + 1 without a time\n"
        in status.stdout
    )
    unpublished = json.loads(run("status", "--json", **deployment).stdout)["flight_delays"]["unpublished"]
    assert [(each["keys"], each["fate"]) for each in unpublished] == [([keys[1]], "refused"), ([keys[2]], "failed")]

    wrong = run("pass-over", "flight_delays", keys[0], "--reason", "gone", **deployment)
    assert wrong.returncode == 2
    assert f"partition {keys[0]} is not wanted; wanted are {keys[1]}, {keys[2]}" in wrong.stderr
    done = run("pass-over", "flight_delays", keys[1], keys[2], "--reason", "the source lost it", **deployment)
    assert done.returncode == 0, done.stderr
    status = run("status", "flight_delays", **deployment)
    assert status.returncode == 0, status.stdout
    assert f"passed over partition {keys[1]}, refused (by " in status.stdout
    assert f"{keys[1]} resolved: Refused: 9 of 9 rows" in status.stdout


def test_status_tells_a_training_that_is_overdue_and_wants_a_person(deployment):
    store = Store.open(deployment["UPDRAFT_STORE"])
    keys = keys_of(load_project(ROOT / "include" / "projects" / "flight_delays").spec, 20)
    for key in keys[:-1]:
        ingest(store, "flight_delays", key)
    assert run("status", "flight_delays", **deployment).returncode == 0
    keep_out(store, "flight_delays", keys[-1], [NULLS])
    store.close()
    status = run("status", "flight_delays", **deployment)
    assert status.returncode == 3
    assert "wanted: no training yet, 20 partitions; the policy lets 20 pass. What holds it back: " in status.stdout
    assert "1 of the newest 20 partitions are kept out, their feed looked broken: nulls of temp (1)" in status.stdout


def test_show_tells_a_version_and_names_the_others_where_there_is_none(deployment):
    store = Store.open(deployment["UPDRAFT_STORE"])
    P, key, later = "flight_delays", "2013-03-04T0500", "2013-03-11T0500"
    learnt = {
        "window": ["2013-02-18T0500", "2013-02-25T0500"],
        "holdout": ["2013-02-25T0500"],
        "rows": 1234,
        "lane": "change",
    }
    learnt |= {
        "trainer": {"name": "xgboost"},
        "gates": {"passed": True, "against": "base rate", "metrics": {"log_loss": {"candidate": 0.5, "against": 0.6}}},
    }
    for number, (version, state) in enumerate((("1", "registered"), ("2", "refused"))):
        result = learnt | {"gates": {"passed": False, "reasons": ["log_loss is worse"]}} if number else learnt
        store.record_training(TrainingRow(f"by-hand-{version}", P, key, None, None, state, version, result))
    store.record_run(P, "by-hand-1", "plan", {"reason": "a new feature"})
    open_release(store, ReleaseRow(f"{P}-v1", P, "change", "1", None, "shadow", None, None, key, None))
    releases.promoted(store, f"{P}-v1", key=later)
    store.record_predictions(P, PredictionRow(later, "champion", "1", None, "file:///p", "0" * 64, 50))
    store.record_performance(P, PerformanceRow(later, later, "champion", "1", 40, {"log_loss": 0.5}))
    store.close()
    done = run("show", P, "1", **deployment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:9] == [
        "flight_delays: version 1 (change)",
        "  learnt from: 2 partitions, 2013-02-18T0500 to 2013-02-25T0500, 1,234 rows",
        "  proved on: 1 partition, 2013-02-25T0500, after learning from the others alone",
        f"  trained at: {key} by xgboost, run by-hand-1",
        "  started by: hand: a new feature",
        "  gates: passed the gates against the base rate: log_loss 0.5000 against 0.6000",
        f"  scored as champion: 1 partition, {later} to {later}, 50 rows; log_loss 0.5000 on 40 rows",
        f"  served: since {later}, and serves",
        "  became: promoted, it passed",
    ]
    told = json.loads(run("show", P, "2", "--json", **deployment).stdout)
    assert (told["state"], told["served"], told["gates_words"]) == (
        "refused",
        [],
        "refused by the gates: log_loss is worse",
    )
    unknown = run("show", P, "3", **deployment)
    assert unknown.returncode == 2
    assert "there is no version '3'; there are 1, 2" in unknown.stderr


def test_a_rollback_without_a_previous_champion_fails_with_words(deployment):
    done = run("rollback", "flight_delays", "--reason", "test", **deployment)
    assert done.returncode == 2
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
        ("margin: 0.02 ", "margin: x "),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "project.yaml").write_text(text)
    done = run("validate", UPDRAFT_HOME=str(tmp_path), UPDRAFT_PROJECTS=str(tmp_path / "projects"))
    assert done.returncode == 2
    for word in ("did you mean `arr_delay`?", "did you mean `origin`?", "release.margin"):
        assert word in done.stdout

"""Whoever follows the runbook gets on: every command, DAG, task, link, file and key that an entry names is there and does what it says."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.support import flights, releases
from tests.support.broken_feeds import NULLS, ingest, keep_out, keys_of
from typer.testing import CliRunner

from updraft.alerts import messages, runbook
from updraft.alerts.alert import Alert
from updraft.alerts.runbook import Entry
from updraft.cli.main import app
from updraft.loop.kept_out import readmit_command
from updraft.spec.schema import json_schema
from updraft.store.records import FailedIngestion, ReleaseRow, TrainingRow
from updraft.store.store import Store
from updraft.store.transitions import open_release

ROOT = Path(__file__).resolve().parents[2]
P = "flight_delays"
KEYS = keys_of(flights.flights().spec, 4)
ENTRIES = dict(runbook.entries())
DONE, WANTED = 0, 3
UsageError: Any = typer.BadParameter.__base__


def texts(entry: Entry) -> str:
    return " ".join((entry.means, entry.look, entry.do, entry.undo))


def commands(text: str, program: str = "updraft") -> list[str]:
    """What stands between back quotes and begins with a program's name."""
    return [code for code in re.findall(r"`([^`]+)`", text) if code.split()[0] == program]


def parsed(command: str) -> None:
    """Read the command as the real command line does, without running it.

    :raises UsageError: when it has no such command, option or argument, or lacks one.
    """
    _, *words = shlex.split(command)
    found: Any = typer.main.get_command(app)
    while getattr(found, "commands", None):
        if words[0] not in found.commands:
            raise UsageError(f"no command {words[0]}")
        found = found.commands[words.pop(0)]
    found.make_context(found.name, words)


@pytest.mark.parametrize("name", ENTRIES)
def test_every_command_of_an_entry_is_whole_and_one_of_the_command_line(name):
    for command in commands(texts(ENTRIES[name])):
        parsed(command)
    mentions = re.findall(r"updraft (?:[a-z]|-)+", re.sub("`[^`]+`", "", texts(ENTRIES[name])))
    assert not mentions, "a command that is not marked as one is not looked at"


def test_a_command_that_lacks_something_does_not_parse():
    for wrong in (
        "updraft rollback PROJECT",
        "updraft readmit",
        "updraft show PROJECT",
        "updraft mend PROJECT",
        "updraft status --all",
    ):
        with pytest.raises(UsageError):
            parsed(wrong)


def test_what_alerts_tell_a_person_to_run_parses_too():
    told: list[Alert] = [
        messages.episode(P, episode="e1", key=KEYS[0], cause="feed", remedy="quarantine", diagnosis="x"),
        messages.unjudged(
            P, release="r", version="3", against="2", key=KEYS[0], reason="x", clusters=0, gain=0.0, low=0.0, high=0.0
        ),
        messages.tampered(P, what="model version 7", where="http://m/7", error="x"),
        messages.more_memory(P, run="t1", words="x", link=""),
        messages.restarts(P, program="scheduler", times=3, minutes=10, first="12:00", log="scheduler.log"),
        messages.untold(P, what="promoted", subject="r", error="x"),
        messages.training_overdue(P, last=None, key=KEYS[0], partitions=9, limit=8, told=1, holding_back=["x"]),
        *(messages.failure(P, dag=f"{P}.x", task=task, run="r", error="x") for task in runbook.TASKS),
    ]
    found = [command for alert in told for command in commands(f"{alert.does} {alert.needs}")]
    assert f"updraft readmit {P} {KEYS[0]} --reason WHY" in found
    assert len(found) > 7
    for command in (
        *found,
        messages.pass_over_command(P, KEYS[0]),
        *(readmit_command(P, sign) for sign in (NULLS, ("rows", None))),
    ):
        parsed(command)


# -- what a command of the runbook does ---------------------------------------------------------------------------------


def every_command() -> list[str]:
    return sorted({command for entry in ENTRIES.values() for command in commands(texts(entry))})


@pytest.fixture
def deployment(store_url, tmp_path, monkeypatch) -> dict[str, str]:
    """A version that serves after another one, a partition that is kept out, one whose sign was accepted, one that failed."""
    store = Store.open(store_url)
    for version, against in (("1", None), ("2", "1")):
        row = ReleaseRow(f"{P}-v{version}", P, "refresh", version, against, "shadow", None, None, KEYS[0], None)
        open_release(store, row)
        releases.promoted(store, row.id, key=KEYS[0])
        store.record_training(TrainingRow(f"t{version}", P, KEYS[0], None, None, "registered", version, {}))
    ingest(store, P, KEYS[0])
    keep_out(store, P, KEYS[1], [NULLS])
    store.record_failed_ingestion(P, FailedIngestion(KEYS[2], "extract_partition", "DataError", "broken", passes=False))
    store.close()
    monkeypatch.delenv("UPDRAFT_PROJECTS", raising=False)
    return {"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_STORE": store_url, "UPDRAFT_MLFLOW": "http://127.0.0.1:1"}


def run(command: str, env: dict[str, str]) -> int:
    """Run it as a person types it, with what its capitals stand for; a question is answered with yes. Its exit code."""
    known = {"PROJECT": P, "VERSION": "2", "COLUMN": "temp", "KIND": "nulls", "WHY": "because"}
    known["PARTITION"] = KEYS[2] if "pass-over" in command else KEYS[1]
    if "--to" in command:
        known["VERSION"] = "1"
    words = [known.get(word, word) for word in shlex.split(command)[1:]]
    asks = words[0] in ("rollback", "reinstate")
    done = CliRunner().invoke(app, [*words, *(["--yes"] if asks else [])], env=env)
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.exit_code


BEFORE = {
    "updraft reinstate PROJECT VERSION --reason WHY": ["updraft rollback PROJECT --reason WHY"],
    "updraft readmit PROJECT --column COLUMN --sign KIND --undo --reason WHY": [
        "updraft readmit PROJECT --column COLUMN --sign KIND --always --reason WHY"
    ],
}
"""What must have been done for a command to make sense."""
ENDS_WITH = {
    "updraft status PROJECT": {WANTED},
    "updraft audit verify PROJECT": {WANTED},
    "updraft doctor": {DONE, WANTED},
}
"""Exit codes other than 0: here a person is wanted, the decisions have no anchors, and the machine is as it is."""


@pytest.mark.parametrize("command", every_command())
def test_every_command_of_the_runbook_does_what_it_is_there_for(command, deployment):
    for first in BEFORE.get(command, ()):
        assert run(first, deployment) == DONE
    assert run(command, deployment) in ENDS_WITH.get(command, {DONE})


# -- what else an entry names -------------------------------------------------------------------------------------------


def dags_and_tasks() -> dict[str, set[str]]:
    """Stages of dags/, each with the tasks that its file and the plugin's operators name."""
    ids: dict[str, set[str]] = {}
    for path in (ROOT / "dags").glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.keyword)]
        ids[path.stem] = {
            node.value.value for node in calls if node.arg == "task_id" and isinstance(node.value, ast.Constant)
        }
    return ids


@pytest.mark.parametrize("name", ENTRIES)
def test_every_dag_task_target_file_and_key_that_an_entry_names_is_there(name):
    text, stages = texts(ENTRIES[name]), dags_and_tasks()
    for stage in re.findall(r"PROJECT\.([a-z]+)", text):
        assert stage in stages, stage
    tasks = set(runbook.TASKS)
    named = set(re.findall(r"\b[a-z]+_[a-z_]+\b", re.sub(r"[\w.]+\.[a-z_]+|`[^`]*`", "", text)))
    assert named <= tasks, named - tasks
    for page in re.findall(r"\bdocs/[a-z]+\.md", text):
        assert (ROOT / page).is_file(), page
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for command in commands(text, "make"):
        assert {word for word in shlex.split(command)[1:] if "=" not in word} <= targets, command
    for key in re.findall(r"\b(?:data|training|release|alerts|monitoring|gates)(?:\.(?:NAME|[a-z_]+))+", text):
        assert has_key(key), f"project.yaml has no {key}"


def has_key(path: str) -> bool:
    """Whether project.yaml may have a key."""
    whole = json_schema()
    places = [whole]
    for part in path.split("."):
        places = [inner for place in places for inner in below(place, part, whole)]
    return bool(places)


def below(place: dict[str, Any], part: str, whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in place:
        yield from below(whole["$defs"][place["$ref"].rpartition("/")[2]], part, whole)
    for way in ("anyOf", "oneOf", "allOf"):
        for other in place.get(way, ()):
            yield from below(other, part, whole)
    if part in place.get("properties", {}):
        yield place["properties"][part]
    if part == "NAME" and isinstance(place.get("additionalProperties"), dict):
        yield place["additionalProperties"]
    if part == "NAME":
        yield from place.get("patternProperties", {}).values()


def test_a_key_that_is_none_is_noticed():
    assert has_key("data.sources.NAME.wait")
    assert not has_key("data.sources.NAME.patience")
    assert not has_key("release.probation")


LINKED = {
    "refused": {"validate_partition": "Data docs"},
    "episode": {"decide_remedies": "Learning", "write_report": "Evidently report"},
    "refused_model": {"evaluate_model": "Model card"},
    "verdict": {"await_verdict": "Evidence"},
    "approval": {"approve_change": "Evidence"},
    "lasting_sign": {"decide_remedies": "Learning"},
    "no_node": {"train_model": "Pod"},
    "more_memory": {"train_model": "Pod"},
    "train_model": {"train_model": "MLflow run"},
}
"""Entries that send a person to a link of a task: the task and the name of the link."""


@pytest.mark.parametrize("name", LINKED)
def test_the_links_of_tasks_that_an_entry_sends_to_are_the_tasks_own(name):
    from updraft_airflow.operators import ingest as of_ingest
    from updraft_airflow.operators import loop as of_loop
    from updraft_airflow.operators import pod, release, train
    from updraft_airflow.sensors import store as of_store

    operators = {
        "validate_partition": [of_ingest.ValidatePartition],
        "decide_remedies": [of_loop.DecideRemedies],
        "write_report": [of_loop.WriteReport],
        "evaluate_model": [train.EvaluateModel],
        "await_verdict": [of_store.EvidenceSensor],
        "approve_change": [release.ApproveRelease],
        "train_model": [pod.TrainInPod],
    }
    for task, link in LINKED[name].items():
        assert operators[task], task
        for operator in operators[task]:
            assert link in {each.name for each in operator.operator_extra_links}, task


def test_every_sentence_about_a_link_is_held_against_its_task():
    speaking = {name for name, entry in ENTRIES.items() if re.search(r"\blinks?\b", entry.look) and entry.look != LOG}
    assert speaking - {"approval"} <= set(LINKED)


LOG = runbook.TASKS[runbook.ANY_TASK].look


def test_alerts_lead_to_an_entry_that_is_on_the_page():
    from updraft.pages.runbook import runbook_page

    page = runbook_page().decode()
    for name in ENTRIES:
        assert f'id="{name}"' in page
        assert runbook.link(name, "http://a") == f"http://a/{runbook.PAGE}#{name}"

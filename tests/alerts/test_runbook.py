"""The runbook has an entry for every alert and every task, and docs/runbook.md is what the texts say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from updraft.alerts import runbook
from updraft.alerts.alert import ENTRY_LENGTH

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_texts_say():
    assert (ROOT / runbook.FILE).read_text() == runbook.markdown(), "run `make docs`"


def test_every_kind_of_alert_has_an_entry():
    written = [path.read_text() for path in (ROOT / "include/updraft/alerts/messages").glob("*.py")]
    named = set(re.findall(r'entry="([a-z_]+)"', "".join(written)))
    assert named == set(runbook.ALERTS)


def test_every_task_of_every_dag_has_an_entry():
    """Whatever is given as a `task_id` in dags/ and plugins/: what a DAG of a project is made of."""
    sources = [*(ROOT / "dags").glob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    keywords = [
        node for path in sources for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.keyword)
    ]
    tasks = {node.value.value for node in keywords if node.arg == "task_id" and isinstance(node.value, ast.Constant)}
    assert len(tasks) > 20
    assert tasks <= set(runbook.TASKS)


def test_every_entry_says_all_four_things_and_can_be_linked_to():
    names = [name for name, _ in runbook.entries()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z_]+", name) and len(name) <= ENTRY_LENGTH for name in names)
    for name, entry in runbook.entries():
        assert entry.title, name
        assert all(text.endswith(".") for text in (entry.means, entry.look, entry.do, entry.undo)), name
    anchors = re.findall(r'<a id="([a-z_]+)"></a>', runbook.markdown())
    assert anchors == names


def test_a_mapped_task_has_the_entry_of_its_task_and_an_unknown_one_that_of_any():
    assert runbook.entry_of_task("search_trial[3]") == "search_trial"
    assert runbook.entry_of_task("somebodys_own") == runbook.entry_of_task("") == runbook.ANY_TASK

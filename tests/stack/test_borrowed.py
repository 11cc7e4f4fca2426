"""What is used of the libraries' insides: in the listed modules alone, with the versions with which it was tried."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from updraft import borrowed
from updraft.borrowed import BORROWED
from updraft.stack import doctor

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("airflow", "optuna", "evidently", "mlflow", "great_expectations", "dvc", "model_signing", "supervisor")


@pytest.mark.parametrize("use", BORROWED, ids=lambda use: use.module)
def test_a_pin_that_moves_is_checked_first(use: borrowed.Borrowed) -> None:
    assert borrowed.installed(use.distribution) == use.checked, str(use)


@pytest.mark.parametrize("use", BORROWED, ids=lambda use: use.module)
def test_each_use_stands_where_it_is_said_to_with_a_test_and_an_issue(use: borrowed.Borrowed) -> None:
    text = (ROOT / use.module).read_text()
    for name in use.names:
        assert name.rpartition(".")[2] in text or name.rpartition("/")[2] in text or name in text, name
    tests = [word.strip(".,;") for word in use.check.split() if word.startswith("tests/")]
    assert tests
    assert [path for path in tests if not (ROOT / path).exists()] == []
    assert use.upstream.startswith("https://github.com/")


def private_names() -> Iterator[tuple[str, str]]:
    """Module and name of each attribute with an underscore that is neither the module's own object's nor defined in our own code."""
    files = [path for folder in ("include/updraft", "plugins", "dags") for path in (ROOT / folder).rglob("*.py")]
    trees = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in files}
    ours = {
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
                words = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                yield from ((module, word) for word in words if word.startswith("_") or word == "legacy")
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
                continue
            if node.attr in ("_asdict", "_replace"):  # a NamedTuple's, documented
                continue
            owner = ast.unparse(node.value)
            # What an own class calls of its base is another's where no class of ours defines it.
            if owner in ("self", "cls", "os") or (owner == "super()" and node.attr in ours - overridden(tree)):
                continue
            yield module, node.attr


def overridden(tree: ast.Module) -> set[str]:
    """Methods of a module's classes that call the method of their base."""
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and f"super().{node.name}(" in ast.unparse(node)
    }


def test_nothing_else_of_a_librarys_insides_is_used() -> None:
    allowed = {use.module for use in BORROWED}
    # Their bases are operators of our own.
    ours = {"plugins/updraft_airflow/operators/group.py", "plugins/updraft_airflow/operators/search_pod.py"}
    uses = set(private_names())
    assert {module for module, _ in uses} - allowed - ours == set()
    assert {name for module, name in uses if module.endswith("executor.py")} >= {"_rlock", "_reader"}


def test_doctor_tells_of_a_library_in_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [finding.level for finding in doctor.libraries()] == [doctor.Level.OK]
    monkeypatch.setattr(borrowed, "installed", lambda name: "9.0" if name == "optuna" else None)
    [finding] = doctor.libraries()
    assert finding.level == doctor.Level.WARNING
    assert "optuna 9.0: include/updraft/search/study.py relies on" in finding.message
    assert "https://github.com/optuna/optuna/issues" in finding.message
    assert "optuna==5.0.0" in finding.todo

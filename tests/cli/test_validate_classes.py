"""``updraft validate`` on labels with a list of classes: what it says of the list, and of labels that do not fit it."""

from __future__ import annotations

import json

import pytest
from tests.support.grades import CLASSES, Grades, by_score
from typer.testing import CliRunner

from updraft.cli.main import app
from updraft.errors import SpecError
from updraft.spec.data import Label
from updraft.spec.load import load_project


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    return Grades(tmp_path, 4)


def validate(made):
    done = CliRunner().invoke(app, ["validate", "grades", "--json"])
    told = json.loads(done.stdout)["grades"]
    assert done.exit_code == (0 if told["sound"] else 2)
    return told


@pytest.mark.parametrize(
    ("label", "task", "says"),
    [
        ({"classes": None}, "multiclass", ": data.label.classes: is missing: task multiclass needs the classes"),
        ({"classes": []}, "multiclass", ": data.label.classes: is missing: task multiclass needs the classes"),
        (
            {"classes": ["a", "b"]},
            "multiclass",
            "names 2 of the 3 classes that task multiclass takes at least; for two",
        ),
        ({"classes": list(range(101))}, "multiclass", "names 101 classes, more than 100"),
        ({"classes": ["a", "b", "c", "b"]}, "multiclass", "names b twice"),
        ({"classes": [1, 2, "1.0"]}, "multiclass", "names 1.0 twice"),
        ({"classes": ["a", "b", True]}, "multiclass", 'is true or false; write the class in quotes, such as "yes"'),
        ({"classes": ["a", "b", ""]}, "multiclass", "a text of at most 100 printable characters"),
        ({"classes": ["a", "b", "c\n"]}, "multiclass", "a text of at most 100 printable characters"),
        ({"classes": ["a", "b", "x" * 101]}, "multiclass", "a text of at most 100 printable characters"),
        ({"missing": "zero"}, "multiclass", "data.label.missing = 'zero': does not suit task multiclass"),
        ({}, "binary", "does not suit task binary, whose label is a number of its own"),
    ],
)
def test_a_list_that_is_none_is_told_with_its_line(made, label, task, says) -> None:
    made.spec["task"] = task
    made.spec["data"]["label"] = {
        key: value for key, value in {**made.spec["data"]["label"], **label}.items() if value is not None
    }
    made.write()
    with pytest.raises(SpecError) as error:
        load_project(made.folder)
    assert says in str(error.value)


def test_classes_with_every_sign_are_sound_and_kept_as_they_are(made) -> None:
    told = validate(made)
    assert told["problems"] == []
    assert not any("data.label" in note for note in told["notes"])
    assert made.project.spec.data.label.classes == CLASSES


def test_a_class_that_has_no_row_and_a_few_labels_of_none_are_notes(made) -> None:
    made.spec["data"]["label"]["classes"].append("never")
    made.write()
    made.write_day(4, lambda day, x, rng: ["alien's", *by_score(day, x, rng)[1:]])
    told = validate(made)
    assert told["problems"] == []
    notes = " ".join(told["notes"])
    assert (
        'gives labels that are none of data.label.classes in 1 of 480 rows: "alien\'s"; such rows are left out' in notes
    )
    assert "gives no row of the class 'never'; until there are some, a model takes it for nearly impossible" in notes


def test_many_labels_of_no_class_are_a_problem_that_names_some(made) -> None:
    made.spec["data"]["label"]["classes"] = ["low", "middle", "high"]
    made.write()
    [problem] = validate(made)["problems"]
    assert "data.label.expr = 'grade': gives labels that are none of data.label.classes in" in problem
    assert repr(CLASSES[1]) in problem
    assert "add them, or let expr put them under a class" in problem


def test_one_class_alone_is_nothing_to_learn(made) -> None:
    made.write_day(1, lambda _, x, __: ["low"] * len(x))
    path = made.root / "exams.csv"
    path.write_text((made.root / "exams-2024-01-02T0000.csv").read_text())
    made.spec["data"]["sources"]["exams"]["url"] = f"file://{path}"
    made.write()
    told = validate(made)
    assert any("gives the same label in all of 240 rows that have one" in problem for problem in told["problems"])


def test_a_text_label_without_classes_leads_to_them(made) -> None:
    made.spec["task"] = "binary"
    del made.spec["data"]["label"]["classes"]
    made.write()
    [problem] = validate(made)["problems"]
    assert "gives text that is no number in 480 of 480 rows" in problem
    assert "name its classes in data.label.classes, with a task that takes them" in problem


def test_without_classes_a_label_is_written_as_it_ever_was() -> None:
    """Hashes are made of it: a recipe of before stays the same recipe."""
    assert Label(expr="y").model_dump(mode="json") == {"expr": "y", "missing": "exclude", "matures_after": "1440m"}
    assert Label(expr="y", classes=[0, 1.5, "b"]).model_dump(mode="json")["classes"] == ["0", "1.5", "b"]

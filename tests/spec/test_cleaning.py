"""Steps of ``data.clean`` are checked when the project is read: by key, with what is allowed."""

from __future__ import annotations

import pytest

from updraft.spec.load import load_project
from updraft.spec.problems import SpecProblems

START = "data:\n"


def refused(make_project, smallest: str, clean: str) -> dict[str, str]:
    with pytest.raises(SpecProblems) as error:
        load_project(make_project(smallest.replace(START, f"data:\n  clean: {clean}\n", 1)))
    return {problem.key: str(problem) for problem in error.value.problems}


@pytest.mark.parametrize(
    ("steps", "where", "message"),
    [
        ("[trimm]", "[0]", "did you mean `trim`"),
        ("[{clipp: [0, 1]}]", "[0]", "did you mean `clip`"),
        ("[5]", "[0]", r"write a step as one of trim, lower, upper, {map"),
        ("[{clip: [3, 1]}]", "[0]", "the lowest and the highest number"),
        ("[{clip: [a, b]}]", "[0]", "the lowest and the highest number"),
        ("[{map: {1: a}}, {map: {a: 3}}]", "[1]", "put numbers in quotes"),
        ("[{fill: [1]}]", "[0]", "fill takes a number, a text"),
        ("[{fill: 1, flag: 1}]", "[0]", "flag is true or false"),
        ("[{fill: 1, flags: true}]", "[0]", "fill takes no flags; its keys are fill, flag"),
        ("[{parse: money}]", "[0]", "parse takes number, integer, date or time"),
        ("[{parse: number, format: '%d'}]", "[0]", "format says how a date or a time is written"),
        ("[{parse: number}, trim]", "[1]", "trim takes texts, and what comes before it leaves numbers"),
        ("[trim, {clip: [0, 1]}]", "[1]", "clip takes numbers, and what comes before it leaves texts; put {parse: number}"),
        ("[trim, {fill: 0}]", "[1]", "fill 0 is no value of a column that is texts there"),
        ("[]", "", "must not be empty"),
    ],
)  # fmt: skip
def test_a_step_that_does_not_fit_is_named(make_project, smallest, steps, where, message):
    problems = refused(make_project, smallest, f"{{amount: {steps}}}")
    assert any(message in text for text in problems.values()), problems
    assert any(key.startswith("data.clean.amount") for key in problems), problems


def test_what_names_a_row_is_not_cleaned(make_project, smallest):
    spec = load_project(make_project(smallest)).spec
    key, time = spec.data.key[0], next(iter(spec.data.sources.values())).event_time
    problems = refused(make_project, smallest, f"{{{key}: [trim], {time}: [trim]}}")
    assert "is in data.key, and is not cleaned" in problems[f"data.clean.{key}"]
    assert "is an event_time" in problems[f"data.clean.{time}"]


def test_steps_are_read_and_stand_in_the_hash(make_project, smallest):
    clean = "{amount: [trim, {map: {a: null}}, {parse: number}, {clip: [0, 10]}, {fill: 0, flag: true}]}"
    spec = load_project(make_project(smallest.replace(START, f"data:\n  clean: {clean}\n", 1))).spec
    assert spec.data.model_dump(mode="json")["clean"] == {
        "amount": ["trim", {"map": {"a": None}}, {"parse": "number", "format": None}, {"clip": [0, 10]}, {"fill": 0, "flag": True}]
    }  # fmt: skip

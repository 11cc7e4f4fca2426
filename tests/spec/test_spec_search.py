"""`training.search`: every error of a space at once, with what is allowed, by the trainer's own table."""

from __future__ import annotations

from datetime import timedelta

import pytest

from updraft.spec.load import BrokenProject, load_project, load_project_or_problems
from updraft.spec.search import Span


def problems(folder):
    found = load_project_or_problems(folder)
    assert isinstance(found, BrokenProject)
    return {problem.key: str(problem) for problem in found.problems}


def test_the_shortest_search_is_a_space(make_project, smallest):
    text = "training: {search: {space: {max_depth: {at_least: 3, at_most: 10}, grow_policy: [depthwise, lossguide]}}}\n"
    search = load_project(make_project(smallest + text)).spec.training.search
    assert (search.trials, search.parallel, search.prune, search.seed, search.timeout) == (20, 1, True, None, None)
    assert search.space == {"max_depth": Span(at_least=3, at_most=10), "grow_policy": ("depthwise", "lossguide")}


def test_a_project_that_names_no_search_has_none(make_project):
    assert load_project(make_project()).spec.training.search is None


def test_a_whole_search_is_read_as_it_is_written(make_project, smallest):
    text = (
        "training: {search: {trials: 50, parallel: 4, prune: false, seed: 7, timeout: 6h, "
        "space: {eta: {at_least: 0.01, at_most: 0.3, log: true}, max_bin: {at_least: 64, at_most: 256, step: 64}}}}\n"
    )
    search = load_project(make_project(smallest + text)).spec.training.search
    assert (search.trials, search.parallel, search.prune, search.seed) == (50, 4, False, 7)
    assert search.timeout == timedelta(hours=6)
    assert search.space["eta"].log
    assert search.space["max_bin"].step == 64


def test_every_wrong_key_of_a_search_is_told_at_once_with_what_is_allowed(make_project, smallest):
    space = (
        "{max_dept: {at_least: 3, at_most: 10}, n_estimators: [1, 2], objective: [a, b], subsample: {at_least: 0, at_most: 2}, "
        "grow_policy: {at_least: 1, at_most: 2}, max_leaves: [1.5, 2], max_bin: {at_least: 2, at_most: 8, step: 0.5}, lambda: [1, 1]}"
    )
    told = problems(make_project(smallest + f"training: {{search: {{trials: 1, paralel: 2, space: {space}}}}}\n"))
    below = "training.search.space"
    assert "must be at least 2" in told["training.search.trials"]
    assert "did you mean `parallel`?" in told["training.search.paralel"]
    assert "did you mean `max_depth`?" in told[f"{below}.max_dept"]
    assert "is called `rounds` here" in told[f"{below}.n_estimators"]
    assert "set by Updraft from `task`" in told[f"{below}.objective"]
    assert "above 0 and at most 1" in told[f"{below}.subsample.at_least"]
    assert "above 0 and at most 1" in told[f"{below}.subsample.at_most"]
    assert "[depthwise, lossguide]" in told[f"{below}.grow_policy"]
    assert "must be a whole number" in told[f"{below}.max_leaves"]
    assert "must be a whole number" in told[f"{below}.max_bin.step"]
    assert "two different values" in told[f"{below}.lambda"]
    assert len(told) == 11
    assert all("project.yaml:11" in each for each in told.values())


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ("{from: 3, to: 10}", "write {at_least: 1, at_most: 10}"),
        ("{at_least: 3}", "write {at_least: 1, at_most: 10}"),
        ("{at_least: three, at_most: 10}", "write {at_least: 1, at_most: 10}"),
        ("3", "write {at_least: 1, at_most: 10}"),
        ("{at_least: 3, at_most: 3}", "must be below at_most"),
        ("{at_least: 0, at_most: 3, log: true}", "log needs at_least above 0"),
        ("{at_least: 1, at_most: 3, log: true, step: 1}", "exclude each other"),
        ("{at_least: 1, at_most: 3, step: 4}", "must be above 0 and fit"),
        ("[]", "two different values"),
    ],
)
def test_a_wrong_range_says_how_to_write_it(make_project, smallest, span, words):
    told = problems(make_project(smallest + f"training: {{search: {{space: {{lambda: {span}}}}}}}\n"))
    assert list(told) == ["training.search.space.lambda"]
    assert words in told["training.search.space.lambda"]


def test_an_empty_space_and_a_missing_one_are_refused(make_project, smallest):
    assert (
        "must not be empty"
        in problems(make_project(smallest + "training: {search: {space: {}}}\n"))["training.search.space"]
    )
    assert "is missing" in problems(make_project(smallest + "training: {search: {}}\n"))["training.search.space"]


def test_a_search_names_one_of_the_projects_trainers(make_project, smallest):
    told = problems(make_project(smallest + "training: {search: {trainer: torch, space: {width: [64, 128]}}}\n"))
    assert "allowed: xgboost" in told["training.search.trainer"]


def test_a_parameter_is_searched_under_one_of_its_names(make_project, smallest):
    space = "{eta: [0.1, 0.3], gamma: [0, 1], min_split_loss: [0, 1]}"
    trainers = "[{name: xgboost, params: {learning_rate: 0.1}}]"
    text = f"training: {{trainers: {trainers}, search: {{space: {space}}}}}\n"
    told = problems(make_project(smallest + text))
    assert "call it `learning_rate`" in told["training.search.space.eta"]
    assert "another name of `gamma`" in told["training.search.space.min_split_loss"]


def test_a_span_holds_its_steps_alone():
    span = Span(at_least=0.1, at_most=0.5, step=0.1)
    assert all(span.holds(each) for each in (0.1, 0.3, 0.5))
    assert not any(span.holds(each) for each in (0.05, 0.25, 0.6, True, "0.1"))

"""``monitoring.figures`` in project.yaml: both forms, what is wrong with one, and that a project without any is what it was."""

from __future__ import annotations

import pytest

from updraft.errors import SpecError
from updraft.spec.figure import Figure, read_figure
from updraft.spec.load import load_project
from updraft.spec.model import Monitoring


def with_figures(smallest: str, figures: str) -> str:
    return f"{smallest}monitoring:\n  figures:\n    {figures}\n"


def test_a_figure_is_an_expression_alone_or_one_with_limits(make_project, smallest):
    text = with_figures(smallest, 'saved: "sum(amount)"\n    blocked: {expr: avg(score), at_least: -1, at_most: 0.5}')
    figures = load_project(make_project(text)).spec.monitoring.figures
    assert figures == {
        "saved": Figure(expr="sum(amount)"),
        "blocked": Figure(expr="avg(score)", at_least=-1.0, at_most=0.5),
    }


def test_a_project_without_figures_is_written_as_before():
    assert "figures" not in Monitoring().model_dump(mode="json")


@pytest.mark.parametrize(
    ("figures", "path", "says"),
    [
        ("Saved: sum(amount)", "monitoring.figures", "must begin with a lower-case letter"),
        ("saved: 7", "monitoring.figures.saved", "must be"),
        ("saved: ''", "monitoring.figures.saved", "must be"),
        ("saved: {expr: ''}", "monitoring.figures.saved.expr", "must not be empty"),
        ("saved: {at_most: 3}", "monitoring.figures.saved.expr", "is missing: SQL expression"),
        ("saved: {expr: sum(a), at_most: much}", "monitoring.figures.saved.at_most", "must be a number"),
        ("saved: {expr: sum(a), at_most: .inf}", "monitoring.figures.saved.at_most", "must be a finite number"),
        ("saved: {expr: sum(a), atmost: 3}", "monitoring.figures.saved.atmost", "did you mean `at_most`"),
        (
            "saved: {expr: sum(a), at_least: 3, at_most: 2}",
            "monitoring.figures.saved",
            "at_least (3) is above at_most (2)",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_key(make_project, smallest, figures, path, says):
    with pytest.raises(SpecError) as error:
        load_project(make_project(with_figures(smallest, figures)))
    assert "project.yaml" in str(error.value)
    assert f": {path}" in str(error.value)
    assert says in str(error.value)


def test_the_names_of_an_expression_are_its_columns_whatever_stands_before_them():
    assert read_figure("sum(scored.score * published.amount) + count(*)").names == {"score", "amount"}


@pytest.mark.parametrize(
    ("expr", "says"),
    [
        ("sum(", "Error"),
        ("sum(a) from b", "Parser Error"),
        ("sum(a)) from (select 1", "more than one expression"),
        ("1; drop table x", "Parser Error"),
        ("1); drop table x; select (1", "more than one expression"),
        ("(select count(*) from read_csv('/etc/passwd'))", "has a query in it; a figure is made of columns, by name"),
        ("count(columns(*))", "has a star"),
        ("sum(unnest([a]))", "a partition has one number for a figure"),
        ("max(getvariable('x'))", "tells nothing of a row"),
    ],
)
def test_an_expression_that_is_none_is_told(expr, says):
    assert says in str(read_figure(expr).wrong)

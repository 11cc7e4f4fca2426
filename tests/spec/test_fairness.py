"""``gates.fairness`` in project.yaml: what it asks for, what is wrong with one, and that a project without it is what it was."""

from __future__ import annotations

import pytest
import yaml

from updraft.errors import SpecError
from updraft.spec.fairness import Fairness
from updraft.spec.load import load_project
from updraft.spec.model import Gates


def with_fairness(smallest: str, fairness: str) -> str:
    return f"{smallest}gates:\n  fairness: {fairness}\n"


def test_what_is_left_unsaid_has_a_default(make_project, smallest):
    text = with_fairness(smallest, "{by: [sex, age_band], metrics: [true_positive_rate, false_positive_rate]}")
    assert load_project(make_project(text)).spec.gates.fairness == Fairness(
        by=("sex", "age_band"),
        metrics=("true_positive_rate", "false_positive_rate"),
        no_worse_than="champion",
        threshold=0.5,
        min_clusters=5,
        min_rows=200,
    )


def test_a_project_without_it_is_written_as_before():
    assert "fairness" not in Gates().model_dump(mode="json")


@pytest.mark.parametrize(
    ("fairness", "path", "says"),
    [
        ("{metrics: [calibration]}", "gates.fairness.by", "is missing"),
        ("{by: [], metrics: [calibration]}", "gates.fairness.by", "must"),
        ("{by: [sex]}", "gates.fairness.metrics", "is missing"),
        ("{by: [sex], metrics: [selection_rates]}", "gates.fairness.metrics[0]", "did you mean `selection_rate`"),
        ("{by: [sex], metrics: [calibration, calibration]}", "gates.fairness", "names calibration twice"),
        ("{by: [sex, sex], metrics: [calibration]}", "gates.fairness.by", "names column sex twice"),
        ("{by: [late], metrics: [calibration]}", "gates.fairness.by", "late is in data.outcomes, and groups are made of"),
        ("{by: [sex], metrics: [calibration], no_worse_than: last}", "gates.fairness.no_worse_than", "must be `champion`, or the"),
        ("{by: [sex], metrics: [calibration], no_worse_than: 1.5}", "gates.fairness.no_worse_than", "must be `champion`, or the"),
        ("{by: [sex], metrics: [calibration], no_worse_than: true}", "gates.fairness.no_worse_than", "must be `champion`, or the"),
        ("{by: [sex], metrics: [calibration], no_worse_than: .nan}", "gates.fairness.no_worse_than", "must be `champion`, or the"),
        ("{by: [sex], metrics: [calibration], treshold: 0.7}", "gates.fairness.treshold", "did you mean `threshold`"),
        ("{by: [sex], metrics: [calibration], min_clusters: 4}", "gates.fairness.min_clusters", "must be"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_key(make_project, smallest, fairness, path, says):
    text = with_fairness(smallest, fairness).replace("  label:", "  outcomes: [late]\n  label:", 1)
    with pytest.raises(SpecError) as error:
        load_project(make_project(text))
    assert "project.yaml" in str(error.value)
    assert f": {path}" in str(error.value)
    assert says in str(error.value)


@pytest.mark.parametrize(("task", "label"), [("regression", "amount"), ("multiclass", "kind")])
def test_a_task_whose_scores_select_no_row_is_refused_in_words(make_project, smallest, task, label):
    text = with_fairness(smallest, "{by: [sex], metrics: [selection_rate]}") + f"task: {task}\n"
    with pytest.raises(SpecError, match=f"does not suit task {task}, whose scores select no row: groups are compared"):
        load_project(make_project(text))


@pytest.mark.parametrize(
    "gate",
    ["fairness: {by: [Amount], metrics: [calibration]}", "slices: {by: [Amount], no_worse_than_champion_by: 0.1}"],
)
def test_what_the_label_is_made_of_makes_no_group_and_no_slice(make_project, smallest, gate):
    text = f"{smallest}gates: {{{gate}}}\n"
    expr = yaml.safe_load(smallest)["data"]["label"]["expr"]
    told = text.replace(f'expr: "{expr}"', 'expr: "amount > 3"', 1)
    assert told != text
    with pytest.raises(SpecError, match="Amount is what the label is made of, and"):
        load_project(make_project(told))
    load_project(make_project(text))  # another label reads it not
    for other in ("amount(due) > 3", "x > 3 -- not by amount", "extract(hour FROM t) > 5 AND kind <> 'Amount'"):
        load_project(make_project(text.replace(f'expr: "{expr}"', f'expr: "{other}"', 1)))

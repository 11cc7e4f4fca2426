"""Task types as the rest of the house sees them: what each promises, and a third one that no other room was told of."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support.three_grades import GRADES, THREE_GRADES, Temperature

from updraft.errors import DataError, TrainingError
from updraft.evaluation.card import CardData, Measured, card_html
from updraft.evaluation.gates import judge_gates
from updraft.monitoring.calibration import Matured, cross_fitted, refit, walk_forward
from updraft.scoring.scorer import Scores
from updraft.spec.model import Gates
from updraft.tasks import registry
from updraft.tasks.binary import BINARY
from updraft.tasks.multiclass import MULTICLASS
from updraft.tasks.regression import REGRESSION
from updraft.training.host import ALONE
from updraft.training.learning import group_loss, start_of

RNG = np.random.default_rng(3)
ROWS, DAYS = 3000, 12
DAY = np.array([f"d{day:02}" for day in np.sort(RNG.integers(0, DAYS, ROWS))], object)
TRUE = RNG.normal(0, 1.5, (ROWS, GRADES))
GRADE = np.array([RNG.choice(GRADES, p=p) for p in THREE_GRADES.link(TRUE)], np.float64)
HOUSE = Path(__file__).parents[2] / "include" / "updraft"
CLASSES = MULTICLASS.of_classes(("low", "middle", "high"))
LABELS = {
    BINARY: (RNG.random(ROWS) < 0.3).astype(float),
    REGRESSION: RNG.normal(5, 3, ROWS),
    THREE_GRADES: GRADE,
    CLASSES: GRADE,
}
MARGINS = {BINARY: RNG.normal(-1, 1, ROWS), REGRESSION: RNG.normal(5, 3, ROWS), THREE_GRADES: TRUE, CLASSES: TRUE}
EVERY = pytest.mark.parametrize("task", [BINARY, REGRESSION, THREE_GRADES, CLASSES], ids=lambda task: task.name)


@EVERY
def test_the_link_and_its_inverse_undo_each_other(task) -> None:
    margin = MARGINS[task]
    score = task.link(margin)
    np.testing.assert_allclose(task.link(task.margin_of(score)), score, rtol=1e-12)


@EVERY
def test_the_loss_of_a_margin_is_the_headline_of_its_score(task) -> None:
    label, margin = LABELS[task], MARGINS[task]
    assert task.mean_margin_loss(label, margin) == pytest.approx(task.headline.value(label, task.link(margin)))
    assert group_loss(task, label, margin, ALONE) == task.mean_margin_loss(label, margin)


@EVERY
def test_no_other_constant_beats_the_base_rate(task) -> None:
    label = LABELS[task]
    for metric in task.metrics:
        if metric.higher_is_better:
            continue
        base = task.base_rate(metric, label)
        assert len(np.unique(base, axis=0)) == 1
        best = metric.value(label, base)
        for step in (-0.01, 0.01):
            margin = task.margin_of(base)
            margin[..., 0 if margin.ndim == 2 else slice(None)] += step
            assert best <= metric.value(label, task.link(margin))


@EVERY
def test_a_layer_survives_its_decision_and_none_is_the_identity(task) -> None:
    family = task.calibration
    layer = family.fit(LABELS[task], 2 * MARGINS[task], prior_rows=10.0)
    assert family.layer(json.loads(json.dumps(layer.as_dict()))) == layer
    np.testing.assert_array_equal(family.layer(None).apply(MARGINS[task]), MARGINS[task])
    with pytest.raises(DataError, match="not bias"):
        family.layer({"bias": 1.0})


@EVERY
def test_what_one_line_tells_is_measured(task) -> None:
    measured = task.measure(LABELS[task], task.link(MARGINS[task]))
    assert set(task.figures) <= set(measured)
    assert next(iter(measured)) == task.headline.name == task.metric_names[0]


def test_the_start_of_a_training_is_the_mean_of_all_workers_labels() -> None:
    for task in (BINARY, REGRESSION):
        label = LABELS[task]
        assert start_of(task, label) == label.mean()
        halves = task.label_totals(label[::2]) + task.label_totals(label[1::2])
        assert task.start(halves) == pytest.approx(label.mean(), rel=1e-15)
        with pytest.raises(TrainingError, match="no labelled row"):
            start_of(task, label[:0])
    with pytest.raises(TrainingError, match="nothing to learn"):
        start_of(BINARY, np.ones(4))
    with pytest.raises(TrainingError, match="needs labels 0 and 1"):
        start_of(BINARY, np.array([0.0, 0.5]))


# -- a third one


def test_the_gates_hold_a_third_task_type_against_its_own_base_rate_and_champion() -> None:
    given = {"label": GRADE, "cluster": DAY, "slices": {}, "gates": Gates(), "task": THREE_GRADES}
    good, flat = THREE_GRADES.link(TRUE), np.full((ROWS, GRADES), 1 / GRADES)
    passed = judge_gates(candidate=good, champion=None, **given)
    assert passed.passed
    assert passed.against == "base rate"
    assert [compared.metric for compared in passed.metrics] == ["grade_loss"]
    refused = judge_gates(candidate=flat, champion=None, **given)
    assert not refused.passed
    assert "does not beat the base rate: grade_loss 1.09" in refused.reason
    with pytest.raises(DataError, match="scores of shape"):
        judge_gates(candidate=good[:, 0], champion=None, **given)


def test_a_third_task_type_is_recalibrated_by_its_own_family() -> None:
    parts = [
        Matured(str(part), GRADE[rows], 3 * TRUE[rows], DAY[rows])
        for part, rows in enumerate(np.array_split(np.arange(ROWS), 5))
    ]
    outcome = refit(THREE_GRADES, parts, window=2)
    assert outcome.in_force
    free = THREE_GRADES.calibration.fit(GRADE, 3 * TRUE, prior_rows=0.0)
    assert free.temperature == pytest.approx(3, abs=0.3)  # the margins are three times too certain
    assert 1.5 < outcome.layer.as_dict()["temperature"] < free.temperature
    assert outcome.trial is not None
    assert outcome.trial.shown_positive
    tried = {day for part in parts[-THREE_GRADES.calibration.look_back :] for day in part.cluster}
    assert walk_forward(THREE_GRADES, parts, 2).trial.clusters == len(tried)
    layers = cross_fitted(THREE_GRADES, parts)
    assert all(isinstance(layer, Temperature) for layer in layers)
    served = Scores.of(THREE_GRADES, layers[0], parts[0].margin)
    assert served.score.shape == (len(parts[0].label), GRADES)
    assert THREE_GRADES.headline.value(parts[0].label, served.score) < THREE_GRADES.mean_margin_loss(
        parts[0].label, parts[0].margin
    )


def test_the_card_of_a_third_task_type_shows_its_names_and_its_reliability() -> None:
    loss = {"a": Measured(1.0, 1.1, -0.2, 0.0)}
    card = CardData(
        "p", "1", "", "o", THREE_GRADES, "k", "out", THREE_GRADES.headline, loss, loss, {},
        GRADE, THREE_GRADES.link(TRUE), [1.1, 1.0], 2, {"x": 1.0}, "gain",
    )  # fmt: skip
    page = card_html(card)
    assert "three_grades" in page
    assert "grade_loss by holdout partition" in page
    assert page.count("<img") == 4


def test_a_registered_task_type_is_known_to_project_yaml_requests_and_trainers(tmp_path) -> None:
    """In a process of its own, as what is registered is registered for the whole process."""
    program = """
import json, sys
import numpy as np, pandas as pd
from tests.support.three_grades import THREE_GRADES
from updraft.tasks import registry
registry.register(THREE_GRADES)
from pydantic import ValidationError
from updraft.spec.model import Gates, ProjectSpec
from updraft.spec.schema import json_schema
from updraft.training.encoding import Encoder
from updraft.training.learning import Rows
from updraft.training.model import Model, load_model
from updraft.training.recipe import Recipe
from updraft.training.trainers import BY_NAME
from updraft.jobs.watch import TrainingWatch

data = {"schedule": "0 0 * * *", "start": "2013-01-01", "key": ["id"], "label": {"expr": "grade"},
        "sources": {"exams": {"type": "file", "url": "file:///x.csv", "event_time": "at"}}}
spec = ProjectSpec.model_validate({"name": "exams", "owner": "o", "task": "three_grades", "data": data,
                                   "gates": {"grade_loss": {"no_worse_than_champion_by": 0.1}}})
assert spec.release.metric == "grade_loss", spec.release
assert spec.task_type is THREE_GRADES and list(spec.gates.metrics) == ["grade_loss"]
assert json_schema()["properties"]["task"]["enum"] == ["binary", "multiclass", "regression", "three_grades"]
assert registry.figure_names()[-2:] == ("grade_loss", "wrong")
try:
    ProjectSpec.model_validate({"name": "exams", "owner": "o", "task": "grades", "data": data})
except ValidationError as error:
    assert "'binary', 'multiclass', 'regression' or 'three_grades'" in str(error), error
else:
    raise SystemExit("an unknown task was taken")

rng = np.random.default_rng(1)
frame = pd.DataFrame({"x": rng.normal(size=600), "y": rng.normal(size=600)})
label = ((frame.x > 0).astype(float) + (frame.y > 0)).to_numpy()
recipe, encoder = Recipe(task="three_grades", params={"rounds": 20}), Encoder.fit(frame)
learnt = BY_NAME["xgboost"].learn(recipe, encoder, "release", Rows(encoder.encode(frame), label), rounds=20,
                                  validation=None, checkpoint=None, watch=TrainingWatch())
model = Model("three_grades", encoder, learnt.weights, {})
model.save(sys.argv[1])
model = load_model(sys.argv[1])
score = model.score(model.margin(frame))
print(json.dumps({"shape": score.shape, "loss": THREE_GRADES.headline.value(label, score)}))
"""
    root = HOUSE.parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'include'}"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "model")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["shape"] == [600, GRADES]
    assert told["loss"] < 0.3


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'binary' already"):
        registry.register(BINARY)


# -- nothing else knows a task by its name


def test_no_other_room_branches_on_a_task_or_names_a_metric() -> None:
    names = {*registry.task_names(), *registry.metric_names(), *registry.loss_names()}
    elsewhere = [*HOUSE.rglob("*.py"), *(HOUSE.parents[1] / "plugins").rglob("*.py")]
    assert len(elsewhere) > 150
    named = [
        f"{path.relative_to(HOUSE.parents[1])}:{node.lineno}: {node.value}"
        for path in elsewhere
        if "tasks" not in path.relative_to(HOUSE.parents[1]).parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    ]
    assert named == []

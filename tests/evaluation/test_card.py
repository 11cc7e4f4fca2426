from __future__ import annotations

import copy
import re
from dataclasses import replace
from html import escape

import numpy as np
import pytest

from updraft.evaluation.card import CardData, Measured, card_html
from updraft.evaluation.card_pictures import calibration_bins
from updraft.evaluation.fairness import Gap, Group
from updraft.tasks.binary import BINARY
from updraft.tasks.regression import REGRESSION

random = np.random.default_rng(1)
SCORE = random.random(6500)
DATA = CardData(
    project="flight_delays",
    version="7",
    description="Will a flight be late? <b>",
    owner="flight-ops-ml",
    task=BINARY,
    key="2013-03-04T0500",
    outcome="Registered as a refresh",
    metric=BINARY.headline,
    metrics={"log_loss": Measured(0.51, 0.52, -0.02, 0.001), "auc": Measured(0.7, 0.69)},
    partitions={"2013-02-25T0500": Measured(0.5, 0.52), "2013-03-04T0500": Measured(0.49, 0.48)},
    slices={
        f"carrier={name}": Measured(0.5 + i / 100, 0.5, rows=1000 + i) for i, name in enumerate("ABCDEFGHIJKLMNOP")
    },
    label=(random.random(6500) < SCORE).astype(float),
    score=SCORE,
    curve=[0.6 - 0.1 * (1 - np.exp(-i / 30)) for i in range(150)],
    rounds=130,
    importance={f"feature_{i}": 1 / (i + 2) for i in range(16)},
    importance_is="share of the gain",
    reasons=["log_loss: 0.0100 better than the champion"],
    facts={"snapshot": "ab" * 32},
    links={"MLflow run": "http://127.0.0.1:5000/#/experiments/1/runs/x", "bad": "javascript:alert(1)"},
)


def test_the_card_is_one_page_that_fetches_nothing():
    html = card_html(DATA)
    assert len(re.findall(r'<img alt="[^"]+" src="data:image/png;base64,iVBOR', html)) == 5
    assert not re.search(r'(src|href)="(?!data:|http://127)', html)
    assert "<script" not in html


def test_the_card_shows_the_numbers_and_what_the_model_is_made_from():
    html = card_html(DATA)
    for shown in (
        "version 7",
        "0.5100",
        "-0.0100",
        "[-0.0200, +0.0010]",
        "ab" * 32,
        "Registered as a refresh",
        "6,500",
    ):
        assert shown in html


def test_groups_are_shown_with_what_the_gate_made_of_them():
    groups = (Group("<b>", 900, 12, 0.3, 0.28, decides=True), Group("m", 800, 12, 0.45, 0.3, decides=True))
    small = Group("x", 3, 1, 1.0, 0.0, decides=False)
    gap = Gap("sex", "selection_rate", (*groups, small), 1, 0.15, 0.02, 0.11, 0.19, 0.1, passed=False)
    html = card_html(replace(DATA, fairness=[gap]))
    assert "By group" not in card_html(DATA)
    assert escape(gap.refusal) in html
    assert "<tr><th>x</th><td>1.0000</td><td>0.0000</td><td>3</td><td>1</td><td>decides nothing</td></tr>" in html
    assert "<th><b></th>" not in html


def test_text_from_a_project_cannot_become_markup():
    assert "late? &lt;b&gt;" in card_html(DATA)
    assert "javascript:" not in card_html(DATA)


def test_equal_data_give_equal_pages():
    assert card_html(copy.deepcopy(DATA)) == card_html(DATA)
    assert card_html(replace(DATA, metrics={"log_loss": Measured(0.25)})) != card_html(DATA)


def test_a_first_model_without_champion_slices_or_holdout_has_a_card():
    first = replace(
        DATA, metrics={"log_loss": Measured(0.5)}, partitions={}, slices={}, label=np.array([]), score=np.array([])
    )
    html = card_html(first)
    assert "champion</th>" not in html
    assert "There was no holdout" in html
    assert html.count("<img") == 2


def test_a_regression_has_a_card():
    assert card_html(replace(DATA, task=REGRESSION, label=SCORE * 3)).count("<img") == 5


def test_scores_that_say_the_truth_lie_on_the_line():
    means, found, errors = calibration_bins(DATA.label, DATA.score)
    assert len(means) == 10
    assert np.all(np.abs(means - found) < 4 * errors)
    assert means == pytest.approx(np.linspace(0.05, 0.95, 10), abs=0.02)

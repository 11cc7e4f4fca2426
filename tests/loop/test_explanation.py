"""Which features moved a version's scores: of a partition and of a row, binary and of several classes, and by the command."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace

import pytest
from tests.support import flights
from tests.support.grades import CLASSES, Grades
from typer.testing import CliRunner

from updraft import files
from updraft.cli import explain as explain_command
from updraft.cli.main import app
from updraft.data.columns import ROW, SCORE
from updraft.errors import InputError
from updraft.loop.context import Loop
from updraft.loop.explanation import EXPLAINED_ROWS, FeatureContribution, explain
from updraft.loop.in_process import KeptModels, play
from updraft.loop.ingest import ingest
from updraft.store.store import Store


@pytest.fixture(scope="module")
def loop(lake):
    home, rows = lake
    return flights.played(home, rows[:11])[0]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    made = Grades(tmp_path_factory.mktemp("grades"), 6)
    models = KeptModels()
    loop = Loop(made.project, made.settings, Store.in_memory(), models)
    for day in range(1, 7):
        play(loop, models, ingest(loop, f"2024-01-{day + 1:02}T0000"))
    yield loop
    loop.store.close()


def served(loop):
    return loop.store.predictions(loop.name, loop.store.newest_partition(loop.name))["champion"].version


def test_a_partitions_contributions_add_up_to_how_far_its_mean_score_lies_from_the_holdouts(loop):
    told = explain(loop)
    champion = served(loop)
    assert (told.version, told.key, told.row) == (champion, loop.store.newest_partition(loop.name), None)
    assert told.against == tuple(loop.store.training_of(loop.name, champion).result["holdout"])
    assert told.rows == EXPLAINED_ROWS
    assert sum(f.moved for f in told.features) == pytest.approx(told.score - told.expected, abs=0.01)
    sizes = [feature.size for feature in told.features]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0.005
    assert all(f.standard_error < 0.02 for f in told.features)


def test_a_row_is_explained_by_what_was_served_for_it_and_shows_its_values(loop):
    key = loop.store.newest_partition(loop.name)
    prediction = loop.store.predictions(loop.name, key)["champion"]
    scores = files.read_parquet(prediction.url, prediction.sha256).set_index(ROW)[SCORE]
    highest = int(scores.idxmax())
    told = explain(loop, row=highest)
    assert told.version == prediction.version
    assert told.score == pytest.approx(float(scores[highest]), abs=1e-6)
    assert told.score > told.expected + 0.1
    assert sum(f.moved for f in told.features) == pytest.approx(told.score - told.expected, abs=0.02)
    frame = loop.feature_frame(key).set_index(ROW)
    named = told.features[0]
    value = frame.loc[highest, named.feature]
    assert named.value == (f"{value:.6g}" if isinstance(value, float) else str(value))


def test_against_itself_a_partition_shows_next_to_nothing(loop):
    key = loop.store.newest_partition(loop.name)
    told = explain(loop, key=key, against=key)
    assert told.score == pytest.approx(told.expected, abs=0.02)
    assert max(abs(f.moved) for f in told.features) < 0.02


def test_of_several_classes_one_is_named_and_its_score_is_explained(graded):
    whole = explain(graded)
    assert whole.label in CLASSES
    assert sum(f.moved for f in whole.features) == pytest.approx(whole.score - whole.expected, abs=0.02)
    assert whole.features[0].feature == "x"  # `place` says nothing of the grade
    row = int(graded.feature_frame(whole.key)[ROW].iloc[0])
    of_row = explain(graded, row=row)
    assert of_row.score >= 1 / len(CLASSES)  # its most likely class is explained
    assert {f.feature for f in of_row.features} == {"x", "place"}


def test_nothing_is_written(loop):
    before = loop.store.decisions(loop.name)
    explain(loop)
    assert loop.store.decisions(loop.name) == before


def test_what_is_not_there_is_named(loop, tmp_path):
    with pytest.raises(InputError, match=r"version '?99"):
        explain(loop, "99")
    with pytest.raises(InputError, match="no partition '1999-01-01T0000' is published"):
        explain(loop, key="1999-01-01T0000")
    with pytest.raises(InputError, match="has no row 123456789; the column _row of what was published"):
        explain(loop, row=123456789)
    empty, _ = flights.fresh_loop(tmp_path)
    with pytest.raises(InputError, match="no partition is published yet"):
        explain(empty)


@pytest.fixture
def run(loop, monkeypatch):
    monkeypatch.setattr(explain_command, "find_project", lambda name: loop.project)
    monkeypatch.setattr(explain_command, "loop_of", lambda project, store: loop)
    monkeypatch.setattr(explain_command, "open_store", lambda: nullcontext(loop.store))
    return lambda *words: CliRunner().invoke(app, ["explain", loop.name, *words])


def test_the_command_shows_a_table_and_as_json_every_feature(run, loop, monkeypatch):
    shown = run()
    assert shown.exit_code == 0
    assert f"version {served(loop)} on {EXPLAINED_ROWS} rows of" in shown.output
    assert "mean score 0." in shown.output
    assert "moved the mean score by" in shown.output
    told = json.loads(run("--json").output)
    assert len(told["features"]) == len(loop.feature_frame(told["key"]).columns) - 3
    told_row = int(loop.feature_frame(told["key"])[ROW].iloc[0])
    row = run("--row", str(told_row))
    assert "value" in row.output
    assert "moved the score by" in row.output
    wrong = run("99")
    assert wrong.exit_code == 2
    assert "Traceback" not in wrong.output
    told_of = explain_command.explain
    odd = "rate [/b] of [red]x[/m]"
    monkeypatch.setattr(
        explain_command,
        "explain",
        lambda *given, **named: replace(
            told_of(*given, **named), features=(FeatureContribution(odd, 0.1, 0.01, 0.1, odd),)
        ),
    )
    assert odd in run().output
    assert odd in run("--row", str(told_row)).output

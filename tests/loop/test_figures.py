"""Business figures through the loop: computed once all labels of a partition are known, shown, told once; nothing else changes for them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.support import hours

from updraft import files
from updraft.alerts import outbox
from updraft.cli.status import _print, describe
from updraft.control.metrics import FIGURE, FIGURE_BEYOND, project_samples
from updraft.control.partition import read_partition
from updraft.control.project import read_project
from updraft.data.columns import LABEL, ROW, SCORE
from updraft.loop.context import Loop
from updraft.loop.figures import completed_by
from updraft.loop.in_process import KeptModels, play
from updraft.pages import rooms
from updraft.spec.load import load_project
from updraft.store.store import Store

FIGURES = """  figures:
    heat_caught: "sum(case when score > 0.5 and label = 1 then heat else 0 end)"
    warned: {expr: avg((score > 0.5)::int), at_least: 0.1, at_most: 0.25}
    of_none: {expr: sum(heat) filter (where score > 2), at_most: 7}
"""
LATE = 12
ORDER = (*range(LATE), LATE + 1, LATE + 2, LATE)


def played(folder, figures: str) -> Loop:
    """The hours in an order in which one comes late."""
    project = hours.project(folder)
    text = (project.folder / "project.yaml").read_text()
    (project.folder / "project.yaml").write_text(text.replace("  figures: {heat: sum(heat * score)}\n", figures))
    settings = hours.Settings.from_env({"UPDRAFT_HOME": str(folder), "UPDRAFT_PROJECTS": str(folder)})
    models = KeptModels()
    loop = Loop(load_project(project.folder), settings, Store.in_memory(), models)
    for hour in ORDER:
        play(loop, models, hours.ingested(loop, hour))
    return loop


@pytest.fixture(scope="module")
def figured(tmp_path_factory):
    loop = played(tmp_path_factory.mktemp("figured"), FIGURES)
    yield loop
    loop.store.close()


def test_a_partition_has_its_figures_once_all_its_labels_are_known_and_a_late_one_too(figured):
    recorded = {row.key: row for row in figured.store.figures(figured.name)}
    scored = [hours.key(hour) for hour in range(LATE + 3) if figured.store.predictions(figured.name, hours.key(hour))]
    assert list(recorded) == scored[:-1], "the labels of the newest hour are not known yet"
    assert {row.as_of for row in list(recorded.values())[-3:]} == {hours.key(LATE + 2)}, "one waited for the late one"
    for hour in (LATE - 1, LATE):
        prediction = figured.store.predictions(figured.name, hours.key(hour))["champion"]
        rows = hours.events(hour).merge(files.read_parquet(prediction.url, prediction.sha256), on=ROW)
        row = recorded[hours.key(hour)]
        caught = rows[(rows[SCORE] > 0.5) & (rows[LABEL] == 1)]["heat"].sum()
        assert (row.version, row.rows) == ("1", 60)
        assert row.figures["heat_caught"]["value"] == pytest.approx(caught)
        assert row.figures["warned"]["value"] == pytest.approx((rows[SCORE] > 0.5).mean())
        assert row.figures["of_none"] == {
            "value": None,
            "why": "is null for these rows",
            "at_least": None,
            "at_most": 7.0,
        }


def test_nothing_is_decided_measured_or_trained_otherwise_for_them(figured, tmp_path):
    plain = played(tmp_path, "")
    assert plain.store.figures(plain.name) == []
    for loop in (plain, figured):
        assert loop.store.performance(loop.name)
    assert plain.store.performance(plain.name) == figured.store.performance(figured.name)
    without, with_figures = (
        [(d.key, d.kind, d.subject, d.body) for d in loop.store.decisions(loop.name)] for loop in (plain, figured)
    )
    assert without == with_figures
    trained = [[row.request_sha256 for row in loop.store.trainings(loop.name)] for loop in (plain, figured)]
    assert trained[0] == trained[1]
    plain.store.close()


def test_a_broken_limit_is_told_once_for_a_partition_however_often_the_task_runs(figured):
    from updraft_airflow.operators.loop import MeasurePerformance

    key = hours.key(LATE + 2)
    for _ in range(2):
        MeasurePerformance(task_id="measure_performance", project=figured.name).step(figured, {"partition_key": key})
    told = [stored.alert for stored in outbox.recent(figured.store.engine, figured.name)]
    [alert] = [alert for alert in told if alert.entry == "figure_limit" and alert.key == hours.key(LATE + 1)]
    assert alert.title == "Business figures beyond the limit: warned, of_none"
    assert "above at_most: 0.25" in alert.detail
    assert "of_none is null for these rows, so its limit cannot be held" in alert.detail
    assert not alert.routine


def test_they_are_seen_in_status_on_the_pages_and_in_metrics(figured, capsys):
    key, now = hours.key(LATE + 1), hours.START + timedelta(hours=LATE + 4)
    told = describe(figured.store, figured.name, 3, figured, now)
    assert told["figures"][-1]["key"] == key
    _print(told)
    assert f"business figures of {key}: heat_caught " in capsys.readouterr().out

    project = read_project(figured, now)
    assert [series.name for series in project.business] == ["heat_caught", "warned", "of_none"]
    page = rooms.project_page(project, rooms.Place()).decode()
    assert "<h2>Business figures" in page
    assert 'aria-label="warned of each partition"' in page
    assert "above at_most: 0.25" in page
    partition = rooms.partition_page(read_partition(figured, key), rooms.Place()).decode()
    assert "<h2>Business figures" in partition
    assert "is null for these rows, so its limit cannot be held" in partition

    samples = {(sample.family, sample.labels): sample.value for sample in project_samples(figured, now)}
    newest = figured.store.figures(figured.name, newest=1)[0].figures
    assert {labels[1]: value for (family, labels), value in samples.items() if family is FIGURE} == {
        name: newest[name]["value"] for name in ("heat_caught", "warned")
    }
    assert samples[FIGURE_BEYOND, (figured.name, "warned")]
    assert not samples[FIGURE_BEYOND, (figured.name, "heat_caught")]


def test_the_ticks_at_which_labels_mature_are_those_of_the_policy(figured):
    label = figured.spec.data.label.model_copy(update={"matures_after": timedelta(minutes=90, seconds=5)})
    spec = figured.spec.model_copy(update={"data": figured.spec.data.model_copy(update={"label": label})})
    project = figured.project.model_copy(update={"spec": spec})
    later = Loop(project, figured.settings, figured.store, figured.models)
    assert completed_by(later, hours.key(4), hours.key(4)) == [hours.key(2)]
    assert completed_by(later, hours.key(LATE), hours.key(LATE + 2)) == [
        hours.key(LATE - 2),
        hours.key(LATE - 1),
        hours.key(LATE),
    ]
    assert completed_by(later, hours.key(0), hours.key(0)) == []

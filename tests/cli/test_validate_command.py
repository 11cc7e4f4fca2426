"""``updraft validate`` finds before anything is started what a run would fail of, or would do without a word."""

from __future__ import annotations

import itertools
import json

import pytest
from tests.support.made_project import FEATURES, MadeProject
from tests.support.without_torch.sitecustomize import torch_hidden
from typer.testing import CliRunner

from updraft.cli.main import app

DAYS = 6


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    return MadeProject(tmp_path, DAYS)


def validate(made, *options):
    done = CliRunner().invoke(app, ["validate", "shop", "--json", *options])
    told = json.loads(done.stdout)["shop"]
    assert done.exit_code == (0 if told["sound"] else 2)
    assert not (made.root / "home" / "lake").exists()
    return told


def whole(made, row=lambda line: line):
    """The orders of all days as one file."""
    days = [made.file(day).read_text().splitlines() for day in range(1, DAYS + 1)]
    path = made.root / "orders.csv"
    path.write_text("\n".join([days[0][0], *(row(line) for lines in days for line in lines[1:]), ""]))
    made.write(lambda spec: spec["data"]["sources"]["orders"].update(url=f"file://{path}"))
    return path


def test_a_sound_project_is_sound_and_its_policy_is_told(made):
    told = validate(made)
    assert told["problems"] == []
    keys = [note.partition(":")[0] for note in told["notes"]]
    assert keys[:4] == [
        "monitoring.remedies.retrain",
        "monitoring.drift",
        "release.change.shadow",
        "release.refresh.probation_at_most",
    ]


def test_the_files_of_all_environments_are_looked_at_and_the_chosen_one_is_named(made, monkeypatch):
    (made.folder / "project.production.yaml").write_text("data: {private: [shop]}\n")
    (made.folder / "project.staging.yaml").write_text("alerts: {routine: drop}\n")
    monkeypatch.setenv("UPDRAFT_ENVIRONMENT", "staging")
    told = validate(made)
    assert told["environment"] == "staging"
    assert "environment staging: project.staging.yaml overrides project.yaml" in told["notes"]
    [problem] = told["problems"]
    assert "project.production.yaml:1: data.private = ['shop']: may not differ" in problem
    assert problem.endswith("(in environment production)")


def test_project_yaml_alone_and_files_that_are_never_read_are_told_of_in_every_environment(made, monkeypatch):
    made.write(lambda spec: spec["data"].update(schedule="daily"))
    (made.folder / "project.staging.yaml").write_text('data: {schedule: "0 0 * * *"}\n')
    (made.folder / "project.Production.yaml").write_text("{}\n")
    monkeypatch.setenv("UPDRAFT_ENVIRONMENT", "staging")
    misnamed, alone = validate(made)["problems"]
    assert "project.Production.yaml: is never read" in misnamed
    assert "data.schedule = 'daily'" in alone
    assert alone.endswith("(where project.yaml alone holds)")


def url_of(made, url):
    made.write(lambda spec: spec["data"]["sources"]["orders"].update(url=url))


def label(made, **changes):
    made.write(lambda spec: spec["data"]["label"].update(changes))


def untrained(spec):
    spec["monitoring"] = {"remedies": {"retrain": None}}


def features(made, body):
    (made.folder / "features.py").write_text(FEATURES.replace("rows[['amount', 'shop']]", body))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda made: url_of(made, f"file://{made.root}/no-orders.csv"), ["data.sources.orders.url", "no such file"]),
        (lambda made: url_of(made, "orders.csv"), ["data.sources.orders.url", "is relative", "file:///srv"]),
        (lambda made: url_of(made, "file://data/{key}.csv"), ["data.sources.orders.url", "is relative"]),
        (lambda made: url_of(made, "file:///no/folder/{key}.csv"), ["data.sources.orders.url", "no folder /no/folder"]),
        (lambda made: label(made, expr="'late' = 1"), ["data.label.expr", "reads no column", "double quotes"]),
        (lambda made: label(made, expr="'late'"), ["data.label.expr", "reads no column"]),
        (lambda made: label(made, expr="late + 1"), ["data.label.expr", "none of task binary", "regression"]),
        (lambda made: label(made, expr="shop"), ["data.label.expr", "text that is no number", "= 'Y'"]),
        (lambda made: features(made, "rows[['amount', 'price']]"), ["features.py:2", "'price'"]),
        (lambda made: features(made, "rows.loc[:, ['amount', 'late']]"), ["features.py:2", "`late` is an outcome"]),
        (lambda made: features(made, "rows[['amount', 'at']]"), ["features.py", "'at' of type datetime64"]),
        (lambda made: made.write(untrained), ["monitoring.remedies.retrain", "nothing is ever trained", "every: 4"]),
        (lambda made: made.write(lambda spec: spec["release"].update(cluster="week")), ["training.first_after = 3", "within one week"]),
    ],
)  # fmt: skip
def test_what_would_fail_later_is_a_problem_now(made, spoil, says):
    spoil(made)
    told = validate(made)
    assert len(told["problems"]) == 1, told
    for words in says:
        assert words in told["problems"][0]


@pytest.mark.parametrize("label_of_a_row", [lambda line: line[:-1] + "1", lambda line: line[:-1]])
def test_one_class_or_no_label_in_the_whole_file_is_a_problem(made, label_of_a_row):
    path = whole(made, label_of_a_row)
    [problem] = validate(made)["problems"]
    assert "data.label.expr" in problem
    assert "is it the right column" in problem
    assert str(path) in problem


@pytest.mark.parametrize(("sites", "sound"), [(1, False), (2, True)])
def test_a_column_that_has_one_value_in_the_first_window_is_no_cluster(made, sites, sound):
    number = itertools.count()
    path = whole(made, lambda line: f"{line},{next(number) % sites}")
    path.write_text(path.read_text().replace("late\n", "late,site\n", 1))
    made.write(lambda spec: spec["release"].update(cluster="site"))
    problems = validate(made)["problems"]
    assert bool(problems) != sound
    if problems:
        assert (
            "training.first_after = 3: lets the first model learn and be judged within one value of site" in problems[0]
        )


def test_the_label_of_a_column_that_is_no_outcome_is_told_by_name(made):
    made.write(lambda spec: spec["data"].pop("outcomes"))
    features(made, "rows[['amount', 'late']]")
    [problem] = validate(made)["problems"]
    assert "`late` is what the label is made of" in problem


def test_a_refused_partition_is_noted_and_features_are_tried_on_another(made):
    (made.folder / "expectations.yaml").write_text(
        "orders:\n  rows:\n    - {expect: column_values_to_be_between, column: amount, min_value: 0}\n"
    )
    made.file(DAYS).write_text(made.file(DAYS).read_text().replace(",a,", ",a,-"))
    features(made, "rows[['amount', 'price']]")
    told = validate(made)
    assert any("partition 2024-01-07T0000 is refused" in note for note in told["notes"])
    assert "'price'" in told["problems"][0]


def test_without_a_partition_that_has_its_file_the_features_are_loaded_all_the_same(made):
    for day in range(1, DAYS + 1):
        made.file(day).unlink()
    (made.folder / "features.py").write_text("1 / 0\n\n\ndef features(rows):\n    return rows\n")
    told = validate(made)
    assert "features and labels are not tried: no partition has its files yet" in told["notes"]
    assert "features.py:1: raises ZeroDivisionError" in told["problems"][0]


def test_a_rare_class_that_a_day_lacks_is_no_problem(made):
    for day in range(1, DAYS + 1):
        made.write_day(day, lambda day, n: 0)
    assert validate(made)["problems"] == []


@pytest.mark.parametrize("content", ["utf-16", "latin-1"])
def test_a_file_that_does_not_read_is_named_and_none_of_its_values(made, content):
    path = whole(made, lambda line: line.replace(",a,", ",kämmerer,"))
    path.write_bytes(path.read_text().encode(content))
    told = validate(made)
    [problem] = told["problems"]
    assert "data.sources.orders.url" in problem
    assert str(path) in problem
    assert f"encoding: {content}" in problem
    assert "merer" not in json.dumps(told)


def test_a_file_that_may_not_be_read_is_named(made):
    path = whole(made)
    path.unlink()
    path.symlink_to("/proc/self/mem")  # refuses to be read, whoever asks
    [problem] = validate(made)["problems"]
    assert "data.sources.orders.url" in problem
    assert "cannot be read" in problem


def test_times_that_are_none_are_told_before_anything_runs(made):
    whole(made, lambda line: line.replace("2024-01-03T", "yesterday "))
    [problem] = validate(made)["problems"]
    assert "event_time 'at' is no time in row" in problem


@pytest.mark.parametrize(
    ("compute", "told_of"),
    [
        ({}, {"training.trainers": "no training of it can start"}),
        (
            {"backend": "kubernetes"},
            {"training.trainers": "`updraft backtest` does", "monitoring.remedies.retrain": "no refit trial is made"},
        ),
    ],
)
def test_where_pytorch_is_missing_it_is_told_what_needs_it_and_the_project_is_sound(made, compute, told_of):
    deployment = made.root / "deployment.yaml"
    deployment.write_text("kubernetes: {defaults: {image: 'localhost/updraft-trainer:cpu-torch'}}")
    made.write(lambda spec: spec["training"].update(trainers=[{"name": "torch"}], compute=compute))
    with pytest.MonkeyPatch.context() as patch, torch_hidden():
        patch.setenv("UPDRAFT_DEPLOYMENT", str(deployment))
        told = validate(made)
    assert told["problems"] == []
    of_libraries = [note for note in told["notes"] if "torch" in note]
    assert [note.partition(":")[0] for note in of_libraries] == list(told_of)
    assert all(words in note for note, words in zip(of_libraries, told_of.values(), strict=True))


def cut(made, day):
    """Cut the file of a day within a line."""
    path = made.file(day)
    path.write_text(path.read_text()[:-12])
    return path


@pytest.mark.parametrize("day", [2, 3])  # neither among the newest nor the oldest, which were looked at before
def test_a_file_that_is_cut_within_a_line_is_a_problem_whichever_partition_it_is_of(made, day):
    path = cut(made, day)
    told = validate(made)
    [problem] = told["problems"]
    assert str(path) in problem
    assert "line 61" in problem


def test_each_file_that_does_not_read_is_named_once(made):
    paths = [cut(made, day) for day in (1, 3, 6)]
    problems = validate(made)["problems"]
    assert [sum(str(path) in problem for problem in problems) for path in paths] == [1, 1, 1]
    assert all("line 61" in problem for problem in problems)


def test_where_there_are_too_many_files_it_is_told_how_many_were_read_and_all_of_them_can_be(made, monkeypatch):
    from updraft.data import file_reading

    cut(made, 3)
    monkeypatch.setattr(file_reading, "TIME", 0.0)
    told = validate(made)
    assert told["sound"]
    [note] = [note for note in told["notes"] if note.startswith("data.sources.orders:")]
    assert note.startswith("data.sources.orders: 1 of 6 files were read")
    assert "updraft validate shop --all reads every one" in note
    assert validate(made, "--all")["problems"]


def test_the_newest_the_oldest_and_a_spread_come_first():
    from updraft.data.file_reading import _spread

    keys = [str(number) for number in range(9)]
    assert list(_spread(keys)) == ["0", "8", "4", "2", "6", "1", "3", "5", "7"]
    assert list(_spread([])) == []
    assert list(_spread(["a"])) == ["a"]
    assert list(_spread(["a", "b"])) == ["a", "b"]

"""Every problem of a project's folder is found at once, and told with file, key, value and what is allowed."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from datetime import date, timedelta
from pathlib import Path

import pytest

from updraft.errors import SettingsError, SpecError
from updraft.spec.load import (
    BrokenProject,
    Problem,
    SpecProblems,
    load_project,
    load_project_or_problems,
    load_projects,
    project_names,
)
from updraft.spec.model import FixedLimit, Project

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = ROOT / "include" / "projects"

TEN_ERRORS = """\
name: chrun
owner: 7
task: binry
data:
  schedule: "0 5 * *"
  start: 2024-01-01
  end: 2023-01-01
  sources:
    visits: {type: file, url: "s3://lake/visits.parquet"}
    people: {type: file, url: "package://people"}
  key: [customer, left_us]
  outcomes: [left_us]
  label: {expr: "left_us > 0", matures_after: soon}
training:
  window: 2
  trainers: [{name: xgboost, params: {max_dept: 6, seed: 3, eta: fast}}]
relase: {margin: 0}
release: {margin: -1, confidence: 95}
monitoring: {remedies: {retrain: {on: [performence, {auc: under 0.6}]}}}
"""


def problems(found: Project | BrokenProject) -> dict[str, Problem]:
    assert isinstance(found, BrokenProject)
    keys = [problem.key for problem in found.problems]
    assert len(set(keys)) == len(keys), f"a key is told twice: {keys}"
    return {problem.key: problem for problem in found.problems}


def told(folder: Path) -> dict[str, str]:
    return {key: str(problem) for key, problem in problems(load_project_or_problems(folder)).items()}


def test_the_reference_project_loads():
    project = load_project(PROJECTS / "flight_delays")
    assert project.name == "flight_delays"
    assert project.spec.data.start == date(2013, 1, 1)
    assert project.spec.monitoring.remedies.retrain is not None
    assert project.spec.monitoring.remedies.retrain.on == ("performance",)


def test_the_smallest_useful_file_has_ten_lines(make_project, smallest):
    assert len(smallest.splitlines()) == 10
    spec = load_project(make_project()).spec
    assert spec.release.refresh.holdout == 6  # of days, as its partitions hold one each
    assert spec.data.label.matures_after == timedelta(days=1)


def test_every_one_of_many_errors_is_told_at_once(make_project):
    found = told(make_project(TEN_ERRORS))
    assert set(found) == {
        "name",
        "owner",
        "task",
        "data.schedule",
        "data.end",
        "data.sources.visits",
        "data.sources.people",
        "data.sources.people.url",
        "data.key",
        "data.label.matures_after",
        "training.window",
        "training.trainers[0].params.max_dept",
        "training.trainers[0].params.seed",
        "training.trainers[0].params.eta",
        "relase",
        "release.margin",
        "release.confidence",
        "monitoring.remedies.retrain.on[0]",
        "monitoring.remedies.retrain.on[1]",
    }
    assert found["release.margin"].endswith("project.yaml:18: release.margin = -1: must be at least 0")
    assert "did you mean `release`?" in found["relase"]
    assert "did you mean `binary`?; allowed: binary, multiclass, regression" in found["task"]
    assert "did you mean `performance`?" in found["monitoring.remedies.retrain.on[0]"]
    assert "set by Updraft from `training.seed`" in found["training.trainers[0].params.seed"]
    assert "did you mean `max_depth`?" in found["training.trainers[0].params.max_dept"]
    assert "must be a number above 0 and at most 1" in found["training.trainers[0].params.eta"]
    assert "30m, 6h, 1d or 2w" in found["data.label.matures_after"]


def test_problems_stand_in_the_order_of_the_file(make_project):
    found = load_project_or_problems(make_project(TEN_ERRORS))
    assert isinstance(found, BrokenProject)
    lines = [problem.line or 0 for problem in found.problems]
    assert lines == sorted(lines)
    assert lines[0] == 1


def test_a_problem_reads_as_one_line_from_the_deployment_s_root():
    problem = Problem("include/projects/x/project.yaml", "release.margin", -1, "must be at least 0")
    assert str(problem) == "include/projects/x/project.yaml: release.margin = -1: must be at least 0"


def test_the_error_carries_its_problems_through_pickle(make_project):
    with pytest.raises(SpecProblems, match="must be the folder's name") as caught:
        load_project(make_project(name="other"))
    assert isinstance(caught.value, SpecError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert again.problems[0].allowed == ("other",)


CHANGES = [
    ("start: 2024-01-01", "start: 20240101", "data.start", "write a date as 2013-01-31"),
    ("start: 2024-01-01", "start: 2024-01-01T05:00:00", "data.start", "write a date as"),
    ("start: 2024-01-01", "start: 2024-13-01", "data.start", "there is no such day (month must be in 1..12)"),
    ("start: 2024-01-01", "start: 2024-01-01\n  start: 2024-01-02", "data.start", "stands twice, in line 5 and here"),
    ("start: 2024-01-01", "start:", "data.start", "is empty; write a value"),
    ("start: 2024-01-01", "begin: 2024-01-01", "data.begin", "unknown key; allowed: schedule, start, end"),
    ("owner: crm", "", "owner", "is missing"),
    ("owner: crm", "owner: ''", "owner", "must not be empty"),
    ("owner: crm", "owner: {a: 1}", "owner", "must be text"),
    ("owner: crm", "owner: [crm", "", "not YAML"),
    ("owner: crm", "owner: crm\n\tx: 1", "", "not YAML"),
    ("owner: crm", "owner: crm\n1: x", "1", "unknown key"),
    ("owner: crm", "owner: crm\ngates: {log_loss: {}}", "gates.log_loss.no_worse_than_champion_by", "is missing"),
    ("owner: crm", "owner: crm\ngates: {slices: {by: [], no_worse_than_champion_by: 0}}", "gates.slices.by", "empty"),
    (
        "owner: crm",
        "owner: crm\ngates: {rmse: {no_worse_than_champion_by: 0}}",
        "gates.rmse",
        "does not suit task binary",
    ),
    (
        "owner: crm",
        "owner: crm\ntask: regression\nrelease: {metric: brier}",
        "release.metric",
        "allowed: squared_error",
    ),
    ("owner: crm", "owner: crm\ntraining: 26", "training", "must be keys and values"),
    ("owner: crm", "owner: crm\ntraining: {window: 26.5}", "training.window", "must be a whole number"),
    ("owner: crm", "owner: crm\ntraining: {window: true}", "training.window", "must be a whole number"),
    ("owner: crm", 'owner: crm\ntraining: {window: "26"}', "training.window", "must be a whole number"),
    ("owner: crm", "owner: crm\ntraining: {trainers: []}", "training.trainers", "must not be empty"),
    (
        "owner: crm",
        "owner: crm\ntraining: {trainers: [{name: forest}]}",
        "training.trainers[0].name",
        "allowed: xgboost, lightgbm, sklearn, torch",
    ),
    (
        "owner: crm",
        "owner: crm\ntraining: {trainers: [{name: sklearn, params: {estimator: elastic_net}}]}",
        "training.trainers[0]",
        "elastic_net learns numbers, and the label has classes",
    ),
    (
        "owner: crm",
        "owner: crm\ntraining: {trainers: [{name: lightgbm}], compute: {workers: 2}}",
        "training.trainers[0].name",
        "learns in one process, and training.compute.workers is 2; xgboost, torch learn in several",
    ),
    ("owner: crm", "owner: crm\ntraining: {trainers: [{}]}", "training.trainers[0].name", "is missing"),
    (
        "owner: crm",
        "owner: crm\ntraining: {first_after: 3}\nrelease: {refresh: {holdout: 3}}",
        "training.first_after",
        "above",
    ),
    ("owner: crm", "owner: crm\nrelease: {sensitive: yes}", "release.sensitive", "must be true or false"),
    ("owner: crm", "owner: crm\nrelease: {margin: .nan}", "release.margin", "must be a finite number"),
    (
        "owner: crm",
        "owner: crm\nrelease: {change: {shadow: {at_least: 5, at_most: 2}}}",
        "release.change.shadow",
        "is above",
    ),
    (
        "owner: crm",
        "owner: crm\nmonitoring: {drift: {persist: 4 of 3}}",
        "monitoring.drift.persist",
        "can never happen",
    ),
    (
        "owner: crm",
        "owner: crm\nmonitoring: {drift: {false_alarms: often}}",
        "monitoring.drift.false_alarms",
        "1 per quarter",
    ),
    (
        "owner: crm",
        "owner: crm\nmonitoring: {remedies: {retrain: {every: null, on: []}}}",
        "monitoring.remedies.retrain",
        "never trains",
    ),
    (
        "owner: crm",
        "owner: crm\nmonitoring: {remedies: {retrain: {on: [{rmse: above 3}]}}}",
        "monitoring.remedies.retrain.on[0]",
        "does not suit task binary",
    ),
    ('"0 5 * * *"', '"61 5 * * *"', "data.schedule", "is not a cron expression"),
    ('"0 5 * * *"', '"0 0 30 2 *"', "data.schedule", "is not a cron expression that ever ticks"),
    ('"0 5 * * *"', '"@daily"', "data.schedule", "five fields"),
    (", event_time: at", "", "data.sources.visits", "needs event_time"),
    ("event_time: at", "event_time: at, join: [at]", "data.sources.visits.join", "joins nothing"),
    (
        "s3://lake/visits",
        "s3://*/visits",
        "data.sources.visits.url",
        "in the name of a file, and not in that of a folder",
    ),
    ("s3://lake/visits/{key}.parquet", "https://lake/*.csv", "data.sources.visits.url", "not of a web server"),
    ("{key}", "{day}", "data.sources.visits.url", "{key} stands for the partition key"),
    ("visits: {", "Visits: {", "data.sources.Visits", "must begin with a lower-case letter"),
    ("key: [customer, at]", "key: [customer, at, at]", "data.key", "names column at twice"),
    ("key: [customer, at]", "key: customer", "data.key", "must be a list such as [a, b]"),
    ("key: [customer, at]", "key: [customer, 3]", "data.key[1]", "must be text"),
    ("key: [customer, at]", "key: [customer]\n  private: [at]", "data.sources.visits.event_time", "is in data.private"),
    (
        "key: [customer, at]",
        "key: [customer, at]\n  private: [left_us]",
        "data.label.expr",
        "is the private column itself",
    ),
    ('"#crm"', '"crm team"', "alerts.slack.channel", "must be a channel such as #ml-alerts"),
    ('"#crm"}', '"#crm", mention: "@ada"}', "alerts.slack.mention", "must be the id of a Slack member (U012AB3CD)"),
    ('"#crm"}', '"#crm", on: [failures]}', "alerts.slack.on[0]", "did you mean `failure`?"),
]


@pytest.mark.parametrize(("old", "new", "key", "message"), CHANGES)
def test_one_mistake_is_one_problem(make_project, smallest, old, new, key, message):
    assert old in smallest
    found = problems(load_project_or_problems(make_project(smallest.replace(old, new, 1))))
    if new.startswith("begin"):
        assert found.pop("data.start").message == "is missing"
    assert list(found) == [key]
    assert message in str(found[key])
    assert "\n" not in str(found[key])
    assert (found[key].line is None) == (old == "owner: crm" and not new)  # what is not there stands in no line


@pytest.mark.parametrize(
    "content", ["", "# nothing\n", "~\n", "[1, 2]\n", "text\n", "a: &a [*a]\n", "? [x]\n: 1\n", "a: \x00"]
)
def test_a_file_that_is_no_mapping_is_a_problem(make_project, content):
    found = load_project_or_problems(make_project(content))
    assert isinstance(found, BrokenProject)
    assert len(found.problems) == 1


def test_a_file_that_is_not_utf8_names_the_line(make_project):
    folder = make_project()
    (folder / "project.yaml").write_bytes(b"name: churn\nowner: \xff\n")
    assert "project.yaml:2: not UTF-8" in str(problems(load_project_or_problems(folder))[""])


def test_an_alias_that_grows_without_end_stays_small(make_project):
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 8))
    found = problems(load_project_or_problems(make_project(bomb)))
    assert "more than 20000 values" in str(found[""])


@pytest.mark.parametrize("content", ["[" * 4_900, "[" * 500_000, "- " * 400_000, "{a: " * 1_000])
def test_nesting_without_end_is_a_problem_and_not_a_crash(make_project, content):
    found = problems(load_project_or_problems(make_project(content)))
    assert "not YAML" in str(found[""])


def test_deep_nesting_is_refused_at_its_line(make_project):
    found = problems(load_project_or_problems(make_project("name: x\nowner: " + "[" * 60 + "]" * 60)))
    assert "project.yaml:2: not YAML: nested more than 40 deep" in str(found[""])


def test_on_is_a_word_and_1e3_a_number(make_project, smallest):
    text = smallest + (
        "monitoring: {remedies: {retrain: {on: [drift, {auc: below 0.60}]}}}\n"
        "training: {trainers: [{name: xgboost, params: {eta: 1e-1, grow_policy: lossguide}}]}\n"
    )
    spec = load_project(make_project(text)).spec
    assert spec.monitoring.remedies.retrain is not None
    assert spec.monitoring.remedies.retrain.on == ("drift", FixedLimit(metric="auc", side="below", value=0.6))
    assert spec.training.trainers[0].params["eta"] == 0.1


def test_a_regression_is_decided_by_squared_error_unless_said_otherwise(make_project, smallest):
    spec = load_project(make_project(smallest.replace("owner", "task: regression\nowner"))).spec
    assert spec.release.metric == "squared_error"


def test_what_follows_from_a_mistake_is_not_told_as_another(make_project, smallest):
    """`window: x` leaves the default in its place; comparing that with the holdout would speak of a value not there."""
    text = smallest + "training: {window: x}\nrelease: {refresh: {holdout: 30}}\n"
    assert set(told(make_project(text))) == {"training.window", "training.first_after"}


def test_a_closed_history_without_a_tick_is_refused(make_project, smallest):
    text = smallest.replace("start: 2024-01-01", "start: 2024-01-02\n  end: 2024-01-20").replace(
        "0 5 * * *", "0 5 1 * *"
    )
    assert "closes no partition" in told(make_project(text))["data.end"]


def test_outcomes_name_no_row_join_nothing_and_slice_nothing(make_project, smallest):
    text = smallest.replace(
        "  key:",
        '    people: {type: file, url: "file:///p.csv", join: [left_us]}\n'
        "  outcomes: [left_us]\n  private: [left_us]\n  key:",
    )
    text += "gates: {slices: {by: [left_us], no_worse_than_champion_by: 0}}\n"
    found = told(make_project(text.replace("key: [customer, at]", "key: [left_us]")))
    assert set(found) == {"data.key", "data.sources.people.join", "gates.slices.by", "data.label.expr"}


def test_a_parameter_under_both_its_names_is_refused(make_project, smallest):
    text = (
        smallest + "training: {trainers: [{name: xgboost, params: {eta: 0.1, learning_rate: 0.2, n_estimators: 5}}]}\n"
    )
    found = told(make_project(text))
    assert "another name of `eta`" in found["training.trainers[0].params.learning_rate"]
    assert "is called `rounds` here" in found["training.trainers[0].params.n_estimators"]


VALUES = {"grow_policy": "depthwise", "sampling_method": "uniform", "max_bin": 2}


def test_xgboost_knows_every_parameter_that_may_be_set():
    import numpy as np
    import xgboost

    from updraft.spec.trainers import TRAINERS

    ours = TRAINERS["xgboost"].own
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # XGBoost warns of parameters that it does not use
        params = {name: VALUES.get(name, 1) for name in TRAINERS["xgboost"].params if name not in ours}
        data = xgboost.DMatrix(np.zeros((2, 1)), np.array([0.0, 1.0]))
        xgboost.train({**params, "tree_method": "hist", "validate_parameters": True}, data, num_boost_round=1)


def test_a_broken_project_never_stops_the_others(make_project, tmp_path):
    make_project(name="churn")
    make_project("name: [", name="bad")
    make_project(None, name="no_spec")
    make_project(None, "x = (", name="__pycache__")
    make_project(None, None, name="plain_folder")
    make_project(name=".hidden")
    make_project(name="my model")
    renamed = make_project(None, None, name="renamed")
    (renamed / "project.yml").write_text("name: renamed")
    (tmp_path / "projects" / "README.md").write_text("notes")
    root = tmp_path / "projects"
    assert project_names(root) == ["bad", "churn", "my model", "no_spec", "renamed"]
    found = load_projects(root)
    assert list(found) == project_names(root)
    assert isinstance(found["churn"], Project)
    broken = [each for each in found.values() if isinstance(each, BrokenProject)]
    assert [each.name for each in broken] == ["bad", "my_model", "no_spec", "renamed"]
    assert all(each.problems for each in broken)
    assert any("rename project.yml" in str(problem) for problem in broken[-1].problems)


def test_a_folder_of_projects_that_is_not_there_names_the_setting(tmp_path):
    with pytest.raises(SettingsError, match="UPDRAFT_PROJECTS"):
        load_projects(tmp_path / "nowhere")


def test_problems_of_both_files_are_told_together(make_project):
    found = load_project_or_problems(make_project("name: churn\n", "import airflow\n"))
    assert isinstance(found, BrokenProject)
    assert {problem.file.rsplit("/", 1)[1] for problem in found.problems} == {"project.yaml", "features.py"}


def test_loading_a_project_imports_nothing_heavy():
    heavy = ["pandas", "numpy", "pyarrow", "scipy", "duckdb", "xgboost", "mlflow", "sklearn", "airflow", "fsspec"]
    code = (
        "import sys; from pathlib import Path; from updraft.spec.load import load_project;"
        f"load_project(Path({str(PROJECTS / 'flight_delays')!r}));"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "include"
    )
    assert done.stdout.strip() == "[]"

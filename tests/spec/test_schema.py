"""The JSON Schema that editors use says of a file what loading it says."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from updraft.spec import schema
from updraft.spec.document import read_document
from updraft.spec.load import load_project

ROOT = Path(__file__).resolve().parents[2]


def errors(path: Path) -> list[str]:
    """What the schema has against a file, read as an editor reads it: dates are text."""
    data = json.loads(json.dumps(read_document(path).data, default=str))
    checker = jsonschema.Draft202012Validator(schema.json_schema(), format_checker=jsonschema.FormatChecker())
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in checker.iter_errors(data)]


def test_the_file_is_in_step_with_the_model():
    assert schema.FILE.read_text() == schema.text(), "run: python -m updraft.spec.schema"
    deployment = schema.text(schema.deployment_schema())
    assert schema.DEPLOYMENT_FILE.read_text() == deployment, "run: python -m updraft.spec.schema"
    environment = schema.text(schema.environment_schema())
    assert schema.ENVIRONMENT_FILE.read_text() == environment, "run: python -m updraft.spec.schema"


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema.environment_schema())
    jsonschema.Draft202012Validator.check_schema(schema.json_schema())
    jsonschema.Draft202012Validator.check_schema(schema.deployment_schema())


def test_the_deployment_file_fits_its_schema():
    data = read_document(ROOT / "include" / "deployment.yaml").data
    assert not list(jsonschema.Draft202012Validator(schema.deployment_schema()).iter_errors(data))


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("data: {schedule: 0 5 * * *, sources: {visits: {url: 's3://staging/{key}', rate: 2}}}", True),
        ("alerts: {slack: {on: [drift]}}", True),
        ("alerts: {slack: null}\ntraining: {compute: {gpu: 1}, search: {trials: 5}}", True),
        ("monitoring: {remedies: {retrain: {per_year: 3}}}", True),
        ("monitoring: {remedies: {retrain: {per_year: many}}}", False),
        ("data: {private: [shop]}", False),
        ("data: {sources: {visits: {event_time: at}}}", False),
        ("release: {margin: 1}", False),
    ],
)
def test_the_schema_of_an_environment_takes_what_may_differ(tmp_path, text, fits):
    (tmp_path / "project.staging.yaml").write_text(text)
    data = read_document(tmp_path / "project.staging.yaml").data
    assert jsonschema.Draft202012Validator(schema.environment_schema()).is_valid(data) == fits


def test_writing_it_twice_gives_the_same_bytes(tmp_path):
    schema.write(tmp_path / "one.json")
    schema.write(tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_the_reference_project_fits():
    assert errors(ROOT / "include" / "projects" / "flight_delays" / "project.yaml") == []


@pytest.mark.parametrize(
    "more",
    [
        "monitoring: {drift: {false_alarms: 0.5 per year, persist: 3 of 5}}",
        "monitoring: {remedies: {retrain: {every: null, on: [drift, {auc: below 0.60}]}, recalibrate: null}}",
        "release: {change: {approval: none, approval_timeout: 2w}}",
        "training: {trainers: [{name: xgboost, params: {eta: 0.1, rounds: 50, grow_policy: lossguide}}]}",
        "training: {trainers: [{name: xgboost, params: {external_memory: true}}, {name: torch, params: {width: 64}}]}",
        "training: {trainers: [{name: lightgbm, params: {num_leaves: 15}}, {name: sklearn, params: {estimator: random_forest}}]}",
        "training: {compute: {backend: kubernetes, cpu: 1.5, memory: 4Gi, gpu: 1, timeout: 6h, wait_at_most: 90s, tolerations: [{key: spot}]}}",
    ],
)
def test_short_forms_are_accepted_by_both(make_project, smallest, more):
    folder = make_project(smallest + more + "\n")
    assert load_project(folder)
    assert errors(folder / "project.yaml") == []


@pytest.mark.parametrize(
    "more",
    [
        "monitoring: {drift: {false_alarms: often}}",
        "monitoring: {remedies: {retrain: {on: [{auc: under 0.60}]}}}",
        "release: {change: {approval_timeout: soon}}",
        "training: {trainers: [{name: xgboost, params: {objective: x}}]}",
        "training: {trainers: [{name: xgboost, params: {eta: 0}}]}",
        "training: {trainers: [{name: xgboost, params: {width: 64}}]}",
        "training: {trainers: [{name: torch, params: {external_memory: true}}]}",
        "training: {trainers: [{name: torch, params: {deterministic: 1}}]}",
        "training: {trainers: [{name: lightgbm, params: {subsample: 0.5}}]}",
        "training: {trainers: [{name: sklearn, params: {estimator: svm}}]}",
        "relase: {}",
    ],
)
def test_mistakes_are_seen_by_both(make_project, smallest, more):
    folder = make_project(smallest + more + "\n")
    with pytest.raises(Exception, match=r"project\.yaml"):
        load_project(folder)
    assert errors(folder / "project.yaml")

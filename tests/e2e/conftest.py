"""One running stack for a worker's end-to-end tests, with projects of one policy: left in peace, disturbed, resumed, searched."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from tests.support.replay import outcome, replay
from tests.support.slack import TOKEN, running_slack
from tests.support.stack import running_stack

from updraft.spec.load import load_project

SPEC = {
    "training": {
        "window": 6,
        "first_after": 3,
        "trainers": [{"name": "xgboost", "params": {"max_depth": 2, "eta": 0.1, "rounds": 8, "checkpoint_every": 4}}],
    },
    "gates": {"log_loss": {"no_worse_than_champion_by": 0.05}},
    "release": {
        "margin": 0.05,  # wide, so that a change is decided within the few partitions of a test
        "refresh": {"holdout": 1, "shadow": 0, "probation": 2},
        "change": {"shadow": {"at_least": 1, "at_most": 6}, "approval": "required"},
    },
    "monitoring": {
        "report_rows": 500,
        "remedies": {
            "recalibrate": {"every": 1},
            "retrain": {"every": 2, "on": ["performance"], "cooldown": 1, "per_year": 12},
        },
    },
}
SEARCH = {
    "trials": 6,
    "parallel": 2,
    "space": {
        "max_depth": {"at_least": 1, "at_most": 5},
        "eta": {"at_least": 0.05, "at_most": 0.6, "log": True},
        "early_stopping": [2, 3],
    },
}


def project_folder(root, name, **changes):
    """A copy of flight_delays under another name with a short policy."""
    from tests.support.flights import PROJECTS

    folder = root / name
    shutil.copytree(PROJECTS / "flight_delays", folder, ignore=shutil.ignore_patterns("__pycache__"))
    spec = yaml.load((folder / "project.yaml").read_text(), yaml.BaseLoader)  # words stay words
    spec.update(SPEC | changes)
    spec["name"] = name
    (folder / "project.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return load_project(folder)


@pytest.fixture(scope="package")
def projects(tmp_path_factory):
    root = tmp_path_factory.mktemp("projects")
    for name in ("calm", "shaken", "resumed"):
        project_folder(root, name)
    project_folder(root, "searched", training={**SPEC["training"], "search": SEARCH})
    return root


@pytest.fixture(scope="package")
def slack():
    with running_slack() as server:
        yield server


@pytest.fixture(scope="package")
def stack(tmp_path_factory, projects, slack):
    value = {"conn_type": "slack", "password": TOKEN, "extra": {"base_url": slack.url, "timeout": 5}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_SLACK_API_DEFAULT", json.dumps(value))
        with running_stack(tmp_path_factory.mktemp("a home with spaces"), projects=projects) as running:
            yield running


@pytest.fixture(scope="package")
def calm(stack, projects):
    """What was told of a replay that nothing disturbs, and what came of it."""
    told = replay(stack, projects, "calm")
    return told, outcome(stack, "calm")

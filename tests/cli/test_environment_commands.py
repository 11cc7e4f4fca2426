"""``updraft diff``, ``promote`` and ``admit``: what differs between two environments, and what keeps a version from going between them."""

from __future__ import annotations

import json

import pytest
from tests.support.made_project import MadeProject
from typer.testing import CliRunner

from updraft.cli.main import app


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    project = MadeProject(tmp_path, 2)
    (project.folder / "project.staging.yaml").write_text(
        """
        data: {sources: {orders: {wait: 90m}}}
        training: {compute: {backend: kubernetes, node_selector: {disk: ssd}}}
        alerts: {slack: {channel: "#staging"}}
        """
    )
    (project.folder / "project.production.yaml").write_text(
        "training: {compute: {memory: 8Gi}}\nalerts: {routine: post}\n"
    )
    return project


def diff(*arguments):
    return CliRunner().invoke(app, ["diff", "shop", *arguments])


def test_each_key_that_differs_is_told_with_both_values(made):
    done = diff("staging", "production", "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["environments"] == ["staging", "production"]
    values = {row["key"]: (row["staging"], row["production"]) for row in told["differences"]}
    assert values == {
        "data.sources.orders.wait": ("90m", None),
        "training.compute.backend": ("kubernetes", "local"),
        "training.compute.memory": (None, "8Gi"),
        "training.compute.node_selector": ({"disk": "ssd"}, None),
        "alerts.slack": (
            {
                "channel": "#staging",
                "on": ["failure", "quarantine", "drift", "verdict", "approval", "rollback"],
                "mention": None,
            },
            None,
        ),
        "alerts.routine": ("digest", "post"),
    }


def test_what_follows_from_an_override_differs_too(made):
    made.write(lambda spec: spec["release"].pop("cluster"))
    (made.folder / "project.hourly.yaml").write_text('data: {schedule: "0 * * * *"}\n')
    keys = [row["key"] for row in json.loads(diff("base", "hourly", "--json").stdout)["differences"]]
    assert keys[0] == "data.schedule"
    assert "release.cluster" in keys


def test_people_read_a_table(made):
    shown = diff("base", "staging").stdout
    assert "what differs between base and staging" in shown
    [line] = [line for line in shown.splitlines() if "training.compute.backend" in line]
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["training.compute.backend", "local", "kubernetes"]


def test_nothing_that_differs_is_said(made):
    done = diff("staging", "staging")
    assert (done.exit_code, done.stdout) == (0, "shop: nothing differs between staging and staging\n")


def test_an_environment_that_is_none_is_told_with_those_that_are(made):
    done = diff("staging", "prod")
    assert done.exit_code == 2
    assert "shop has no environment 'prod'; there are base, production, staging" in done.stderr


def test_a_broken_environment_is_told_as_validate_does(made):
    (made.folder / "project.staging.yaml").write_text("gates: {}\n")
    done = diff("base", "staging")
    assert done.exit_code == 2
    assert "project.staging.yaml:1: gates" in done.stderr


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["promote", "shop", "1", "--to", "bundles"], "shop: there is no version '1'; there are none yet"),
        (
            ["admit", "shop", "bundles/shop-v1", "--from", "staging", "--reason", "better"],
            "home/keys/environments/staging/signing.pub.pem is missing, so that nothing of staging is believed",
        ),
        (["admit", "shop", "bundles/shop-v1", "--from", "staging", "--reason", " "], "shop: give a reason"),
        (
            ["admit", "shop", "bundles/shop-v1", "--from", "../x", "--reason", "better"],
            "'../x' is no name of an environment",
        ),
    ],
)
def test_what_cannot_go_is_refused_as_wrong_input(made, store_url, monkeypatch, command, says):
    monkeypatch.setenv("UPDRAFT_STORE", store_url)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert says in done.stderr

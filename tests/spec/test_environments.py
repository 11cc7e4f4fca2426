"""What an environment may have otherwise than ``project.yaml``, what none may, and what follows from it."""

from __future__ import annotations

import ast
import re
from datetime import date
from pathlib import Path

import pytest
import yaml
from tests.support.made_project import MadeProject

from updraft.backtest.dependencies import HistoryDependencies
from updraft.control.catalogue import Catalogue
from updraft.errors import SettingsError
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.plan import recipe_sha256
from updraft.settings import Settings
from updraft.spec.environments import MAY_DIFFER, environment_words, environments, misnamed
from updraft.spec.load import BrokenProject, load_project, load_project_or_problems
from updraft.store.store import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def made(tmp_path):
    return MadeProject(tmp_path, 2)


def override(made, text, environment="staging"):
    (made.folder / f"project.{environment}.yaml").write_text(text)


def complaints(made, text):
    override(made, text)
    loaded = load_project_or_problems(made.folder, "staging")
    assert isinstance(loaded, BrokenProject)
    return [str(problem) for problem in loaded.problems]


def test_mappings_are_merged_and_lists_take_the_place_of_lists(made):
    made.write(lambda spec: spec.update(alerts={"slack": {"channel": "#ml", "on": ["failure", "drift"]}}))
    override(
        made,
        """
        data: {schedule: "0 */6 * * *", start: 2024-01-02, sources: {orders: {url: "file:///srv/orders-{key}.csv"}}}
        training: {compute: {backend: kubernetes, gpu: 1}}
        monitoring: {remedies: {retrain: {per_year: 3}}}
        alerts: {slack: {on: [approval]}}
        """,
    )
    base, staging = load_project(made.folder).spec, load_project(made.folder, "staging").spec
    assert staging.data.schedule == "0 */6 * * *"
    assert staging.data.start == date(2024, 1, 2)
    source = staging.data.sources["orders"]
    assert (source.url, source.event_time) == ("file:///srv/orders-{key}.csv", base.data.sources["orders"].event_time)
    compute = staging.training.compute
    assert (compute.backend, compute.gpu, compute.threads) == ("kubernetes", 1, base.training.compute.threads)
    assert staging.monitoring.remedies.retrain.per_year == 3
    assert staging.monitoring.remedies.retrain.every == base.monitoring.remedies.retrain.every
    assert (staging.alerts.slack.channel, staging.alerts.slack.on) == ("#ml", ("approval",))


def test_what_follows_from_the_schedule_follows_from_that_of_the_environment(made):
    made.write(lambda spec: spec["release"].pop("cluster"))
    override(made, 'data: {schedule: "0 * * * *"}')
    assert load_project(made.folder).spec.release.cluster == "day"
    assert load_project(made.folder, "staging").spec.release.cluster == "hour"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", None])
def test_an_environment_that_says_nothing_has_the_project_as_it_is(made, text):
    if text is not None:
        override(made, text)
    assert load_project(made.folder, "staging").spec == made.project.spec


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        (
            "data: {private: [shop]}",
            "data.private = ['shop']",
            "what is private in one environment stands in clear in none",
        ),
        ("data: {label: {expr: late = 2}}", "data.label", "predicts the same label"),
        ("features: other.py", "features = 'other.py'", "features.py makes the same columns"),
        (
            "data: {sources: {orders: {event_time: made}}}",
            "data.sources.orders.event_time",
            "the same columns and joins",
        ),
        ("data: {clean: {shop: [trim]}}", "data.clean", "made of cleaned cells"),
        ("training: {trainers: [{name: mlp}]}", "training.trainers", "part of the recipe"),
        ("training: {seed: 2}", "training.seed = 2", "part of the recipe"),
        ("gates: {auc: {no_worse_than_champion_by: 1}}", "gates", "passes in none"),
        ("release: {change: {approval: none}}", "release", "the same evidence"),
        ("monitoring: {remedies: {retrain: {on: []}}}", "monitoring.remedies.retrain.on", "watched by the same rules"),
        ("name: other", "name = 'other'", "the same project"),
    ],
)
def test_what_may_not_differ_is_refused_with_file_line_key_and_reason(made, text, key, reason):
    [complaint] = complaints(made, f"# staging\n{text}\n")
    assert f"shop/project.staging.yaml:2: {key}" in complaint
    assert "may not differ between environments: " in complaint
    assert reason in complaint
    assert complaint.endswith("say it in project.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dta: {schedule: x}", "dta = {'schedule': 'x'}: unknown key; did you mean `data`?"),
        ("data: {sources: {order: {url: x}}}", "no such source; did you mean `orders`?"),
        ("data: {sources: [orders]}", "must be keys and values, not a list"),
        ("- data", "must be keys and values, not a list"),
        ("data: {schedule: daily}", "project.staging.yaml:1: data.schedule = 'daily': must be a cron expression"),
        ("training: {compute: {gpus: 1}}", "project.staging.yaml:1: training.compute.gpus = 1: unknown key"),
        ("alerts: {slack: {on: [drift]}}", "project.staging.yaml:1: alerts.slack.channel: is missing"),
        ("data:\n  schedule: 0 5 * * *\n  schedule: 0 6 * * *", "project.staging.yaml:3: data.schedule: stands twice"),
        ("data: {", "project.staging.yaml:2: not YAML"),
    ],
)
def test_a_mistake_in_the_file_of_an_environment_is_told_at_its_place_there(made, text, says):
    [complaint] = complaints(made, text)
    assert says in complaint
    assert "project.staging.yaml" in complaint


def test_a_mistake_in_project_yaml_is_told_at_its_place_there(made):
    made.write(lambda spec: spec.update(task="binry"))
    first, second = complaints(made, "alerts: {routine: never}")
    assert re.search(r"shop/project\.yaml:\d+: task = 'binry'", first)
    assert "shop/project.staging.yaml:1: alerts.routine = 'never'" in second


def test_an_environment_starts_no_trainings_that_the_project_never_starts(made):
    made.write(lambda spec: spec.update(monitoring={"remedies": {"retrain": None}}))
    [complaint] = complaints(made, "monitoring: {remedies: {retrain: {every: 2}}}")
    assert "monitoring.remedies.retrain" in complaint
    assert "is null in project.yaml, and so it is in every environment" in complaint


def test_environments_are_the_files_that_are_read_and_others_are_named(made):
    override(made, "{}", "production")
    override(made, "{}", "staging")
    override(made, "{}", "Test")
    override(made, "{}", "base")
    (made.folder / "project.canary.yml").write_text("{}")
    assert environments(made.folder) == ["production", "staging"]
    told = [str(problem) for problem in misnamed(made.folder)]
    assert len(told) == 3
    assert "Test.yaml: is never read" in told[0]
    assert "base.yaml: is never read" in told[1]
    assert "rename it to project.canary.yaml" in told[2]


def test_which_environment_holds_is_said_in_words(made):
    assert environment_words(made.folder, None) is None
    override(made, "{}")
    assert "there are files of staging" in environment_words(made.folder, None)
    assert (
        environment_words(made.folder, "staging") == "environment staging: project.staging.yaml overrides project.yaml"
    )
    assert "there is no project.production.yaml" in environment_words(made.folder, "production")


@pytest.mark.parametrize("name", ["Staging", "base", "a/b", "../x", "1st", "a.b", "x" * 64])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
    with pytest.raises(SettingsError, match="UPDRAFT_ENVIRONMENT"):
        Settings.from_env({"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_ENVIRONMENT": name})


def test_the_environment_is_a_setting_and_that_of_backtests_too(tmp_path):
    settings = Settings.from_env({"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_ENVIRONMENT": "staging"})
    assert settings.environment == settings.of_backtests().environment == "staging"
    assert Settings.from_env({"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_ENVIRONMENT": ""}).environment is None


def recipe(made, environment):
    project = load_project(made.folder, environment)
    loop = Loop(project, made.settings, Store.in_memory(), KeptModels())
    return recipe_sha256(loop, project.spec.training.trainers[0])


def test_a_recipe_changes_with_what_determines_a_model_and_with_nothing_else(made):
    before = recipe(made, None)
    override(
        made,
        """
        data: {schedule: "0 5 * * *", end: 2024-02-01, sources: {orders: {url: "file:///srv/{key}.csv"}}}
        training: {compute: {backend: kubernetes, gpu: 1, memory: 8Gi}}
        monitoring: {remedies: {retrain: {per_year: 3}}}
        alerts: {slack: {channel: "#staging"}}
        """,
    )
    override(made, "training: {compute: {threads: 4}}", "production")
    assert recipe(made, None) == recipe(made, "staging") == recipe(made, "elsewhere") == before
    assert recipe(made, "production") != before


def test_a_kept_partition_follows_from_what_holds_and_not_from_the_file_that_says_it(made):
    def follows(environment):
        return HistoryDependencies(load_project(made.folder, environment)).of("2024-01-02T0000")

    before = follows(None)
    override(made, "alerts: {slack: {channel: '#staging'}}")
    assert follows(None) == follows("staging") == before
    override(made, "data: {sources: {orders: {nulls: [none]}}}")
    assert follows(None) == before
    changed = {name for name, mark in follows("staging").items() if before.get(name) != mark}
    assert changed == {"data.sources.orders"}


def test_a_page_sees_a_changed_file_of_its_environment(made):
    catalogue = Catalogue(made.folder.parent, "staging")
    assert catalogue.project("shop").spec.alerts.routine == "digest"
    override(made, "alerts: {routine: drop}")
    assert catalogue.project("shop").spec.alerts.routine == "drop"


def test_whoever_loads_projects_says_for_which_environment():
    """A caller who does not would show or run another policy than the rest of the deployment."""
    missing = []
    for path in [*(ROOT / "include" / "updraft").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            loads = call.func.id in ("load_project", "load_projects", "load_project_or_problems", "Catalogue")
            if loads and len(call.args) + len(call.keywords) < 2:
                missing.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    assert missing == []


def test_the_page_lists_what_may_differ():
    page = (ROOT / "docs" / "environments.md").read_text()
    table = page.partition("## What may differ")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([a-z_.*]+)`", "".join(re.findall(r"^\|([^|]*)\|", table, re.MULTILINE))))
    assert listed == {".".join(path) for path in MAY_DIFFER}


def test_an_override_is_a_part_of_project_yaml(made):
    """What an override may say is the base's own form: a file of an environment that says the same changes nothing."""
    same = {
        "data": {
            "schedule": made.spec["data"]["schedule"],
            "sources": {"orders": {"url": made.spec["data"]["sources"]["orders"]["url"]}},
        }
    }
    override(made, yaml.safe_dump(same))
    assert load_project(made.folder, "staging").spec == made.project.spec

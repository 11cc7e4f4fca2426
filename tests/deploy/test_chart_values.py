"""Our values for the official chart: what its schema takes, what it makes of them, and that everything they name is read by somebody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from tests.support.chart import (
    HELM,
    MINE,
    OTHERS,
    SHARED,
    chart,
    helm,
    options_of_airflow,
    read_by_updraft,
    rendered,
    template,
    values,
)

from updraft.spec.deployment import load_deployment

KEDA = {"triggerer": {"keda": {"enabled": True}}}


@pytest.mark.parametrize("name", ["values.yaml", "values-celery.yaml", "my-values.example.yaml"])
def test_the_chart_s_schema_takes_our_values(name):
    schema = SHARED / "values.schema.json"
    if not schema.exists():
        pytest.skip("../shared/helm, with the chart's schema, is not there")
    wrong = jsonschema.Draft7Validator(json.loads(schema.read_text())).iter_errors(values(name))
    assert [f"{'.'.join(map(str, error.path))}: {error.message}" for error in wrong] == []


def test_every_option_that_the_values_set_is_one_of_airflow():
    known = options_of_airflow()
    for name in ("values.yaml", "values-celery.yaml"):
        for section, options in values(name)["config"].items():
            assert set(options) <= known[section], section


def test_the_deployment_s_file_of_the_values_reads_as_one(tmp_path):
    file = tmp_path / "deployment.yaml"
    file.write_text(yaml.safe_dump({"kubernetes": values("values.yaml")["updraft"]["trainings"]}))
    assert load_deployment(file).kubernetes.namespace == "updraft"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    chart()  # first: it is there less often
    return helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def manifests(program, tmp_path_factory):
    return rendered(program, tmp_path_factory.mktemp("chart"), "values.yaml")


def of_kind(manifests: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Manifests of a kind by name."""
    return {document["metadata"]["name"]: document for document in manifests if document["kind"] == kind}


def pods(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod of the release, those that tasks are made from included."""
    for document in manifests:
        if document["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]
    for name, text in of_kind(manifests, "ConfigMap").get("updraft-pods", {"data": {}})["data"].items():
        yield name, yaml.safe_load(text)["spec"]


def test_every_variable_of_a_container_is_read_by_somebody(manifests):
    known, options = read_by_updraft() | OTHERS, options_of_airflow()
    seen = set()
    for _, pod in pods(manifests):
        for container in (*pod["containers"], *(pod.get("initContainers") or [])):
            seen |= {variable["name"] for variable in container.get("env") or []}
    assert {name for name in seen if name.startswith("UPDRAFT_")} <= known
    for name in seen:
        if name.startswith("AIRFLOW__"):
            _, section, option = name.lower().split("__")
            assert option in options[section], name


def test_tasks_have_pods_by_their_kind_and_no_pod_is_root_or_writes_beside_its_mounts(manifests):
    resources = values("values.yaml")["updraft"]["tasks"]
    seen = dict(pods(manifests))
    for kind, wanted in resources.items():
        assert seen[f"{kind}.yaml"]["containers"][0]["resources"] == wanted
        assert seen[f"{kind}.yaml"]["containers"][0]["name"] == "base"
    for name, pod in seen.items():
        if "statsd" in name or "pgbouncer" in name:  # images of others
            continue
        assert pod["securityContext"]["runAsNonRoot"], name
        for container in (*pod["containers"], *(pod.get("initContainers") or [])):
            assert container["securityContext"]["readOnlyRootFilesystem"], (name, container["name"])
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}, (name, container["name"])
            assert container["resources"]["limits"]["memory"], (name, container["name"])


def test_the_keys_of_the_deployment_reach_what_needs_them_and_nothing_else(manifests):
    holders = {
        name for name, pod in pods(manifests) if any(volume["name"] == "updraft-keys" for volume in pod["volumes"])
    }
    assert holders == {
        "updraft-api-server",
        "updraft-dag-processor",
        "updraft-triggerer",
        "light.yaml",
        "heavy.yaml",
        "launcher.yaml",
    }


def test_workers_reach_the_api_server_at_its_own_path_and_its_policy_lets_them_in(manifests):
    config = of_kind(manifests, "ConfigMap")["updraft-config"]["data"]["airflow.cfg"]
    assert "execution_api_server_url = http://updraft-api-server:8080/airflow/execution/\n" in config
    policy = of_kind(manifests, "NetworkPolicy")["updraft-api-server-policy"]["spec"]
    assert {"podSelector": {"matchLabels": {"tier": "airflow"}}} in policy["ingress"][0]["from"]


def test_the_store_is_migrated_by_a_job_before_airflow_s_tables_and_who_asks_the_store_waits_for_it(manifests):
    [job] = of_kind(manifests, "Job").values()
    words = job["spec"]["template"]["spec"]["containers"][0]["args"][-1]
    assert words.index("updraft.store.migrations") < words.index("airflow db migrate")
    waiting = {
        name
        for name, pod in pods(manifests)
        if "await-store" in {container["name"] for container in pod.get("initContainers") or []}
    }
    assert waiting == {"updraft-api-server", "updraft-scheduler", "updraft-triggerer"}


def test_more_than_one_of_each_program_survives_the_drain_of_a_node(manifests):
    assert {name.removesuffix("-pdb") for name in of_kind(manifests, "PodDisruptionBudget")} == {
        "updraft-api-server",
        "updraft-dag-processor",
        "updraft-pgbouncer",
        "updraft-scheduler",
        "updraft-triggerer",
    }


def test_no_secret_is_made_by_the_chart_and_those_that_it_names_are_the_ones_that_are_written(manifests, secrets):
    assert set(of_kind(manifests, "Secret")) <= {
        "updraft-broker-url"
    }  # where there is no Redis, the chart writes it empty
    for name, pod in pods(manifests):
        for volume in pod["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["secretName"] in secrets
        for container in (*pod["containers"], *(pod.get("initContainers") or [])):
            for source in container.get("envFrom") or []:
                assert source["secretRef"]["name"] in secrets
            for variable in container.get("env") or []:
                if "valueFrom" in variable:
                    reference = variable["valueFrom"]["secretKeyRef"]
                    assert reference["key"] in secrets[reference["name"]], (name, variable["name"])


@pytest.mark.parametrize("missing", ["lake", "logs", "mlflow", "airflow"])
def test_a_value_that_is_missing_is_named_with_the_file_that_it_belongs_into(program, tmp_path, missing):
    mine = {"updraft": {key: value for key, value in MINE["updraft"].items() if key != missing}}
    done = template(program, tmp_path, "values.yaml", mine=mine)
    assert done.returncode != 0
    assert f"updraft.{missing} is not set: my-values.yaml says" in done.stderr


def test_with_celery_there_are_workers_with_the_keys_and_no_templates_of_pods(program, tmp_path):
    manifests = rendered(program, tmp_path, "values.yaml", "values-celery.yaml")
    [worker] = [pod for name, pod in pods(manifests) if name == "updraft-worker"]
    assert "updraft-keys" in {volume["name"] for volume in worker["volumes"]}
    by_name = {variable["name"]: variable for variable in worker["containers"][0]["env"]}
    assert by_name["UPDRAFT_POD_TEMPLATES"]["value"] == ""
    assert "updraft-redis" in of_kind(manifests, "StatefulSet")


def test_the_example_renders_too(program, tmp_path):
    manifests = rendered(program, tmp_path, "values.yaml", mine=values("my-values.example.yaml") | KEDA)
    assert of_kind(manifests, "Ingress")
    assert of_kind(manifests, "ScaledObject")


def test_no_value_of_ours_is_a_secret():
    for file in HELM.glob("*.yaml"):
        text = file.read_text().lower()
        assert "password:" not in text, file.name

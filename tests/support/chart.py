"""What the tests of deployments read: the files of docker/helm, and the official chart where there is one."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HELM = ROOT / "docker" / "helm"
SHARED = ROOT.parent / "shared" / "helm"
MINE = {
    "updraft": {
        "lake": "s3://acme/lake",
        "logs": "s3://acme/logs",
        "mlflow": "http://mlflow:5000",
        "airflow": "https://acme.example/airflow",
    }
}
"""The least that a deployment's own values say."""
SETTINGS = """# of a test
POSTGRES_HOST=db.example.com
POSTGRES_AIRFLOW_PASSWORD=p@ss/"word
POSTGRES_UPDRAFT_PASSWORD=other
AWS_ENDPOINT_URL=https://s3.example.com
AWS_ACCESS_KEY_ID=key
AWS_SECRET_ACCESS_KEY=a=b
MLFLOW_TRACKING_USERNAME=updraft
MLFLOW_TRACKING_PASSWORD=third
"""
"""What a person writes for docker/helm/secrets."""


def values(name: str) -> dict[str, Any]:
    """A file of values."""
    return dict(yaml.safe_load((HELM / name).read_text()))


def helm(folder: Path) -> str:
    """The path of a Helm that runs; skips the test where there is none."""
    if on_path := shutil.which("helm"):
        return on_path
    packed = SHARED / "helm.xz"
    if not packed.exists():
        pytest.skip("no helm on the path, and none in ../shared/helm")
    program = folder / "helm"
    program.write_bytes(lzma.decompress(packed.read_bytes()))
    program.chmod(0o755)
    return str(program)


def chart() -> str:
    """The folder of the official chart; skips the test where the environment names none."""
    path = os.environ.get("UPDRAFT_TESTS_CHART")
    if not path:
        pytest.skip("UPDRAFT_TESTS_CHART names no folder of the official chart of Airflow (1.22 or later)")
    return path


def rendered(program: str, folder: Path, *files: str, mine: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The manifests that the chart makes of our values and a deployment's own."""
    done = template(program, folder, *files, mine=mine)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def template(
    program: str, folder: Path, *files: str, mine: dict[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    """``helm template`` with our values and a deployment's own."""
    own = folder / "my-values.yaml"
    own.write_text(yaml.safe_dump(MINE if mine is None else mine))
    named = [word for name in files for word in ("--values", str(HELM / name))]
    command = [program, "template", "updraft", chart(), "--namespace", "airflow", *named, "--values", str(own)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


CELERY = {"worker_concurrency", "worker_prefetch_multiplier", "task_acks_late", "broker_url"}
"""Options of Celery's provider, which the image has and this environment has not."""
OTHERS = {"UPDRAFT_PRELOAD", "UPDRAFT_POD_TEMPLATES", "OPENBLAS_NUM_THREADS"}
"""Read by airflow_local_settings.py, and by OpenBLAS."""


def read_by_updraft() -> set[str]:
    """The variables that the settings read."""
    return set(re.findall(r'env\.get\("(UPDRAFT_[A-Z_]+)"', (ROOT / "include" / "updraft" / "settings.py").read_text()))


def options_of_airflow() -> dict[str, set[str]]:
    """Airflow's options by section, with those of the provider for Kubernetes."""
    import airflow
    from airflow.providers.cncf.kubernetes.get_provider_info import get_provider_info

    core = yaml.safe_load((Path(airflow.__path__[0]) / "config_templates" / "config.yml").read_text())
    sections = {name: set(section["options"]) for name, section in core.items()}
    for name, section in get_provider_info()["config"].items():
        sections.setdefault(name, set()).update(section["options"])
    sections["celery"] = CELERY
    return sections

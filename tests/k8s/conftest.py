"""One Airflow whose trainings go to a real cluster, over a lake in a real object store."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from tests.e2e.conftest import SPEC, project_folder
from tests.support.stack import running_stack

COMPUTE = {"backend": "kubernetes", "threads": 1, "cpu": "500m", "memory": "768Mi", "gpu": 1}
PROJECTS = {"podded": COMPUTE}


@pytest.fixture(scope="session")
def pod_projects(tmp_path_factory):
    root = tmp_path_factory.mktemp("projects")
    for name, compute in PROJECTS.items():
        project_folder(root, name, training={**SPEC["training"], "compute": compute})
    return root


@pytest.fixture(scope="session")
def pod_stack(tmp_path_factory, cluster, object_store, pod_projects):
    home = tmp_path_factory.mktemp("home")
    deployment = home / "deployment.yaml"
    defaults = {"image": cluster.image, "memory": "768Mi", "memory_cap": "2Gi"}
    deployment.write_text(yaml.safe_dump({"kubernetes": {"defaults": defaults}}))
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(cluster.launcher)}}
    os.environ["AIRFLOW_CONN_KUBERNETES"] = json.dumps(connection)
    env = {"UPDRAFT_LAKE": object_store.lake, "UPDRAFT_DEPLOYMENT": str(deployment)}
    try:
        with running_stack(home, projects=pod_projects, env=env) as running:
            yield running
    finally:
        os.environ.pop("AIRFLOW_CONN_KUBERNETES")

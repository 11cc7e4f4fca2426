"""A snapshot of several times a pod's memory limit."""

from __future__ import annotations

import json

import fsspec
import numpy as np
import pytest
from tests.support.large_case import write_large_request
from tests.support.pods import eventually

from updraft import files
from updraft.jobs.contract import TrainingResult
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.settings import Settings
from updraft.spec.compute import Compute, Kubernetes, PodDefaults, pod_compute
from updraft.spec.load import load_project
from updraft.store.store import Store
from updraft_airflow.pods import training_pod

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(1800, func_only=True)]
LIMIT = 360 * 2**20
WIDE = {"rounds": 2, "max_depth": 3, "max_bin": 16, "external_memory": True}


def test_a_pod_trains_on_a_snapshot_of_four_times_its_memory_limit(cluster, object_store, pod_projects, tmp_path):
    lake = f"{object_store.lake}/large"
    request = write_large_request(lake, int(4.1 * LIMIT), 72, columns=256, kind=np.float64, params=WIDE, threads=2)
    folder = f"{lake}/trainings/large"  # where a pod may write
    files.write_bytes(f"{folder}/features.py", files.read_bytes(f"{lake}/features.py"))
    request = request.model_copy(update={"output_url": folder, "features_path": f"{folder}/features.py"})
    store, path = fsspec.core.url_to_fs(lake)
    assert store.du(f"{path}/features") > 4 * LIMIT
    settings = Settings(home=tmp_path, projects=pod_projects, lake=lake, store="", mlflow="", airflow="")
    loop = Loop(load_project(pod_projects / "podded"), settings, Store.in_memory(), KeptModels())
    defaults = PodDefaults(image=cluster.image)
    compute = pod_compute(Compute(backend="kubernetes", memory="360Mi", cpu="1500m"), defaults)
    pod = training_pod(loop, "large", request.write(f"{folder}/request.json"), compute, Kubernetes(), "0" * 64)
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "360Mi"
    name = pod["metadata"]["name"] = "train-large"
    cluster.kubectl("apply", "-f", "-", text=json.dumps(pod))
    try:
        ended = eventually("the training ends", lambda: state(cluster, name).get("terminated"), 600)
        assert (ended["exitCode"], ended["reason"]) == (0, "Completed"), cluster.kubectl("-n", "updraft", "logs", name)
    finally:
        cluster.kubectl("-n", "updraft", "delete", "pod", name, "--wait=false")
    result = TrainingResult.read(f"{folder}/result.json")
    assert result.rows > 700_000
    assert result.metrics["holdout_log_loss"] < 0.69


def state(cluster, name):
    found = json.loads(cluster.kubectl("-n", "updraft", "get", "pod", name, "-o", "json"))
    [container] = found["status"].get("containerStatuses") or [{}]
    return container.get("state", {})

"""One Airflow whose trainings go to a real cluster, over a lake in a real object store."""

from __future__ import annotations

import pytest
from tests.e2e.conftest import SEARCH, SPEC, project_folder
from tests.e2e.test_loop_in_airflow import client
from tests.support.pods import running_pod_stack

from updraft.replay.run import Replay
from updraft.spec.load import load_project
from updraft.store.store import Store

COMPUTE = {"backend": "kubernetes", "threads": 1, "cpu": "900m", "memory": "768Mi", "gpu": 1}
PROJECTS = {"podded": COMPUTE}
PARTITIONS = 4


@pytest.fixture(scope="session")
def pod_projects(tmp_path_factory):
    root = tmp_path_factory.mktemp("projects")
    for name, compute in PROJECTS.items():
        project_folder(root, name, training={**SPEC["training"], "compute": compute, "search": SEARCH})
    return root


@pytest.fixture(scope="session")
def pod_stack(tmp_path_factory, cluster, object_store, pod_projects):
    with running_pod_stack(tmp_path_factory.mktemp("home"), cluster, object_store, pod_projects) as running:
        yield running


@pytest.fixture(scope="session")
def trained(pod_stack, pod_projects):
    """The first partitions replayed, up to the first champion; the folder of its training."""
    store = Store.open(pod_stack.settings.store)
    told: list[str] = []
    player = Replay(
        load_project(pod_projects / "podded"),
        store,
        client(pod_stack),
        lambda _, words: told.append(words),
        timeout=600,
    )
    player.play(player.keys(PARTITIONS), lambda *_: None)
    [training, *_] = store.trainings("podded")
    store.close()
    return f"{pod_stack.settings.lake}/podded/trainings/{training.id}", training, told

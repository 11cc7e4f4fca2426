"""What a pod costs over a local process: the task `train_model` of two projects that differ in `backend` alone. Prints one JSON line."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2])]

from tests.e2e.conftest import SPEC, project_folder  # noqa: E402
from tests.support.cluster import SHARED, prepared_cluster, running_object_store, start_cluster  # noqa: E402
from tests.support.pods import PodTrainings, running_pod_stack  # noqa: E402

from updraft.replay.run import Replay  # noqa: E402
from updraft.spec.load import load_project  # noqa: E402
from updraft.store.store import Store  # noqa: E402

PARTITIONS, REPEATS = 3, 5
COMPUTE = {
    "homely": {"backend": "local", "threads": 1},
    "podded": {"backend": "kubernetes", "threads": 1, "memory": "768Mi", "gpu": 1},
}


def main() -> None:
    """Train the same request in both ways, in turn."""
    if not (SHARED / "k8s" / "up").exists():
        print(json.dumps({"skipped": f"needs a cluster, and {SHARED / 'k8s'} is not there to start one"}))
        return
    start_cluster()
    with tempfile.TemporaryDirectory() as name, running_object_store() as store:
        folder = Path(name)
        cluster = prepared_cluster(store, folder / "kubeconfig")
        for project, compute in COMPUTE.items():
            project_folder(folder / "projects", project, training={**SPEC["training"], "compute": compute})
        (folder / "home").mkdir()
        with running_pod_stack(folder / "home", cluster, store, folder / "projects") as stack:
            trainings = {name: PodTrainings(stack, cluster, folder / "projects", name) for name in COMPUTE}
            for each in trainings.values():
                _ingest(each)
            seconds: dict[str, list[float]] = {name: [] for name in COMPUTE}
            for number in range(REPEATS):
                for project, each in trainings.items():
                    run = f"bench-{number}"
                    each.start(run, max_depth=3, rounds=20 + number)
                    assert each.end(run) == "success", each.log(run)
                    task = each.task(run)
                    begun, ended = (datetime.fromisoformat(task[key]) for key in ("start_date", "end_date"))
                    seconds[project].append((ended - begun).total_seconds())
                    stack.wait_run(each.dag, run)
    local, pod = (statistics.median(seconds[name]) for name in ("homely", "podded"))
    told = {
        "seconds_local": round(local, 1),
        "seconds_in_a_pod": round(pod, 1),
        "overhead_seconds": round(pod - local, 1),
    }
    print(json.dumps(told | {"goal_overhead_seconds": 8, "repeats": REPEATS}))


def _ingest(trainings: PodTrainings) -> None:
    store = Store.open(trainings.stack.settings.store)
    project = load_project(trainings.projects / trainings.project)
    player = Replay(project, store, trainings.api, lambda *_: None, timeout=600)
    player.play(player.keys(PARTITIONS), lambda *_: None)
    store.close()


if __name__ == "__main__":
    main()

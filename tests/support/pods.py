"""Trainings in pods of a running stack: start one with other wishes, wait, look at what it left."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.cluster import ObjectStore, RunningCluster
from tests.support.stack import RunningStack, running_stack

from updraft import files
from updraft.alerts.outbox import recent
from updraft.jobs.contract import TrainingRequest, TrainingResult
from updraft.jobs.run import run_training
from updraft.lake.places import folder_name
from updraft.pods.attempts import Attempt, read_attempts
from updraft.replay.airflow import AirflowClient
from updraft.settings import Settings
from updraft.spec.document import read_document
from updraft.stack import environment
from updraft.stack.layout import Layout
from updraft.stack.secrets import Secrets
from updraft.store.store import Store

SLOW = {"max_depth": 6, "eta": 0.01, "rounds": 1200, "checkpoint_every": 50, "early_stopping": 1200, "subsample": 0.7}
"""Minutes of training, with a checkpoint every few seconds."""
BRISK = {**SLOW, "rounds": 500}
"""Half a minute of training: time enough to lose a pod."""

_uninterrupted: dict[str, TrainingResult] = {}
"""Hash of a request, which is of all that determines the model → what this process found."""


def attempts_of(url: str, project: str, run: str) -> tuple[Attempt, ...]:
    """The pods of a run, from the store behind a URL."""
    store = Store.open(url)
    try:
        return read_attempts(store, project, run)
    finally:
        store.close()


def eventually(what: str, found: Callable[[], Any], seconds: float = 400.0) -> Any:
    """What a question is answered with as soon as the answer is a true one."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)
    return answer


WITHOUT_TORCH = Path(__file__).with_name("without_torch")


@contextmanager
def _without_torch() -> Iterator[None]:
    """Stacks that come up are as `make bootstrap` builds them: that the image has PyTorch must be enough."""
    public = environment.public

    def hiding(settings: Settings, layout: Layout, ports: Mapping[str, int], secrets: Secrets) -> dict[str, str]:
        shared = public(settings, layout, ports, secrets)
        return {**shared, "PYTHONPATH": os.pathsep.join([str(WITHOUT_TORCH), shared["PYTHONPATH"]])}

    with pytest.MonkeyPatch.context() as patch:  # the stack has no setting for it: nobody else wants less than is there
        patch.setattr(environment, "public", hiding)
        yield


@contextmanager
def running_pod_stack(
    home: Path, cluster: RunningCluster, store: ObjectStore, projects: Path
) -> Iterator[RunningStack]:
    """A stack without PyTorch over a lake in the object store, whose connection `kubernetes` has the least rights."""
    deployment = home / "deployment.yaml"
    defaults = {"image": cluster.image, "memory": "768Mi", "memory_cap": "2Gi"}
    kubernetes = {"defaults": defaults, "images": ["localhost/updraft-trainer:*", "localhost/not-there:1"]}
    deployment.write_text(yaml.safe_dump({"kubernetes": kubernetes}))
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(cluster.launcher)}}
    os.environ["AIRFLOW_CONN_KUBERNETES"] = json.dumps(connection)
    env = {"UPDRAFT_LAKE": store.lake, "UPDRAFT_DEPLOYMENT": str(deployment)}
    try:
        with _without_torch(), running_stack(home, projects=projects, env=env) as running:
            yield running
    finally:
        os.environ.pop("AIRFLOW_CONN_KUBERNETES")


@dataclass(frozen=True)
class PodTrainings:
    """The trainings of one project."""

    stack: RunningStack
    cluster: RunningCluster
    projects: Path
    project: str

    @property
    def api(self) -> AirflowClient:
        return AirflowClient(self.stack.settings.airflow, lambda: self.stack.api("admin"))

    @property
    def dag(self) -> str:
        return f"{self.project}.train"

    @contextmanager
    def wishes(self, trainers: list[dict[str, Any]] | None = None, **compute: Any) -> Iterator[None]:
        """Let the project ask for something else for a while: of its pods, and of what learns in them."""
        path = self.projects / self.project / "project.yaml"
        before = path.read_text()
        spec = read_document(path).data
        spec["training"]["compute"] |= compute
        if trainers:
            spec["training"] = {**spec["training"], "trainers": trainers, "search": None}  # what to search is xgboost's
        path.write_text(yaml.safe_dump(spec, sort_keys=False))
        try:
            yield
        finally:
            path.write_text(before)

    def start(self, run: str, *, to_its_end: bool = False, **parameters: Any) -> None:
        """Start a training by hand, as the form does.

        :param to_its_end: let what it learns be judged, registered, and released as well. Else the run ends with the task that trains: the DAG runs
            once at a time, and the next test would wait for what no test looks at.
        """
        self.api.start(self.dag, run, form={"parameters": parameters})
        if not to_its_end:
            judged = f"/dags/{self.dag}/dagRuns/{run}/taskInstances/evaluate_model"
            self.api.call("PATCH", judged, {"new_state": "skipped"})

    def task(self, run: str) -> dict[str, Any]:
        """The task that trains."""
        return self.stack.tasks(self.dag, run)["train_model"]

    def end(self, run: str, seconds: float = 600.0) -> str:
        """Wait until the task that trains has ended; its state."""
        eventually(f"{run} ends", lambda: self.task(run)["state"] in ("success", "failed", "upstream_failed"), seconds)
        return str(self.task(run)["state"])

    def folder(self, run: str) -> str:
        return f"{self.stack.settings.lake}/{self.project}/trainings/{folder_name(run)}"

    def attempts(self, run: str) -> tuple[Attempt, ...]:
        """The pods of a run."""
        return attempts_of(self.stack.settings.store, self.project, run)

    def checkpointed(self, run: str, rounds: int = 1) -> str:
        """Wait until a pod has kept so many rounds; the pod's name."""

        def kept() -> bool:
            try:
                state = files.read_json(f"{self.folder(run)}/checkpoint/proof.json")
            except FileNotFoundError:
                return False
            return bool(state["progress"]["rounds"] >= rounds)

        eventually(f"{run} keeps {rounds} rounds", kept)
        return self.attempts(run)[-1].pod

    def result(self, run: str) -> TrainingResult:
        return TrainingResult.read(f"{self.folder(run)}/result.json")

    def uninterrupted(self, run: str, folder: Path) -> TrainingResult:
        """The same request trained in this process, from start to end: once for all tests that ask for it."""
        request = TrainingRequest.read(f"{self.folder(run)}/request.json")
        if request.request_sha256 not in _uninterrupted:
            request.model_copy(update={"output_url": str(folder / "out")}).write(str(folder / "request.json"))
            _uninterrupted[request.request_sha256] = run_training(str(folder / "request.json"))
        return _uninterrupted[request.request_sha256]

    def log(self, run: str, attempt: int = 1) -> str:
        """What the task's log says to a person; empty while there is none."""
        where = f"/dags/{self.dag}/dagRuns/{run}/taskInstances/train_model/logs/{attempt}"
        return str(self.api.call("GET", where, accept=(404,)) or "")

    def told(self, run: str, words: str) -> None:
        """Expect words in the log of a run's task; without them, show every line that there is, and what the triggerer said by itself."""
        where = f"/dags/{self.dag}/dagRuns/{run}/taskInstances/train_model/logs/1"
        deadline = time.monotonic() + 30  # a task's state is known before the last of its log is written
        while True:
            lines = [str(each["event"]) for each in self.api.call("GET", where)["content"]]
            if any(words in line for line in lines):
                return
            if time.monotonic() > deadline:
                triggerer = (self.stack.layout.logs / "triggerer.log").read_text().splitlines()
                pytest.fail(
                    "\n".join([f"no {words!r} in the task's log:", *lines, "of the triggerer:", *triggerer[-60:]])
                )
            time.sleep(0.5)

    def tried_again_with_more(self, run: str, first: str, second: str) -> str:
        """A run's first try was killed for memory and its second had more; the text of the alert."""
        one, two = self.attempts(run)
        assert (one.ending, one.memory, two.ending, two.memory) == ("memory", first, "done", second)
        assert f"{first} were too little" in two.why
        [alert] = self.alerts(run)
        return str(alert.text)

    def alerts(self, run: str) -> list[Any]:
        """What on-call was told of a run."""
        store = Store.open(self.stack.settings.store)
        try:
            return [
                one.alert
                for one in recent(store.engine, self.project, limit=200)
                if run in one.alert.text + one.alert.dedup
            ]
        finally:
            store.close()

    def no_pod_is_left(self) -> None:
        """Nothing of the project runs or waits in the cluster."""
        eventually("no pod is left", lambda: self.cluster.pods() == [], 120)

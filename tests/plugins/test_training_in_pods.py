"""`train_model` and `search_trial` in pods of a server that keeps what a cluster keeps. The trigger asks it as well, and what a
pod runs is run: the command line of its manifest, with the variables of its manifest."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest
import yaml
from airflow.exceptions import AirflowException
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from tests.e2e.conftest import SPEC, project_folder
from tests.support import flights
from tests.support.local_cluster import IMAGE_ID, INDEX, local_cluster

from updraft.alerts.outbox import recent
from updraft.errors import TrainingError
from updraft.jobs.attested import RUN_KEY
from updraft.jobs.failure import ATTEMPT, failures_told
from updraft.loop.search import plan_search
from updraft.loop.train import prepare
from updraft.pods.attempts import read_attempts
from updraft.store.store import Store

P = "flight_delays"
WEEKS = 4
IMAGE = "localhost/trainer:1"
SEARCH = {"trials": 2, "parallel": 2, "space": {"max_depth": {"at_least": 1, "at_most": 3}}}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A deployment's home with the first weeks of flights."""
    folder = tmp_path_factory.mktemp("pods")
    return folder, flights.ingested(folder, WEEKS)


class Task:
    """What Airflow gives a task, and keeps of it."""

    def __init__(self, make, run, map_index=-1):
        self.make, self.pushed = make, {}
        ti = SimpleNamespace(
            dag_id=f"{P}.train", task_id="train_model", run_id=run, map_index=map_index, try_number=1,
            xcom_push=self.push,
        )  # fmt: skip
        dag = SimpleNamespace(dag_id=f"{P}.train")
        self.context = {
            "ti": ti,
            "dag_run": SimpleNamespace(run_id=run, dag_id=f"{P}.train"),
            "run_id": run,
            "dag": dag,
        }
        self.context["params"] = {}

    def push(self, key, value):
        """Keep what the task hands over."""
        self.pushed[key] = value

    def begin(self):
        """Execute it; how it is deferred."""
        with pytest.raises(TaskDeferred) as deferred:
            self.make().execute(self.context)
        return deferred.value

    def go_on(self, deferred):
        """Wait for the trigger's event, and resume as Airflow does: with an operator made anew."""

        async def event():
            async for found in deferred.trigger.run():
                return found.payload
            return None

        payload = asyncio.run(asyncio.wait_for(event(), 60))
        return getattr(self.make(), deferred.method_name)(self.context, payload)

    def again(self):
        """The task's next try."""
        self.context["ti"].try_number += 1
        return self.begin()


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with local_cluster(tmp_path) as serving:
        connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(serving.kubeconfig)}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES", json.dumps(connection))
        yield serving


@pytest.fixture
def deployed(home, store_url, tmp_path, cluster, monkeypatch):
    """A function that gives a project its compute: the loop of a prepared training, and its task."""
    from updraft_airflow import deployment

    folder, rows = home
    settings = {
        "kubernetes": {
            "defaults": {"image": IMAGE, "memory": "768Mi", "memory_cap": "1Gi"},
            "images": ["localhost/trainer:*"],
        }
    }
    (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(settings))
    for name, value in {
        "UPDRAFT_HOME": str(folder),
        "UPDRAFT_PROJECTS": str(tmp_path / "projects"),
        "UPDRAFT_STORE": store_url,
        "UPDRAFT_DEPLOYMENT": str(tmp_path / "deployment.yaml"),
        "UPDRAFT_MLFLOW": "",
    }.items():
        monkeypatch.setenv(name, value)
    caches = (deployment.settings, deployment._store, deployment._registry)
    for cached in caches:
        cached.cache_clear()
    (tmp_path / "projects").mkdir()
    store = Store.open(store_url)
    for row in rows:
        store.record_partition(P, row)
    store.close()

    def make(run, **compute):
        training = {**SPEC["training"], "search": SEARCH}
        training["compute"] = {"backend": "kubernetes", "threads": 1, "cpu": "900m", **compute}
        project = project_folder(tmp_path / "projects", P, training=training)
        loop = deployment.open_loop(P)
        prepare(loop, run, None)
        return loop, Task(lambda: train_task(project), run)

    yield make
    deployment.store().close()
    for cached in caches:
        cached.cache_clear()


def train_task(project):
    from updraft_airflow.operators.placement import train_model

    return train_model(project)


def only(things):
    [thing] = things
    return thing


def name_of(thing):
    return thing["metadata"]["name"]


def carry_out(pod):
    """Run what a pod's container runs."""
    [container] = pod["spec"]["containers"]
    env = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    known = {name: value for name, value in os.environ.items() if not name.startswith(("UPDRAFT_", "AIRFLOW"))}
    done = subprocess.run(
        [sys.executable, "-m", "updraft.cli", *container["args"]],
        env={**known, **env, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def leave_error(loop, pod, words, worker=0):
    """What a training that fails in a pod leaves in the lake."""
    training = loop.training(pod["metadata"]["annotations"]["updraft.dev/run"])
    env = {RUN_KEY: training.key, ATTEMPT: name_of(pod)}
    with suppress(TrainingError), failures_told(training.folder, worker, env):
        raise TrainingError(words)


def test_a_training_goes_through_its_pod_and_hands_over_its_figures(deployed, cluster):
    loop, task = deployed("whole")
    deferred = task.begin()
    pod = only(cluster.all("pods"))
    assert pod["metadata"]["namespace"] == "updraft"
    assert pod["metadata"]["annotations"]["updraft.dev/run"] == "whole"
    assert only(pod["spec"]["containers"])["image"] == IMAGE
    cluster.schedule(name_of(pod))
    cluster.write_log(name_of(pod), carry_out(pod))
    cluster.end(name_of(pod))
    task.go_on(deferred)
    assert task.pushed["return_value"]["rounds"] > 0
    assert cluster.all("pods") == []
    attempt = only(read_attempts(loop.store, P, "whole"))
    assert (attempt.pod, attempt.ending, attempt.node, attempt.image_id) == (name_of(pod), "done", "node-1", IMAGE_ID)
    # Cleared, it takes the result that is there: no other pod.
    posts = [path for method, path in cluster.asked if method == "POST"]
    task.make().execute(task.context)
    assert [path for method, path in cluster.asked if method == "POST"] == posts


def test_a_worker_that_died_finds_its_pod_again_although_the_cluster_answers_late(deployed, cluster):
    _, task = deployed("found-again")
    task.begin()
    first = only(cluster.all("pods"))
    cluster.late_seconds = 0.3
    task.begin()
    assert [name_of(pod) for pod in cluster.all("pods")] == [name_of(first)]


@pytest.mark.parametrize(
    ("ended", "ending", "error", "words"),
    [
        ({"code": 1, "left": "labels of one class"}, "training", AirflowFailException, "TrainingError: labels of one class"),
        ({"code": 1, "message": "TrainingError: labels of one class"}, "unknown", AirflowException, "labels of one class"),
        ({"code": 2, "message": "no request"}, "training", AirflowFailException, "no request"),
        ({"code": 75}, "interrupted", AirflowException, "goes on from its checkpoint"),
        ({"code": 1, "reason": "DeadlineExceeded"}, "unknown", AirflowException, "exit code 1"),
        ({"code": 0}, "unknown", AirflowException, "the pod ended well and"),
    ],
)  # fmt: skip
def test_a_pod_that_leaves_no_result_fails_its_try(deployed, cluster, ended, ending, error, words):
    loop, task = deployed("no-result")
    deferred = task.begin()
    pod = only(cluster.all("pods"))
    cluster.schedule(name_of(pod))
    state = dict(ended)
    if (left := state.pop("left", None)) is not None:
        leave_error(loop, pod, left)
    cluster.end(name_of(pod), **state)
    with pytest.raises(error, match=words) as raised:
        task.go_on(deferred)
    assert isinstance(raised.value, AirflowFailException) == (error is AirflowFailException)
    assert only(read_attempts(loop.store, P, "no-result")).ending == ending
    assert cluster.all("pods") == []


def test_a_pod_that_was_killed_for_memory_is_followed_by_one_with_more_up_to_the_cap(deployed, cluster):
    loop, task = deployed("memory")
    deferred = task.begin()
    for memory in ("768Mi", "1Gi"):
        pod = only(cluster.all("pods"))
        assert only(pod["spec"]["containers"])["resources"]["limits"]["memory"] == memory
        cluster.schedule(name_of(pod))
        cluster.end(name_of(pod), 137, reason="OOMKilled")
        with pytest.raises(AirflowException, match=f"memory: .*{memory}") as raised:
            task.go_on(deferred)
        final = isinstance(raised.value, AirflowFailException)
        assert final == (memory == "1Gi")
        if not final:
            deferred = task.again()
    assert [each.ending for each in read_attempts(loop.store, P, "memory")] == ["memory", "memory"]
    assert any("memory" in alert.alert.text + alert.alert.title for alert in recent(loop.store.engine, P))


def test_a_pod_that_is_gone_is_told_as_lost_and_another_one_follows(deployed, cluster):
    loop, task = deployed("lost")
    deferred = task.begin()
    first = name_of(only(cluster.all("pods")))
    cluster.schedule(first)
    cluster.remove("pods", first)
    with pytest.raises(AirflowException, match="lost: the pod was deleted"):
        task.go_on(deferred)
    task.again()
    assert name_of(only(cluster.all("pods"))) != first
    assert next(each.ending for each in read_attempts(loop.store, P, "lost")) == "lost"


def test_an_image_that_cannot_be_had_fails_at_once(deployed, cluster):
    _, task = deployed("image")
    deferred = task.begin()
    pod = name_of(only(cluster.all("pods")))
    cluster.hold(pod, "ErrImagePull", "not found")
    payload = {"status": "timeout", "name": pod, "namespace": "updraft", "message": "timeout"}
    with pytest.raises(AirflowFailException, match=f"image: image {IMAGE} cannot be had"):
        task.make().trigger_reentry(task.context, payload)
    assert cluster.all("pods") == []
    assert deferred.method_name == "trigger_reentry"


@pytest.mark.parametrize(("policy", "told"), [("wait", None), ("fail", "no node within"), ("cpu", None)])
def test_without_a_node_the_policy_says_what_happens(deployed, cluster, policy, told):
    loop, task = deployed("no-node", gpu=1, on_no_gpu=policy)
    task.begin()
    first = only(cluster.all("pods"))
    event = {"status": "timeout", "name": name_of(first), "namespace": "updraft", "message": "timeout"}
    if told:
        with pytest.raises(AirflowFailException, match=told):
            task.make().trigger_reentry(task.context, event)
        assert cluster.all("pods") == []
    else:
        with pytest.raises(TaskDeferred):
            task.make().trigger_reentry(task.context, event)
        pod = only(cluster.all("pods"))
        assert (name_of(pod) == name_of(first)) == (policy == "wait")
        assert ("nvidia.com/gpu" in only(pod["spec"]["containers"])["resources"]["limits"]) == (policy == "wait")
    assert any(
        "0/1 nodes are available" in alert.alert.text + alert.alert.detail for alert in recent(loop.store.engine, P)
    )


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (403, 'pods is forbidden: User "u" cannot create resource "pods" in API group "" in the namespace "updraft"', "Missing rule"),
        (403, "exceeded quota: team", "refuses the training's pod: exceeded quota"),
        (404, 'namespaces "updraft" not found', "make it"),
    ],
)  # fmt: skip
def test_what_the_cluster_refuses_for_good_is_told_at_once(deployed, cluster, status, message, error):
    _, task = deployed("refused")
    cluster.refuse("POST", "pods", status, message)
    with pytest.raises(AirflowFailException, match=error):
        task.make().execute(task.context)
    assert cluster.all("pods") == []


def test_a_group_is_a_job_with_its_service_and_goes_as_a_whole(deployed, cluster):
    loop, task = deployed("group", workers=2)
    deferred = task.begin()
    job = only(cluster.all("jobs"))
    made = {pod["metadata"]["labels"][INDEX]: pod for pod in cluster.all("pods")}
    pods = {number: name_of(pod) for number, pod in made.items()}
    assert sorted(pods) == ["0", "1"]
    assert name_of(only(cluster.all("services"))) == name_of(job)
    assert len(cluster.all("networkpolicies")) == 1
    task.begin()  # a worker that died finds the Job again
    assert [name_of(each) for each in cluster.all("jobs")] == [name_of(job)]
    for pod in pods.values():
        cluster.schedule(pod)
    leave_error(loop, made["1"], "worker's own words", worker=1)
    cluster.end(pods["1"], 1)
    cluster.end(pods["0"], 75)
    with pytest.raises(AirflowFailException, match="worker 1: TrainingError: worker's own words"):
        task.go_on(deferred)
    assert cluster.all("jobs") == cluster.all("pods") == []
    assert only(read_attempts(loop.store, P, "group")).ending == "training"


def test_a_job_that_a_queue_holds_back_waits_without_a_worker(deployed, cluster):
    _, task = deployed("queued", queue="team")
    deferred = task.begin()
    job = only(cluster.all("jobs"))
    assert (job["spec"]["suspend"], deferred.method_name, cluster.all("pods")) == (True, "started", [])
    cluster.admit(name_of(job))
    with pytest.raises(TaskDeferred) as watching:
        task.go_on(deferred)
    assert watching.value.method_name == "trigger_reentry"
    assert [name_of(each) for each in cluster.all("jobs")] == [name_of(job)]


def test_a_job_that_is_not_admitted_in_time_is_given_up_where_the_policy_says_so(deployed, cluster):
    loop, task = deployed("late", queue="team", on_no_gpu="fail")
    task.begin()
    job = name_of(only(cluster.all("jobs")))
    with pytest.raises(AirflowFailException, match="queue team has not admitted"):
        task.make().started(task.context, {"status": "late", "name": job})
    assert cluster.all("jobs") == []
    assert any("has not admitted" in alert.alert.text + alert.alert.detail for alert in recent(loop.store.engine, P))


def test_a_pod_of_a_trial_tries_its_parameters_and_its_loss_is_noted(deployed, cluster):
    from updraft_airflow.operators.search_pod import TrialInPod

    loop, _ = deployed("a-training")
    plan = plan_search(loop, "look", None)
    assert list(plan.numbers) == [0, 1]
    trial = Task(lambda: TrialInPod(task_id="search_trial", project=P, number=0), "look", map_index=0)
    deferred = trial.begin()
    pod = only(cluster.all("pods"))
    cluster.schedule(name_of(pod))
    carry_out(pod)
    cluster.end(name_of(pod))
    trial.go_on(deferred)
    assert trial.pushed["return_value"]["loss"] > 0
    assert trial.context["trial"].startswith("0: as now")
    other = Task(lambda: TrialInPod(task_id="search_trial", project=P, number=1), "look", map_index=1)
    deferred = other.begin()
    pod = only(cluster.all("pods"))
    cluster.schedule(name_of(pod))
    leave_error(loop, pod, "no such column")
    cluster.end(name_of(pod), 1)
    with pytest.raises(AirflowFailException, match="no such column"):
        other.go_on(deferred)
    assert not isinstance(AirflowSkipException, AirflowFailException)

"""A pod's log is handed on line by line, each once, whatever the cluster's clock and speed."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from kubernetes_asyncio.client import models as k8s
from tests.support.local_cluster import local_cluster

from updraft_airflow.pod_log import MARGIN, PodLogReader, since_seconds, unread

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Told(logging.Handler):
    """The lines that a task's log got."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage().removeprefix("[base] "))


def stamped(seconds: float, text: str) -> str:
    return f"{NOON + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%f}123Z {text}"


def test_lines_are_new_by_the_clusters_own_times():
    lines = [stamped(1, "a"), stamped(2, "b"), "of b", stamped(2.5, "c")]
    assert unread(lines, None) == (lines, NOON + timedelta(seconds=2.5))
    assert unread(lines, NOON + timedelta(seconds=1))[0] == lines[1:]
    assert unread(lines, NOON + timedelta(seconds=2))[0] == lines[3:]
    assert unread(lines, NOON + timedelta(seconds=9)) == ([], NOON + timedelta(seconds=9))
    assert unread([], None) == ([], None)


@pytest.mark.parametrize("skew", [-50, -1, 0, 1, 3600])
@pytest.mark.parametrize("late", [0, 5, 50])
def test_what_is_asked_for_reaches_back_to_the_last_line_however_late_it_is_answered(skew, late):
    """``skew``: how far the worker's clock is ahead of the cluster's."""
    read_to = NOON
    for passed in (0.0, 0.4, 7.0):
        now_there = NOON + timedelta(seconds=passed)
        asked = since_seconds(read_to, now_there + timedelta(seconds=skew))
        assert asked is not None
        reached = now_there + timedelta(seconds=late) - timedelta(seconds=asked)
        assert reached <= read_to or -skew + late > MARGIN.total_seconds()
    assert since_seconds(None, NOON) is None


def test_no_line_is_lost_or_told_twice_by_a_cluster_that_answers_late(tmp_path):
    with local_cluster(tmp_path) as cluster:
        cluster.put("pods", {"metadata": {"name": "p", "namespace": "updraft"}})
        cluster.late_seconds = 1.2
        written, end = [], threading.Event()

        def write() -> None:
            while not end.is_set():
                written.append(f"line {len(written)}")
                cluster.write_log("p", written[-1])
                time.sleep(0.01)

        async def read() -> None:
            config = yaml.safe_load(cluster.kubeconfig.read_text())
            hook = AsyncKubernetesHook(conn_id=None, config_dict=config, in_cluster=False)
            reader, read_to = PodLogReader(async_hook=hook), None
            reader._log = logging.getLogger("lines of a pod")
            reader._log.setLevel(logging.INFO)
            reader._log.addHandler(told)
            for _ in range(3):
                read_to = await reader.fetch_container_logs_before_current_sec(pod, "base", read_to)
            end.set()
            writer.join()
            await reader.fetch_container_logs_before_current_sec(pod, "base", read_to)

        pod = k8s.V1Pod(metadata=k8s.V1ObjectMeta(name="p", namespace="updraft"))
        writer = threading.Thread(target=write)
        told = Told()
        writer.start()
        try:
            asyncio.run(read())
        finally:
            end.set()
            writer.join()
    assert told.lines == written


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """A cluster with a pod that has ended, the task that reads its last lines, and what that logs."""
    from kubernetes import client, config

    from updraft_airflow.operators.pod import TrainInPod

    log = logging.getLogger("lines of an ended pod")
    log.setLevel(logging.INFO)
    log.addHandler(told := Told())
    monkeypatch.setattr(TrainInPod, "log", log)
    with local_cluster(tmp_path) as cluster:
        cluster.put("pods", {"metadata": {"name": "p", "namespace": "updraft"}})
        cluster.write_log("p", "proof: 8 rounds\nrelease: 8 rounds")
        config.load_kube_config(str(cluster.kubeconfig))
        task = TrainInPod(task_id="train_model", project="shop")
        task.client = client.CoreV1Api()
        pod = client.V1Pod(metadata=client.V1ObjectMeta(name="p", namespace="updraft"))
        yield cluster, lambda: task._write_logs(pod), told
    log.removeHandler(told)


def test_the_last_lines_are_asked_for_again_where_a_busy_cluster_did_not_answer(ended):
    cluster, read, told = ended
    cluster.refuse("GET", "pods", 500, "the kubelet did not answer")
    cluster.refuse("GET", "pods", 429, "too many requests")
    read()
    assert told.lines == ["proof: 8 rounds", "release: 8 rounds"]


def test_a_refusal_is_not_asked_about_again(ended):
    from kubernetes.client.exceptions import ApiException

    cluster, read, told = ended
    cluster.refuse("GET", "pods", 400, 'container "base" in pod "p" is waiting to start')
    with pytest.raises(ApiException, match="waiting to start"):
        read()
    assert len(cluster.asked) == 1
    assert told.lines == []

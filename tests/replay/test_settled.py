"""When a partition counts as settled, asked of a local server that speaks the little of Airflow's API that this takes."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.support.flights import flights

from updraft.airflow_api import AirflowApi
from updraft.loop.monitor import MONITOR
from updraft.loop.sensor_looks import sensor_name
from updraft.replay.airflow import AirflowClient
from updraft.replay.run import Replay
from updraft.store.store import Store

BEFORE, KEY = "2013-01-07T0500", "2013-01-14T0500"


class Airflow(HTTPServer):
    """Runs and task instances, by the ids and states that are asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs: list[dict[str, str | None]] = []
        self.tasks: list[dict[str, str | None]] = []

    def add(self, stage: str, key: str | None, **states: str) -> None:
        """A run that is open, with its tasks by state."""
        dag = {"dag_id": f"flight_delays.{stage}", "dag_run_id": f"run-{key}"}
        self.runs.append({**dag, "state": "running", "partition_key": key})
        self.tasks += [{**dag, "task_id": task, "state": state} for task, state in states.items()]


class _Handler(BaseHTTPRequestHandler):
    server: Airflow

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = "task_instances" if self.path.endswith("/taskInstances/list") else "dag_runs"
        rows = self.server.tasks if kind == "task_instances" else self.server.runs
        states = body["state" if kind == "task_instances" else "states"]
        answer = [row for row in rows if row["dag_id"] in body["dag_ids"] and row["state"] in states]
        content = json.dumps({kind: answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def airflow():
    server = Airflow()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    server.add("watch", None, await_remedy="deferred")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def replay(airflow):
    base = f"http://127.0.0.1:{airflow.server_port}"
    store = Store.in_memory()
    for sensor in (MONITOR, sensor_name("remedy")):
        store.mark_seen("flight_delays", sensor, KEY)
    yield Replay(
        flights(), store, AirflowClient(base, lambda: AirflowApi(base=base, token="t")), lambda *_: None, timeout=0.5
    )
    store.close()


def test_what_is_monitored_and_seen_is_settled(replay) -> None:
    assert replay.settled(KEY)


def test_a_picture_that_is_being_drawn_holds_nothing_back(replay, airflow) -> None:
    airflow.add("monitor", KEY, write_report="running")
    assert replay.settled(KEY)


@pytest.mark.parametrize("state", ["scheduled", "queued", "running", "up_for_retry"])
def test_another_task_of_monitor_does(replay, airflow, state) -> None:
    airflow.add("monitor", KEY, write_report="success", decide_remedies=state)
    assert not replay.settled(KEY)


@pytest.mark.parametrize("stage", ["ingest", "score", "train"])
def test_so_does_any_other_run(replay, airflow, stage) -> None:
    airflow.add(stage, KEY)
    assert not replay.settled(KEY)


def test_so_does_the_run_of_another_partition(replay, airflow) -> None:
    airflow.add("monitor", BEFORE, write_report="running")
    assert not replay.settled(KEY)


def test_a_replay_ends_with_its_last_picture(replay, airflow) -> None:
    from updraft.errors import StackError

    replay._await_pictures(KEY)
    airflow.add("monitor", KEY, write_report="running")
    with pytest.raises(StackError, match=f"monitor of {KEY} has not ended"):
        replay._await_pictures(KEY)

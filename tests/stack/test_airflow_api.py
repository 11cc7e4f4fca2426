"""Airflow's API through httpx, against a server that is away, breaks off, refuses or forgets who has signed in."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import pytest

from updraft import airflow_api
from updraft.airflow_api import AirflowApi, AirflowRefused
from updraft.errors import StackError
from updraft.replay import airflow
from updraft.replay.airflow import AirflowClient

BREAK_OFF = 0
"""In place of a status: the connection is closed without an answer."""


@dataclass
class Served:
    """A server with a script of statuses; 200 when that has ended."""

    base: str = ""
    script: list[int] = field(default_factory=list)
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path, authorization of each request."""
    bodies: list[bytes] = field(default_factory=list)


@contextmanager
def serving(served: Served, port: int = 0) -> Iterator[Served]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            served.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            served.seen.append((self.command, self.path, self.headers.get("Authorization")))
            status = served.script.pop(0) if served.script else 200
            if status == BREAK_OFF:
                self.close_connection = True
                return
            content = json.dumps({"access_token": "given", "dags": []} if status == 200 else {"detail": "no"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    served.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Served()) as there:
        yield there


def signing_in(served: Served) -> Callable[[], AirflowApi]:
    numbers = iter(range(100))
    return lambda: AirflowApi(base=served.base, token=f"token-{next(numbers)}")


def test_a_call_keeps_what_stands_in_the_path_and_no_proxy_is_asked(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    api = AirflowApi(base=served.base, token="t")
    api.call("GET", "/dags?limit=1")
    api.call("GET", "/dags/p.train/dagRuns/a%2Fb%2B1+2:3", limit=5, q="a b")
    api.call("POST", "/dags/p.train/dagRuns", {"conf": {}})
    assert airflow_api.get(f"{served.base}/health") is not None
    assert [(method, path) for method, path, _ in served.seen] == [
        ("GET", "/api/v2/dags?limit=1"),
        ("GET", "/api/v2/dags/p.train/dagRuns/a%2Fb%2B1+2:3?limit=5&q=a+b"),
        ("POST", "/api/v2/dags/p.train/dagRuns"),
        ("GET", "/health"),
    ]
    assert served.seen[0][2] == "Bearer t"
    assert json.loads(served.bodies[2]) == {"conf": {}}


@pytest.mark.parametrize("script", [[503, 500], [BREAK_OFF, BREAK_OFF], [502, BREAK_OFF]])
def test_a_replay_waits_for_a_server_that_is_away_for_a_while(served: Served, script: list[int]) -> None:
    served.script[:] = script
    client = AirflowClient(served.base, signing_in(served))
    assert client.start("p.train", "run-1", partition="2013-01-14") is True
    assert len(served.seen) == 3
    assert len(set(served.bodies)) == 1, "the same request each time"
    assert json.loads(served.bodies[0])["partition_key"] == "2013-01-14"


def test_a_replay_waits_for_a_server_that_is_not_there_yet() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as taken:
        port = taken.server_port
    later = Served(base=f"http://127.0.0.1:{port}")
    client = AirflowClient(later.base, signing_in(later))
    answers: list[list[str]] = []
    asking = threading.Thread(target=lambda: answers.append(client.dags("%")))
    asking.start()
    time.sleep(0.5)
    assert not answers
    with serving(later, port):
        asking.join(timeout=20)
    assert answers == [[]]


def test_without_patience_a_server_that_is_away_is_an_error_at_once(served: Served) -> None:
    served.script[:] = [503, BREAK_OFF]
    api = AirflowApi(base=served.base, token="t")
    with pytest.raises(AirflowRefused, match=r"refused GET http://\S+/dags \(HTTP 503\): .*no"):
        api.call("GET", "/dags")
    with pytest.raises(StackError, match=r"did not answer GET http://\S+/dags: .*see `make status`"):
        api.call("GET", "/dags")
    assert len(served.seen) == 2
    served.script[:] = [500, BREAK_OFF]
    assert airflow_api.get(served.base) is None
    assert airflow_api.get(served.base) is None
    assert airflow_api.get("nonsense") is None
    with pytest.raises(StackError, match="did not answer"):
        AirflowApi(base="nonsense", token="t").call("GET", "/dags")


def test_a_page_that_is_not_there_yet_is_asked_for_again_within_the_patience(served: Served) -> None:
    served.script[:] = [BREAK_OFF, 503]
    assert airflow_api.get(served.base, patience=20.0) is not None
    assert len(served.seen) == 3


def test_a_server_that_stays_away_is_named_with_the_time_that_was_waited(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow, "PATIENCE", 1.0)
    served.script[:] = [503] * 9
    with pytest.raises(AirflowRefused, match=r"within 1 s \(HTTP 503\)"):
        AirflowClient(served.base, signing_in(served)).dags("%")
    assert 2 <= len(served.seen) <= 3


def test_what_is_refused_is_not_asked_again_and_what_is_accepted_is_none(served: Served) -> None:
    served.script[:] = [404, 409, 422]
    client = AirflowClient(served.base, signing_in(served))
    assert client.run("p.train", "run-1") is None
    assert client.start("p.train", "run-1") is False
    with pytest.raises(AirflowRefused) as caught:
        client.dags("%")
    assert caught.value.status == 422
    assert len(served.seen) == 3


def test_a_session_that_has_ended_is_renewed_once(served: Served) -> None:
    client = AirflowClient(served.base, signing_in(served))
    client.dags("%")
    served.script[:] = [401]
    client.dags("%")
    served.script[:] = [401, 401]
    with pytest.raises(AirflowRefused, match="HTTP 401"):
        client.dags("%")
    assert [token for _, _, token in served.seen] == [f"Bearer token-{number}" for number in (0, 0, 1, 1, 2)]


def test_a_login_is_patient_where_asked(served: Served) -> None:
    served.script[:] = [503]
    assert AirflowApi.login(served.base, "replay", "secret", patience=5.0).token == "given"
    served.script[:] = [401]
    with pytest.raises(AirflowRefused, match=r"/auth/token \(HTTP 401\)") as caught:
        AirflowApi.login(served.base, "replay", "secret")
    assert "secret" not in str(caught.value)

"""`make audit` asks a vulnerability service about every pinned package: here one of OSV's API on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ADVISORY = {
    "id": "PYSEC-0000-1",
    "summary": "made up",
    "affected": [
        {
            "package": {"name": "xgboost", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
        }
    ],
}


class Service(ThreadingHTTPServer):
    """Answers a query by package and version; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.known: dict[str, dict[str, object]] = {}
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = query["package"]["name"]
        self.server.asked.append((name, query["version"]))
        body = json.dumps({"vulns": [self.server.known[name]]} if name in self.server.known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is not a server's log."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def audit(service: Service) -> subprocess.CompletedProcess[str]:
    url = f"http://127.0.0.1:{service.server_port}/v1/query"
    env = {**os.environ, "PIP_AUDIT_VULNERABILITY_SERVICE": "osv", "PIP_AUDIT_OSV_URL": url}
    done = subprocess.run(
        ["make", "audit"], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=300
    )
    if "Failed to fetch" in done.stderr:
        pytest.skip(f"pip-audit cannot be fetched: {done.stderr.splitlines()[-1]}")
    return done


def test_every_pinned_package_is_asked_for_those_of_the_images_too(service):
    done = audit(service)
    assert done.returncode == 0, done.stdout + done.stderr
    files = [*ROOT.glob("requirements*.txt"), *(ROOT / "docker").glob("*/requirements*.txt")]
    assert len(files) == 9
    assert sorted(line for line in done.stdout.splitlines() if line.endswith(".txt")) == sorted(
        str(file.relative_to(ROOT)) for file in files
    )
    lines = [line for file in files for line in file.read_text().splitlines() if "==" in line and line[0] not in " #"]
    pins = [Requirement(line.rstrip(" \\")) for line in lines]
    assert {name for name, _ in service.asked} == {
        canonicalize_name(pin.name) for pin in pins if pin.marker is None or pin.marker.evaluate()
    }


def test_a_known_vulnerability_fails_it_and_is_named_with_the_version_that_mends_it(service):
    service.known["xgboost"] = ADVISORY
    done = audit(service)
    assert done.returncode != 0
    assert "PYSEC-0000-1" in done.stdout
    assert "99.0" in done.stdout

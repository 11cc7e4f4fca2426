"""`.ci/run`: what it answers when rooms pass, when one fails, and when it is ended. Rooms are empty here, and `make` says what a test asks of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("alerts", "backtest", "cli", "data", "draft", "e2e", "loop", "stack")


@pytest.fixture
def check(tmp_path: Path) -> subprocess.Popen[str]:
    """The check of a project with eight rooms, begun: `make` fails for the rooms of the file `fails`, and takes a minute for those of `long`."""
    project, tools = tmp_path / "project", tmp_path / "tools"
    for room in ROOMS:
        (project / "tests" / room).mkdir(parents=True)
        (project / "tests" / room / "test_room.py").touch()
    (project / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", project / ".ci" / "run")
    (tmp_path / "shared" / "k8s").mkdir(parents=True)
    tools.mkdir()
    for path, text in (
        (tmp_path / "shared" / "k8s" / "up", "#!/bin/sh\n"),
        (tools / "chromium", "#!/bin/sh\n"),
        (
            tools / "make",
            "#!/bin/bash\n"
            'echo "collected what $* asks for"\n'
            f"for room in $(cat {tmp_path}/long); do [[ $* != *$room* ]] || {{ touch {tmp_path}/begun.${{room#*/}}; sleep 60; }}; done\n"
            f'for room in $(cat {tmp_path}/fails); do [[ $* != *$room* ]] || {{ echo "FAILED $room/test_room.py::test_it"; exit 2; }}; done\n',
        ),
    ):
        path.write_text(text)
        path.chmod(0o755)
    for name in ("long", "fails"):
        (tmp_path / name).touch()
    return _begin(tmp_path)


def _begin(place: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PATH": f"{place / 'tools'}:{os.environ['PATH']}", "PIP_FIND_LINKS": ""}
    return subprocess.Popen(
        ["bash", ".ci/run"],
        cwd=place / "project",
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def test_where_every_room_passes_it_passes_and_has_run_each_once(check: subprocess.Popen[str]) -> None:
    said, _ = check.communicate(timeout=60)
    assert check.returncode == 0, said
    assert said.splitlines()[-1] == "the check: every room passed"
    without_airflow, rest = re.findall("collected what test-k8s ARGS=(.*) asks for", said)
    if "--ignore" in without_airflow:  # whichever room was through first
        without_airflow, rest = rest, without_airflow
    modules = without_airflow.split()
    assert rest.split() == ["tests/k8s", *(f"--ignore={module}" for module in modules)], "each in one of the two"
    assert all((ROOT / module).exists() for module in modules)
    for room in ROOMS:
        assert said.count(f"ARGS=tests/{room} asks for") == 1, room


def test_where_rooms_fail_it_fails_and_ends_with_their_tests(check: subprocess.Popen[str], tmp_path: Path) -> None:
    check.communicate(timeout=60)
    (tmp_path / "fails").write_text("tests/draft tests/stack")
    again = _begin(tmp_path)
    said, _ = again.communicate(timeout=60)
    assert again.returncode == 2, said
    end = said[said.index("the check: failed") :]
    for room in ("tests/draft", "tests/stack"):
        assert f"{room}: failed (exit 2)\nFAILED {room}/test_room.py::test_it\n" in end
    assert end.count("FAILED") == 2
    assert "ARGS=tests/loop asks for" in said, "the rooms behind one that fails run too"


def test_ended_from_outside_it_fails_and_says_how_far_a_room_came(check: subprocess.Popen[str], tmp_path: Path) -> None:
    check.communicate(timeout=60)
    (tmp_path / "long").write_text("tests/e2e tests/stack")
    again = _begin(tmp_path)
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("begun.*"))) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(again.pid, signal.SIGTERM)
    said, _ = again.communicate(timeout=60)
    assert again.returncode != 0
    for room in ("tests/e2e", "tests/stack"):
        assert f"ARGS={room} asks for" in said
    assert "every room passed" not in said

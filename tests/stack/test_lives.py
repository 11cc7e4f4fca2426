"""A program that is forked anew: each life begins at once with what was imported, and what dies early is the process manager's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.postgres import free_port

from updraft.stack.layout import ROOT
from updraft.stack.processes import MARK, is_alive

PROGRAM = """
import os, signal, subprocess, sys, time
from pathlib import Path
from updraft.stack import lives
lives.LIVED_WELL = {lived_well}
stack = Path({stack!r})
imported = os.getpid()
lives.live(stack, "scheduler", {ports})
with open(stack / "lives", "a") as file:
    file.write(f"{{imported}} {{os.getpid()}}\\n")
{body}
"""


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    env = {"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_PROJECTS": str(ROOT / "include" / "projects")}
    program = {"command": ["/bin/true"], "env": env, "cwd": str(tmp_path), "waits_for": []}
    plan = {"stack_id": tmp_path.name, "postgres_data": str(tmp_path), "programs": {"scheduler": program}}
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "plan.json").write_text(json.dumps(plan))
    return tmp_path / "stack"


@pytest.fixture
def start(stack: Path) -> Iterator[object]:
    started = []

    def begin(body: str, *, lived_well: float, ports: tuple[int, ...] = ()) -> subprocess.Popen[str]:
        code = PROGRAM.format(stack=str(stack), body=body, lived_well=lived_well, ports=list(ports))
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "include"), MARK: f"{stack.parent.name}:scheduler"}
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        for left in [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []:
            left.kill()
        process.kill()
        process.wait()


def lives_of(stack: Path, number: int) -> list[tuple[int, int]]:
    """Of so many lives the process that imported, and the one that lived."""
    deadline = time.monotonic() + 60
    while not (stack / "lives").exists() or len((stack / "lives").read_text().splitlines()) < number:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pairs = [line.split() for line in (stack / "lives").read_text().splitlines()]
    return [(int(imported), int(own)) for imported, own in pairs]


def test_a_life_that_ends_is_followed_by_one_that_imports_nothing_and_counts_as_a_restart(stack, start):
    start("time.sleep(1.5); raise RuntimeError('the database is gone')", lived_well=1.0)
    lives = lives_of(stack, 4)
    assert len({imported for imported, _ in lives}) == 1
    assert len({own for _, own in lives}) == len(lives)
    assert (stack.parent / "alerts" / "untold.jsonl").exists(), "it keeps dying, and on-call is told"
    assert time.time() - float((stack / "scheduler.runs").read_text()) < 60


def test_what_a_life_leaves_behind_is_ended_before_the_next(stack, start):
    process = start(
        "child = subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL); print(child.pid, flush=True); time.sleep(1.5); os._exit(1)",
        lived_well=1.0,
    )
    left = psutil.Process(int(process.stdout.readline()))
    lives_of(stack, 2)
    assert not is_alive(left)


@pytest.mark.parametrize(("body", "code"), [("raise RuntimeError('x')", 1), ("", 0), ("sys.exit(0)", 0)])
def test_a_life_that_is_short_ends_the_program_with_its_code_and_every_word(stack, start, body, code):
    process = start(f"print('its words', end=''); {body}", lived_well=60.0)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (code, "its words")
    assert ("RuntimeError: x" in errors) == bool(code)
    assert len(lives_of(stack, 1)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_group_that_is_asked_to_end_ends(stack, start, number):
    process = start("time.sleep(600)", lived_well=0.0)
    [(_, own)] = lives_of(stack, 1)
    os.killpg(process.pid, number)
    process.wait(30)
    assert not psutil.pid_exists(own)
    assert len(lives_of(stack, 1)) == 1


def test_one_that_waits_for_a_port_ends_when_it_is_asked_to(stack, start):
    process = start("", lived_well=0.0, ports=(free_port(),))
    assert "waiting for port" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(30) == 0
    assert not (stack / "lives").exists()


def test_after_a_good_life_short_ones_are_tried_again_as_the_database_may_not_answer_yet(stack, start):
    """The second and the third life find a database that is there and does not answer."""
    number = "number = len((stack / 'lives').read_text().splitlines())"
    start(f"{number}; time.sleep(0 if number in (2, 3) else 1.5); raise RuntimeError", lived_well=1.0)
    lives = lives_of(stack, 4)
    assert len({imported for imported, _ in lives}) == 1

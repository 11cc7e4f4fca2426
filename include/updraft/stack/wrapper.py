"""What the process manager starts for each program: ``python -m updraft.stack.wrapper PLAN PROGRAM``.

It ends what an earlier life of the program left behind, holds back a program that keeps dying, waits for what the
program needs, and then becomes the program. It imports little: it runs before everything, after every crash.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from updraft.stack import restarts
from updraft.stack.environment import inherited
from updraft.stack.home import UMASK
from updraft.stack.layout import LOOPBACK, POSTGRES, SCHEDULER
from updraft.stack.plan import Plan, Program
from updraft.stack.processes import reap

LONGEST_PAUSE = 30.0
"""Seconds."""
LIVED_WELL = 60.0
"""Seconds between two starts after which a program counts as healthy again."""


def main(arguments: Sequence[str]) -> None:
    """Become a program of the stack; never returns."""
    os.umask(UMASK)
    plan_file, name = Path(arguments[0]), arguments[1]
    plan = Plan.read(plan_file)
    program = plan.programs[name]
    data = Path(plan.postgres_data) if name == POSTGRES else None
    if left := reap(plan.stack_id, name, data=data):
        _say(f"{name}: ended {left} process(es) that its last life left behind")
    if data is not None:
        # Nobody works in that folder any more. After a reboot the number in the file may be another process's.
        (data / "postmaster.pid").unlink(missing_ok=True)
    tell_restarts(plan, plan_file.parent, name)
    pause = next_pause(plan_file.with_name(f"{name}.starts.json"), time.time())
    if pause:
        _say(f"{name}: died early, waiting {pause:.0f} s before the next start")
        time.sleep(pause)
    for port in program.waits_for:
        await_port(name, port)
    _note_running(plan_file.parent, name)
    _become(program, inherited(os.environ, name))


def tell_restarts(plan: Plan, stack: Path, name: str) -> None:
    """Tell on-call of a program that keeps dying. Whatever is in the way of that stands in the program's log, and it is started all the same."""
    try:
        series = restarts.count(stack, name, time.time())
        if series is not None:
            _say(f"{name}: {series.words}")
            restarts.tell(series, name, plan.programs[SCHEDULER].env, stack.parent / "logs" / f"{name}.log")
            restarts.note_told(stack, name)
    except Exception as error:  # noqa: BLE001
        _say(f"{name}: that it keeps dying could not be told: {type(error).__name__}: {error}")


def _note_running(stack: Path, name: str) -> None:
    """Note since when the program runs. On a full disk it runs all the same: on-call is told later that it is well again."""
    try:
        restarts.note_running(stack, name, time.time())
    except OSError as error:
        _say(f"{name}: since when it runs could not be noted: {error}")


def next_pause(history: Path, now: float) -> float:
    """Seconds to wait before this start: none after a healthy life, else doubling from one second.

    The first two restarts are immediate, so that a program that was killed is back at once.
    """
    try:
        last, early = json.loads(history.read_text())
    except (FileNotFoundError, ValueError, TypeError):
        last, early = 0.0, -1
    early = early + 1 if 0 <= now - last < LIVED_WELL else 0
    pause = min(2.0 ** (early - 3), LONGEST_PAUSE) if early > 2 else 0.0
    history.write_text(json.dumps([now + pause, early]))
    return pause


def await_port(name: str, port: int) -> None:
    """Come back when a port of this machine accepts connections."""
    said = False
    while True:
        try:
            socket.create_connection((LOOPBACK, port), timeout=2).close()
            return
        except OSError:
            if not said:
                _say(f"{name}: waiting for port {port}")
                said = True
            time.sleep(0.2)


def _become(program: Program, kept: dict[str, str]) -> None:
    os.chdir(program.cwd)
    env = {**kept, **program.env}
    if program.user is not None and program.group is not None:
        os.setgroups([])
        os.setgid(program.group)
        os.setuid(program.user)
    sys.stdout.flush()
    os.execve(program.command[0], program.command, env)


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])

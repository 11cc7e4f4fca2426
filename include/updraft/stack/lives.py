"""A program whose lives are forks of a process that has imported what takes time: one that ends is followed by the next without importing anew.

The scheduler dies with its database, once its tasks have ended. To import everything again takes longer than all the rest of its return.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from updraft.stack import restarts
from updraft.stack.plan import Plan
from updraft.stack.processes import MARK, reap
from updraft.stack.wrapper import LIVED_WELL, await_port, tell_restarts

PATIENCE = 60.0
"""Seconds after a good life in which the next ones may be short: a database takes connections before it answers, and while it shuts down."""
PAUSE = 1.0
"""Seconds between two of them."""


def live(stack: Path, program: str, ports: Sequence[int]) -> None:
    """Come back in a process of its own for each life of the program, when everything that it needs is there.

    The calling process stays behind and never comes back. It ends when it is asked to, with the life that is asked as well (they share a
    process group), and when a life was short: what dies early is the process manager's, which holds it back.

    :param stack: the folder of the stack's process files.
    :param program: its name.
    :param ports: ports of this machine that it needs.
    """
    asked: list[int] = []
    under_way: list[int] = []

    def end(number: int, _: object) -> None:
        asked.append(number)
        if not under_way:
            os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    gc.freeze()  # what is imported is shared with every life, and stays so
    lived, well_until = False, float("-inf")
    while True:
        for port in ports:
            await_port(program, port)
        if lived:
            restarts.note_running(stack, program, time.time())
        life = os.fork()
        if life == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _end_at_once()
            return
        under_way.append(life)
        began, lived = time.monotonic(), True
        _, status = os.waitpid(life, 0)
        under_way.clear()
        now = time.monotonic()
        was_good = now - began >= LIVED_WELL
        if asked or not (was_good or now - well_until < PATIENCE):
            os._exit(max(os.waitstatus_to_exitcode(status), 0))
        reap(os.environ[MARK].partition(":")[0], program)
        if was_good:
            well_until = now
            tell_restarts(Plan.read(stack / "plan.json"), stack, program)
        else:
            time.sleep(PAUSE)


def _end_at_once() -> None:
    """Let this process end without taking apart, object by object, what it shares: that takes seconds in which no other life can begin."""
    failed: list[object] = []
    told = sys.excepthook

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        failed.append(error)
        told(kind, error, trace)

    def end() -> None:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1 if failed else 0)

    sys.excepthook = tell
    atexit.register(end)

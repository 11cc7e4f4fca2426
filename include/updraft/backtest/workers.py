"""Processes that share the work of a backtest; with one, everything happens in this process."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
WORTH_IT = 6
"""Fewer things to do are done here: a process needs seconds to load what it works with."""


class Workers:
    """Calls a function on each of many things. The processes start with the first call that is worth it."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def each(self, function: Callable[[A], B], things: Sequence[A], *, costliest_last: bool = False) -> Iterator[B]:
        """The results in the order of the things. Function, things and results travel between processes by pickle.

        :param costliest_last: start with the last ones, so that no process is left with a long one at the end.
        """
        if self._processes < 2 or len(things) < WORTH_IT:
            yield from map(function, things)
            return
        if self._pool is None:
            # spawned, not forked: this process may hold threads of OpenMP or DuckDB, which a fork would lose
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._processes, mp_context=context, initializer=_prepare)
        order = range(len(things))
        started: dict[int, Future[B]] = {
            index: self._pool.submit(function, things[index])
            for index in (reversed(order) if costliest_last else order)
        }
        for index in order:
            yield started.pop(index).result()


def _prepare() -> None:
    """End with the process that asked, and quietly: when a person interrupts, and when all is done."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    atexit.register(os._exit, 0)  # DuckDB's binding reports its own objects as leaked when the interpreter is torn down
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()

"""Work side by side in processes of their own: partitions and policies do not wait for each other."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

Say = Callable[[str], None]
WORKERS = min(len(os.sched_getaffinity(0)), 4)
"""More would win little and hold a gigabyte each."""


def _prepare(niceness: int) -> None:
    """End quietly, and never outlive the process that asked: a pool's worker would wait for it for ever."""
    os.nice(niceness)
    atexit.register(os._exit, 0)  # DuckDB's binding reports its own objects as leaked when the interpreter is torn down
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # the process that asked tells the person who interrupts; one trace is enough
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: BaseProcess | None) -> None:
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def several(workers: int, *, niceness: int = 0) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes (a fork would inherit the threads of DuckDB and XGBoost); what has not begun is dropped at the end.

    :param niceness: 19 for work that takes only the time that nobody else wants.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max(workers, 1), mp_context=context, initializer=_prepare, initargs=(niceness,))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

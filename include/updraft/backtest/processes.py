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


def _prepare() -> None:
    """End quietly, and never outlive the process that asked: a pool's worker would wait for it for ever."""
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
def several(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes (a fork would inherit the threads of DuckDB and XGBoost); what has not begun is dropped on an error."""
    pool = ProcessPoolExecutor(max(workers, 1), mp_context=multiprocessing.get_context("spawn"), initializer=_prepare)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

"""Work side by side in processes of their own: partitions and policies do not wait for each other."""

from __future__ import annotations

import atexit
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

Say = Callable[[str], None]
WORKERS = min(len(os.sched_getaffinity(0)), 4)
"""More would win little and hold a gigabyte each."""


def _leave_at_once() -> None:
    """When the worker is done, end without tearing the interpreter down: DuckDB's binding reports its own objects as leaked there."""
    atexit.register(os._exit, 0)


@contextmanager
def several(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes (a fork would inherit the threads of DuckDB and XGBoost); what has not begun is dropped on an error."""
    pool = ProcessPoolExecutor(
        max(workers, 1), mp_context=multiprocessing.get_context("spawn"), initializer=_leave_at_once
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

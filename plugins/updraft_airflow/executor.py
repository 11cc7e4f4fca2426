"""LocalExecutor, less its waits: the scheduler hears of a task's end at once, and goes on when a worker is killed that waits.

What it uses of Airflow's insides stands in :mod:`updraft.borrowed`, with what to check when Airflow's version changes.
"""

from __future__ import annotations

import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from airflow.executors.local_executor import LocalExecutor

from updraft.borrowed import BORROWED, installed
from updraft.errors import SettingsError

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance

FIRST_WAIT = 0.05
"""Seconds, after something happened: what follows from it (a run that an asset starts, its first task) comes within a few looks."""
LONGEST_WAIT = 0.4
"""Seconds in which the scheduler finds what no task tells it: a run that was started by hand, a tick of cron, a trigger's event."""
PATIENCE = 5.0
"""Seconds. A living worker that waits takes what is put into the queue within milliseconds."""
LOOKS = 10
"""So often, too: seconds alone also pass while the whole machine stands still."""


class PromptLocalExecutor(LocalExecutor):
    """Waits in the scheduler's place, which is to have ``scheduler_idle_sleep_time`` 0.

    The scheduler looks at the whole database after each of its naps, which takes 40 ms of processor time: naps of a tenth of a
    second use up a third of a core where nothing happens, and longer ones make each task wait for the next. Here a nap ends
    when a task ends, and may be longer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._wait = 0.0
        self._lost_a_worker = False
        self._handed_in = 0
        self._lying: _Lying | None = None

    def start(self) -> None:
        """Start the workers.

        :raises SettingsError: when this Airflow's executor has other insides than those on which this one relies.
        """
        super().start()
        borrowed = {
            "activity_queue._rlock": getattr(self.activity_queue, "_rlock", None),
            "result_queue._reader": getattr(self.result_queue, "_reader", None),
            "_unread_messages": getattr(self, "_unread_messages", None),
        }
        if missing := [name for name, value in borrowed.items() if value is None]:
            [use] = [use for use in BORROWED if use.module.endswith("updraft_airflow/executor.py")]
            raise SettingsError(
                f"LocalExecutor of {use.distribution} {installed(use.distribution)} has no {', '.join(missing)}. {use}. Until then set "
                "AIRFLOW__CORE__EXECUTOR=LocalExecutor and AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME=1"
            )

    def _process_workloads(self, workload_list: Any) -> None:
        """Hand work to the workers; where there is some, there may be more."""
        self._handed_in += len(workload_list)
        super()._process_workloads(workload_list)
        self._wait = 0.0

    def _check_workers(self) -> None:
        """As Airflow does, which forgets here those that have died."""
        before = set(self.workers)
        super()._check_workers()
        self._lost_a_worker |= not before <= set(self.workers)

    def sync(self) -> None:
        """Read what the workers have done. Where nothing happened the last time, first wait a little for something to read."""
        if self._wait:
            wait([self.result_queue._reader], self._wait)
        super().sync()
        self._wait = 0.0 if self.event_buffer else min(2 * self._wait + FIRST_WAIT, LONGEST_WAIT)
        self._give_the_lock_back()

    def revoke_task(self, *, ti: TaskInstance) -> None:
        """Forget a task that is queued for too long, so that the scheduler queues it anew.

        It was lost with a worker that had just taken it. Airflow's own executor knows no such thing, and the task is queued for ever.
        One that lies in the queue after all is started once: the second start is refused.
        """
        self.queued_tasks.pop(ti.key, None)
        self.running.discard(ti.key)
        self.log.warning("A task was lost with its worker, and is queued again: %s", ti)

    def _give_the_lock_back(self) -> None:
        """In the place of a worker that took it along.

        The one worker that is about to get the next task holds the queue's lock while it waits. When it is killed (by the
        kernel, for memory) Airflow starts another one, which waits for the lock like all the others: nothing would be
        started any more, and the scheduler would count as healthy. That is so when, after a worker was lost, work lies in the
        queue and none of it is taken for a while. It also is when every worker is busy: then the lock is free, and stays so.
        """
        if not self._lost_a_worker or self.activity_queue.empty():
            self._lying = None
            return
        taken = self._handed_in - self._unread_messages.value
        if self._lying is None or self._lying.taken != taken:
            self._lying = _Lying(taken)
        self._lying.looks += 1
        if self._lying.looks < LOOKS or time.monotonic() - self._lying.since < PATIENCE:
            return
        lock = self.activity_queue._rlock
        if not lock.acquire(block=False):
            self.log.warning("A worker was killed with the lock of the queue; it is given back, and tasks go on")
        lock.release()
        self._lost_a_worker, self._lying = False, None


class _Lying:
    """Work that is left in the queue: since when, and how much had been taken by then."""

    def __init__(self, taken: int) -> None:
        self.taken, self.since, self.looks = taken, time.monotonic(), 0

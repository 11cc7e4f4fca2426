"""The executor waits for the end of a task, and goes on when workers are killed; real processes, with something small for them to do."""

import os
import signal
import time
from dataclasses import dataclass

import psutil
import pytest
from airflow.executors.base_executor import BaseExecutor
from airflow.executors.local_executor import LocalExecutor
from airflow.utils.state import TaskInstanceState
from setproctitle import setproctitle

from updraft.errors import SettingsError
from updraft_airflow import executor as module
from updraft_airflow.executor import PromptLocalExecutor


@dataclass(frozen=True)
class Work:
    key: str
    seconds: float = 0.0
    display_name: str = "work"
    running_state = None
    success_state = TaskInstanceState.SUCCESS
    failure_state = TaskInstanceState.FAILED


def do(work, **kwargs):
    setproctitle("airflow worker -- work")
    time.sleep(work.seconds)


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.setattr(BaseExecutor, "run_workload", staticmethod(do))
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    monkeypatch.setattr(module, "LOOKS", 3)
    found = PromptLocalExecutor(parallelism=3)
    found.start()
    yield found
    for worker in found.workers.values():
        worker.kill()
        worker.join()  # else it stays a child of the tests


def is_held(lock):
    if lock.acquire(block=False):
        lock.release()
        return False
    return True


def hand_in(executor, key, seconds=0.0):
    executor.queued_tasks[key] = work = Work(key, seconds)
    executor._process_workloads([work])


def wait_for(executor, key, seconds=60.0):
    deadline = time.monotonic() + seconds
    while key not in executor.event_buffer:
        assert time.monotonic() < deadline, f"{key} was not done"
        executor.sync()
        time.sleep(0.02)


def test_tasks_go_on_when_the_worker_is_killed_that_holds_the_lock(workers, capsys):
    lock, deadline = workers.activity_queue._rlock, time.monotonic() + 10
    while not is_held(lock):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for worker in list(workers.workers.values()):
        worker.kill()
        worker.join()  # killed while it reads, it would leave half a message
    for number in range(3):
        hand_in(workers, f"after {number}")
    for number in range(3):
        wait_for(workers, f"after {number}")
    assert capsys.readouterr().out.count("given back") == 1


def test_the_lock_stays_where_it_is_while_work_is_taken(workers, monkeypatch, capsys):
    hand_in(workers, "killed", seconds=60.0)
    killed = busy(workers, 1)
    os.kill(killed[0], signal.SIGKILL)
    monkeypatch.setattr(module, "LOOKS", 1)
    while not workers._lost_a_worker:
        workers.sync()
    for number in range(8):  # work lies there at each look, and is taken in between
        for pid in workers.workers:
            os.kill(pid, signal.SIGSTOP)
        hand_in(workers, f"work {number}")
        workers._give_the_lock_back()
        assert workers._lying is not None
        for pid in workers.workers:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.3)
    for number in range(8):
        wait_for(workers, f"work {number}")
    assert workers._lost_a_worker
    assert "given back" not in capsys.readouterr().out


def test_a_free_lock_stays_free_while_every_worker_is_busy(workers, monkeypatch, capsys):
    workers._lost_a_worker = True
    for number in range(3):
        hand_in(workers, f"long {number}", seconds=3.0)
    busy(workers, 3)
    hand_in(workers, "waits")
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.1)
    while "long 0" not in workers.event_buffer:
        workers.sync()
    assert not workers._lost_a_worker  # it was looked into
    wait_for(workers, "waits")
    assert "given back" not in capsys.readouterr().out


def test_a_task_that_was_lost_with_its_worker_can_be_handed_in_again(workers):
    hand_in(workers, "lost", seconds=60.0)
    workers.running.add("lost")  # as the scheduler's heartbeat does
    [pid] = busy(workers, 1)
    os.kill(pid, signal.SIGKILL)
    workers.revoke_task(ti=Work("lost"))
    assert "lost" not in workers.running
    hand_in(workers, "lost")
    wait_for(workers, "lost")


def busy(executor, number):
    """Wait until so many tasks are under way; the workers that do them."""
    deadline = time.monotonic() + 10
    while len(found := [pid for pid in executor.workers if title(pid).startswith("airflow worker -- work")]) < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def title(pid):
    return " ".join(psutil.Process(pid).cmdline())


def test_it_waits_longer_and_longer_while_nothing_happens_and_ends_with_a_task(workers, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_WAIT", 600.0)
    monkeypatch.setattr(module, "FIRST_WAIT", 300.0)  # longer than a test may take
    hand_in(workers, "long", seconds=1.0)
    workers.sync()  # something has just happened: no wait
    assert "long" not in workers.event_buffer
    workers.sync()  # waits, and not to the end of its time
    assert "long" in workers.event_buffer
    waits = []
    workers.event_buffer.clear()
    for _ in range(4):
        waits.append(workers._wait)
        monkeypatch.setattr(module, "wait", lambda *_: None)
        workers.sync()
    assert waits == [0.0, 300.0, 600.0, 600.0]


def test_another_airflows_executor_is_refused_with_what_to_check(monkeypatch):
    def start(executor):
        executor.activity_queue, executor.result_queue = object(), object()

    monkeypatch.setattr(LocalExecutor, "start", start)
    with pytest.raises(SettingsError, match=r"has no activity_queue\._rlock, result_queue\._reader, .*issues/70526"):
        PromptLocalExecutor(parallelism=1).start()

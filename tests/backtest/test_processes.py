"""Processes that share the work end with the one that asked, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from updraft.backtest.processes import several

ROOT = Path(__file__).parents[2]
ASKS = """
import os, signal, time
from updraft.backtest.processes import several

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what runs in its background ignore it
    with several(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_worker_does_not_outlive_the_process_that_asked(tmp_path, how):
    script = tmp_path / "asks.py"
    script.write_text(ASKS)
    env = os.environ | {"PYTHONPATH": str(ROOT / "include")}
    asking = subprocess.Popen(
        [sys.executable, str(script)], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    worker = int(asking.stdout.readline())
    assert alive(worker)
    asking.send_signal(how)
    asking.wait(timeout=60)
    until = time.monotonic() + 30
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.1)
    assert not alive(worker)


def test_what_fails_in_a_worker_fails_here():
    with several(1) as pool, pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result()


def test_a_worker_can_be_told_to_take_only_the_time_that_nobody_wants():
    with several(1, niceness=19) as pool:
        assert pool.submit(os.nice, 0).result() == 19

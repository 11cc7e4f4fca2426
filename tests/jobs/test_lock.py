from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid

import pytest

from updraft import files
from updraft.lock import exclusive

HOLD = """
import sys, time
from updraft.lock import exclusive
with exclusive(sys.argv[1]):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_local_lock_goes_with_the_process_that_held_it(tmp_path):
    url = f"file://{tmp_path}/with space"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "in\n"
    entered = threading.Event()

    def enter():
        with exclusive(url):
            entered.set()

    waiting = threading.Thread(target=enter, daemon=True)
    waiting.start()
    assert not entered.wait(0.3)
    holder.kill()
    holder.wait()
    assert entered.wait(5)
    waiting.join()


def test_a_lease_keeps_others_out_until_it_is_given_back():
    url = f"memory://{uuid.uuid4().hex}"
    inside = []

    def work():
        with exclusive(url, lease_seconds=5, settle_seconds=0.2):
            inside.append("in")
            assert inside.count("in") - inside.count("out") == 1
            time.sleep(0.2)
            inside.append("out")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside == ["in", "out"] * 3


@pytest.mark.parametrize("until", [-1.0, 0.4])
def test_the_lease_of_a_dead_process_runs_out(until):
    url = f"memory://{uuid.uuid4().hex}"
    files.write_json(f"{url}/lease.json", {"holder": "dead", "until": time.time() + until})
    started = time.time()
    with exclusive(url, lease_seconds=5, settle_seconds=0.05):
        assert time.time() - started >= until


def test_a_lease_is_renewed_while_the_work_goes_on():
    url = f"memory://{uuid.uuid4().hex}"
    with exclusive(url, lease_seconds=0.3, settle_seconds=0.01):
        time.sleep(0.6)
        assert files.read_json(f"{url}/lease.json")["until"] > time.time()

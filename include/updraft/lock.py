"""One process at a time in a folder: a file lock on this machine, a lease that expires elsewhere."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from updraft import files

log = logging.getLogger(__name__)


@contextmanager
def exclusive(url: str, lease_seconds: float = 30.0, settle_seconds: float = 0.5) -> Iterator[None]:
    """Wait until no other process works in the folder, and keep others out.

    A local lock goes with its process, however that ends. Object stores have no lock: there, a lease file is written,
    read again after ``settle_seconds``, and renewed until the end; that of a process that died runs out after
    ``lease_seconds``. What two that slip through all the
    same write has to be equal: a training is a function of its request.
    """
    if files.is_local(url):
        with _locked(url):
            yield
        return
    with _leased(f"{url}/lease.json", lease_seconds, settle_seconds):
        yield


@contextmanager
def _locked(url: str) -> Iterator[None]:
    import fcntl

    folder = files.local_path(url)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process works here; waiting for it", url)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _leased(url: str, lease_seconds: float, settle_seconds: float) -> Iterator[None]:
    me = f"{os.uname().nodename}:{os.getpid()}:{uuid.uuid4().hex}"
    told = None
    while (holder := _take(url, me, lease_seconds, settle_seconds)) is not None:
        if holder != told:
            log.info("%s: %s works here; waiting for it", url, holder)
        told = holder
        time.sleep(settle_seconds)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(url, me, lease_seconds, ended), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        _write(url, me, 0.0)


def _take(url: str, me: str, lease_seconds: float, settle_seconds: float) -> str | None:
    """Take the lease if it is free; who has it when it is not, and None when it is ours."""
    holder, until = _read(url)
    if holder != me and until > time.time():
        return holder
    _write(url, me, time.time() + lease_seconds)
    time.sleep(settle_seconds)
    holder = _read(url)[0]
    return None if holder == me else holder or "another process"


def _renew(url: str, me: str, lease_seconds: float, ended: threading.Event) -> None:
    while not ended.wait(lease_seconds / 3):
        try:
            _write(url, me, time.time() + lease_seconds)
        except OSError as error:  # the next renewal may succeed before the lease runs out
            log.warning("%s: the lease could not be renewed: %s", url, error)


def _write(url: str, holder: str, until: float) -> None:
    files.write_bytes(url, json.dumps({"holder": holder, "until": until}).encode())


def _read(url: str) -> tuple[str | None, float]:
    try:
        lease = files.read_json(url)
    except FileNotFoundError:
        return None, 0.0
    return str(lease["holder"]), float(lease["until"])

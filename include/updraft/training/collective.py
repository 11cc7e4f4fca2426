"""Over what a group learns: XGBoost's own collective, or torch.distributed. Where they meet is agreed on in the group."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from updraft.training.host import Group
from updraft.training.library import load_xgboost
from updraft.training.recipe import Device

_LEAVE_SECONDS = 60


@contextmanager
def xgboost_collective(group: Group) -> Iterator[None]:
    """Within, XGBoost's sketches, histograms and losses are those of all workers' rows.

    The workers are numbered by their task's name, so that sums are added in the same order every time.
    """
    if group.size == 1:
        yield
        return
    load_xgboost()
    from xgboost.collective import CommunicatorContext
    from xgboost.tracker import RabitTracker

    tracker = RabitTracker(n_workers=group.size, host_ip=group.host, sortby="task") if group.rank == 0 else None
    if tracker is not None:
        tracker.start()
    agreed = group.agreed(json.dumps(tracker.worker_args()).encode() if tracker else b"")
    try:
        with CommunicatorContext(**json.loads(agreed), dmlc_task_id=f"{group.rank:06d}"):
            yield
    finally:
        if tracker is not None:
            tracker.wait_for(timeout=_LEAVE_SECONDS)  # the others sign off there, and one that finds it gone fails


@contextmanager
def torch_collective(torch: Any, group: Group, device: Device) -> Iterator[None]:
    """Within, ``torch.distributed`` reaches all workers: NCCL between GPUs, gloo between CPUs."""
    if group.size == 1:
        yield
        return
    distributed, first = torch.distributed, group.rank == 0
    store = distributed.TCPStore(group.host, 0, group.size, True, wait_for_workers=False) if first else None
    port = int(group.agreed(str(store.port).encode() if store else b""))
    store = store or distributed.TCPStore(group.host, port, group.size, False)
    backend = "nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=group.rank, world_size=group.size)
    try:
        yield
    finally:
        distributed.destroy_process_group()

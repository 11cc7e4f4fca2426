"""Which device a training runs on."""

from __future__ import annotations

import ctypes
from typing import Literal

from updraft.errors import TrainingError
from updraft.training.recipe import Device

Wanted = Literal["auto", "cpu", "cuda"]


def choose_device(wanted: Wanted) -> Device:
    """The device that was asked for, or the best that is there.

    :raises TrainingError: when a GPU was asked for and none is visible.
    """
    if wanted == "cpu":
        return "cpu"
    visible = visible_gpus()
    if wanted == "cuda" and not visible:
        raise TrainingError(
            "the request asks for device cuda, and this process sees no GPU (NVIDIA's driver, CUDA_VISIBLE_DEVICES); "
            "give the pod one (nvidia.com/gpu), or ask for device auto or cpu"
        )
    return "cuda" if visible else "cpu"


def visible_gpus() -> int:
    """GPUs that this process may use, as NVIDIA's driver counts them; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value

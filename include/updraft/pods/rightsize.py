"""What a project's pods should ask for, from what its trainings used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from updraft.spec.compute import PodCompute
from updraft.spec.part import cpu_cores, mebibytes, memory_bytes

MARGIN = 1.25
"""Over the highest peak: the next window holds other rows, and a pod that dies costs more than a quarter of its memory."""
_STEP = 64 * 2**20
_IDLE_GPU = 10.0
"""Per cent of mean use below which a GPU does not earn its price."""


@dataclass(frozen=True)
class Used:
    """What one training used."""

    run: str
    peak_memory_mb: float
    seconds: float
    cpu_seconds: float | None = None
    gpu_percent: float | None = None


@dataclass(frozen=True)
class Proposal:
    """One key of ``training.compute``: as it is, as it should be, why, and what that saves over the trainings looked at."""

    key: str
    now: str
    then: str
    why: str
    saving: str


def rightsize(compute: PodCompute, used: Sequence[Used]) -> tuple[Proposal, ...]:
    """Requests that fit what was used, with a margin; nothing where they fit already (within a tenth), or nothing is known.

    :param compute: what the pods get now.
    :param used: of the last trainings.
    """
    if not used:
        return ()
    hours = sum(usage.seconds for usage in used) / 3600
    proposals = [_memory(compute, used, hours), _cpu(compute, used, hours), _gpu(compute, used, hours)]
    return tuple(proposal for proposal in proposals if proposal is not None)


def _memory(compute: PodCompute, used: Sequence[Used], hours: float) -> Proposal | None:
    peak = max(used, key=lambda usage: usage.peak_memory_mb)
    wanted = math.ceil(peak.peak_memory_mb * 2**20 * MARGIN / _STEP) * _STEP
    now = memory_bytes(compute.memory)
    if abs(wanted - now) <= now / 10:
        return None
    why = f"the highest peak of {len(used)} trainings is {peak.peak_memory_mb:,.0f} MiB (run {peak.run}), and a quarter on top"
    return Proposal(
        "memory", compute.memory, mebibytes(wanted), why, _saving((now - wanted) / 2**30, hours, "GiB hours")
    )


def _cpu(compute: PodCompute, used: Sequence[Used], hours: float) -> Proposal | None:
    known = [usage.cpu_seconds / usage.seconds for usage in used if usage.cpu_seconds and usage.seconds]
    if not known:
        return None
    wanted, now = max(math.ceil(max(known) * 10 + 1e-9) / 10, 0.1), cpu_cores(compute.cpu)
    if wanted >= now * 0.9:  # at its limit a process never shows how much more it would use
        return None
    why = f"the busiest of {len(known)} trainings used {max(known):.1f} cores on average"
    return Proposal("cpu", compute.cpu, f"{wanted:g}", why, _saving(now - wanted, hours, "core hours"))


def _gpu(compute: PodCompute, used: Sequence[Used], hours: float) -> Proposal | None:
    known = [usage.gpu_percent for usage in used if usage.gpu_percent is not None]
    if not compute.gpu or not known or max(known) >= _IDLE_GPU:
        return None
    why = f"its GPU was busy {max(known):.0f} % of the time at most"
    return Proposal("gpu", str(compute.gpu), "0", why, _saving(compute.gpu, hours, "GPU hours"))


def _saving(amount: float, hours: float, unit: str) -> str:
    return f"{'saves' if amount > 0 else 'costs'} {abs(amount) * hours:.2f} {unit}"

"""What a training uses while it runs: kept beside its result, so that it outlives a process that is killed."""

from __future__ import annotations

import logging
import resource
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from updraft import files
from updraft.errors import SettingsError

log = logging.getLogger(__name__)

_SAMPLE_SECONDS = 0.5
_GROWTH = 1.1
"""A peak that is higher by this factor is kept at once: the next sample may not come."""


Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A number of a note that anybody may have written who writes in the lake."""


@dataclass(frozen=True)
class Usage:
    """Peaks and sums of one process so far. Memory in MiB, processor time in seconds, GPU use in per cent."""

    seconds: Amount = 0.0
    peak_memory_mb: Amount = 0.0
    cpu_seconds: Amount = 0.0
    gpu_percent: Amount | None = None
    """Mean over the samples; null without a GPU."""
    gpu_memory_mb: Amount | None = None
    """Highest sample."""


@dataclass
class UsageWatch:
    """Samples this process in a thread of its own."""

    url: str
    started: float = field(default_factory=time.monotonic)
    usage: Usage = field(default_factory=Usage)
    _gpu: list[tuple[float, float]] = field(default_factory=list)
    _kept: float = 0.0

    def sample(self) -> Usage:
        """Look once."""
        own = resource.getrusage(resource.RUSAGE_SELF)
        self._gpu += gpus()
        self.usage = Usage(
            seconds=round(time.monotonic() - self.started, 3),
            peak_memory_mb=peak_memory_mb(),
            cpu_seconds=round(own.ru_utime + own.ru_stime, 3),
            gpu_percent=round(sum(use for use, _ in self._gpu) / len(self._gpu), 1) if self._gpu else None,
            gpu_memory_mb=max(memory for _, memory in self._gpu) if self._gpu else None,
        )
        return self.usage

    def run(self, ended: threading.Event) -> None:
        """Sample until the end, and keep a peak that grew."""
        while True:
            usage = self.sample()
            if usage.peak_memory_mb > self._kept * _GROWTH:
                self._keep()
            if ended.wait(_SAMPLE_SECONDS):
                return

    def _keep(self) -> None:
        try:
            files.write_json(self.url, asdict(self.usage))
            self._kept = self.usage.peak_memory_mb
        except (OSError, SettingsError) as error:  # the training's own writes tell it; this is a note beside them
            log.warning("%s could not be kept: %s", self.url, error)


@contextmanager
def watched(url: str) -> Iterator[UsageWatch]:
    """Watch this process until the block ends.

    :param url: of the note.
    """
    watch = UsageWatch(url)
    ended = threading.Event()
    thread = threading.Thread(target=watch.run, args=(ended,), name="usage", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()


def last_usage(url: str) -> Usage | None:
    """What a training that did not end well had used when it last told; None when it did not.

    :param url: of the note.
    """
    try:
        return TypeAdapter(Usage).validate_json(files.read_bytes(url))
    except (FileNotFoundError, ValueError):  # a note for people; a damaged one tells nothing
        return None


def peak_memory_mb() -> float:
    """Highest resident memory of this process so far, in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def memory_mb() -> float:
    """Resident memory of this process now, in MiB; where the system has no /proc, the highest so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:
        return peak_memory_mb()
    return round(pages * resource.getpagesize() / 2**20, 1)


def gpus() -> list[tuple[float, float]]:
    """(use in per cent, memory in MiB) of the GPUs that this process sees; none where the driver's tool is silent."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
    if not Path("/dev/nvidiactl").exists():
        return []
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=2, check=True).stdout
        return [(float(use), float(memory)) for use, memory in (line.split(",") for line in said.splitlines())]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []

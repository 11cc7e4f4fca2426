"""An eye on a training: it tells how far it is every few seconds, and hears when the process is asked to end."""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from updraft.jobs.usage import gpus, memory_mb, peak_memory_mb

if TYPE_CHECKING:
    from updraft.jobs.contract import Trial

log = logging.getLogger(__name__)

TELL_EVERY = 5.0
"""Seconds between two lines."""
GRACE = 20.0
"""Seconds after SIGTERM that may be spent on reaching a checkpoint; Kubernetes kills after 30 by default."""
_PREFIX = "progress "


@dataclass(frozen=True)
class ProgressLine:
    """One line of the log, ``progress key=value …``; :meth:`parse` reads it back."""

    phase: str
    round: int
    of: int
    rows_per_s: float
    cpu_percent: float
    """100 is one core."""
    memory_mb: float
    peak_mb: float
    """The process's highest resident memory so far."""
    loss: float | None = None
    """Validation loss after this round."""
    best: float | None = None
    gpu_percent: float | None = None
    gpu_memory_mb: float | None = None

    def __str__(self) -> str:
        value_by_name = {field.name: getattr(self, field.name) for field in fields(self)}
        return _PREFIX + " ".join(
            f"{name}={_text(value)}" for name, value in value_by_name.items() if value is not None
        )

    @classmethod
    def parse(cls, line: str) -> ProgressLine | None:
        """The line that a log line holds, or None when it holds none (or half of one)."""
        text_by_name = dict(re.findall(r"(\w+)=(\S+)", line.partition(_PREFIX)[2]))
        try:
            numbers = {name: float(text_by_name[name]) for name in text_by_name if name in _NUMBERS}
            return cls(
                phase=text_by_name["phase"], round=int(text_by_name["round"]), of=int(text_by_name["of"]), **numbers
            )
        except (KeyError, ValueError, TypeError):
            return None


_NUMBERS = frozenset(field.name for field in fields(ProgressLine)) - {"phase", "round", "of"}


def _text(value: float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class TrainingWatch:
    """Counts rounds and rows of one training; not for use by two threads. See :class:`updraft.training.host.Watch`."""

    def __init__(self, tell: Callable[[str], None] | None = None, every: float = TELL_EVERY, gpu: bool = False) -> None:
        """
        :param tell: takes the lines; nothing is told when None.
        :param gpu: whether to ask the GPU too.
        """
        self._tell = tell
        self._every = every
        self._gpu = gpu
        self._asked_at: float | None = None
        self._last, self._worked = time.monotonic(), time.process_time()
        self._rows = 0
        self.trial: Trial | None = None
        """What the training is a try of; None for one that is wanted for itself."""

    @property
    def leaving(self) -> float | None:
        """Seconds since the process was asked to end, or None."""
        return None if self._asked_at is None else time.monotonic() - self._asked_at

    def ask_to_leave(self) -> None:
        """Let the training end at its next checkpoint."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()

    @property
    def grace(self) -> float:
        """:data:`GRACE`."""
        return GRACE

    @property
    def is_trial(self) -> bool:
        """Whether the training is a try of a search."""
        return self.trial is not None

    def prunes(self, rounds: int, best: float | None) -> bool:
        """Whether the training is a trial that ends after this round: it is worse than others were by then."""
        return self.trial is not None and self.trial.stops(rounds, best)

    def saw(
        self, phase: str, done: int, of: int, rows: int, loss: float | None = None, best: float | None = None
    ) -> None:
        """Count rows that were learnt from, and tell when it is time.

        :param done: rounds that are over.
        :param rows: learnt from since the last call.
        """
        self._rows += rows
        now = time.monotonic()
        if self._tell is None or now - self._last < self._every:
            return
        speed, self._rows = self._rows / (now - self._last), 0
        worked = time.process_time()
        percent = 100 * (worked - self._worked) / (now - self._last)
        self._last, self._worked = now, worked
        self._tell(
            str(
                ProgressLine(
                    phase=phase,
                    round=done,
                    of=of,
                    rows_per_s=float(speed),
                    cpu_percent=round(percent, 1),
                    memory_mb=memory_mb(),
                    peak_mb=peak_memory_mb(),
                    loss=loss,
                    best=best,
                    **(_gpu_use() if self._gpu else {}),
                )
            )
        )


def _gpu_use() -> dict[str, float]:
    """Of the first GPU; a line without these figures is still true."""
    return {"gpu_percent": usage[0][0], "gpu_memory_mb": usage[0][1]} if (usage := gpus()) else {}


@contextmanager
def watching(gpu: bool = False) -> Iterator[TrainingWatch]:
    """A watch that tells this module's log and hears SIGTERM; the former handler is put back.

    A second SIGTERM ends the process at once, as it would have without Updraft. In another thread than the main one
    Python hears no signals, and the watch only tells.
    """
    watch = TrainingWatch(log.info, gpu=gpu)
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return

    def hear(number: int, frame: Any) -> None:
        watch.ask_to_leave()
        signal.signal(signal.SIGTERM, before)

    before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL  # None: set by something that is not Python
    signal.signal(signal.SIGTERM, hear)
    try:
        yield watch
    finally:
        signal.signal(signal.SIGTERM, before)

"""What learning asks of whatever runs it: a watch over its progress, and the group of workers that it belongs to.

Learning knows no more of processes and pods than this. :mod:`updraft.jobs` has a watch that writes a log and hears SIGTERM, and a
group that is connected by sockets; without them a training is unwatched and alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

from updraft.errors import TrainingInterrupted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Watch(Protocol):
    """Who is told how far a training is, and says whether it is to end early."""

    @property
    def leaving(self) -> float | None:
        """Seconds since the training was asked to end, or None."""

    @property
    def grace(self) -> float:
        """Seconds from then on that may be spent on reaching a checkpoint."""
        ...

    @property
    def is_trial(self) -> bool:
        """Whether the training is a try of a search: its proof is all that is wanted."""
        ...

    def prunes(self, rounds: int, best: float | None) -> bool:
        """Whether a trial ends after a round, as it is worse than others were by then.

        :param best: the lowest validation loss so far.
        """
        ...

    def saw(
        self, phase: str, done: int, of: int, rows: int, loss: float | None = None, best: float | None = None
    ) -> None:
        """Take note of a step.

        :param done: rounds that are over, of ``of`` at most.
        :param rows: learnt from since the last call.
        """


class Group(Protocol):
    """The workers that learn one model together, seen from one of them."""

    @property
    def rank(self) -> int:
        """The number of this worker; 0 is the first."""
        ...

    @property
    def size(self) -> int:
        """How many workers there are."""
        ...

    @property
    def host(self) -> str:
        """Worker 0 as the others reach it."""
        ...

    def agreed(self, content: bytes = b"") -> bytes:
        """What worker 0 says, on every worker.

        :raises TrainingInterrupted: when a worker is lost, here and below.
        """
        ...

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over the workers, on every worker; added in their order, so that it repeats itself bit for bit."""
        ...

    def highest(self, value: float) -> float:
        """The highest number of any worker, on every worker."""
        ...


@dataclass(frozen=True)
class _Unwatched:
    """Nobody is told, and nobody asks the training to end."""

    leaving: float | None = None
    grace: float = 0.0
    is_trial: bool = False

    def prunes(self, rounds: int, best: float | None) -> bool:
        """No trial."""
        return False

    def saw(
        self, phase: str, done: int, of: int, rows: int, loss: float | None = None, best: float | None = None
    ) -> None:
        """Told to nobody."""


@dataclass(frozen=True)
class _Alone:
    """A training by one process."""

    rank: int = 0
    size: int = 1
    host: str = "127.0.0.1"

    def agreed(self, content: bytes = b"") -> bytes:
        """Its own word."""
        return content

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Its own numbers, as float64."""
        import numpy as np

        return np.ascontiguousarray(values, np.float64)

    def highest(self, value: float) -> float:
        """Its own number."""
        return float(value)


UNWATCHED: Watch = _Unwatched()
ALONE: Group = _Alone()


def leave(phase: str, rounds: int) -> NoReturn:
    """End a training that was asked to end, after its checkpoint was written.

    :raises TrainingInterrupted: always.
    """
    raise TrainingInterrupted(
        f"asked to end (SIGTERM): {phase} is kept up to round {rounds}; the same request goes on from there"
    )

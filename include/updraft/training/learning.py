"""What a trainer is: the seam between the two phases of a training and the library that learns.

A trainer learns one phase from encoded rows and gives the weights as the bytes of one file; from these bytes it scores.
A new one is a module with this shape, a line in :mod:`updraft.training.trainers`, and its parameters in
:mod:`updraft.spec.trainers`; that of a team, an object with this shape and its ``rules`` behind an entry point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from updraft.tasks.objectives import Start
from updraft.training.host import ALONE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from updraft.tasks.task_type import TaskType
    from updraft.training.encoding import Encoder
    from updraft.training.host import Group, Watch
    from updraft.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded rows: float32 rows × columns as :meth:`Encoder.encode` gives them, and their labels."""

    values: NDArray[np.float32]
    label: NDArray[np.float64]


@dataclass(frozen=True)
class Progress:
    """Where a phase stands; JSON-able, the early-stopping state included."""

    rounds: int = 0
    best: float | None = None
    """Lowest validation loss so far; null without validation rows."""
    best_rounds: int = 0
    curve: tuple[float, ...] = ()
    done: bool = False

    def after(self, loss: float) -> Progress:
        """One round further, with its validation loss."""
        better = self.best is None or loss < self.best
        now = self.rounds + 1
        return Progress(now, loss if better else self.best, now if better else self.best_rounds, (*self.curve, loss))


@dataclass(frozen=True)
class Learnt:
    """What a phase leaves."""

    weights: bytes
    """The model as the bytes of the trainer's file, after the best round."""
    progress: Progress


class Checkpoint(Protocol):
    """Where a phase is kept between processes."""

    def load(self, phase: str) -> tuple[bytes, Progress] | None:
        """The last whole state of a phase."""

    def save(self, phase: str, state: bytes, progress: Progress) -> None:
        """Keep a state, replacing the one before at once or not at all."""


class Scorer(Protocol):
    """Weights, loaded."""

    def margin(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw output per encoded row: the margin that the task's link takes, of shape (rows,) or (rows, classes)."""
        ...

    def gain(self) -> NDArray[np.float64] | None:
        """What each column gained in training, when the model itself tells it."""
        ...


class Trainer(Protocol):
    """A library that learns."""

    @property
    def file(self) -> str:
        """Name of the weights in a model's folder."""

    @property
    def to_install(self) -> str:
        """What to do where a library is missing: the end of a sentence."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """The distributions whose versions determine the result; the first one reads checkpoints of its own version only."""

    def learn(
        self,
        recipe: Recipe,
        encoder: Encoder,
        phase: str,
        rows: Rows,
        *,
        rounds: int,
        validation: Rows | None,
        checkpoint: Checkpoint | None,
        watch: Watch,
        group: Group = ALONE,
    ) -> Learnt:
        """Learn up to a number of rounds; with validation rows, stop when they no longer gain.

        The same bytes come out whether or not it was interrupted and went on from its checkpoint.

        :param rows: of this worker of the group: row ``i`` of all is row ``i // size`` of worker ``i % size``.
        :param validation: the same.
        :raises TrainingError: when the labels cannot be learnt from, or the library is not installed.
        :raises TrainingInterrupted: when the process was asked to end; the checkpoint is written.
        """
        ...

    def scorer(self, weights: bytes, encoder: Encoder, threads: int) -> Scorer:
        """Load weights. Nothing in them is executed.

        :raises IntegrityError: when they are no weights of this trainer.
        """
        ...


def start_of(task: TaskType, label: NDArray[np.float64], group: Group = ALONE) -> Start:
    """Where learning starts, of the labels of all workers.

    :raises TrainingError: when there is no label, one is none of this task, or there is nothing to learn from them.
    """
    return task.start(group.total(task.label_totals(label)))


def group_loss(task: TaskType, label: NDArray[np.float64], margin: NDArray[np.float64], group: Group) -> float:
    """The headline metric of the rows of all workers, on every worker."""
    import numpy as np

    if group.size == 1:
        return task.mean_margin_loss(label, margin)
    loss = float(task.margin_loss(label, margin).mean()) * len(label) if len(label) else 0.0
    whole, count = group.total(np.array([loss, len(label)], np.float64))
    return task.headline.of_mean(float(whole / count))

"""Checkpoints of this process."""

from __future__ import annotations

from updraft.training.learning import Progress


class Killed(Exception):
    """Stands for the end of the process."""


class DyingCheckpoint:
    """A checkpoint that can die after a number of states, as a killed process would."""

    def __init__(self, left: int | None = None) -> None:
        self.states: dict[str, tuple[bytes, Progress]] = {}
        self.left = left

    def load(self, phase: str) -> tuple[bytes, Progress] | None:
        return self.states.get(phase)

    def save(self, phase: str, state: bytes, progress: Progress) -> None:
        self.states[phase] = (state, progress)
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise Killed

"""What a training is to learn from, and by which recipe, before it is a request."""

from __future__ import annotations

from dataclasses import dataclass

from updraft.spec.model import ProjectSpec, Trainer
from updraft.store.records import Lane
from updraft.training.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """One training at the tick of ``key``."""

    project: str
    key: str
    window: tuple[str, ...]
    holdout: tuple[str, ...]
    trainer: Trainer
    seed: int
    threads: int
    recipe_sha256: str
    """Of everything that determines the model but the data: code, features, parameters, label."""
    asked_sha256: str
    """The same of what project.yaml asked for when the training was planned."""
    lane: Lane
    workers: int = 1

    def recipe(self, spec: ProjectSpec) -> Recipe:
        """The recipe as the trainer takes it, for the task of its project.

        :raises TrainingError: when a parameter is unknown.
        """
        return Recipe(
            task=spec.task,
            params=self.trainer.params,
            seed=self.seed,
            threads=self.threads,
            trainer=self.trainer.name,
            classes=spec.data.label.classes,
        )

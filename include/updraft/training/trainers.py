"""The trainers by name. Importing this imports no library that learns."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from updraft.errors import TrainingError
from updraft.training.learning import Trainer
from updraft.training.library import ADD_PYTORCH
from updraft.training.pytorch import TORCH
from updraft.training.recipe import TrainerName
from updraft.training.xgb import XGBOOST

BY_NAME: Final[Mapping[str, Trainer]] = {"xgboost": XGBOOST, "torch": TORCH}


def library_versions(trainer: TrainerName) -> dict[str, str]:
    """Versions of what a trainer learns with in this environment. Those of a pod are its image's: ask where the training learns, or its result.

    :raises TrainingError: when one is not installed here.
    """
    try:
        return {name: version(name) for name in BY_NAME[trainer].libraries}
    except PackageNotFoundError as error:
        raise TrainingError(
            f"the {trainer} trainer cannot learn here: {error.name} is not installed; {ADD_PYTORCH}"
        ) from error


def learns_here(trainer: TrainerName) -> bool:
    """Whether this environment has what a trainer learns with. A torch model scores without PyTorch."""
    try:
        library_versions(trainer)
    except TrainingError:
        return False
    return True

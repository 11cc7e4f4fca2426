"""The trainers by name. Importing this imports no library that learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from updraft.errors import TrainingError
from updraft.spec.trainers import TRAINERS, TrainerName, team_trainer
from updraft.training.learning import Trainer
from updraft.training.lgbm import LIGHTGBM
from updraft.training.pytorch import TORCH
from updraft.training.sk import SKLEARN
from updraft.training.xgb import XGBOOST

_BUILT_IN: Final[Mapping[str, Trainer]] = {"xgboost": XGBOOST, "lightgbm": LIGHTGBM, "sklearn": SKLEARN, "torch": TORCH}


class _ByName(Mapping[str, Trainer]):
    """The names of :data:`updraft.spec.trainers.TRAINERS`."""

    def __getitem__(self, name: str) -> Trainer:
        """:raises SpecError: when it is a team's, and cannot be loaded."""
        if name in _BUILT_IN:
            return _BUILT_IN[name]
        trainer: Trainer = team_trainer(name)
        return trainer

    def __iter__(self) -> Iterator[str]:
        return iter(TRAINERS)

    def __len__(self) -> int:
        return len(TRAINERS)


BY_NAME: Final[Mapping[str, Trainer]] = _ByName()


def library_versions(trainer: TrainerName) -> dict[str, str]:
    """Versions of what a trainer learns with in this environment. Those of a pod are its image's: ask where the training learns, or its result.

    :raises TrainingError: when one is not installed here.
    """
    try:
        return {name: version(name) for name in BY_NAME[trainer].libraries}
    except PackageNotFoundError as error:
        raise TrainingError(
            f"the {trainer} trainer cannot learn here: {error.name} is not installed; {BY_NAME[trainer].to_install}"
        ) from error


def learns_here(trainer: TrainerName) -> bool:
    """Whether this environment has what a trainer learns with. A torch model scores without PyTorch."""
    try:
        library_versions(trainer)
    except TrainingError:
        return False
    return True

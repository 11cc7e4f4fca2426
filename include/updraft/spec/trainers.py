"""The trainers by name, and what their ``params`` may say.

A table of its own and not the training room's: a spec is checked where no trainer can be imported. A team's own trainer brings its
rules along: an object behind an entry point, which is loaded when a project names it and not before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from updraft.errors import SpecError
from updraft.spec.problems import did_you_mean
from updraft.spec.trainer_params import lightgbm, sklearn, torch, xgboost
from updraft.spec.trainer_params.rules import Param, Rules, Value
from updraft.tasks.task_type import TaskType

__all__ = [
    "ENTRY_POINTS",
    "TRAINERS",
    "Param",
    "Rules",
    "TrainerName",
    "Value",
    "complaints",
    "team_trainer",
    "unlearnt",
]

ENTRY_POINTS = "updraft.trainers"
"""The group of a package's entry points that name its trainers."""
_BUILT_IN: Final[Mapping[str, Rules]] = {
    "xgboost": xgboost.RULES,
    "lightgbm": lightgbm.RULES,
    "sklearn": sklearn.RULES,
    "torch": torch.RULES,
}


class _Trainers(Mapping[str, Rules]):
    """The built-in trainers, and those of installed packages: these are looked for when another name is asked for, or all are listed."""

    def __getitem__(self, name: str) -> Rules:
        """:raises SpecError: when it is a team's, and cannot be loaded."""
        if name in _BUILT_IN:
            return _BUILT_IN[name]
        rules: Rules = team_trainer(name).rules
        return rules

    def __contains__(self, name: object) -> bool:
        return name in _BUILT_IN or name in _of_teams()

    def __iter__(self) -> Iterator[str]:
        yield from _BUILT_IN
        yield from (name for name in _of_teams() if name not in _BUILT_IN)

    def __len__(self) -> int:
        return len(list(iter(self)))


TRAINERS: Final[Mapping[str, Rules]] = _Trainers()


@cache
def _of_teams() -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


@cache
def team_trainer(name: str) -> Any:
    """A trainer of an installed package: an :class:`updraft.training.learning.Trainer` that has its :class:`Rules` as ``rules``.

    :raises KeyError: when no package has one of this name.
    :raises SpecError: when it cannot be loaded, or lacks its rules.
    """
    entry = _of_teams()[name]
    try:
        trainer = entry.load()
    except Exception as error:
        raise SpecError(
            f"the trainer {name} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    rules = getattr(trainer, "rules", None)
    if not isinstance(rules, Rules) or not {"rounds", "early_stopping"} <= rules.own:
        raise SpecError(
            f"the trainer {name} ({entry.value}) needs `rules`, an updraft.spec.trainers.Rules with defaults of rounds and early_stopping"
        )
    return trainer


def _known(name: str) -> str:
    if name not in TRAINERS:
        expected = ", ".join(f"'{listed}'" for listed in TRAINERS)
        raise PydanticCustomError("literal_error", "there is no such trainer", {"expected": expected})
    try:
        TRAINERS[name]
    except SpecError as error:
        raise ValueError(str(error)) from error
    return name


if TYPE_CHECKING:
    TrainerName = str
else:  # of the built-in ones an editor knows; `json_schema` adds those that are installed
    TrainerName = Annotated[str, AfterValidator(_known), WithJsonSchema({"enum": list(_BUILT_IN), "type": "string"})]


def unlearnt(trainer: str, params: Mapping[str, Value], task: TaskType) -> str | None:
    """Why a trainer does not learn a task with these parameters, or None."""
    learns = TRAINERS[trainer].learns
    return learns(params, task) if learns else None


def complaints(trainer: str, params: Mapping[str, Value]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """``(parameter, what is wrong, what is allowed)`` for the parameters of a trainer of :data:`TRAINERS`."""
    rules = TRAINERS[trainer]
    for name, value in params.items():
        if name in rules.fixed:
            yield name, f"set by Updraft {rules.fixed[name]}; remove it", ()
        elif name in rules.renamed:
            yield name, f"is called `{rules.renamed[name]}` here", ()
        elif name not in rules.params:
            hint = did_you_mean(name, rules.params)
            yield name, f"unknown parameter of {trainer}{hint}", () if hint else tuple(sorted(rules.params))
        elif complaint := rules.params[name].complaint(value):
            yield name, complaint, ()
        elif unsuited := rules.unsuited and rules.unsuited(name, params):
            yield name, unsuited, ()
    for name, other in rules.aliases:
        if name in params and other in params:
            yield other, f"is another name of `{name}`, which is set too; keep one", ()

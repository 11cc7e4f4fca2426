"""The task types that there are."""

from __future__ import annotations

from collections.abc import Iterable

from updraft.errors import DataError
from updraft.tasks.binary import BINARY
from updraft.tasks.multiclass import MULTICLASS
from updraft.tasks.regression import REGRESSION
from updraft.tasks.task_type import TaskType

DEFAULT = BINARY
"""Of a project that names no task."""
_TASK_TYPES: dict[str, TaskType] = {}


def register(task: TaskType) -> None:
    """Make a task type known. What is registered here at import is known in every process; the spec's allowed values come from it.

    :raises ValueError: when its name is taken.
    """
    if task.name in _TASK_TYPES:
        raise ValueError(f"there is a task type {task.name!r} already")
    _TASK_TYPES[task.name] = task


for _task in (BINARY, MULTICLASS, REGRESSION):
    register(_task)


def task_type(name: str, classes: tuple[str, ...] = ()) -> TaskType:
    """A task type by its name.

    :param classes: of the label, in order, where the task has such a list.
    :raises DataError: when there is none of this name; names those that there are.
    """
    if name not in _TASK_TYPES:
        raise DataError(f"there is no task type {name!r}; there are {', '.join(task_names())}")
    return _TASK_TYPES[name].of_classes(classes)


def task_names() -> tuple[str, ...]:
    """Every name that ``task`` may have."""
    return tuple(_TASK_TYPES)


def metric_names() -> tuple[str, ...]:
    """Every metric of any task type."""
    return _distinct(name for task in _TASK_TYPES.values() for name in task.metric_names)


def loss_names() -> tuple[str, ...]:
    """Every loss of any task type that ``release.metric`` may name."""
    return _distinct(name for task in _TASK_TYPES.values() for name in task.loss_names)


def group_rates() -> dict[str, str]:
    """Every rate of any task type that ``gates.fairness`` may compare groups by, and what its gap tells."""
    return {rate.name: rate.words for task in _TASK_TYPES.values() for rate in task.group_rates}


def figure_names() -> tuple[str, ...]:
    """Everything that one line about a partition may tell, of any task type."""
    return _distinct(name for task in _TASK_TYPES.values() for name in task.figures)


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))

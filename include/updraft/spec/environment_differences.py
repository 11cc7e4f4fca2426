"""What a project has otherwise in one environment than in another, key by key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from updraft.errors import SpecError
from updraft.settings import BASE
from updraft.spec.document import Path_, dotted
from updraft.spec.environments import environments
from updraft.spec.load import load_project
from updraft.spec.part import shown_duration


@dataclass(frozen=True)
class EnvironmentDifference:
    """A key whose values differ."""

    key: str
    """Dotted, such as ``training.compute.memory``."""
    values: tuple[Any, Any]
    """Of the one environment and of the other, JSON-able, durations as a person writes them; None where it is null or not set."""


def environment_differences(folder: Path, one: str, other: str) -> list[EnvironmentDifference]:
    """What differs between what holds for a project in two environments, in the order of the keys.

    :param folder: the project's.
    :param one: an environment that the project has a file of, or ``base``: ``project.yaml`` alone.
    :raises SpecError: when there is no such environment, naming those that there are.
    :raises SpecProblems: when what holds in one of them is broken.
    """
    there = environments(folder)
    for name in (one, other):
        if name != BASE and name not in there:
            raise SpecError(f"{folder.name} has no environment {name!r}; there are {', '.join((BASE, *there))}")
    values, others = (_plain(load_project(folder, None if name == BASE else name).spec) for name in (one, other))
    return list(_differing(values, others, ()))


def _plain(value: Any) -> Any:
    """A value of a spec as JSON has it."""
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, timedelta):
        return shown_duration(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _differing(one: Any, other: Any, path: Path_) -> Iterator[EnvironmentDifference]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            yield from _differing(one.get(key), other.get(key), (*path, key))
    elif one != other:
        yield EnvironmentDifference(dotted(path), (one, other))

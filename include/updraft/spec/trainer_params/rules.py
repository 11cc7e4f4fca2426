"""What a parameter may be, and what a trainer takes: names, types, ranges and defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from updraft.tasks.task_type import TaskType

Value = bool | int | float | str
_LARGEST = 2**31 - 1
"""The libraries count in 32 bits."""


@dataclass(frozen=True)
class Param:
    """One parameter: a whole number, a number, true or false, or one of some words."""

    default: Value | None = None
    """What counts when it is not set; None leaves it to the library."""
    whole: bool = False
    flag: bool = False
    low: float | None = None
    above: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()

    def complaint(self, value: Value) -> str | None:
        """What is wrong with a value, or None."""
        if self.words:
            return None if value in self.words else f"must be one of {', '.join(self.words)}"
        if self.flag:
            return None if isinstance(value, bool) else "must be true or false"
        kind = "a whole number" if self.whole else "a number"
        if isinstance(value, bool) or not isinstance(
            value, int if self.whole else int | float
        ):  # a form may hold anything
            return f"must be {self._range(kind)}"
        if not abs(value) <= _LARGEST:  # nor is it not a number
            return f"must be {self._range(kind)}, and no more than {_LARGEST}"
        low = self.low is not None and value < self.low
        high = self.high is not None and value > self.high
        if low or high or (self.above is not None and value <= self.above):
            return f"must be {self._range(kind)}"
        return None

    def _range(self, kind: str) -> str:
        if self.above is not None:
            return f"{kind} above {self.above:g}" + (f" and at most {self.high:g}" if self.high is not None else "")
        if self.low is not None and self.high is not None:
            return f"{kind} between {self.low:g} and {self.high:g}"
        return f"{kind} of at least {self.low:g}" if self.low is not None else kind


FRACTION = Param(above=0, high=1)
AT_LEAST_0 = Param(low=0)
FROM_SPEC = {
    "seed": "from `training.seed`",
    "random_state": "from `training.seed`",
    "n_jobs": "from `training.compute.threads`",
    "device": "from what the machine has, or `training.compute`",
}
STOPPING = {
    "early_stopping_rounds": "early_stopping",
    "early_stopping_round": "early_stopping",
    "patience": "early_stopping",
}


@dataclass(frozen=True)
class Rules:
    """What one trainer takes."""

    params: Mapping[str, Param]
    """Among them `rounds` and `early_stopping`, with defaults: the most rounds of a phase, and those without a gain after which it stops."""
    fixed: Mapping[str, str]
    """Parameters of the library that Updraft sets, and from what."""
    renamed: Mapping[str, str]
    """What other tools call a parameter, and its name here."""
    aliases: tuple[tuple[str, str], ...] = ()
    """Two names of one parameter."""
    gpu: bool = False
    """Whether it learns on a GPU where there is one."""
    workers: bool = False
    """Whether several processes can learn one model."""
    unsuited: Callable[[str, Mapping[str, Value]], str | None] | None = None
    """(parameter, all that are set) -> why it says nothing beside the others, or None."""
    learns: Callable[[Mapping[str, Value], TaskType], str | None] | None = None
    """(all that are set, task) -> why the task is not learnt so, or None."""

    def value(self, params: Mapping[str, Value], name: str) -> Value:
        """A parameter that has a default, as set or by that default.

        :raises KeyError: when it has none.
        """
        default = self.params[name].default
        if default is None:
            raise KeyError(name)
        return params.get(name, default)

    @property
    def own(self) -> frozenset[str]:
        """The parameters with a default of ours."""
        return frozenset(name for name, param in self.params.items() if param.default is not None)

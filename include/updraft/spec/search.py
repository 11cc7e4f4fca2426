"""``training.search``: which parameters to try, how many times, and what a space must be to be searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from updraft.spec.part import Duration, Part
from updraft.spec.trainers import TRAINERS, Param, TrainerName, Value, complaints

Number = int | float


class Span(Part):
    """The values of one number: all between two, or those of an even step."""

    at_least: Number
    at_most: Number
    step: Number | None = Field(default=None, description="only at_least, at_least + step, …")
    log: bool = Field(default=False, description="as many tries between 0.01 and 0.1 as between 0.1 and 1")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.at_least >= self.at_most:
            raise ValueError(f"at_least ({self.at_least}) must be below at_most ({self.at_most})")
        if self.log and self.at_least <= 0:
            raise ValueError(f"log needs at_least above 0, not {self.at_least}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other; keep one")
        if self.step is not None and not 0 < self.step <= self.at_most - self.at_least:
            raise ValueError(f"step ({self.step}) must be above 0 and fit between at_least and at_most")
        return self

    def holds(self, value: Value) -> bool:
        """Whether a value is one of those that may be tried."""
        if isinstance(value, bool | str) or not self.at_least <= value <= self.at_most:
            return False
        steps = 0.0 if self.step is None else (value - self.at_least) / self.step
        return abs(steps - round(steps)) < 1e-9


def _shaped(value: object) -> object:
    """A span or a list; said here, as pydantic tells of a union what each of its members would have wanted."""
    if isinstance(value, dict):
        unknown = [key for key in value if key not in Span.model_fields]
        numbers = [value.get(key) for key in ("at_least", "at_most")]
        if not unknown and all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            return value
    elif isinstance(value, tuple | list | Span):
        return value
    raise ValueError("write {at_least: 1, at_most: 10}, with `log: true` or `step: 2` if you like, or a list of values")


Choice = tuple[Value, ...]
Tried = Annotated[Span | Choice, BeforeValidator(_shaped, json_schema_input_type=Span | Choice)]
Space = dict[str, Tried]


class Search(Part):
    """A search for better parameters. It runs when a person asks for it, as ``<project>.search``."""

    trials: int = Field(default=20, ge=2, le=500, description="trainings, the one with today's parameters included")
    parallel: int = Field(
        default=1, ge=1, le=64, description="trials at once; part of the search: each learns from those that had ended"
    )
    prune: bool = Field(default=True, description="stop a trial that is worse than the median of those before it")
    seed: int | None = Field(default=None, ge=0, description="training.seed when left out")
    timeout: Duration | None = Field(default=None, description="no trial starts after it")
    trainer: TrainerName | None = Field(default=None, description="one of training.trainers; the first when left out")
    space: Annotated[Space, Field(min_length=1)] = Field(
        description="by parameter: {at_least, at_most} with log or step, or a list of values"
    )


Complaint = tuple[tuple[str, ...], str, object, tuple[str, ...]]
"""Keys below ``space``, what is wrong, the value, and what is allowed."""


def space_complaints(trainer: str, params: Mapping[str, Value], space: Space) -> Iterator[Complaint]:
    """What is wrong with a space for a trainer that is set up with these parameters."""
    rules = TRAINERS[trainer]
    for name, tried in space.items():
        known = rules.params.get(name)
        if known is None:
            for _, message, allowed in complaints(trainer, {name: 0}):
                yield (name,), message, None, allowed
        elif unsuited := rules.unsuited and rules.unsuited(name, params):
            yield (name,), unsuited, None, ()
        elif isinstance(tried, Span):
            yield from _of_span(name, known, tried)
        else:
            yield from _of_choice(name, known, tried)
    for alias, other in rules.aliases:
        for name, twin in ((alias, other), (other, alias)):
            if name in space and twin in params:
                yield (
                    (name,),
                    f"is another name of `{twin}`, which the trainer's params set; call it `{twin}`",
                    None,
                    (),
                )
        if alias in space and other in space:
            yield (other,), f"is another name of `{alias}`, which is searched too; keep one", None, ()


def _of_span(name: str, known: Param, span: Span) -> Iterator[Complaint]:
    if known.words or known.flag:
        listed = known.words or ("true", "false")
        yield (name,), f"is no number; list its values: [{', '.join(listed)}]", None, ()
        return
    for key in ("at_least", "at_most"):
        if complaint := known.complaint(getattr(span, key)):
            yield (name, key), complaint, getattr(span, key), ()
    if known.whole and isinstance(span.step, float):
        yield (name, "step"), "must be a whole number, as the parameter is", span.step, ()


def _of_choice(name: str, known: Param, values: Choice) -> Iterator[Complaint]:
    if len({(type(value), value) for value in values}) < 2:
        yield (
            (name,),
            "needs two different values; what is always the same belongs into the trainer's params",
            values,
            (),
        )
    for value in dict.fromkeys(values):
        if complaint := known.complaint(value):
            yield (name,), complaint, value, known.words

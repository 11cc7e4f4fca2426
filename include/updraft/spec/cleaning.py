"""``data.clean``: what is done to the cells of a column, step by step, before the contract sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from updraft.spec.part import Part
from updraft.spec.problems import did_you_mean

Value = bool | int | float | str
Kind = Literal["text", "number", "integer", "time"]
WORDS = ("trim", "lower", "upper")
KEYS = ("map", "clip", "fill", "parse")
_ALLOWED = "trim, lower, upper, {map: {from: to}}, {clip: [low, high]}, {fill: value, flag: true}, {parse: number}"


class Mapped(Part):
    """Some texts become others, or missing."""

    map: dict[str, str | None] = Field(min_length=1, description="text → text, or null for a missing value")


class Clipped(Part):
    """Numbers are moved into a range."""

    clip: tuple[int | float, int | float] = Field(description="the lowest and the highest number")


class Filled(Part):
    """What is missing becomes a value."""

    fill: Value = Field(description="of the column's type")
    flag: bool = Field(default=False, description="whether a column <column>_filled says which cells were missing")


class Parsed(Part):
    """A text is read as something else; one that cannot be breaks the contract."""

    parse: Literal["number", "integer", "date", "time"]
    format: str | None = Field(default=None, description="of a date or a time that is not ISO 8601, as for strptime")


_PARTS: dict[str, type[Part]] = {"map": Mapped, "clip": Clipped, "fill": Filled, "parse": Parsed}


def _step(value: object) -> object:
    """A step as it is written; said here, as pydantic tells of a union what each of its members would have wanted."""
    if isinstance(value, str | Part):
        if isinstance(value, str) and value not in WORDS:
            raise ValueError(f"is no step{did_you_mean(value, (*WORDS, *KEYS))}; there are {_ALLOWED}")
        return value
    if not isinstance(value, dict):
        raise ValueError(f"write a step as one of {_ALLOWED}")
    names = [key for key in KEYS if key in value]
    if len(names) != 1:
        hint = did_you_mean(str(next(iter(value), "")), KEYS) if not names else ""
        raise ValueError(f"is no step{hint}; there are {_ALLOWED}")
    part = _PARTS[names[0]]
    further = {key: known for key, known in value.items() if key not in part.model_fields}
    if further:
        raise ValueError(
            f"{names[0]} takes no {', '.join(map(str, further))}; its keys are {', '.join(part.model_fields)}"
        )
    _check(names[0], value)
    return part.model_validate(value)


def _check(name: str, value: dict[Any, Any]) -> None:
    given, flag, written = value[name], value.get("flag", False), value.get("format")
    if name == "map":
        texts = isinstance(given, dict) and all(isinstance(text, str) for text in given)
        if not texts or not given or not all(isinstance(text, str | None) for text in given.values()):
            raise ValueError(
                "map takes texts and what each becomes, a text or null: {map: {N/A: null, Web: web}}; put numbers in quotes"
            )
    elif name == "clip":
        pair = isinstance(given, tuple | list) and len(given) == 2
        numbers = pair and all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in given)
        if not numbers or not given[0] <= given[1]:
            raise ValueError("clip takes the lowest and the highest number: {clip: [0, 10]}")
    elif name == "fill":
        if not isinstance(given, bool | int | float | str):
            raise ValueError("fill takes a number, a text, true or false: {fill: 0}")
        if not isinstance(flag, bool):
            raise ValueError("flag is true or false: {fill: 0, flag: true}")
    elif given not in ("number", "integer", "date", "time"):
        raise ValueError(f"parse takes number, integer, date or time, not {given}")
    elif written is not None and (given not in ("date", "time") or not isinstance(written, str) or "%" not in written):
        raise ValueError(
            "format says how a date or a time is written, as for strptime: {parse: date, format: '%d/%m/%Y'}"
        )


Step = Annotated[
    Literal["trim", "lower", "upper"] | Mapped | Clipped | Filled | Parsed,
    BeforeValidator(
        _step, json_schema_input_type=Literal["trim", "lower", "upper"] | Mapped | Clipped | Filled | Parsed
    ),
]
Steps = Annotated[tuple[Step, ...], Field(min_length=1)]


def shown(step: Step) -> str:
    """A step in a word or two, as it is counted."""
    if isinstance(step, str):
        return step
    if isinstance(step, Clipped):
        return f"clip [{step.clip[0]:g}, {step.clip[1]:g}]"
    if isinstance(step, Filled):
        return f"fill {step.fill}"
    return f"parse {step.parse}" if isinstance(step, Parsed) else "map"


def reads_text(steps: Sequence[Step]) -> bool:
    """Whether the cells are needed as they are written: the first step that asks for a type asks for texts."""
    for step in steps:
        if isinstance(step, str | Mapped | Parsed):
            return True
        if isinstance(step, Clipped):
            return False
    return False


def kind_after(steps: Sequence[Step]) -> Kind | None:
    """What a column is after its steps; None where that is for its file to say."""
    kind: Kind | None = "text" if reads_text(steps) else None
    for step in steps:
        if isinstance(step, Parsed):
            kind = "time" if step.parse in ("date", "time") else "integer" if step.parse == "integer" else "number"
        elif isinstance(step, Clipped) and kind is None:
            kind = "number"
    return kind


def complaints(steps: Sequence[Step]) -> Iterator[tuple[int, str]]:
    """Position of a step, and why it does not fit what comes before it."""
    for position, step in enumerate(steps):
        before = kind_after(steps[:position]) or ("text" if reads_text(steps) else None)
        if isinstance(step, str | Mapped | Parsed) and before not in (None, "text"):
            yield (
                position,
                f"{shown(step)} takes texts, and what comes before it leaves {_article(before)}; put it first",
            )
        elif isinstance(step, Clipped) and before in ("text", "time"):
            yield (
                position,
                f"clip takes numbers, and what comes before it leaves {_article(before)}; put {{parse: number}} before it",
            )
        elif isinstance(step, Filled) and before is not None and not _suits(step.fill, before):
            yield position, f"fill {step.fill!r} is no value of a column that is {_article(before)} there"


def _suits(value: Value, kind: Kind) -> bool:
    if kind == "text":
        return isinstance(value, str)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return kind == "number" and isinstance(value, int | float) and not isinstance(value, bool)


def _article(kind: Kind | None) -> str:
    return {"text": "texts", "number": "numbers", "integer": "whole numbers", "time": "times"}[kind or "text"]

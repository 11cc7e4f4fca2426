"""``data`` in project.yaml: where the rows come from, what names them, and what is to be predicted."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from updraft.spec.cleaning import Steps
from updraft.spec.part import Column, Duration, Fraction, Name, Part
from updraft.spec.source import Source

FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)
"""Beyond them a schedule's ticks run out of the calendar of Python or of pandas."""


def _day(value: object) -> object:
    """A date and nothing else: read leniently, 20130101 would be the 233rd day after 1970 began."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        try:
            value = date.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"there is no such day ({error}); write a date as 2013-01-31") from None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("write a date as 2013-01-31")
    if not FIRST_DAY <= value <= LAST_DAY:
        raise ValueError(f"must lie between {FIRST_DAY} and {LAST_DAY}")
    return value


Day = Annotated[date, BeforeValidator(_day, json_schema_input_type=date)]


def _class_name(value: object) -> object:
    """Numbers are names too; what YAML reads as true or false is none, as ``yes`` and ``no`` were other words before."""
    if isinstance(value, bool):
        raise ValueError('is true or false; write the class in quotes, such as "yes"')
    if isinstance(value, int | float):
        value = str(int(value)) if float(value).is_integer() else str(value)
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > LONGEST_CLASS:
        raise ValueError(f"write a class as a number, or as a text of at most {LONGEST_CLASS} printable characters")
    return value


LONGEST_CLASS = 100
"""Characters of the name of a class."""
ClassName = Annotated[str, BeforeValidator(_class_name, json_schema_input_type=str | int | float)]


class Label(Part):
    expr: str = Field(
        description="SQL expression (DuckDB) over the row source; true/false or a number, or one of the classes where they are named"
    )
    classes: tuple[ClassName, ...] = Field(
        default=(),
        description="what the label may be, where the task has a list of classes; its order is that of a model's scores, and stays",
        exclude_if=lambda classes: not classes,
    )
    missing: Literal["exclude", "zero"] = "exclude"
    matures_after: Duration = timedelta(days=1)


class Data(Part):
    schedule: str = Field(description="cron, UTC; the tick closes the partition [previous tick, tick)")
    start: Day
    end: Day | None = None
    sources: dict[Name, Source] = Field(min_length=1)
    key: tuple[Column, ...] = Field(min_length=1, description="columns that name a row")
    label: Label
    outcomes: tuple[Column, ...] = Field(
        default=(), description="columns that are not known at prediction time; features never see them"
    )
    not_leaks: tuple[Column, ...] = Field(
        default=(),
        description="columns or features that tell the label as a leak does and are known at prediction time all the same",
        exclude_if=lambda columns: not columns,
    )
    private: tuple[Column, ...] = Field(
        default=(), description="columns that become keyed pseudonyms before anything is published"
    )
    clean: dict[Column, Steps] = Field(
        default_factory=dict,
        description="by column, what is done to its cells before the contract, in training and scoring alike: trim, lower, upper, "
        "{map: {from: to}}, {clip: [low, high]}, {fill: value, flag: true}, {parse: number}",
        exclude_if=lambda clean: not clean,
    )
    refuse_above: Fraction = Field(
        default=0.05, description="share of rows in breach of the contract beyond which the partition is refused"
    )

"""``monitoring.figures`` in project.yaml: what a partition was worth, as one number of its scored rows, and the limits of that number."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from updraft.spec.document import Document, Path_
from updraft.spec.label import Expression, Purpose, read_expression
from updraft.spec.part import Part
from updraft.spec.validation import at

PUBLISHED, SCORED = "published", "scored"
"""The tables of an expression: the published rows, and how they were scored. A name that both have needs its table before it."""
SCORE, LABEL, PREDICTED = "score", "label", "predicted"
"""Columns of SCORED. PREDICTED is there where the label has classes."""
_PURPOSE = Purpose(
    columns="a figure is made of columns, by name",
    several="a partition has one number for a figure",
    tables=frozenset({PUBLISHED, SCORED}),
)
MOST = 30
"""Figures of a project."""


class Figure(Part):
    """A number of a partition, and the limits beyond which on-call is told."""

    expr: str = Field(
        min_length=1,
        description="SQL expression (DuckDB) with aggregates over the partition's scored rows whose labels are known: columns of the published "
        "rows, `score`, `label`, and with classes `predicted`",
    )
    at_least: float | None = Field(default=None, description="on-call is told of a partition whose figure is below")
    at_most: float | None = Field(default=None, description="on-call is told of a partition whose figure is above")

    @model_validator(mode="after")
    def _ordered(self) -> Figure:
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least ({self.at_least:g}) is above at_most ({self.at_most:g})")
        return self


def _of_text(value: object) -> object:
    return Figure(expr=value) if isinstance(value, str) and value else value


FigureOrText = Annotated[
    Figure, BeforeValidator(_of_text, json_schema_input_type=Annotated[str, Field(min_length=1)] | Figure)
]
"""A figure; one without limits may be written as its expression alone."""


def read_figure(expr: str) -> Expression:
    """Parse the expression of a figure. Never raises for what is in it, runs nothing of it, and reads no file."""
    return read_expression(expr, _PURPOSE)


def path_of(document: Document, figure: str) -> Path_:
    """The key of project.yaml that holds the expression of a figure, in whichever form it is written."""
    path: Path_ = ("monitoring", "figures", figure)
    return (*path, "expr") if isinstance(at(document.data, path), dict) else path

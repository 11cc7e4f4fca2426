"""``gates.fairness`` in project.yaml: between which groups a model is to make no more difference than is allowed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from updraft.spec.part import Column, Fraction, Part
from updraft.tasks.clusters import FEWEST_CLUSTERS
from updraft.tasks.names import GroupRateName
from updraft.tasks.registry import group_rates


def _fraction_or_champion(value: object) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "champion" or (number and 0 <= float(value) <= 1):  # type: ignore[arg-type]
        return value
    raise ValueError("must be `champion`, or the largest gap that is allowed, a number between 0 and 1")


class Fairness(Part):
    """Groups by column, the rates that are compared between them, and how far these may lie apart."""

    by: tuple[Column, ...] = Field(
        min_length=1,
        description="columns of the published rows whose values are the groups, such as `sex`; none need be a feature",
    )
    metrics: tuple[GroupRateName, ...] = Field(
        min_length=1,
        description="rates that are compared between groups: "
        + ", ".join(f"`{name}` ({words})" for name, words in group_rates().items()),
    )
    no_worse_than: Annotated[
        Literal["champion"] | float,
        BeforeValidator(_fraction_or_champion, json_schema_input_type=Literal["champion"] | Fraction),
    ] = Field(
        default="champion",
        description="the largest gap between two groups that is allowed, or `champion`: no larger than the champion's on the same rows. A version is "
        "refused when its gap is shown to be larger",
    )
    threshold: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="the score from which a row counts as selected, as whoever uses the scores decides",
    )
    min_clusters: int = Field(
        default=FEWEST_CLUSTERS,
        ge=FEWEST_CLUSTERS,
        description="a group with fewer clusters is reported and decides nothing",
    )
    min_rows: int = Field(
        default=200,
        ge=1,
        description="a group with fewer rows that a rate is made of (such as rows of label 1) is reported and decides nothing",
    )

    @model_validator(mode="after")
    def _rates_differ(self) -> Fairness:
        if twice := next((name for name in self.metrics if self.metrics.count(name) > 1), None):
            raise ValueError(f"metrics names {twice} twice")
        return self

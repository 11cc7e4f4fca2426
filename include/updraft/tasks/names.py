"""The names that files may use, as types: pydantic validates them, and the JSON Schema of project.yaml lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from updraft.tasks.registry import group_rates, loss_names, metric_names, task_names

if TYPE_CHECKING:
    TaskName = str
    MetricName = str
    LossName = str
    GroupRateName = str
else:  # of the registry as it is when this module is imported
    TaskName = Literal[task_names()]
    MetricName = Literal[metric_names()]
    LossName = Literal[loss_names()]
    GroupRateName = Literal[tuple(group_rates())]

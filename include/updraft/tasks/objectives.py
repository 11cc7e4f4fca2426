"""What the trainers are told about a task type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LabelKind = Literal["classes", "numbers"]
"""What a label is to an estimator of scikit-learn: positions in a list of classes, or numbers."""

Start = float | list[float]
"""Where learning starts: see :meth:`updraft.tasks.task_type.TaskType.start`."""


@dataclass(frozen=True)
class XgboostObjective:
    """XGBoost's parameters that the task settles. Its margin is what :meth:`TaskType.link` takes."""

    objective: str
    eval_metric: str
    """Early stopping looks at it; its value must be the task's headline metric."""
    params: Mapping[str, int | float | str] = field(default_factory=dict)
    """Further ones, such as ``num_class``."""


@dataclass(frozen=True)
class LightgbmObjective:
    """The same for LightGBM, whose raw score is what :meth:`TaskType.link` takes."""

    objective: str
    metric: str
    """As XGBoost's ``eval_metric``."""
    params: Mapping[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class TorchObjective:
    """What the torch trainer minimises. Torch is handed in, as it is imported by whoever trains."""

    loss: Callable[[Any, Any, Any], Any]
    """(``torch.nn.functional``, output in float32, label in float32) -> the loss summed over the rows of a batch."""
    first_bias: Callable[[Any, Start], Any]
    """(``torch``, the start of :meth:`TaskType.start`) -> float32 tensor of the output's first bias: shape (1,), or (classes,)."""
    standardises_label: bool
    """Whether the label is learnt less its mean and over its standard deviation."""

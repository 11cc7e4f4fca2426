"""``project.yaml`` as frozen typed data: the whole policy of one model."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from updraft.spec.cluster_defaults import (
    AT_LEAST,
    AT_MOST,
    COOLDOWN,
    EVERY,
    FIRST_AFTER,
    HOLDOUT,
    LAYER_WINDOW,
    PER_YEAR,
    PROBATION,
    WINDOW,
    with_defaults,
)
from updraft.spec.compute import Compute
from updraft.spec.data import Data
from updraft.spec.fairness import Fairness
from updraft.spec.figure import MOST, FigureOrText
from updraft.spec.part import Column, Duration, Name, Part, Tag
from updraft.spec.search import Search
from updraft.spec.trainers import TrainerName
from updraft.tasks.clusters import FEWEST_CLUSTERS
from updraft.tasks.metrics import MeanLoss
from updraft.tasks.names import LossName, MetricName, TaskName
from updraft.tasks.registry import DEFAULT, metric_names, task_names, task_type
from updraft.tasks.task_type import TaskType

_LONGER = "more unless said otherwise where partitions hold few clusters"


class Trainer(Part):
    name: TrainerName
    params: dict[str, bool | int | float | str] = Field(default_factory=dict)


class Training(Part):
    window: int = Field(default=WINDOW, ge=2, description="partitions")
    first_after: int = Field(default=FIRST_AFTER, ge=3, description=f"partitions before the first model; {_LONGER}")
    trainers: tuple[Trainer, ...] = Field(default=(Trainer(name="xgboost"),), min_length=1)
    compute: Compute = Compute()
    search: Search | None = None
    seed: int = 1

    @model_validator(mode="after")
    def _names_differ(self) -> Training:
        names = [trainer.name for trainer in self.trainers]
        if len(set(names)) != len(names):
            raise ValueError("a trainer is named twice")
        return self


class Limit(Part):
    no_worse_than_champion_by: float = Field(ge=0)


class SliceGate(Limit):
    by: tuple[Column, ...] = Field(min_length=1)
    min_clusters: int = Field(
        default=FEWEST_CLUSTERS,
        ge=2,
        description=f"a slice with fewer clusters is reported and does not gate, nor does one with fewer than {FEWEST_CLUSTERS}",
    )
    min_rows: int = Field(default=200, ge=1)


if TYPE_CHECKING:
    _MetricLimits = Part
else:  # a key for each metric of any task type
    _MetricLimits = create_model("_MetricLimits", __base__=Part, **dict.fromkeys(metric_names(), (Limit | None, None)))


class Gates(_MetricLimits):
    slices: SliceGate | None = None
    fairness: Fairness | None = Field(
        default=None,
        description="rates of groups, such as by sex, that a new model must not be shown to treat further apart than is allowed",
        exclude_if=lambda fairness: fairness is None,
    )

    @property
    def metrics(self) -> dict[str, Limit]:
        """The limits on whole-partition metrics that are set."""
        limits = {name: getattr(self, name) for name in metric_names()}
        return {name: limit for name, limit in limits.items() if limit is not None}


class RefreshLane(Part):
    holdout: int = Field(
        default=HOLDOUT,
        ge=1,
        description=f"partitions at the window's end that a refresh is proved on; {_LONGER}",
    )
    shadow: int = Field(default=0, ge=0)
    probation: int = Field(default=PROBATION, ge=0, description=f"partitions at least; {_LONGER}")
    probation_at_most: int = Field(
        default=AT_MOST,
        ge=0,
        description="partitions after which a refresh that could not be judged is kept, and a person is told; unless said otherwise as long as a "
        f"change's shadow may last; {_LONGER}",
    )

    @property
    def longest_probation(self) -> int:
        """Partitions after which a probation ends, judged or not."""
        return max(self.probation, self.probation_at_most) if self.probation else 0

    @model_validator(mode="after")
    def _ordered(self) -> RefreshLane:
        if "probation_at_most" in self.model_fields_set and self.probation_at_most < self.probation:
            raise ValueError(f"probation ({self.probation}) is above probation_at_most ({self.probation_at_most})")
        return self


class ShadowSpan(Part):
    at_least: int = Field(default=AT_LEAST, ge=1, description=f"partitions; {_LONGER}")
    at_most: int = Field(default=AT_MOST, ge=1, description=f"partitions; {_LONGER}")

    @model_validator(mode="after")
    def _ordered(self) -> ShadowSpan:
        if self.at_least > self.at_most:
            raise ValueError(f"at_least ({self.at_least}) is above at_most ({self.at_most})")
        return self


class ChangeLane(Part):
    shadow: ShadowSpan = ShadowSpan()
    approval: Literal["required", "none"] = "required"
    approval_timeout: Duration = timedelta(days=7)


class Release(Part):
    metric: LossName = Field(
        default=DEFAULT.default_loss.name,
        description="the loss that decides; unless said otherwise "
        + ", ".join(f"{task_type(name).default_loss.name} for {name}" for name in task_names()),
    )
    margin: float = Field(default=0.0, ge=0, description="the loss a new model may cost at most; 0 asks for a gain")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    cluster: str = Field(
        default="day",
        description="unit of evidence: `day`, `week` (ISO 8601, from Monday, UTC), `hour`, or a column; unless said otherwise "
        "`hour` where partitions are shorter than a day",
    )
    refresh: RefreshLane = RefreshLane()
    change: ChangeLane = ChangeLane()
    sensitive: bool = False


class FalseAlarms(Part):
    """How many false drift alarms a stable year may bring."""

    count: float = Field(gt=0)
    per: Literal["month", "quarter", "year"]


class Persistence(Part):
    """An alarm needs ``hits`` of the last ``of`` partitions above the threshold."""

    hits: int = Field(ge=1)
    of: int = Field(ge=1)

    @model_validator(mode="after")
    def _possible(self) -> Persistence:
        if self.hits > self.of:
            raise ValueError(f"{self.hits} of {self.of} can never happen")
        return self


def _false_alarms(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s+per\s+(month|quarter|year)", value.strip())
        if not match:
            raise ValueError('write it as "1 per quarter" (a number, then per month, quarter or year)')
        return FalseAlarms(count=float(match[1]), per=match[2])  # type: ignore[arg-type]
    return value


def _persistence(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)\s+of\s+(\d+)", value.strip())
        if not match:
            raise ValueError('write it as "2 of 3"')
        return Persistence(hits=int(match[1]), of=int(match[2]))
    return value


_FalseAlarmsText = Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s+per\s+(month|quarter|year)$")]
_PersistenceText = Annotated[str, Field(pattern=r"^\d+\s+of\s+\d+$")]


class Drift(Part):
    false_alarms: Annotated[
        FalseAlarms, BeforeValidator(_false_alarms, json_schema_input_type=_FalseAlarmsText | FalseAlarms)
    ] = FalseAlarms(count=1, per="quarter")
    persist: Annotated[
        Persistence, BeforeValidator(_persistence, json_schema_input_type=_PersistenceText | Persistence)
    ] = Persistence(hits=2, of=3)


class Recalibrate(Part):
    every: int = Field(default=1, ge=1, description="partitions")
    window: int = Field(
        default=LAYER_WINDOW, ge=1, description=f"matured partitions that the layer is fitted on; {_LONGER}"
    )


class FixedLimit(Part):
    """A fixed limit on a metric of the last matured partition."""

    metric: MetricName
    side: Literal["below", "above"]
    value: float


def _limit(item: object) -> object:
    """``{auc: below 0.60}`` -> the limit spelt out."""
    if not isinstance(item, dict) or set(item) == {"metric", "side", "value"}:
        return item
    if len(item) == 1:
        [(metric, text)] = item.items()
        match = re.fullmatch(r"(below|above)\s+(-?\d+(?:\.\d+)?)", str(text).strip())
        if match:
            return {"metric": metric, "side": match[1], "value": float(match[2])}
    raise ValueError("write a fixed limit as {auc: below 0.60}")


_LimitText = Annotated[
    dict[MetricName, Annotated[str, Field(pattern=r"^(below|above)\s+-?\d+(\.\d+)?$")]],
    Field(min_length=1, max_length=1),
]
Trigger = Annotated[
    Literal["performance", "jump", "drift"] | FixedLimit,
    BeforeValidator(_limit, json_schema_input_type=Literal["performance", "jump", "drift"] | _LimitText | FixedLimit),
]


class TrainingRate(Part):
    """At most so many trainings in any so many partitions."""

    trainings: int = Field(ge=1, le=10_000, strict=True)
    of: int = Field(ge=1, le=10_000, strict=True)

    @model_validator(mode="after")
    def _bounds_something(self) -> TrainingRate:
        if self.trainings >= self.of:
            raise ValueError(f"{self.trainings} of {self.of} forbids nothing; leave at_most out")
        return self

    def __str__(self) -> str:
        return f"{self.trainings} of {self.of}"


def _rate(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)\s+of\s+(\d+)", value.strip())
        if not match:
            raise ValueError('write it as "7 of 28" (trainings, then partitions)')
        return TrainingRate(trainings=int(match[1]), of=int(match[2]))
    if value is not None and not isinstance(value, dict | TrainingRate):
        raise ValueError('write it as "7 of 28" (trainings, then partitions)')
    return value


class Retrain(Part):
    every: int | None = Field(
        default=EVERY, ge=1, description="partitions since the last training; null trains only on triggers"
    )
    on: tuple[Trigger, ...] = Field(
        default=("performance", "jump"),
        description="performance: a refit would have gained; jump: the loss leaves its range; drift: the data do; or a fixed limit",
    )
    cooldown: int = Field(
        default=COOLDOWN, ge=0, description="partitions after a training in which no other one starts"
    )
    per_year: int = Field(default=PER_YEAR, ge=1, description="budget of trainings in any year")
    at_most: Annotated[
        TrainingRate | None, BeforeValidator(_rate, json_schema_input_type=_PersistenceText | TrainingRate | None)
    ] = Field(
        default=None,
        description='"7 of 28": trainings in any so many partitions, so that a budget of a year is not spent in a month',
        exclude_if=lambda rate: rate is None,
    )


class Remedies(Part):
    recalibrate: Recalibrate | None = Recalibrate()
    retrain: Retrain | None = Retrain()


class Monitoring(Part):
    drift: Drift = Drift()
    remedies: Remedies = Remedies()
    report_rows: int = Field(default=10_000, ge=100, description="rows of the Evidently sample")
    figures: dict[Name, FigureOrText] = Field(
        default_factory=dict,
        max_length=MOST,
        description="business figures by name, each computed once for a partition, when all its labels are known",
        exclude_if=lambda figures: not figures,
    )


AlertKind = Literal["failure", "quarantine", "drift", "verdict", "approval", "rollback"]


MENTION = r"^@?(here|channel|everyone|[SUW][A-Z0-9]{5,})$"


class Slack(Part):
    channel: str = Field(pattern=r"^[#@]?[\w.-]+$", max_length=80)
    on: tuple[AlertKind, ...] = ("failure", "quarantine", "drift", "verdict", "approval", "rollback")
    mention: Annotated[str, Field(pattern=MENTION)] | None = Field(
        default=None,
        description="whom an alert calls: a Slack member (U012AB3CD), a group (S012AB3CD), `here` or `channel`",
    )


OVERDUE = 3
"""Times `monitoring.remedies.retrain.every` that may pass without a training: twice late is chance or a cooldown, thrice is silence."""


class Alerts(Part):
    slack: Slack | None = None
    routine: Literal["digest", "post", "drop"] = Field(
        default="digest",
        description="what becomes of alerts that need nobody and change nothing that serves: one message a week (digest), each at once "
        "(post), or nothing (drop); all of them stand in `updraft status`",
    )
    training_older_than: int | None = Field(
        default=None,
        ge=1,
        description="partitions without a training after which on-call is told what holds it back; unless said otherwise "
        f"{OVERDUE} times monitoring.remedies.retrain.every (or its cooldown, if longer), and never where the policy trains on no schedule",
    )


class KeyRotation(Part):
    both_for: Duration = Field(
        default=timedelta(days=90),
        description="how long after a rotation of the pseudonym key the old key is kept too, by partitions; at least data.label.matures_after",
    )


class Privacy(Part):
    rotation: KeyRotation = KeyRotation()


class ProjectSpec(Part):
    """One model and its policy."""

    name: Name
    owner: str = Field(min_length=1)
    description: str = ""
    tags: tuple[Tag, ...] = Field(
        default=(), description="words to find the project by, in Updraft's pages and in Airflow"
    )
    task: TaskName = DEFAULT.name
    data: Data
    training: Training = Training()
    gates: Gates = Gates()
    release: Release = Release()
    monitoring: Monitoring = Monitoring()
    alerts: Alerts = Alerts()
    privacy: Privacy = Field(default=Privacy(), exclude_if=lambda privacy: privacy == Privacy())

    @model_validator(mode="before")
    @classmethod
    def _loss_of_the_task(cls, value: Any) -> Any:
        """A project that names no loss is decided by the default one of its task."""
        task = value.get("task") if isinstance(value, dict) else None
        if task in task_names() and task != DEFAULT.name:
            release = value.get("release", {})
            if isinstance(release, dict) and "metric" not in release:
                return {**value, "release": {**release, "metric": task_type(task).default_loss.name}}
        return value

    @model_validator(mode="before")
    @classmethod
    def _evidence_of_the_schedule(cls, value: Any) -> Any:
        """What is left unsaid about evidence follows from how long a partition is."""
        return with_defaults(value) if isinstance(value, dict) else value

    @property
    def training_due_within(self) -> int | None:
        """Partitions that may pass without a training before on-call is told; None where the policy expects none."""
        retrain = self.monitoring.remedies.retrain
        if self.alerts.training_older_than is not None:
            return self.alerts.training_older_than
        return None if retrain is None or retrain.every is None else OVERDUE * max(retrain.every, retrain.cooldown)

    @property
    def task_type(self) -> TaskType:
        """What the project's task means."""
        return task_type(self.task, self.data.label.classes)

    @property
    def loss_metric(self) -> MeanLoss:
        """The metric that the loss of ``release.metric`` is told by, of one partition or many."""
        return self.task_type.metric_of(self.release.metric)


class Project(BaseModel):
    """A spec together with the folder it was read from."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    spec: ProjectSpec
    folder: Path
    environment: str | None = None
    """The environment that it was read for; its file may be missing, and then ``project.yaml`` alone holds."""

    @property
    def name(self) -> str:
        """The project's name."""
        return self.spec.name

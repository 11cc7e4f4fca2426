"""``project.yaml`` as frozen typed data: the whole policy of one model."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from updraft.spec.compute import Compute
from updraft.spec.part import Duration, Part
from updraft.spec.search import Search

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
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Column = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Task = Literal["binary", "multiclass", "regression"]
Metric = Literal["log_loss", "brier", "auc", "rmse", "mae"]


class Source(Part):
    """One table that a partition is made of. The first source of a project is its row source; the others join it."""

    type: Literal["file"]
    url: str = Field(
        description="fsspec URL of a CSV (zip, gz) or Parquet file; package://NAME/PATH reads a file of an "
        "installed package. {key} stands for the partition key"
    )
    event_time: str | None = Field(
        default=None, description="column with the row's time (UTC); a source without one is a lookup table, read whole"
    )
    join: tuple[Column, ...] = Field(
        default=(), description="columns that join this source to the row source (left join)"
    )
    columns: tuple[Column, ...] = Field(default=(), description="columns to keep; all when empty")


class Label(Part):
    expr: str = Field(description="SQL expression (DuckDB) over the row source; true/false or a number")
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
    private: tuple[Column, ...] = Field(
        default=(), description="columns that become keyed pseudonyms before anything is published"
    )
    refuse_above: Fraction = Field(
        default=0.05, description="share of rows in breach of the contract beyond which the partition is refused"
    )


class Trainer(Part):
    name: Literal["xgboost", "torch"]
    params: dict[str, bool | int | float | str] = Field(default_factory=dict)


class Training(Part):
    window: int = Field(default=26, ge=2, description="partitions")
    first_after: int = Field(default=8, ge=3, description="partitions before the first model")
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
    min_clusters: int = Field(default=5, ge=2, description="a slice with fewer clusters is reported and does not gate")
    min_rows: int = Field(default=200, ge=1)


class Gates(Part):
    log_loss: Limit | None = None
    brier: Limit | None = None
    auc: Limit | None = None
    rmse: Limit | None = None
    mae: Limit | None = None
    slices: SliceGate | None = None

    @property
    def metrics(self) -> dict[str, Limit]:
        """The limits on whole-partition metrics that are set."""
        found = {name: getattr(self, name) for name in ("log_loss", "brier", "auc", "rmse", "mae")}
        return {name: limit for name, limit in found.items() if limit is not None}


class RefreshLane(Part):
    holdout: int = Field(default=2, ge=1, description="partitions at the window's end that a refresh is proved on")
    shadow: int = Field(default=0, ge=0)
    probation: int = Field(default=4, ge=0)


class ShadowSpan(Part):
    at_least: int = Field(default=2, ge=1)
    at_most: int = Field(default=12, ge=1)

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
    metric: Literal["log_loss", "brier", "squared_error"] = Field(
        default="log_loss",
        description="the loss that decides; log_loss for binary unless said otherwise, squared_error for regression",
    )
    margin: float = Field(default=0.0, ge=0, description="the loss a new model may cost at most; 0 asks for a gain")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    cluster: str = Field(
        default="day", description="unit of evidence: `day`, `week` (ISO 8601, from Monday, UTC), `hour`, or a column"
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
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s+per\s+(month|quarter|year)", value.strip())
        if not found:
            raise ValueError('write it as "1 per quarter" (a number, then per month, quarter or year)')
        return FalseAlarms(count=float(found[1]), per=found[2])  # type: ignore[arg-type]
    return value


def _persistence(value: object) -> object:
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+)\s+of\s+(\d+)", value.strip())
        if not found:
            raise ValueError('write it as "2 of 3"')
        return Persistence(hits=int(found[1]), of=int(found[2]))
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
    window: int = Field(default=2, ge=1, description="matured partitions that the layer is fitted on")


class FixedLimit(Part):
    """A fixed limit on a metric of the last matured partition."""

    metric: Metric
    side: Literal["below", "above"]
    value: float


def _limit(item: object) -> object:
    """``{auc: below 0.60}`` -> the limit spelt out."""
    if not isinstance(item, dict) or set(item) == {"metric", "side", "value"}:
        return item
    if len(item) == 1:
        [(metric, text)] = item.items()
        found = re.fullmatch(r"(below|above)\s+(-?\d+(?:\.\d+)?)", str(text).strip())
        if found:
            return {"metric": metric, "side": found[1], "value": float(found[2])}
    raise ValueError("write a fixed limit as {auc: below 0.60}")


_LimitText = Annotated[
    dict[Metric, Annotated[str, Field(pattern=r"^(below|above)\s+-?\d+(\.\d+)?$")]], Field(min_length=1, max_length=1)
]
Trigger = Annotated[
    Literal["performance", "drift"] | FixedLimit,
    BeforeValidator(_limit, json_schema_input_type=Literal["performance", "drift"] | _LimitText | FixedLimit),
]


class Retrain(Part):
    every: int | None = Field(
        default=4, ge=1, description="partitions since the last training; null trains only on triggers"
    )
    on: tuple[Trigger, ...] = ("performance",)
    cooldown: int = Field(default=2, ge=0, description="partitions after a training in which no other one starts")
    per_year: int = Field(default=12, ge=1, description="budget of trainings in any year")


class Remedies(Part):
    recalibrate: Recalibrate | None = Recalibrate()
    retrain: Retrain | None = Retrain()


class Monitoring(Part):
    drift: Drift = Drift()
    remedies: Remedies = Remedies()
    report_rows: int = Field(default=10_000, ge=100, description="rows of the Evidently sample")


AlertKind = Literal["failure", "quarantine", "drift", "verdict", "approval", "rollback"]


MENTION = r"^@?(here|channel|everyone|[SUW][A-Z0-9]{5,})$"


class Slack(Part):
    channel: str = Field(pattern=r"^[#@]?[\w.-]+$", max_length=80)
    on: tuple[AlertKind, ...] = ("failure", "quarantine", "drift", "verdict", "approval", "rollback")
    mention: Annotated[str, Field(pattern=MENTION)] | None = Field(
        default=None,
        description="whom an alert calls: a Slack member (U012AB3CD), a group (S012AB3CD), `here` or `channel`",
    )


class Alerts(Part):
    slack: Slack | None = None


class ProjectSpec(Part):
    """One model and its policy."""

    name: Name
    owner: str = Field(min_length=1)
    description: str = ""
    task: Literal["binary", "regression"] = "binary"
    data: Data
    training: Training = Training()
    gates: Gates = Gates()
    release: Release = Release()
    monitoring: Monitoring = Monitoring()
    alerts: Alerts = Alerts()

    @model_validator(mode="before")
    @classmethod
    def _loss_of_the_task(cls, value: Any) -> Any:
        """A regression that names no metric is decided by squared error."""
        if isinstance(value, dict) and value.get("task") == "regression":
            release = value.get("release", {})
            if isinstance(release, dict) and "metric" not in release:
                return {**value, "release": {**release, "metric": "squared_error"}}
        return value


class Project(BaseModel):
    """A spec together with the folder it was read from."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    spec: ProjectSpec
    folder: Path

    @property
    def name(self) -> str:
        """The project's name."""
        return self.spec.name

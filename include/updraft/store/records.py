"""What the store holds, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["champion", "previous", "challenger", "refresh"]
"""``challenger`` is a change in shadow, ``refresh`` a refresh in shadow (where the policy asks for one)."""
Lane = Literal["refresh", "change"]
ReleaseState = Literal["shadow", "approval", "probation", "closed"]
OPEN_RELEASE: tuple[ReleaseState, ...] = ("shadow", "approval", "probation")
"""States of a release that has not ended."""
Outcome = Literal["promoted", "rejected", "rolled_back", "reinstated", "superseded", "kept"]
Remedy = Literal["retrain", "recalibrate", "quarantine", "person"]


@dataclass(frozen=True)
class PartitionRow:
    """A partition that ingestion has finished with."""

    key: str
    state: Literal["published", "refused", "empty"]
    url: str | None
    sha256: str | None
    rows: int
    quarantined: int
    labels_url: str | None
    labels_sha256: str | None = field(default=None, kw_only=True)
    """None for a partition that was ingested before it was recorded."""


@dataclass(frozen=True)
class IngestedPartition(PartitionRow):
    """The same with what was found in it. Large: lists of partitions come without."""

    checks: dict[str, Any]
    profile: dict[str, Any] | None


@dataclass(frozen=True)
class FailedIngestion:
    """The last try to ingest a partition, which came to nothing. It is kept until a later one is finished with."""

    key: str
    task: str
    """The task of the DAG `ingest` that failed."""
    error: str
    """Name of the error."""
    words: str
    """What it says; empty of an error of a library, which may quote data."""
    passes: bool
    """Whether the cause may be over at another try."""
    late_at: str | None = None
    """Of a file that is waited for: the moment (ISO 8601) from which it is late."""


@dataclass(frozen=True)
class PartitionCounts:
    """How many partitions a project has."""

    by_state: dict[str, int]
    quarantined: int
    """Rows that were set aside, in all of them."""


@dataclass(frozen=True)
class PredictionRow:
    """What one model said of one partition, as it was served (or would have been, in shadow)."""

    key: str
    role: Role
    version: str
    calibration: dict[str, float] | None
    url: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class ScoredSpan:
    """The partitions that a version scored in one role."""

    role: Role
    partitions: int
    first: str
    last: str
    rows: int


@dataclass(frozen=True)
class PerformanceRow:
    """Metrics of one model on the rows of ``key`` whose labels were known at the tick of ``as_of``."""

    key: str
    as_of: str
    role: Role
    version: str
    rows: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class EstimateRow:
    """What the champion was expected to lose on the rows of ``key``, as it was estimated when it scored them (:mod:`updraft.monitoring.estimate`)."""

    key: str
    version: str
    rows: int
    metric: str
    value: float
    """In the metric's unit, as are the next three."""
    spread: float
    """Standard deviation over the labels that may come."""
    lower: float | None
    """None while too few earlier estimates had come true for an interval."""
    upper: float | None
    errors: int
    """Earlier estimates that had come true and whose errors were known."""
    figures: dict[str, float]
    """What else was expected, by the name of its metric."""


@dataclass(frozen=True)
class FiguresRow:
    """Business figures of what served on ``key``, over its rows whose labels are known, at the tick of ``as_of`` by which all of them are."""

    key: str
    as_of: str
    version: str
    rows: int
    figures: dict[str, dict[str, Any]]
    """By name, as :class:`updraft.monitoring.figures.Figured` writes them."""


@dataclass(frozen=True)
class EvidenceRow:
    """One cluster of paired rows. ``gain``: loss of the older model minus loss of the newer, mean over the rows."""

    cluster: str
    key: str
    rows: int
    gain: float
    slices: dict[str, tuple[int, float]]
    against: str | None = None
    """The version that the older model was; of the newest rows, where it changed within the cluster."""


@dataclass(frozen=True)
class ReleaseRow:
    """One model version on its way through a lane."""

    id: str
    project: str
    lane: Lane
    version: str
    against: str | None
    state: ReleaseState
    outcome: Outcome | None
    reason: str | None
    opened_at: str
    closed_at: str | None
    since: str | None = None
    """The tick from which the evidence counts, where it goes on with that of an earlier release; else it is that of the opening."""
    continues: tuple[str, ...] = ()
    """Earlier versions of the same recipe whose evidence counts here, the oldest first."""

    @property
    def counted_from(self) -> str:
        """The tick after which partitions and evidence count."""
        return self.since or self.opened_at


@dataclass(frozen=True)
class EpisodeRow:
    """One event that called for a remedy, from detection to outcome."""

    id: str
    project: str
    opened_at: str
    cause: str
    remedy: Remedy
    state: Literal["due", "started", "closed"]
    diagnosis: dict[str, Any]
    outcome: str | None
    closed_at: str | None


CHALLENGER = "challenger"
"""Cause of the episodes that refresh a change in shadow along with the champion."""

Sign = tuple[str, str | None]
"""Kind of a fault of a feed, and its column; no column when it is about the partition as a whole."""


@dataclass(frozen=True)
class KeptOut:
    """A published partition from which nothing is learnt, as its content stands now."""

    key: str
    content: str
    diagnosis: dict[str, Any]
    """Of the episode that keeps it out."""

    @property
    def signs(self) -> tuple[Sign, ...]:
        """What looked broken about it."""
        return tuple((kind, column) for kind, column in self.diagnosis.get("signs", ()))


@dataclass(frozen=True)
class TrainingRow:
    """One training run and what came of it."""

    id: str
    project: str
    key: str
    episode: str | None
    request_sha256: str | None
    state: Literal["running", "registered", "refused", "failed"]
    version: str | None
    result: dict[str, Any]


RecordKind = Literal["plan", "request", "result", "proof", "evaluation", "search", "pods", "key", "ingestion", "audit"]
"""What the store keeps of a run: what it was to do, and what came of it. ``ingestion``: of a partition, whose key is the run's name;
``audit``: the last look at the chain of decisions, whose run has the kind's name."""


@dataclass(frozen=True)
class Decision:
    """One link of the chain: what was decided at the tick of ``key``, about what, and on which evidence."""

    project: str
    seq: int
    key: str
    kind: str
    subject: str
    body: dict[str, Any]
    previous_sha256: str
    sha256: str
    form: int = 1
    """2: ``written_at`` is part of the hash; 1 for decisions from before it was."""
    written_at: str = ""
    """When it was written, by the clock: ISO 8601 in UTC with microseconds."""


@dataclass(frozen=True)
class Serving:
    """What serves after the last decision. Versions are MLflow's."""

    champion: str | None
    previous: str | None
    since: str | None
    """Key of the partition at whose tick the champion began to serve."""
    layers: dict[str, dict[str, float] | None]
    """Calibration layer in force of the champion and of the previous one, by version."""

    def layer(self, version: str) -> dict[str, float] | None:
        """The layer on a base version; None is the identity."""
        return self.layers.get(version)

"""Tables of the store (SQLAlchemy Core). `updraft.store.migrations` creates them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    UniqueConstraint,
    func,
    text,
)

from updraft.store.clean import CleanJSON as JSON
from updraft.store.clean import CleanString as String
from updraft.store.clean import CleanText as Text

metadata = MetaData()

UNSENT = "state IN ('stored', 'sending') OR state = 'sent' AND count > shown"
"""Of alerts whose message is still to be sent, or to be updated: every task looks for them."""
OPEN = "incident IS NOT NULL AND resolved_at IS NULL"
"""Of alerts of something that is not mended: every task that ends well looks for its own."""


def _written() -> Column[object]:
    return Column("written_at", DateTime(timezone=True), server_default=func.now(), nullable=False)


partitions = Table(
    "partitions",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("key", String(32), primary_key=True),
    Column("state", String(16), nullable=False),  # published | refused | empty
    Column("url", Text),
    Column("sha256", String(64)),
    Column("rows", Integer, nullable=False),
    Column("quarantined", Integer, nullable=False),
    Column("labels_url", Text),
    Column("labels_sha256", String(64)),  # null for partitions ingested before it was recorded
    Column("checks", JSON, nullable=False),  # what the contract found: see data.validation
    Column("profile", JSON),  # mergeable summary: see monitoring.profiles
    _written(),
    Index("partitions_state", "project", "state", "key"),
)

partition_counts = Table(  # kept: how many rows of `partitions` there are, and what was quarantined in them
    "partition_counts",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("state", String(16), primary_key=True),
    Column("partitions", Integer, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
)

predictions = Table(
    "predictions",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("key", String(32), primary_key=True),
    Column("role", String(16), primary_key=True),  # champion | challenger | previous
    Column("version", String(32), nullable=False),
    Column("calibration", JSON),  # the layer that was served, or null
    Column("url", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("rows", Integer, nullable=False),
    _written(),
    Index("predictions_version", "project", "version", "key"),
)

performance = Table(
    "performance",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("key", String(32), primary_key=True),  # the partition whose rows are measured
    Column("as_of", String(32), primary_key=True),  # the partition at whose tick the labels were known
    Column("role", String(16), primary_key=True),
    Column("version", String(32), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("metrics", JSON, nullable=False),
    _written(),
    Index("performance_role", "project", "role", "key"),
)

estimates = Table(  # of the champion's loss on a partition, made when it was scored: nothing is decided by it
    "estimates",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("key", String(32), primary_key=True),
    Column("version", String(32), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("metric", String(32), nullable=False),
    Column("value", Float, nullable=False),
    Column("spread", Float, nullable=False),
    Column("lower", Float),  # null while too few estimates had come true
    Column("upper", Float),
    Column("errors", Integer, nullable=False),
    Column("figures", JSON, nullable=False),
    _written(),
)

business_figures = Table(
    "business_figures",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("key", String(32), primary_key=True),  # the partition whose rows they are of
    Column("as_of", String(32), nullable=False),  # the partition at whose tick all labels were known
    Column("version", String(32), nullable=False),  # what served
    Column("rows", Integer, nullable=False),
    Column("figures", JSON, nullable=False),  # by name, with the limits of then: see monitoring.figures
    _written(),
)

evidence = Table(
    "evidence",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("release", String(64), primary_key=True),
    Column("cluster", String(128), primary_key=True),
    Column(
        "key", String(32), primary_key=True
    ),  # the partition at whose tick it was written: a cluster may come back later
    Column("rows", Integer, nullable=False),
    Column(
        "gain", Float, nullable=False
    ),  # mean over the cluster's rows: loss of the model that serves minus loss of the other
    Column("slices", JSON, nullable=False),  # {"origin=EWR": [rows, gain], ...}
    Column("against", String(32)),  # the version that served, or that served before
    _written(),
)

releases = Table(
    "releases",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(63), nullable=False),
    Column("lane", String(16), nullable=False),  # refresh | change
    Column("version", String(32), nullable=False),
    Column("against", String(32)),  # the version it is compared with
    Column("state", String(16), nullable=False),  # shadow | approval | probation | closed
    Column("outcome", String(16)),  # promoted | rejected | rolled_back | reinstated | superseded | kept
    Column("reason", Text),
    Column("opened_at", String(32), nullable=False),
    Column("closed_at", String(32)),
    Column(
        "since", String(32)
    ),  # from when its evidence counts, where it goes on with an earlier release's; else opened_at
    Column(
        "continues", JSON, nullable=False, server_default="[]"
    ),  # versions of the same recipe whose evidence it has taken over
    _written(),
    Index("releases_open", "project", "state"),
    Index("releases_version", "project", "version"),
)

episodes = Table(
    "episodes",
    metadata,
    Column("id", String(96), primary_key=True),
    Column("project", String(63), nullable=False),
    Column("opened_at", String(32), nullable=False),
    Column("cause", String(32), nullable=False),  # first | age | performance | drift | limit | feed | by_hand
    Column("remedy", String(16), nullable=False),  # retrain | recalibrate | quarantine | person
    Column("state", String(16), nullable=False),  # due | started | closed
    Column("diagnosis", JSON, nullable=False),
    Column("outcome", Text),
    Column("closed_at", String(32)),
    Column("content", String(64)),  # of a broken feed: hash of the partition's content that it speaks of
    Column("readmitted", Integer),  # kept: number of the decision by which a person readmitted that content
    _written(),
    Index("episodes_state", "project", "state"),
    Index("episodes_opened", "project", "opened_at"),
)

trainings = Table(
    "trainings",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("id", String(250), primary_key=True),  # the Airflow run id: two projects may have the same
    Column("key", String(32), nullable=False),
    Column("episode", String(96)),
    Column("request_sha256", String(64)),
    Column("state", String(16), nullable=False),  # running | registered | refused | failed
    Column("version", String(32)),
    Column("result", JSON, nullable=False),
    _written(),
    Index("trainings_project", "project", "key"),
    Index("trainings_version", "project", "version"),
)

run_records = Table(
    "run_records",
    metadata,
    Column("project", String(63), primary_key=True),
    # A training, a trial of a search, a search, of a failed ingestion a partition, or the audit; the kinds are those of RecordKind.
    Column("run", String(280), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("body", JSON, nullable=False),
    _written(),
)

feature_code = Table(
    "feature_code",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("source", LargeBinary, nullable=False),  # of features.py, as it was when a training was prepared
    _written(),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("project", String(63), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("key", String(32), nullable=False),  # the partition at whose tick it was taken
    Column("kind", String(32), nullable=False),
    Column(
        "subject", String(128), nullable=False
    ),  # what it is about; with project and kind it names the decision once and for all
    Column("body", JSON, nullable=False),
    Column("previous_sha256", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("form", SmallInteger, nullable=False),  # 2: written_at is part of the hash
    _written(),
    UniqueConstraint("project", "seq"),
    UniqueConstraint("project", "kind", "subject"),
    Index("decisions_kind", "project", "kind", "seq"),
)

serving = Table(  # kept: what follows from the decisions, written in the transaction of each; see store.state
    "serving",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("champion", String(32), nullable=False),
    Column("previous", String(32)),
    Column("since", String(32), nullable=False),  # the tick at which it began to serve
    Column("seq", Integer, nullable=False),  # the decision that put it there
)

layers = Table(  # kept: the layer that the newest recalibration gave each version
    "layers",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("version", String(32), primary_key=True),
    Column("layer", JSON),  # null is the identity
    Column("key", String(32), nullable=False),
    Column("seq", Integer, nullable=False),
)

taken_back = Table(  # kept: the versions that a person took back and nobody has reinstated
    "taken_back",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("version", String(32), primary_key=True),
    Column("seq", Integer, nullable=False),  # the decision that took it back
)

seen = Table(
    "seen",
    metadata,
    Column("project", String(63), primary_key=True),
    Column("sensor", String(96), primary_key=True),
    Column("key", String(32), nullable=False),
    _written(),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("project", String(63), nullable=False),
    Column("dedup", String(160), nullable=False),  # the event: recording it again changes nothing
    Column("kind", String(16), nullable=False),
    Column("entry", String(63), nullable=False, server_default=""),  # of the runbook
    Column("fold", String(160)),  # events of one fold share one message, which counts them
    Column("folded_into", Integer),  # id of the row whose message shows this one
    Column("thread", String(160)),  # the episode, release or incident whose thread it belongs to
    Column("incident", String(160)),  # what goes wrong again and again until it is mended: a task, the refusals
    Column("part", String(160)),  # of the incident: the partition or the run that is mended by itself
    Column("resolved_at", DateTime(timezone=True)),
    Column("key", String(32)),  # the partition it is about
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("does", Text, nullable=False),
    Column("needs", Text, nullable=False),
    Column("links", JSON, nullable=False),
    Column("state", String(16), nullable=False),  # of updraft.alerts.outbox
    Column("count", Integer, nullable=False, server_default="1"),
    Column("shown", Integer, nullable=False, server_default="0"),  # the count that Slack's message shows
    Column("channel", String(80)),  # as the project names it
    Column("channel_id", String(32)),  # as Slack names it
    Column("ts", String(32)),  # Slack's id of the message
    Column("error", Text),  # Slack's error code, never its words: those may quote what we sent
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("tried_at", DateTime(timezone=True)),
    Column("not_before", DateTime(timezone=True)),  # Slack asked to be left alone until then
    _written(),
    UniqueConstraint("project", "dedup"),
    Index("alerts_state", "project", "state"),
    Index("alerts_fold", "project", "fold"),
    Index("alerts_newest", "project", "id"),
    Index("alerts_thread", "project", "thread"),
    Index("alerts_open", "project", "incident", postgresql_where=text(OPEN), sqlite_where=text(OPEN)),
    Index("alerts_unsent", "project", "id", postgresql_where=text(UNSENT), sqlite_where=text(UNSENT)),
)

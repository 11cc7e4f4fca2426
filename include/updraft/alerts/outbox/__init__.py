"""Alerts in the store: each event once, duplicates folded, and what has become of each."""

from updraft.alerts.outbox.recording import record, resolve
from updraft.alerts.outbox.rows import (
    Standing,
    Stored,
    Undelivered,
    count_undelivered,
    overdue,
    pending,
    recent,
    standing,
    standing_open,
    stood_unsent,
)
from updraft.alerts.outbox.sending import (
    alone,
    channel_id,
    claim,
    mark_anew,
    mark_digest,
    mark_failed,
    mark_quiet,
    mark_sent,
    mark_unsent,
    mark_waiting,
    thread_ts,
)
from updraft.alerts.outbox.summaries import sum_up_backlog, sum_up_week

__all__ = [
    "Standing",
    "Stored",
    "Undelivered",
    "alone",
    "channel_id",
    "claim",
    "count_undelivered",
    "mark_anew",
    "mark_digest",
    "mark_failed",
    "mark_quiet",
    "mark_sent",
    "mark_unsent",
    "mark_waiting",
    "overdue",
    "pending",
    "recent",
    "record",
    "resolve",
    "standing",
    "standing_open",
    "stood_unsent",
    "sum_up_backlog",
    "sum_up_week",
    "thread_ts",
]

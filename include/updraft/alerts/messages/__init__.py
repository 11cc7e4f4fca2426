"""What is said: one alert for one event, in words that a person on call can act on.

Every alert answers three questions: what happened (``text``), what Updraft does about it (``does``), and what is left
for a person (``needs``; empty when nothing is). Builders take plain values and return the same alert for the same
event, so that a task that runs twice says nothing twice.

Alerts are published: they carry counts and names of checks, never values of rows.
"""

from updraft.alerts.messages.data import (
    REFUSALS,
    labels_lost,
    labels_unlisted,
    outside,
    pass_over_command,
    quarantine,
    refused,
    revised,
)
from updraft.alerts.messages.endings import reinstated, superseded, training_ended, unjudged
from updraft.alerts.messages.episodes import BROKEN_FEED, episode
from updraft.alerts.messages.figures import figure_limit
from updraft.alerts.messages.learning import ENDED, OVERDUE, lasting_incident, lasting_sign, training_overdue
from updraft.alerts.messages.pods import more_memory, no_node
from updraft.alerts.messages.releases import QUESTION, approval, promotion, refused_model, rollback, trained, verdict
from updraft.alerts.messages.runs import failure, late, restarts, restarts_incident, tampered, task_incident, untold
from updraft.alerts.messages.summaries import backlog, digest, resolved

__all__ = [
    "BROKEN_FEED",
    "ENDED",
    "OVERDUE",
    "QUESTION",
    "REFUSALS",
    "approval",
    "backlog",
    "digest",
    "episode",
    "failure",
    "figure_limit",
    "labels_lost",
    "labels_unlisted",
    "lasting_incident",
    "lasting_sign",
    "late",
    "more_memory",
    "no_node",
    "outside",
    "pass_over_command",
    "promotion",
    "quarantine",
    "refused",
    "refused_model",
    "reinstated",
    "resolved",
    "restarts",
    "restarts_incident",
    "revised",
    "rollback",
    "superseded",
    "tampered",
    "task_incident",
    "trained",
    "training_ended",
    "training_overdue",
    "unjudged",
    "untold",
    "verdict",
]

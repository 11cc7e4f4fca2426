"""The audit of a project's decisions: the chain held against its anchors, in the lake and in MLflow."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from updraft.errors import TrainingError
from updraft.loop.context import Loop
from updraft.registry.mlflow_registry import ModelRegistry
from updraft.settings import Settings
from updraft.store.anchors import Anchor, Anchors, Audit, audit
from updraft.store.store import Store

log = logging.getLogger(__name__)

_AUDIT: Final = "audit"
"""Name of the run under which a look at a chain is kept, and its kind."""


def audit_decisions(store: Store, settings: Settings, project: str, registry: ModelRegistry | None) -> Audit:
    """Hold a project's chain of decisions against its log of anchors, and against the head that MLflow was told.

    The state that is kept beside the chain is held against the chain as well.

    :param registry: None leaves MLflow's copy out, as where there is no MLflow.
    :raises MLflowAway: when MLflow does not answer.
    """
    anchors = Anchors.of(settings)
    told = registry.head(project) if registry is not None else None
    head = Anchor.read(told) if told is not None else None
    audited = audit(project, partial(store.decisions, project), anchors.log(project), anchors.key, head)
    problems = [*audited.problems, *store.state_problems(project)]
    if told is not None and head is None:
        problems.append("what MLflow keeps as the head of the decisions is no anchor")
    return replace(audited, problems=tuple(problems))


@dataclass(frozen=True)
class LastAudit:
    """When the daily upkeep last looked at a chain of decisions, and what it was worth."""

    at: datetime
    """By the clock."""
    whole: bool


def keep_audit(store: Store, audited: Audit, now: datetime) -> None:
    """Keep that a chain was looked at, for whoever watches that it is.

    The store says so of itself: what proves anything are the anchors, and the audit anew.

    :param now: of the clock.
    """
    body = {"at": now.isoformat(), "whole": not audited.problems}
    store.record_run(audited.project, _AUDIT, _AUDIT, body, replace=True)


def last_audit(store: Store, project: str) -> LastAudit | None:
    """The last look at a project's chain that was kept; None before the first."""
    body = store.run_record(project, _AUDIT, _AUDIT)
    return None if body is None else LastAudit(datetime.fromisoformat(body["at"]), bool(body["whole"]))


def complete_anchors(settings: Settings, audited: Audit) -> None:
    """Attest what a chain still lacks in which nothing was found wrong, as it was when it was audited.

    :raises SettingsError: when the key is lost.
    """
    anchors = Anchors.of(settings)
    for decision in audited.lacking:
        anchors.confirm(decision)


def tell_head(loop: Loop, registry: ModelRegistry) -> None:
    """Tell MLflow the newest anchor that this process has written; what MLflow does not take now it is told with the next one."""
    anchors = loop.store.witness
    head = anchors.heads.pop(loop.name, None) if isinstance(anchors, Anchors) else None
    if head is None or not registry.tracking_uri:
        return
    if not registry.answers():  # asked first, as MLflow's client tries for minutes: no task waits for this
        log.warning("MLflow does not answer; it will be told of decision %d with the next one", head.seq)
        return
    try:
        registry.note_head(loop.name, head.line())
    except TrainingError as error:
        log.warning("MLflow was not told of decision %d: %s", head.seq, error)

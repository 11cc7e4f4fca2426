"""One version: what it learnt from, who started it, its proof, what it scored, since when and until when it served, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from updraft.errors import InputError
from updraft.loop.context import Loop
from updraft.loop.decision_words import CARRIED, TELLING, gates_in_words, in_words
from updraft.loop.release import release_id
from updraft.store.records import Decision, PerformanceRow, Role, ScoredSpan, TrainingRow
from updraft.store.state import RETURNS, SERVING

_NAMED = 20
"""Versions that are named when there is none of a name."""


@dataclass(frozen=True)
class Scored:
    """The partitions that a version scored in one role, and how well."""

    role: Role
    partitions: int
    first: str
    last: str
    rows: int
    measured: int
    """Rows whose labels are known."""
    loss: float | None
    """Mean over them, of the metric that decides releases; None while no label is known."""


@dataclass(frozen=True)
class Served:
    """A time in which the version was champion."""

    since: str
    """Tick at which it was promoted, or put back."""
    until: str | None
    """Tick at which another one took its place; None while it serves."""


@dataclass(frozen=True)
class VersionHistory:
    """Everything that is known of a version."""

    project: str
    version: str
    lane: str
    key: str
    """The tick of its training."""
    run: str
    trainer: str
    window: tuple[str, ...]
    """The partitions that it learnt from."""
    holdout: tuple[str, ...]
    """Those of them that it was proved on, by a model that had learnt from the others alone."""
    rows: int | None
    snapshot_sha256: str | None
    mlflow_run_id: str | None
    started_by: str
    gates: dict[str, Any]
    gates_words: str
    metric: str
    """The loss that :attr:`Scored.loss` is of."""
    scored: tuple[Scored, ...]
    served: tuple[Served, ...]
    state: str
    """Of its release; ``refused`` without one."""
    outcome: str | None
    """What became of it in the end."""
    reason: str | None
    decisions: tuple[str, ...]
    """About it, in words, each with its tick."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def no_such_version(loop: Loop, version: str) -> str:
    """What a person is told who names a version that there is not."""
    known = loop.store.versions(loop.name)
    named = ", ".join([*(["…"] if len(known) > _NAMED else []), *known[-_NAMED:]])
    return f"{loop.name}: there is no version {version!r}; there are {named or 'none yet'}"


def known_training(loop: Loop, version: str) -> TrainingRow:
    """The training that a version came of.

    :raises InputError: when there is no version of that name, naming those that there are.
    """
    training = loop.store.training_of(loop.name, version)
    if training is None:
        raise InputError(no_such_version(loop, version))
    return training


def version_history(loop: Loop, version: str) -> VersionHistory:
    """What the store knows of a version.

    :raises InputError: when there is none of that name, naming those that there are.
    """
    store, name = loop.store, loop.name
    training = known_training(loop, version)
    result, metric = training.result, loop.spec.loss_metric.name
    release = next((row for row in store.releases(name) if row.version == version), None)
    about = store.decisions_about(
        name, release_id(loop, version), tuple(kind for kind in TELLING if kind not in RETURNS)
    )
    about += store.returns(name, release_id(loop, version))
    about += store.decisions_about(name, training.id, (CARRIED, "accept", "refuse"))
    serving = store.decisions(name, kinds=SERVING)
    gates = dict(result.get("gates") or {})
    return VersionHistory(
        project=name,
        version=version,
        lane=str(result.get("lane", "refresh")),
        key=training.key,
        run=training.id,
        trainer=str((result.get("trainer") or {}).get("name", "")),
        window=tuple(result.get("window", ())),
        holdout=tuple(result.get("holdout", ())),
        rows=result.get("rows"),
        snapshot_sha256=result.get("snapshot_sha256"),
        mlflow_run_id=result.get("mlflow_run_id"),
        started_by=started_by(loop, training),
        gates=gates,
        gates_words=gates_outcome(gates),
        metric=metric,
        scored=tuple(scored(store.scored_by(name, version), store.performance_of(name, version), metric)),
        served=tuple(served(serving, version)),
        state=release.state if release else training.state,
        outcome=release.outcome if release else None,
        reason=release.reason if release else None,
        decisions=tuple(
            f"{decision.key}  {words}"
            for decision in sorted(about, key=lambda decision: decision.seq)
            if (words := in_words(decision))
        ),
    )


def gates_outcome(gates: dict[str, Any]) -> str:
    """What a version's gates said of it, in words."""
    if gates and not gates.get("passed", True):
        return f"refused by the gates: {'; '.join(gates.get('reasons', ()))}"
    return gates_in_words(gates)


def started_by(loop: Loop, training: TrainingRow) -> str:
    """What started a training: the episode that called for it, or what the person or search said who started it."""
    if training.episode is not None:
        episode = loop.store.episode(loop.name, training.episode)
        words = f": {episode.diagnosis.get('words', episode.cause)}" if episode else ""
        return f"episode {training.episode}{words}"
    plan = loop.store.run_record(loop.name, training.id, "plan") or {}
    request = loop.store.run_record(loop.name, training.id, "request") or {}
    search = (request.get("tags") or {}).get("updraft.search")
    by = f"search {search}" if search else "hand"
    return f"{by}: {plan['reason']}" if plan.get("reason") else by


def scored(spans: Sequence[ScoredSpan], performance: Sequence[PerformanceRow], metric: str) -> list[Scored]:
    """What a version scored in each role, with its mean loss over the rows whose labels are known."""
    roles = []
    for span in spans:
        measured = [row for row in performance if row.role == span.role and metric in row.metrics]
        rows = sum(row.rows for row in measured)
        loss = sum(row.rows * row.metrics[metric] for row in measured) / rows if rows else None
        roles.append(Scored(span.role, span.partitions, span.first, span.last, span.rows, rows, loss))
    return roles


def served(decisions: Sequence[Decision], version: str) -> list[Served]:
    """The times in which a version was champion.

    :param decisions: that changed what serves, in order.
    """
    times: list[Served] = []
    for decision, following in zip(decisions, [*decisions[1:], None], strict=False):  # before any, none follows
        if decision.body["version"] == version:
            times.append(Served(decision.key, following.key if following else None))
    return times

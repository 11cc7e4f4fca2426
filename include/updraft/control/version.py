"""One version: its proof, where it comes from and where it went, its signature, and how it differs from another one."""

from __future__ import annotations

from typing import Any

from updraft.control.release import Compared, GroupGap, compared_figures, group_gaps
from updraft.control.timeline import Decided, decided
from updraft.control.view import View
from updraft.errors import InputError
from updraft.loop.context import Loop
from updraft.loop.decision_words import CARRIED, TELLING
from updraft.loop.release import release_id
from updraft.loop.version_history import VersionHistory, known_training, version_history
from updraft.store.records import Decision, TrainingRow
from updraft.store.state import RETURNS

_SHOWN = 500
"""Characters of a value that a comparison shows."""


class RoleSpan(View):
    """What a version scored in one role."""

    role: str
    partitions: int
    first: str
    last: str
    rows: int
    measured: int
    loss: float | None


class Span(View):
    """A time in which the version was champion."""

    since: str
    until: str | None


class Lineage(View):
    """What a version was made of."""

    snapshot_sha256: str | None
    window: tuple[str, ...]
    holdout: tuple[str, ...]
    features_sha256: str | None
    recipe_sha256: str | None
    trainer: str
    parameters: dict[str, Any]
    seed: int | None
    rows: int | None
    sources: tuple[str, ...]
    environment: dict[str, str]
    model_url: str | None
    model_sha256: str | None
    run: str
    mlflow_run_id: str | None


class VersionView(View):
    """A version for people."""

    project: str
    version: str
    lane: str
    key: str
    state: str
    outcome: str | None
    reason: str | None
    started_by: str
    gates_words: str
    metric: str
    gates: tuple[Compared, ...]
    gate_slices: tuple[Compared, ...]
    gate_groups: tuple[GroupGap, ...]
    lineage: Lineage
    scored: tuple[RoleSpan, ...]
    served: tuple[Span, ...]
    importance: dict[str, float]
    importance_is: str
    decisions: tuple[Decided, ...]
    others: tuple[str, ...]
    """The other versions, the newest first."""


class Difference(View):
    """A part of what two versions were made of, and of what came of them, in which they differ."""

    what: str
    this: str
    other: str


class Comparison(View):
    """Two versions side by side."""

    project: str
    version: str
    other: str
    differences: tuple[Difference, ...]
    metrics: tuple[Compared, ...]
    """Of both on the holdout that each was proved on, ``against`` being the other's."""


def read_version(loop: Loop, version: str) -> VersionView:
    """One version of a project.

    :raises InputError: when there is none of that name.
    """
    history = version_history(loop, version)
    training = known_training(loop, version)
    result = training.result
    others = [other for other in reversed(loop.store.versions(loop.name)) if other != version]
    return VersionView(
        project=loop.name,
        version=version,
        lane=history.lane,
        key=history.key,
        state=history.state,
        outcome=history.outcome,
        reason=history.reason,
        started_by=history.started_by,
        gates_words=history.gates_words,
        metric=history.metric,
        gates=tuple(compared_figures(history.gates.get("metrics") or {})),
        gate_slices=tuple(compared_figures(history.gates.get("slices") or {})),
        gate_groups=tuple(group_gaps(history.gates.get("fairness") or {})),
        lineage=_lineage(loop, training, history),
        scored=tuple(RoleSpan(**vars(role)) for role in history.scored),
        served=tuple(Span(since=time.since, until=time.until) for time in history.served),
        importance={name: float(value) for name, value in dict(result.get("importance") or {}).items()},
        importance_is=str(result.get("importance_is") or ""),
        decisions=tuple(
            shown for decision in reversed(_about(loop, training, version)) if (shown := decided(decision)) is not None
        ),
        others=tuple(others),
    )


def _about(loop: Loop, training: TrainingRow, version: str) -> list[Decision]:
    release, store = release_id(loop, version), loop.store
    about = store.decisions_about(loop.name, release, tuple(kind for kind in TELLING if kind not in RETURNS))
    about += store.returns(loop.name, release)
    about += store.decisions_about(loop.name, training.id, (CARRIED, "accept", "refuse"))
    return sorted(about, key=lambda decision: decision.seq)


def _lineage(loop: Loop, training: TrainingRow, history: VersionHistory) -> Lineage:
    result = training.result
    request = loop.store.run_record(loop.name, training.id, "request") or {}
    left = loop.store.run_record(loop.name, training.id, "result") or {}
    trainer = dict(result.get("trainer") or {})
    seed = request.get("seed", result.get("seed"))
    return Lineage(
        snapshot_sha256=history.snapshot_sha256,
        window=history.window,
        holdout=history.holdout,
        features_sha256=result.get("features_sha256"),
        recipe_sha256=result.get("recipe_sha256"),
        trainer=history.trainer,
        parameters=dict(trainer.get("params") or {}),
        seed=int(seed) if seed is not None else None,
        rows=history.rows,
        sources=tuple(loop.spec.data.sources),
        environment={str(name): str(value) for name, value in dict(left.get("environment") or {}).items()},
        model_url=left.get("model_url"),
        model_sha256=left.get("model_sha256"),
        run=history.run,
        mlflow_run_id=history.mlflow_run_id,
    )


def compare_versions(loop: Loop, version: str, other: str) -> Comparison:
    """What differs between two versions.

    :raises InputError: when there is none of one of the names, or they are the same.
    """
    if version == other:
        raise InputError(f"{loop.name}: version {version} is to be compared with another one")
    this, that = (read_version(loop, name) for name in (version, other))
    mine, theirs = _parts(this), _parts(that)
    names = list(dict.fromkeys([*mine, *theirs]))
    differing = [name for name in names if mine.get(name, "") != theirs.get(name, "")]
    losses = {figure.name: figure.candidate for figure in that.gates}
    return Comparison(
        project=loop.name,
        version=version,
        other=other,
        differences=tuple(
            Difference(what=name, this=mine.get(name, "")[:_SHOWN], other=theirs.get(name, "")[:_SHOWN])
            for name in differing
        ),
        metrics=tuple(
            figure.model_copy(
                update={"against": losses.get(figure.name), "lower": None, "upper": None, "worse_by": None}
            )
            for figure in this.gates
        ),
    )


def _parts(view: VersionView) -> dict[str, str]:
    lineage = view.lineage
    parts = {
        "trained at": view.key,
        "lane": view.lane,
        "window": f"{lineage.window[0]} to {lineage.window[-1]}" if lineage.window else "",
        "holdout": ", ".join(lineage.holdout),
        "rows": f"{lineage.rows:,}" if lineage.rows is not None else "",
        "snapshot": lineage.snapshot_sha256 or "",
        "features.py": lineage.features_sha256 or "",
        "recipe": lineage.recipe_sha256 or "",
        "trainer": lineage.trainer,
        "seed": str(lineage.seed),
        "what became of it": view.outcome or view.state,
    }
    parts |= {f"parameter {name}": str(value) for name, value in sorted(lineage.parameters.items())}
    return parts | {f"library {name}": value for name, value in sorted(lineage.environment.items())}


def audit_bundle(loop: Loop, version: str) -> dict[str, Any]:
    """All that is kept of a version, JSON-able: what it was asked for, what it left, and each decision about it with its hash.

    :raises InputError: when there is none of that name.
    """
    training = known_training(loop, version)
    records = {
        kind: loop.store.run_record(loop.name, training.id, kind)
        for kind in ("plan", "request", "result", "evaluation")
    }
    return {
        "project": loop.name,
        "version": version,
        "training": {**vars(training)},
        "history": version_history(loop, version).as_dict(),
        **records,
        "decisions": [vars(decision) for decision in _about(loop, training, version)],
    }

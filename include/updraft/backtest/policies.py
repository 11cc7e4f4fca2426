"""The policies that a backtest compares, each as a spec of its own: the loop does not know that it is being compared."""

from __future__ import annotations

from dataclasses import dataclass

from updraft.backtest.rivals import RIVALS
from updraft.spec.model import Gates, ProjectSpec, Recalibrate, RefreshLane, Remedies, Retrain

PROJECT = "the project's policy"
NEVER = "never retrained"
EVERY_PARTITION = "every partition"
LOSS_TRIGGER = "on a loss trigger"


@dataclass(frozen=True)
class Policy:
    """A name for the table, and the spec that follows it."""

    name: str
    spec: ProjectSpec
    rival: str | None = None
    """Name of the rival that says when to train, beside the first time; None where the spec says it alone."""


def policies(spec: ProjectSpec) -> list[Policy]:
    """Never, every 1, 2, 4 and 8 partitions, on a loss trigger, and the project's own policy.

    The plain schedules promote every model as it comes: no gates, no probation, no calibration layer. The loss trigger retrains when the refit
    trial says so, or what serves is worse than no model, and on nothing else.
    """
    listed = [Policy(NEVER, _plain(spec, None))]
    listed += [
        Policy(EVERY_PARTITION if every == 1 else f"every {every} partitions", _plain(spec, every))
        for every in (1, 2, 4, 8)
    ]
    cooldown = spec.monitoring.remedies.retrain.cooldown if spec.monitoring.remedies.retrain else 2
    trigger = Retrain(every=None, on=("performance",), cooldown=cooldown, per_year=10_000)
    return [*listed, Policy(LOSS_TRIGGER, _with(spec, trigger, None)), Policy(PROJECT, spec)]


def rivals(spec: ProjectSpec) -> list[Policy]:
    """The policies of the literature."""
    return [Policy(name, _plain(spec, None), name) for name in RIVALS]


def _plain(spec: ProjectSpec, every: int | None) -> ProjectSpec:
    never = Retrain(every=every, on=(), cooldown=0, per_year=10_000)
    return _with(spec, never, None)


def _with(spec: ProjectSpec, retrain: Retrain, recalibrate: Recalibrate | None) -> ProjectSpec:
    monitoring = spec.monitoring.model_copy(update={"remedies": Remedies(recalibrate=recalibrate, retrain=retrain)})
    lane = RefreshLane(holdout=spec.release.refresh.holdout, shadow=0, probation=0)
    release = spec.release.model_copy(update={"refresh": lane, "sensitive": False})
    return spec.model_copy(update={"monitoring": monitoring, "release": release, "gates": Gates()})

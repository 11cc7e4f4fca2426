"""Which parameters to try next: Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), as a function of what was tried."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from updraft.spec.search import Choice, Space, Span
from updraft.spec.trainers import TRAINERS, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

STARTUP = 3
"""One trial in so many is drawn at random before the estimator has something to go by."""


@dataclass(frozen=True)
class Tried:
    """A trial that has ended, and whose parameters lie in the space."""

    params: Mapping[str, Value]
    loss: float
    pruned_at: int | None = None
    """The round at which it was given up; ``loss`` is that of then."""


def distributions(trainer: str, space: Space) -> dict[str, BaseDistribution]:
    """A space as Optuna takes it."""
    return {name: _distribution(tried, TRAINERS[trainer].params[name].whole) for name, tried in sorted(space.items())}


def _distribution(tried: Span | Choice, whole: bool) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(tried, Span):
        return CategoricalDistribution(tried)
    if whole:
        return IntDistribution(int(tried.at_least), int(tried.at_most), log=tried.log, step=int(tried.step or 1))
    step = None if tried.step is None else float(tried.step)
    return FloatDistribution(float(tried.at_least), float(tried.at_most), log=tried.log, step=step)


def suggest(
    space: Mapping[str, BaseDistribution], before: Sequence[Tried], *, seed: int, number: int, trials: int
) -> dict[str, Value]:
    """The parameters of one trial: the same for the same arguments, whatever else runs beside it.

    :param before: what it may learn from, in the order of their numbers.
    :param number: of the trial, from 0.
    :param trials: how many there will be.
    """
    import optuna

    quiet()
    mixed = hashlib.sha256(f"{seed}:{number}".encode()).digest()  # each its own: equal seeds would draw equal points
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=max(2, trials // STARTUP),
        multivariate=True,
        constant_liar=False,
        seed=int.from_bytes(mixed[:4], "big"),
    )
    study = optuna.create_study(sampler=sampler)
    study.add_trials([_frozen(trial, space) for trial in before])
    params: dict[str, Value] = study.ask(dict(space)).params
    return params


def _frozen(tried: Tried, space: Mapping[str, BaseDistribution]) -> object:
    from optuna.trial import TrialState, create_trial

    given_up = {} if tried.pruned_at is None else {tried.pruned_at: tried.loss}
    return create_trial(
        state=TrialState.COMPLETE if tried.pruned_at is None else TrialState.PRUNED,
        value=tried.loss,
        params=dict(tried.params),
        distributions=dict(space),
        intermediate_values=given_up,
    )


def inside(params: Mapping[str, Value], space: Space) -> dict[str, Value] | None:
    """The searched parameters among those of a training, when all of them are set and lie in the space."""
    searched = {name: params[name] for name in space if name in params}
    fits = len(searched) == len(space) and all(_fits(value, space[name]) for name, value in searched.items())
    return searched if fits else None


def _fits(value: Value, tried: Span | Choice) -> bool:
    if isinstance(tried, Span):
        return tried.holds(value)
    return any(choice == value and isinstance(choice, bool) == isinstance(value, bool) for choice in tried)


def quiet() -> None:
    """Leave Optuna's remarks out of the log: what a task says belongs to its reader."""
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

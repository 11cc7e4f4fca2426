"""Diagnosis and remedy: what is wrong, and the cheapest thing that the evidence says would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from updraft.monitoring.jump import until_next
from updraft.monitoring.trial import Trial
from updraft.spec.model import FixedLimit, Remedies, Retrain

Cause = Literal[
    "first", "age", "performance", "jump", "after_jump", "guard", "drift", "limit", "feed", "by_hand", "challenger"
]
Remedy = Literal["retrain", "recalibrate", "quarantine", "person"]
AFTER_JUMP = 16
"""Partitions between trainings up to which a jump is followed, where the policy names no age."""


@dataclass(frozen=True)
class Past:
    """What has been done so far, counted in published partitions up to and with today's."""

    published: int
    """Partitions with labels that are known: those that a training could learn from."""
    since_training: int | None
    """Partitions since the last training that brought a model; None before the first."""
    since_attempt: int | None
    """The same of the last one that was tried, which may have failed."""
    trained_this_year: int
    """Trainings whose partitions lie within a year before this tick."""
    fruitless: int
    """Last trainings in a row that came to nothing: refused at the gates, or rolled back."""
    champion: bool
    open_episode: bool
    since_jump: int | None = None
    """Partitions since the last jump of the loss that a training was started for."""
    stopped: bool = False
    """Whether a person has stopped the remedies."""
    since_first_of_rate: int | None = None
    """Partitions since the oldest of the trainings that ``retrain.at_most`` allows; None while there were fewer, or without such a limit."""

    @property
    def held(self) -> bool:
        """Whether no training may start, whatever is found: one is under way, or a person wants none."""
        return self.open_episode or self.stopped


@dataclass(frozen=True)
class AgedChallenger:
    """A change in shadow that learnt before what serves by now."""

    version: str
    partition: str
    """Key of the champion's training: its window is to be learnt from."""
    words: str


@dataclass(frozen=True)
class Signs:
    """What the monitor saw at this tick."""

    refit: Trial | None = None
    """What a refit on the recent window would have gained over the recalibrated champion."""
    recalibration: Mapping[str, Any] | None = None
    """Figures of the trial of the champion's layer at this tick."""
    worse_than_none: str | None = None
    """Why the champion is worse than no model; None while that is not shown, or while its probation takes it back."""
    jump: str | None = None
    """Words of a jump of the champion's loss on what became known at this tick; None when there is none."""
    drift: str | None = None
    """Words of a drift alarm; None when there is none."""
    feed_faults: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    """Metrics of the champion on the newest matured rows."""
    challenger: AgedChallenger | None = None
    """The change in shadow, when it is to be refreshed along with the champion."""


@dataclass(frozen=True)
class Diagnosis:
    """One episode's cause and remedy, in words and figures."""

    cause: Cause
    remedy: Remedy
    words: str
    figures: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For the episode's row."""
        return {"cause": self.cause, "remedy": self.remedy, "words": self.words, **self.figures}


def wants_refit_trial(policy: Remedies, past: Past, first_after: int, jump: str | None = None) -> bool:
    """Whether a trial could change what is done now: it costs a fit.

    :param jump: words of a jump of the loss.
    """
    retrain = policy.retrain
    if retrain is None or "performance" not in retrain.on or not past.champion or past.held:
        return False
    due = _due_by_count(policy, past) or _follows_jump(policy, past) or ("jump" in retrain.on and jump is not None)
    return not due and not _withheld(policy, past) and past.published >= first_after


def diagnose(policy: Remedies, past: Past, signs: Signs, *, first_after: int) -> Diagnosis | None:
    """The remedy that is due now, or None. A broken feed comes before everything: nothing is learnt from it.

    What serves comes before what is in shadow, whose refresh is no remedy of the champion: neither cooldown nor budget know of it.
    """
    diagnosis = _diagnose_champion(policy, past, signs, first_after=first_after)
    if diagnosis is not None or signs.challenger is None or policy.retrain is None or past.held:
        return diagnosis
    aged = signs.challenger
    return Diagnosis("challenger", "retrain", aged.words, {"version": aged.version, "partition": aged.partition})


def _diagnose_champion(policy: Remedies, past: Past, signs: Signs, *, first_after: int) -> Diagnosis | None:
    if signs.feed_faults:
        return Diagnosis(
            "feed",
            "quarantine",
            f"the feed is broken: {'; '.join(signs.feed_faults)}; no training",
            {"faults": list(signs.feed_faults)},
        )
    retrain = policy.retrain
    if retrain is None or past.held:
        return None
    if not past.champion:
        tried_before = past.since_attempt is not None and past.since_attempt < max(retrain.cooldown, 1)
        if past.published >= first_after and not tried_before:
            return Diagnosis("first", "retrain", f"{past.published} partitions are there and no model yet")
        return None
    if retrain.on and signs.worse_than_none and past.fruitless < 2 and past.since_attempt != 0:
        # Neither cooldown nor budget was meant to let such a model serve. A policy without any trigger keeps to its schedule alone.
        return Diagnosis(
            "guard", "retrain", f"{signs.worse_than_none}; cooldown and budget do not hold this training back"
        )
    if _withheld(policy, past):
        return None
    diagnosis = _evidence(retrain.on, signs)
    if diagnosis is None and _follows_jump(policy, past):
        words = f"the loss jumped {past.since_jump} partitions ago; what followed is learnt as it comes, each time after twice as much"
        diagnosis = Diagnosis("after_jump", "retrain", words)
    if diagnosis is None and _due_by_count(policy, past):
        diagnosis = Diagnosis(
            "age",
            "retrain",
            f"the last training is {past.since_training} partitions old; the policy says every {retrain.every}",
        )
    if diagnosis is None and retrain.on and signs.worse_than_none:
        diagnosis = Diagnosis("guard", "retrain", signs.worse_than_none)
    if diagnosis is None or past.fruitless < 2:
        return diagnosis
    words = (
        f"{diagnosis.words}; but the last {past.fruitless} trainings did not help: the features or the world changed"
    )
    # What is due by count is tried, and so is a world that has just changed; it is told all the same.
    remedy: Remedy = "retrain" if diagnosis.cause in ("age", "jump", "after_jump") else "person"
    return Diagnosis(diagnosis.cause, remedy, words, diagnosis.figures)


@dataclass(frozen=True)
class NextTraining:
    """When the policy calls for the next training, counted in published partitions that are still to come."""

    partitions: int | None
    """Until it is called for by count, 1 at the next one; None where triggers alone call for one."""
    cooldown: int
    """In which none is called for, whatever happens."""
    rated: bool
    """Whether it is ``at_most`` that forbids one so long, rather than the cooldown."""
    budget_spent: bool


def next_training(policy: Remedies, past: Past, *, first_after: int) -> NextTraining | None:
    """When :func:`diagnose` calls for the next training unless something else does before; None where the policy never does."""
    retrain = policy.retrain
    if retrain is None:
        return None
    cooldown = retrain.cooldown if past.champion else max(retrain.cooldown, 1)
    cooling = 0 if past.since_attempt is None else max(cooldown - past.since_attempt, 0)
    if not past.champion:
        return NextTraining(max(first_after - past.published, cooling, 1), cooling, rated=False, budget_spent=False)
    rated = _rated(retrain, past)
    spent = past.trained_this_year >= retrain.per_year
    by_age = None if retrain.every is None or past.since_training is None else retrain.every - past.since_training
    due = [partitions for partitions in (by_age, _after_jump(policy, past)) if partitions is not None]
    held = max(cooling, rated)
    return NextTraining(max(min(due), held, 1) if due else None, held, rated > cooling, spent)


def _evidence(on: Sequence[str | FixedLimit], signs: Signs) -> Diagnosis | None:
    figures: dict[str, Any] = {}
    if signs.refit is not None:
        figures["refit"] = signs.refit.as_dict()
    if signs.recalibration is not None:
        figures["recalibration"] = dict(signs.recalibration)
    if "performance" in on and signs.refit is not None and signs.refit.shown_positive:
        words = f"ranking got worse: a refit on the recent window would have gained {signs.refit.words} over the recalibrated champion"
        return Diagnosis("performance", "retrain", words, figures)
    if "jump" in on and signs.jump:
        return Diagnosis("jump", "retrain", signs.jump, figures)
    for limit in on:
        if isinstance(limit, FixedLimit) and (value := signs.metrics.get(limit.metric)) is not None:
            crossed = value < limit.value if limit.side == "below" else value > limit.value
            if crossed:
                words = f"{limit.metric} {value:.4f} is {limit.side} the fixed limit {limit.value}"
                return Diagnosis("limit", "retrain", words, {**figures, limit.metric: value})
    if "drift" in on and signs.drift:
        return Diagnosis("drift", "retrain", signs.drift, figures)
    return None


def _due_by_count(policy: Remedies, past: Past) -> bool:
    retrain = policy.retrain
    if retrain is None or retrain.every is None or past.since_training is None:
        return False
    return past.since_training >= retrain.every


def _after_jump(policy: Remedies, past: Past) -> int | None:
    """Partitions until a training that follows a jump is due; None when none does."""
    retrain = policy.retrain
    if retrain is None or "jump" not in retrain.on:
        return None
    return until_next(past.since_jump, past.since_attempt, retrain.every or AFTER_JUMP)


def _follows_jump(policy: Remedies, past: Past) -> bool:
    partitions = _after_jump(policy, past)
    return partitions is not None and partitions <= 0


def _withheld(policy: Remedies, past: Past) -> bool:
    """Cooldown or one of the budgets stands in the way."""
    retrain = policy.retrain
    if retrain is None:
        return True
    cooling = past.since_attempt is not None and past.since_attempt < retrain.cooldown
    return cooling or _rated(retrain, past) > 0 or past.trained_this_year >= retrain.per_year


def _rated(retrain: Retrain, past: Past) -> int:
    """Partitions until ``at_most`` allows a training again; nought when it does."""
    if retrain.at_most is None or past.since_first_of_rate is None:
        return 0
    return max(retrain.at_most.of - past.since_first_of_rate, 0)

"""Play a project's history through the loop's own steps, once for each policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from updraft.backtest.history import history
from updraft.backtest.policies import EVERY_PARTITION, Policy, policies
from updraft.backtest.processes import WORKERS, Say, several
from updraft.errors import DataError, InputError
from updraft.loop.context import Loop
from updraft.loop.memory import KeptModels, fit, play
from updraft.loop.plan import labelled_partitions, plan_training
from updraft.settings import Settings
from updraft.spec.model import Project, Retrain
from updraft.store.records import IngestedPartition
from updraft.store.store import Store


@dataclass(frozen=True)
class Played:
    """One policy's year."""

    policy: str
    keys: tuple[str, ...]
    """Partitions that were scored, in order."""
    losses: tuple[float, ...]
    """Mean loss of what served, by partition, on the labels known at the end of the history."""
    trainings: tuple[str, ...]
    """Partitions at whose ticks a training happened, the first one included."""
    events: tuple[tuple[str, str], ...]
    """(partition, kind) of promotions, refusals and rollbacks."""

    @property
    def mean(self) -> float:
        """Mean over the partitions, each with the same weight."""
        return sum(self.losses) / len(self.losses)

    def half(self, second: bool) -> float:
        """Mean over the first or the second half."""
        middle = len(self.losses) // 2
        part = self.losses[middle:] if second else self.losses[:middle]
        return sum(part) / len(part)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "policy": self.policy,
            "mean_loss": self.mean,
            "first_half": self.half(second=False),
            "second_half": self.half(second=True),
            "trainings": len(self.trainings),
            "trained_at": list(self.trainings),
            "losses": dict(zip(self.keys, self.losses, strict=True)),
            "events": [list(event) for event in self.events],
        }


def loss_name(project: Project) -> str:
    """The metric that a backtest reports."""
    return "log_loss" if project.spec.task == "binary" else "rmse"


def backtest(
    project: Project,
    settings: Settings,
    *,
    last: int | None = None,
    only: Sequence[str] = (),
    rows: Sequence[IngestedPartition] = (),
    say: Say = lambda _: None,
) -> list[Played]:
    """Play the history under every policy.

    It works in a lake of its own, ``<lake>/.backtest``, which keeps partitions and trainings for the next time. A training that the
    deployment has done on the same data is taken from there.

    :param last: only the first so many partitions of the history.
    :param only: names of policies; all when empty.
    :param rows: the history as a deployment ingested it; when empty, the backtest ingests it itself.
    :raises InputError: when a policy is unknown.
    :raises DataError: when the history is open or too short for a first model.
    """
    chosen = policies(project.spec)
    unknown = set(only) - {policy.name for policy in chosen}
    if unknown:
        raise InputError(f"no policy {sorted(unknown)}; there are {[policy.name for policy in chosen]}")
    rows = list(rows)[:last] or history(project, _own(settings), last, say)
    if len(rows) <= project.spec.training.first_after:
        raise DataError(
            f"{project.name}: {len(rows)} partitions are too short a history; the first model comes after {project.spec.training.first_after}"
        )
    wanted = [policy for policy in chosen if not only or policy.name in only]
    longest = sorted(wanted, key=lambda policy: (policy.spec.monitoring.remedies.retrain or Retrain()).every or 0)
    found: dict[str, Played] = {}
    with several(min(len(wanted), WORKERS)) as pool:
        if EVERY_PARTITION in {policy.name for policy in wanted}:
            _fit_ahead(pool, project, settings, rows)
        begun = {pool.submit(play_policy, project, settings, policy, rows): policy.name for policy in longest}
        for one in as_completed(begun):
            played = found[begun[one]] = one.result()
            say(f"{played.policy}: mean {loss_name(project)} {played.mean:.4f}, {len(played.trainings)} trainings")
    return [found[policy.name] for policy in wanted]


class Beside:
    """Policies that a process of the lowest priority plays while their history is still being made."""

    def __init__(self, pool: ProcessPoolExecutor, project: Project, settings: Settings, names: Sequence[str]) -> None:
        self._pool, self._given = pool, (project, settings, tuple(names))
        self._steps: list[Future[None]] = []

    def go_on(self, row: IngestedPartition) -> None:
        """The history has grown by a partition."""
        with suppress(BrokenProcessPool):  # it was killed, for memory say: what the history is made for goes on
            self._steps.append(self._pool.submit(_go_on, *self._given, row))

    def played(self) -> list[Played] | None:
        """What came of each policy, as :func:`backtest` gives it; None when the process was killed.

        :raises DataError: when the history was too short.
        """
        try:
            for step in self._steps:
                step.result()
            return self._pool.submit(_played).result()
        except BrokenProcessPool:
            return None


@contextmanager
def playing_beside(project: Project, settings: Settings, only: Sequence[str]) -> Iterator[Beside]:
    """Play policies of a backtest partition by partition, in what processor time is left over."""
    with several(1, niceness=19) as pool:
        yield Beside(pool, project, settings, only)


_beside: list[_Playing] = []
"""What this process, if it is one that plays beside, is playing."""


def _go_on(project: Project, settings: Settings, names: Sequence[str], row: IngestedPartition) -> None:
    if not _beside:
        chosen = {policy.name: policy for policy in policies(project.spec)}
        _beside.extend(_Playing(project, settings, chosen[name]) for name in names)
    for one in _beside:
        one.go_on(row)


def _played() -> list[Played]:
    return [one.played() for one in _beside]


def _own(settings: Settings) -> Settings:
    """A lake of the backtest's own, and no service."""
    return settings.of_backtests()


def _loop(project: Project, settings: Settings, models: KeptModels) -> Loop:
    """The loop on a store in memory and in the backtest's own lake."""
    return Loop(project, _own(settings), Store.in_memory(), models, settings.lake)


def _fit_ahead(
    pool: ProcessPoolExecutor, project: Project, settings: Settings, rows: Sequence[IngestedPartition]
) -> None:
    """Do the trainings of "every partition" first, side by side: what is learnt at a tick depends on no policy.

    Every policy finds its trainings there, and the proofs of its trials, which would be computed twice where a trial comes before the training.
    """
    bare = [replace(row, checks={}, profile=None) for row in rows]
    ticks = [row.key for row in rows if row.state == "published"]
    for done in as_completed([pool.submit(_fit_at, project, settings, bare, key) for key in ticks]):
        done.result()


def _fit_at(project: Project, settings: Settings, rows: Sequence[IngestedPartition], key: str) -> None:
    """Do the training of one tick, where there are labels enough by then."""
    loop = _loop(project, settings, KeptModels())
    for row in rows:
        if row.key <= key:
            loop.store.record_partition(project.name, row)
    if len(labelled_partitions(loop, key)) >= project.spec.training.first_after:
        fit(loop, plan_training(loop, key))
    loop.store.close()


def play_policy(project: Project, settings: Settings, policy: Policy, rows: Sequence[IngestedPartition]) -> Played:
    """Play the history of a deployment under one policy.

    :param settings: of the deployment; the backtest's own lake lies below its lake.
    """
    playing = _Playing(project, settings, policy)
    for row in rows:
        playing.go_on(row)
    return playing.played()


class _Playing:
    """One policy's year on its way."""

    def __init__(self, project: Project, settings: Settings, policy: Policy) -> None:
        self._policy, self._models = policy.name, KeptModels()
        self._loop = _loop(project.model_copy(update={"spec": policy.spec}), settings, self._models)

    def go_on(self, row: IngestedPartition) -> None:
        """Play the next partition."""
        play(self._loop, self._models, row)

    def played(self) -> Played:
        """What came of it; it is over.

        :raises DataError: when too little was scored.
        """
        loop, store = self._loop, self._loop.store
        measured = store.performance(loop.name)
        if len(measured) < 2:
            raise DataError(
                f"{loop.name}: {len(measured)} scored partitions have matured labels by the end of the history; it needs a longer one"
            )
        kinds = {"promote": "promotion", "refuse": "refusal", "roll_back": "rollback"}
        loss = loss_name(loop.project)
        played = Played(
            self._policy,
            tuple(row.key for row in measured),
            tuple(row.metrics[loss] for row in measured),
            tuple(row.key for row in store.trainings(loop.name)),
            tuple((d.key, kinds[d.kind]) for d in store.decisions(loop.name, kinds=tuple(kinds))),
        )
        store.close()
        return played

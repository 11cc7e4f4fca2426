"""Play a project's history through the loop's own steps, once for each policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from updraft.backtest.history import History, LeftOut, history
from updraft.backtest.policies import EVERY_PARTITION, Policy, policies, rivals
from updraft.backtest.processes import WORKERS, Say, several
from updraft.backtest.rivals import RIVALS, Watch
from updraft.backtest.unscored import why_unscored
from updraft.errors import DataError, InputError
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels, fit, play, settle
from updraft.loop.kept_out import SignCount, count_signs
from updraft.loop.plan import labelled_partitions, plan_training
from updraft.settings import Settings
from updraft.spec.model import Project, ProjectSpec, Retrain
from updraft.store.records import Decision, IngestedPartition
from updraft.store.store import Store
from updraft.training.trainers import library_versions

MUCH = 0.1
"""Share of partitions kept out above which a backtest warns: signs on feeds that are right come at one partition in 200."""


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
    published: int = 0
    """Partitions of the history that could be learnt from, were no feed broken."""
    kept_out: int = 0
    """Those from which nothing was learnt, as their feed looked broken."""
    signs: tuple[SignCount, ...] = ()
    """By which signs."""
    undecided: tuple[str, ...] = ()
    """What rested on too few clusters to decide anything, counted."""

    @property
    def warning(self) -> str | None:
        """What to know before the figures are believed; None when there is nothing."""
        if self.kept_out <= MUCH * self.published:
            return None
        signs = ", ".join(sign.words for sign in self.signs)
        return (
            f"{self.policy}: {self.kept_out} of {self.published} partitions were kept out of every training, as their feed looked broken: "
            f"{signs}. Where that is how the data are, a deployment says so (updraft readmit --column COLUMN --always), and learns from them"
        )

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
            "kept_out": {
                "partitions": self.kept_out,
                "of": self.published,
                "signs": [sign.as_dict() for sign in self.signs],
            },
            "undecided": list(self.undecided),
        }


@dataclass(frozen=True)
class Backtest:
    """What came of a backtest."""

    played: tuple[Played, ...]
    unplayed: Mapping[str, str] = field(default_factory=dict)
    """Policies of which nothing can be told, each with the reason."""
    left_out: tuple[LeftOut, ...] = ()
    """Partitions that were not played."""

    @property
    def failures(self) -> tuple[LeftOut, ...]:
        """Partitions that failed or were refused: somebody has to mend them, other than a file that never came."""
        return tuple(partition for partition in self.left_out if partition.state != "missing")


class Unscored(DataError):
    """A policy scored too little for a loss of it to be told."""


def backtest(
    project: Project,
    settings: Settings,
    *,
    last: int | None = None,
    only: Sequence[str] = (),
    with_rivals: bool = False,
    rows: Sequence[IngestedPartition] = (),
    say: Say = lambda _: None,
) -> Backtest:
    """Play the history under every policy.

    It works in a lake of its own, ``<lake>/.backtest``, which keeps partitions and trainings for the next time. A training that the
    deployment has done on the same data is taken from there.

    :param last: only the first so many partitions of the history.
    :param only: names of policies, those of the literature included; all of the project's own when empty.
    :param with_rivals: play the policies of the literature beside the project's own.
    :param rows: the history as a deployment ingested it; when empty, the backtest ingests it itself.
    :raises InputError: when a policy is unknown.
    :raises DataError: when the history is open or too short for a first model, or no policy scores enough of it.
    :raises TrainingError: when a library of the project's trainer is not installed here.
    """
    wanted = _wanted(project.spec, only, with_rivals=with_rivals)
    library_versions(project.spec.training.trainers[0].name)  # it learns here, wherever trainings do
    with several(WORKERS) as pool:  # one for all of it: a process imports for as long as it plays a dozen partitions
        past = History(tuple(rows)[:last]) if rows else history(project, _own(settings), last, say, pool)
        _need_a_first_model(project, past)
        if EVERY_PARTITION in {policy.name for policy in wanted}:
            _fit_ahead(pool, project, settings, past.rows)
        played, unplayed = _play_side_by_side(pool, project, settings, wanted, past.rows, say)
    if not played:
        raise DataError("\n".join(dict.fromkeys(unplayed.values())))
    order = [policy.name for policy in wanted]
    return Backtest(
        tuple(played[name] for name in order if name in played),
        {name: unplayed[name] for name in order if name in unplayed},
        past.left_out,
    )


def _wanted(spec: ProjectSpec, only: Sequence[str], *, with_rivals: bool) -> list[Policy]:
    """The policies to play, in the order in which they are told.

    :raises InputError: when ``only`` names one that is unknown.
    """
    known = [*policies(spec), *rivals(spec)]
    unknown = set(only) - {policy.name for policy in known}
    if unknown:
        raise InputError(f"no policy {sorted(unknown)}; there are {[policy.name for policy in known]}")
    return [
        policy
        for policy in known
        if policy.name in only or (policy.rival is not None and with_rivals) or (policy.rival is None and not only)
    ]


def _need_a_first_model(project: Project, past: History) -> None:
    """Refuse a history that ends before the first training.

    :raises DataError: says what was left out of it.
    """
    first_after = project.spec.training.first_after
    if len(past.rows) <= first_after:
        raise DataError(
            f"{project.name}: {len(past.rows)} partitions are too short a history; the first model comes after "
            f"{first_after}{_first_failure(past.left_out)}"
        )


def _play_side_by_side(
    pool: ProcessPoolExecutor,
    project: Project,
    settings: Settings,
    wanted: Sequence[Policy],
    rows: Sequence[IngestedPartition],
    say: Say,
) -> tuple[dict[str, Played], dict[str, str]]:
    """What came of each policy by its name, and of which nothing can be told, with the reason. The longest begin first."""
    longest = sorted(wanted, key=lambda policy: (policy.spec.monitoring.remedies.retrain or Retrain()).every or 0)
    begun = {pool.submit(play_policy, project, settings, policy, rows): policy.name for policy in longest}
    played: dict[str, Played] = {}
    unplayed: dict[str, str] = {}
    for done in as_completed(begun):
        policy = begun[done]
        try:
            played[policy] = done.result()
        except Unscored as error:
            unplayed[policy] = str(error)
            continue
        say(
            f"{policy}: mean {project.spec.task_type.headline.name} {played[policy].mean:.4f}, "
            f"{len(played[policy].trainings)} trainings"
        )
    return played, unplayed


def _first_failure(left_out: Sequence[LeftOut]) -> str:
    """Words on what was left out of a history that is too short."""
    if not left_out:
        return ""
    first = left_out[0]
    return f". {len(left_out)} were left out; the first, {first.key}: {first.reason}"


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
    for playing in _beside:
        playing.go_on(row)


def _played() -> list[Played]:
    return [playing.played() for playing in _beside]


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
    shares = [ticks[worker::WORKERS] for worker in range(WORKERS)]
    for done in as_completed([pool.submit(_fit_at, project, settings, bare, share) for share in shares]):
        done.result()


def _fit_at(project: Project, settings: Settings, rows: Sequence[IngestedPartition], ticks: Sequence[str]) -> None:
    """Do the trainings of some ticks, in order, where there are labels enough by then."""
    loop, coming = _loop(project, settings, KeptModels()), iter(rows)
    for key in ticks:
        for row in coming:
            loop.store.record_partition(project.name, row)
            if row.key == key:
                break
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
        self._watch = Watch(RIVALS[policy.rival]()) if policy.rival else None

    def go_on(self, row: IngestedPartition) -> None:
        """Play the next partition."""
        play(self._loop, self._models, row)
        if self._watch is not None and row.state == "published":
            self._watch.look(self._loop, row.key)
            settle(self._loop, self._models)

    def played(self) -> Played:
        """What came of it; it is over.

        :raises Unscored: when too little was scored; says why.
        """
        loop, store = self._loop, self._loop.store
        measured = store.performance(loop.name)
        if len(measured) < 2:
            raise Unscored(f"{loop.name}, {self._policy}: {why_unscored(loop, len(measured))}")
        kinds = {"promote": "promotion", "refuse": "refusal", "roll_back": "rollback"}
        loss = loop.spec.task_type.headline.name
        published = store.partitions(loop.name)
        kept_out = store.keeping_out(loop.name, until=published[-1].key)
        played = Played(
            self._policy,
            tuple(row.key for row in measured),
            tuple(row.metrics[loss] for row in measured),
            tuple(row.key for row in store.trainings(loop.name)),
            tuple((d.key, kinds[d.kind]) for d in store.decisions(loop.name, kinds=tuple(kinds))),
            len(published),
            len(kept_out),
            tuple(count_signs(kept_out)),
            tuple(_undecided(store.decisions(loop.name, kinds=("accept", "refuse", "recalibrate", "diagnose")))),
        )
        store.close()
        return played


def _undecided(decisions: Sequence[Decision]) -> Iterator[str]:
    """How many gates, layers and refit trials rested on too few clusters, of how many there were."""
    gates = [
        bool(decision.body["gates"].get("note")) for decision in decisions if decision.kind in ("accept", "refuse")
    ]
    layers = [bool(decision.body.get("too_few")) for decision in decisions if decision.kind == "recalibrate"]
    refits = [decision.body.get("refit") for decision in decisions if decision.kind == "diagnose"]
    trials = [bool(refit.get("too_few")) for refit in refits if refit is not None]
    for what, few in (("trainings at the gates", gates), ("calibration layers", layers), ("refit trials", trials)):
        if any(few):
            yield f"{sum(few)} of {len(few)} {what}"

"""Play a project's history through the loop's own steps, once for each policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from updraft import files
from updraft.backtest.policies import EVERY_PARTITION, Policy, policies
from updraft.backtest.workers import Workers
from updraft.data.partitions import partitions
from updraft.errors import DataError, PartitionRefused, SourceMissing, WrongInput
from updraft.files import canonical_hash
from updraft.loop.context import Loop
from updraft.loop.ingest import ingest
from updraft.loop.memory import KeptModels, fitted, play
from updraft.loop.plan import labelled_partitions, plan_training
from updraft.settings import Settings
from updraft.spec.model import Project
from updraft.store.records import IngestedPartition
from updraft.store.store import Store

Say = Callable[[str], None]


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
    processes: int = 1,
    say: Say = lambda _: None,
) -> list[Played]:
    """Play the history under every policy.

    It works in a lake of its own, ``<lake>/.backtest``, which keeps partitions and trainings for the next time.

    :param last: only the first so many partitions of the history.
    :param only: names of policies; all when empty.
    :param processes: how many play at once; the result does not depend on it.
    :param rows: the history as a deployment ingested it; when empty, the backtest ingests it itself.
    :raises DataError: when the history is open or too short for a first model.
    :raises WrongInput: when a policy is unknown.
    """
    own = Settings(
        home=settings.home,
        projects=settings.projects,
        lake=f"{settings.lake}/.backtest",
        store="",
        mlflow="",
        airflow="",
    )
    chosen = policies(project.spec)
    unknown = set(only) - {policy.name for policy in chosen}
    if unknown:
        raise WrongInput(f"no policy {sorted(unknown)}; there are {[policy.name for policy in chosen]}")
    played = [policy for policy in chosen if not only or policy.name in only]
    found = []
    with Workers(processes) as workers:
        rows = list(rows)[:last] or history(project, own, last, say, workers)
        if len(rows) <= project.spec.training.first_after:
            raise DataError(
                f"{project.name}: {len(rows)} partitions are too short a history; the first model comes after {project.spec.training.first_after}"
            )
        if EVERY_PARTITION in {policy.name for policy in played}:
            _train_at_every_tick(workers, project, own, rows)
        for one in workers.each(_Play(project, own, tuple(rows)), played, costliest_last=True):
            found.append(one)
            say(f"{one.policy}: mean {loss_name(project)} {one.mean:.4f}, {len(one.trainings)} trainings")
    return found


@dataclass(frozen=True)
class _Play:
    """One policy's turn, as a worker gets it."""

    project: Project
    settings: Settings
    rows: tuple[IngestedPartition, ...]

    def __call__(self, policy: Policy) -> Played:
        return play_policy(self.project, self.settings, policy, self.rows)


@dataclass(frozen=True)
class _Train:
    """The trainings of some ticks, ahead of the policies that ask for them: what is learnt at a tick does not depend on what happened before."""

    project: Project
    settings: Settings
    rows: tuple[IngestedPartition, ...]

    def __call__(self, key: str) -> None:
        store = Store.in_memory()
        loop = Loop(self.project, self.settings, store, KeptModels())
        for row in self.rows:
            store.record_partition(self.project.name, row)
        fitted(loop, plan_training(loop, key))
        store.close()


def _train_at_every_tick(
    workers: Workers, project: Project, settings: Settings, rows: Sequence[IngestedPartition]
) -> None:
    bare = tuple(replace(row, checks={}, profile=None) for row in rows)
    store = Store.in_memory()
    loop = Loop(project, settings, store, KeptModels())
    ticks = []
    for row in bare:
        store.record_partition(project.name, row)
        if row.state == "published" and len(labelled_partitions(loop, row.key)) >= project.spec.training.first_after:
            ticks.append(row.key)
    store.close()
    for _ in workers.each(_Train(project, settings, bare), ticks):
        pass


def history(
    project: Project, settings: Settings, last: int | None, say: Say, workers: Workers | None = None
) -> list[IngestedPartition]:
    """Ingest the history into the backtest's lake; a partition that is there already, from the same folder, is taken as it is.

    A partition whose own file (``{key}`` in a source's URL) is not there is left out, and said so.
    """
    ingesting = _Ingest(project, settings, _stamp(project))
    wanted = [one.key for one in partitions(project.spec)][:last]
    rows: list[IngestedPartition] = []
    missing: list[tuple[str, str]] = []
    first = [ingesting(key) for key in wanted[:1]]  # by itself: it converts the sources, which the others read
    for number, one in enumerate((*first, *(workers or Workers(1)).each(ingesting, wanted[1:])), start=1):
        for line in one.said:
            say(line)
        if one.row is None:
            missing.append((one.key, one.missing))
        else:
            rows.append(one.row)
        if one.fresh and number % 13 == 0:
            say(f"ingested {number} of {len(wanted)} partitions")
    if missing:
        key, why = missing[0]
        say(f"left out {len(missing)} of {len(wanted)} partitions without a file, the first is {key}: {why}")
    return rows


@dataclass(frozen=True)
class _Ingested:
    """What became of one partition; without a row its file is missing."""

    key: str
    row: IngestedPartition | None
    said: tuple[str, ...] = ()
    missing: str = ""
    fresh: bool = True


@dataclass(frozen=True)
class _Ingest:
    """The ingestion of one partition, as a worker gets it."""

    project: Project
    settings: Settings
    stamp: str

    def __call__(self, key: str) -> _Ingested:
        store = Store.in_memory()
        loop = Loop(self.project, self.settings, store, KeptModels())
        try:
            return self._ingest(loop, key)
        finally:
            store.close()

    def _ingest(self, loop: Loop, key: str) -> _Ingested:
        note = loop.url("ingested", f"{key}.json")
        row = _kept(note, self.stamp)
        if row is not None:
            return _Ingested(key, row, fresh=False)
        said: tuple[str, ...] = ()
        try:
            row = ingest(loop, key)
        except PartitionRefused as error:
            said = (str(error).splitlines()[0],)
            row = loop.store.partition(loop.name, key)
            if row is None:
                raise
        except SourceMissing as error:
            if "{key}" not in self.project.spec.data.sources[error.source].url:
                raise
            return _Ingested(key, None, missing=str(error))
        files.write_json(note, {"stamp": self.stamp, "row": row.__dict__})
        return _Ingested(key, row, said)


def _stamp(project: Project) -> str:
    """What ingestion depends on, but the sources themselves."""
    marks = [canonical_hash(project.spec.data.model_dump(mode="json")), project.spec.release.cluster]
    marks += [
        files.sha256(path.read_bytes())
        for path in sorted(Path(project.folder).iterdir())
        if path.is_file() and path.name != "project.yaml"
    ]
    return canonical_hash(marks)


def _kept(note: str, stamp: str) -> IngestedPartition | None:
    try:
        kept = files.read_json(note)
    except FileNotFoundError:
        return None
    return IngestedPartition(**kept["row"]) if kept["stamp"] == stamp else None


def play_policy(project: Project, settings: Settings, policy: Policy, rows: Sequence[IngestedPartition]) -> Played:
    """Play the history under one policy."""
    mark = canonical_hash([policy.spec.model_dump(mode="json"), [row.sha256 for row in rows]])
    store, models = Store.in_memory(), KeptModels(prefix=f"{mark[:8]}-")
    loop = Loop(project.model_copy(update={"spec": policy.spec}), settings, store, models)
    for row in rows:
        play(loop, models, row)
    measured = store.performance(project.name)
    if len(measured) < 2:
        raise DataError(
            f"{project.name}: {len(measured)} scored partitions have matured labels by the end of the history; it needs a longer one"
        )
    kinds = {"promote": "promotion", "refuse": "refusal", "roll_back": "rollback"}
    played = Played(
        policy.name,
        tuple(row.key for row in measured),
        tuple(row.metrics[loss_name(project)] for row in measured),
        tuple(row.key for row in store.trainings(project.name)),
        tuple((d.key, kinds[d.kind]) for d in store.decisions(project.name, kinds=tuple(kinds))),
    )
    store.close()
    return played

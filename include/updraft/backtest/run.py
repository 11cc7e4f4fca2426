"""Play a project's history through the loop's own steps, once for each policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from updraft import files
from updraft.backtest.policies import Policy, policies
from updraft.data.partitions import partitions
from updraft.errors import DataError, PartitionRefused, SourceMissing
from updraft.files import canonical_hash
from updraft.loop.context import Loop
from updraft.loop.ingest import ingest
from updraft.loop.memory import KeptModels, play
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
    say: Say = lambda _: None,
) -> list[Played]:
    """Play the history under every policy.

    It works in a lake of its own, ``<lake>/.backtest``, which keeps partitions and trainings for the next time.

    :param last: only the first so many partitions of the history.
    :param only: names of policies; all when empty.
    :param rows: the history as a deployment ingested it; when empty, the backtest ingests it itself.
    :raises DataError: when the history is open or too short for a first model, or a policy is unknown.
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
        raise DataError(f"no policy {sorted(unknown)}; there are {[policy.name for policy in chosen]}")
    rows = list(rows)[:last] or history(project, own, last, say)
    if len(rows) <= project.spec.training.first_after:
        raise DataError(
            f"{project.name}: {len(rows)} partitions are too short a history; the first model comes after {project.spec.training.first_after}"
        )
    found = []
    for policy in chosen:
        if not only or policy.name in only:
            found.append(play_policy(project, own, policy, rows))
            say(f"{policy.name}: mean {loss_name(project)} {found[-1].mean:.4f}, {len(found[-1].trainings)} trainings")
    return found


def history(project: Project, settings: Settings, last: int | None, say: Say) -> list[IngestedPartition]:
    """Ingest the history into the backtest's lake; a partition that is there already, from the same folder, is taken as it is.

    A partition whose own file (``{key}`` in a source's URL) is not there is left out, and said so.
    """
    stamp = _stamp(project)
    store = Store.in_memory()
    loop = Loop(project, settings, store, KeptModels())
    rows, skipped = [], []
    wanted = list(partitions(project.spec))[:last]
    for number, one in enumerate(wanted, start=1):
        note = loop.url("ingested", f"{one.key}.json")
        row = _kept(note, stamp)
        if row is None:
            try:
                row = _ingested(loop, one.key, say)
            except SourceMissing as error:
                if "{key}" not in project.spec.data.sources[error.source].url:
                    raise
                skipped.append((one.key, error))
                continue
            files.write_json(note, {"stamp": stamp, "row": row.__dict__})
            if number % 13 == 0:
                say(f"ingested {number} of {len(wanted)} partitions")
        rows.append(row)
    store.close()
    if skipped:
        key, why = skipped[0]
        say(f"left out {len(skipped)} of {len(wanted)} partitions without a file, the first is {key}: {why}")
    return rows


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


def _ingested(loop: Loop, key: str, say: Say) -> IngestedPartition:
    try:
        return ingest(loop, key)
    except PartitionRefused as error:
        say(str(error).splitlines()[0])
        found = loop.store.partition(loop.name, key)
        if found is None:
            raise
        return found


def play_policy(project: Project, settings: Settings, policy: Policy, rows: Sequence[IngestedPartition]) -> Played:
    """Play the history under one policy."""
    store, models = Store.in_memory(), KeptModels()
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

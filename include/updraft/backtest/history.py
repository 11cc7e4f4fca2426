"""The history of a project, ingested into the backtest's own lake and kept there."""

from __future__ import annotations

from concurrent.futures import as_completed
from pathlib import Path

from updraft import files
from updraft.backtest.processes import WORKERS, Say, several
from updraft.data.partitions import partitions
from updraft.errors import DataError, PartitionRefused, SourceMissing
from updraft.files import canonical_hash
from updraft.loop.context import Loop
from updraft.loop.ingest import ingest
from updraft.loop.memory import KeptModels
from updraft.loop.sealed import SealedNotes
from updraft.settings import Settings
from updraft.spec.model import Project
from updraft.store.records import IngestedPartition
from updraft.store.store import Store

FEW = 4
"""So few partitions are ingested faster here than in other processes, which have to start first."""


def history(project: Project, settings: Settings, last: int | None, say: Say) -> list[IngestedPartition]:
    """Ingest the history into the backtest's lake; a partition that is there already, from the same folder, is taken as it is.

    A partition without a source file is left out.

    :raises DataError: when no partition has its files.
    """
    wanted = [one.key for one in partitions(project.spec)][:last]
    mark = stamp(project)
    kept = {key: row for key in wanted if (row := _kept(project, settings, key, mark)) is not None}
    absent: dict[str, str] = {}
    left = [key for key in wanted if key not in kept]
    with several(WORKERS if len(left) > FEW else 1) as pool:
        if len(left) <= FEW:
            for key in left:
                _sort(key, _try(project, settings, key, mark), kept, absent, say)
        else:
            begun = {pool.submit(_try, project, settings, key, mark): key for key in left}
            for number, one in enumerate(as_completed(begun), start=1):
                _sort(begun[one], one.result(), kept, absent, say)
                if number % 13 == 0:
                    say(f"ingested {number} of {len(left)} partitions")
    if absent:
        first = min(absent)
        say(
            f"{len(absent)} of {len(wanted)} partitions are left out, as a source has no file; the first is {first}: {absent[first]}"
        )
    if wanted and not kept:
        raise DataError(f"{project.name}: no partition has its files; the first: {absent[wanted[0]]}")
    return [kept[key] for key in wanted if key in kept]


def stamp(project: Project) -> str:
    """Hash of what ingestion depends on: the project's data section, and the files beside project.yaml."""
    marks = [canonical_hash(project.spec.data.model_dump(mode="json")), project.spec.release.cluster]
    marks += [
        files.sha256(path.read_bytes())
        for path in sorted(Path(project.folder).iterdir())
        if path.is_file() and path.name != "project.yaml"
    ]
    return canonical_hash(marks)


def _notes(project: Project, settings: Settings) -> SealedNotes:
    return SealedNotes.of(f"{settings.lake}/{project.name}", project.name, settings)


def _place(key: str) -> str:
    return f"ingested/{key}.json"


def _kept(project: Project, settings: Settings, key: str, mark: str) -> IngestedPartition | None:
    kept = _notes(project, settings).read(_place(key))
    return IngestedPartition(**kept["row"]) if kept is not None and kept["stamp"] == mark else None


def _try(project: Project, settings: Settings, key: str, mark: str) -> tuple[IngestedPartition | None, str]:
    """(row, what to say of it); no row when a source has no file for the partition."""
    store = Store.in_memory()
    try:
        words = ""
        try:
            row = ingest(Loop(project, settings, store, KeptModels()), key)
        except SourceMissing as error:
            if "{key}" not in project.spec.data.sources[error.source].url:
                raise  # the one file of all partitions
            return None, str(error)
        except PartitionRefused as error:
            words = str(error).splitlines()[0]
            found = store.partition(project.name, key)
            if found is None:
                raise
            row = found
        _notes(project, settings).write(_place(key), {"stamp": mark, "row": row.__dict__})
        return row, words
    finally:
        store.close()


def _sort(
    key: str,
    found: tuple[IngestedPartition | None, str],
    kept: dict[str, IngestedPartition],
    absent: dict[str, str],
    say: Say,
) -> None:
    row, words = found
    if row is None:
        absent[key] = words
        return
    kept[key] = row
    if words:
        say(words)

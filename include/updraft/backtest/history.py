"""The history of a project, ingested into the backtest's own lake and kept there."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Literal

from updraft import files
from updraft.backtest.dependencies import Dependencies, HistoryDependencies, changed
from updraft.backtest.processes import WORKERS, Say, several
from updraft.data import gx
from updraft.data.partitions import partitions
from updraft.data.pinned import read_schema
from updraft.data.sources import close_raw_zone, table
from updraft.errors import DataError, PartitionRefused, SourceMissing
from updraft.lake.places import Lake
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.loop.sealed_notes import SealedNotes
from updraft.settings import Settings
from updraft.spec.model import Project
from updraft.store.records import IngestedPartition
from updraft.store.store import Store

FEW = 4
"""So few partitions are ingested faster here than in other processes, which have to start first."""


@dataclass(frozen=True)
class LeftOut:
    """A partition that is not played, as it would not be scored by the DAGs either."""

    key: str
    state: Literal["missing", "failed", "refused"]
    """A source has no file for it; its ingestion failed; it breaks the contract."""
    reason: str


@dataclass(frozen=True)
class History:
    """What a backtest plays."""

    rows: tuple[IngestedPartition, ...]
    """In the order of their ticks; refused ones too, as labels mature at their ticks."""
    left_out: tuple[LeftOut, ...] = ()
    """In the order of their ticks."""


@dataclass(frozen=True)
class _Ingested:
    """What came of one partition: a row, a reason why there is none, or, of a refused one, both."""

    row: IngestedPartition | None
    left_out: LeftOut | None


def history(
    project: Project, settings: Settings, last: int | None, say: Say, pool: ProcessPoolExecutor | None = None
) -> History:
    """Ingest the history into the backtest's lake; a partition is taken from there when all that it follows from is the same.

    A partition that has no file, or whose ingestion fails, is left out with its reason, and the others go on: so do the DAGs.

    :param pool: in which more than a few partitions are ingested; one of its own when None.
    :raises DataError: when no partition can be ingested, or the one file of all partitions is not there or does not read.
    """
    keys = [partition.key for partition in partitions(project.spec)][:last]
    with nullcontext(pool) if pool is not None else several(WORKERS) as workers:
        return _Reading(project, settings, workers, say).read(keys)


class _Reading:
    def __init__(self, project: Project, settings: Settings, pool: ProcessPoolExecutor, say: Say) -> None:
        self._project, self._settings, self._pool, self._say = project, settings, pool, say
        self._lake = Lake(settings.lake, project.name)
        self._notes = SealedNotes.of(self._lake, settings)
        self._rows: dict[str, IngestedPartition] = {}
        self._left_out: dict[str, LeftOut] = {}
        self._changed: dict[str, tuple[str, ...]] = {}

    def read(self, keys: list[str]) -> History:
        depends_on = self._depend_on(keys)
        to_ingest = {key: now for key, now in depends_on.items() if not self._is_kept(key, now)}
        self._tell_changes()
        if to_ingest:
            self._need_files_of_all()
            self._forget_seasons()
            self._ingest(self._with_types(depends_on, to_ingest))
        self._tell_left_out(len(keys))
        if keys and not self._rows:
            first = self._left_out[keys[0]]
            why = "has its files" if first.state == "missing" else "could be ingested"
            raise DataError(f"{self._project.name}: no partition {why}; the first, {first.key}: {first.reason}")
        left_out = tuple(self._left_out[key] for key in keys if key in self._left_out)
        return History(tuple(self._rows[key] for key in keys if key in self._rows), left_out)

    def _depend_on(self, keys: list[str]) -> dict[str, Dependencies]:
        """What the partitions follow from; without those that cannot be told, which are left out."""
        dependencies = HistoryDependencies(self._project, self._settings.connections)
        dependencies.look_ahead(keys)
        depends_on = {}
        for key in keys:
            try:
                depends_on[key] = dependencies.of(key)
            except SourceMissing as error:
                if not self._project.spec.data.sources[error.source].by_partition:
                    raise  # the one file of all partitions
                self._left_out[key] = LeftOut(key, "missing", str(error))
            except DataError as error:
                self._left_out[key] = LeftOut(key, "failed", str(error))
        return depends_on

    def _is_kept(self, key: str, now: Dependencies) -> bool:
        note = self._notes.read(self._lake.ingested_place(key))
        if note is None:
            return False
        if differs := changed(note.get("depends_on"), now):
            self._changed[key] = differs
            return False
        self._take(key, _Ingested(IngestedPartition(**note["row"]), None))
        return True

    def _need_files_of_all(self) -> None:
        """Read the files that all partitions share, once and first: without one of them none can be ingested.

        :raises DataError: when one does not read.
        """
        raw = self._settings.raw_zone(self._project.name)
        close_raw_zone(raw)
        for name, source in self._project.spec.data.sources.items():
            if source.type == "file" and not source.has_file_each:
                with table(self._project, raw, name, ""):
                    pass

    def _forget_seasons(self) -> None:
        """References of drift that do not name the partitions they were made of: some of those will be others."""
        for place in self._lake.season_places():
            files.remove(self._lake.at(place))

    def _with_types(
        self, depends_on: Mapping[str, Dependencies], to_ingest: Mapping[str, Dependencies]
    ) -> Mapping[str, Dependencies]:
        """What is left to ingest once the oldest partition has told the types of the columns, as it does where nothing was ingested before.

        After a change the types are told anew. Where they are others, all partitions are ingested again: one history has one type a column.
        """
        sources = self._project.spec.data.sources
        before = {source: read_schema(self._lake, source) for source in sources}
        oldest = next(iter(depends_on if self._changed else to_ingest))
        if self._changed:
            for source in sources:
                files.remove(self._lake.schema(source))
            files.remove(self._lake.classes)
        if len(to_ingest) > FEW:
            oldest_in = self._pool.submit(_ingest, self._project, self._settings, oldest, depends_on[oldest])
            for _ in range(WORKERS - 1):
                self._pool.submit(_get_ready)  # the others import meanwhile, which takes as long as a dozen partitions
            self._take(oldest, oldest_in.result())
        else:
            self._take(oldest, _ingest(self._project, self._settings, oldest, depends_on[oldest]))
        others = sorted(
            f"{source}.{column}"
            for source, types in before.items()
            for column, kind in types.items()
            if (now := read_schema(self._lake, source).get(column)) is None
            or (now.kind, now.storage) != (kind.kind, kind.storage)
        )
        kept = [key for key in self._rows if key != oldest]
        if others and kept:
            self._say(f"all partitions are ingested again, as columns may have other types now: {', '.join(others)}")
            for key in kept:
                del self._rows[key]
            self._left_out = {key: left for key, left in self._left_out.items() if key not in kept}
            to_ingest = depends_on
        return {key: now for key, now in to_ingest.items() if key != oldest}

    def _ingest(self, to_ingest: Mapping[str, Dependencies]) -> None:
        if len(to_ingest) <= FEW:
            for key, depends_on in to_ingest.items():
                self._take(key, _ingest(self._project, self._settings, key, depends_on))
            return
        begun = {
            self._pool.submit(_ingest, self._project, self._settings, key, depends_on): key
            for key, depends_on in to_ingest.items()
        }
        for number, done in enumerate(as_completed(begun), start=1):
            self._take(begun[done], done.result())
            if number % 13 == 0:
                self._say(f"ingested {number} of {len(to_ingest)} partitions")

    def _take(self, key: str, ingested: _Ingested) -> None:
        row, left_out = ingested.row, ingested.left_out
        if row is not None:
            self._rows[key] = row
            if row.state == "refused":
                left_out = LeftOut(key, "refused", _refusals(row))
        if left_out is not None:
            self._left_out[key] = left_out

    def _tell_changes(self) -> None:
        if self._changed:
            names = sorted({name for names in self._changed.values() for name in names})
            many = len(self._changed) > 1
            self._say(
                f"{len(self._changed)} partition{'s are' if many else ' is'} ingested again, as there is a change in "
                f"{', '.join(names)}; the first is {min(self._changed)}"
            )

    def _tell_left_out(self, of: int) -> None:
        missing = sorted(key for key, left_out in self._left_out.items() if left_out.state == "missing")
        if missing:
            self._say(
                f"{len(missing)} of {of} partitions are left out, as a source has no file; the first is {missing[0]}: "
                f"{self._left_out[missing[0]].reason}"
            )


def _refusals(row: IngestedPartition) -> str:
    return "; ".join(str(line) for line in row.checks.get("refusals", ())) or "it breaks the contract"


def _get_ready() -> None:
    """Import what ingestion imports when it is first called for."""
    gx.load()


def _ingest(project: Project, settings: Settings, key: str, depends_on: Dependencies) -> _Ingested:
    """Ingest a partition and note what it follows from; one that fails is tried again the next time."""
    store = Store.in_memory()
    try:
        try:
            row = ingest(Loop(project, settings, store, KeptModels()), key)
        except PartitionRefused:
            refused = store.partition(project.name, key)
            if refused is None:
                raise
            row = refused
        except SourceMissing as error:  # it was there a moment ago
            return _Ingested(None, LeftOut(key, "missing", str(error)))
        except DataError as error:
            return _Ingested(None, LeftOut(key, "failed", str(error)))
        except OSError as error:  # such as a file that this user may not read
            sources = (source.place.replace("{key}", key) for source in project.spec.data.sources.values())
            reason = f"a file cannot be read or written: {error.strerror}: {error.filename or ', '.join(sources)}"
            return _Ingested(None, LeftOut(key, "failed", reason))
        lake = Lake(settings.lake, project.name)
        note = {"depends_on": dict(depends_on), "row": asdict(row)}
        SealedNotes.of(lake, settings).write(lake.ingested_place(key), note)
        return _Ingested(row, None)
    finally:
        store.close()

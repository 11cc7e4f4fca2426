"""A person settles rows in quarantine: they are released, and enter their partition as a new revision, or dropped, and wanted no more.

The decision is taken first, with the list of the rows; then everything that follows from the rows is made anew by the steps of ingestion: the
partition with its profile and features, and the labels that matured at later ticks. Killed in between, the same command goes on, and so does any
later ingestion of the partition. Predictions stay as they were served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.data.contract import load_contract
from updraft.data.duck import connection
from updraft.data.extraction import raw_url, slices
from updraft.data.ingest import raw_files
from updraft.data.key_ring import MADE
from updraft.data.settled import decided_numbers, key_problem, marks
from updraft.data.validation import Validator
from updraft.data.views import Views
from updraft.errors import InputError, PartitionRefused
from updraft.lock import exclusive
from updraft.loop.chosen_rows import Chosen, Rows, chosen_rows
from updraft.loop.context import Loop
from updraft.loop.ingest import extract, publish, validate
from updraft.loop.quarantined import quarantine_of
from updraft.loop.rotated import check_key_is_left, keys_of, rotations
from updraft.loop.settled import KINDS, How, decisions_about_rows, settled_rows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Settled:
    """What became of rows in quarantine."""

    partition: str
    how: How
    rows: Mapping[str, int]
    """By source; empty where all of it was decided before."""
    state: str
    """Of the partition afterwards."""
    published: int
    """Rows of it."""
    rebuilt: tuple[str, ...]
    """Partitions that were published anew; the later ones for their labels."""
    newly_published: bool
    """Whether it was refused before: then nothing has scored it."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def settle_quarantine(loop: Loop, key: str, chosen: Chosen, *, how: How, by: str, reason: str) -> Settled:
    """Release or drop rows in quarantine, and make anew what follows from them. Said twice, it is one decision.

    :raises InputError: when no such row is in quarantine, when released rows could not be told apart by their key, or when nothing is learnt
        from the partition as its feed looked broken.
    :raises DataError: when the key of the partition's pseudonyms is destroyed.
    """
    with exclusive(loop.lake.at("quarantine")):  # of two at once the second sees what the first has decided
        if quarantine_of(loop, key) is None and not decisions_about_rows(loop, [key]):
            raise InputError(f"{loop.name}: no row of {key} is in quarantine")
        if how == "release" and loop.store.keeping_out(loop.name, since=key, until=key):
            raise InputError(
                f"{loop.name}: nothing is learnt from partition {key}, as its feed looked broken; say that it is right first: "
                f"updraft readmit {loop.name} {key} --reason WHY"
            )
        check_key_is_left(loop, key, rotations(loop))
        before = loop.store.partition_row(loop.name, key)
        rows = _decide(loop, key, chosen, how=how, by=by, reason=reason)
        rebuilt = rebuild(loop, key)
        after = loop.store.partition_row(loop.name, key)
    state = after.state if after else "refused"
    newly = state == "published" and (before is None or before.state != "published")
    return Settled(key, how, rows, state, after.rows if after else 0, rebuilt, newly)


def _decide(loop: Loop, key: str, chosen: Chosen, *, how: How, by: str, reason: str) -> dict[str, int]:
    """Keep the list of the rows in the lake, and its hash in the chain; how many rows of each source it names, none where all was decided."""
    import pandas as pd

    frames = _rows(loop, key, chosen, how)
    if not frames:
        return {}
    listed = pd.concat([frame[["mark"]].assign(source=source) for source, frame in frames.items()])
    listed = listed.drop_duplicates().sort_values(["source", "mark"], ignore_index=True)
    _, sha256 = files.write_parquet_named_by_content(loop.lake.settled_stem(key), listed)
    rows = {source: len(frame) for source, frame in frames.items()}
    breaches = {source: _counted(frame) for source, frame in frames.items()}
    body = {"partition": key, "rows": rows, "breaches": breaches, "sha256": sha256, "by": by, "reason": reason, **MADE}
    newest = loop.store.newest_partition(loop.name, state=None) or key
    number = len(decisions_about_rows(loop, [key])) + 1  # released, dropped and released again are three decisions
    loop.store.decide(loop.name, key=newest, kind=KINDS[how], subject=f"{key} {number}", body=body)
    return rows


def _rows(loop: Loop, key: str, chosen: Chosen, how: How) -> dict[str, pd.DataFrame]:
    """The rows that are meant and not yet decided so, by source, as :func:`updraft.data.settled.marks` gives them. Nothing is written.

    :raises InputError: when there are none of that choice, or they cannot be published.
    """
    project, settings = loop.project, loop.settings
    ensure_extracted(loop, key)
    ring, settled = keys_of(loop), settled_rows(loop, key)
    of_sources = {}
    with ExitStack() as stack:
        raw, digests = raw_files(stack, project, settings, key)
        con = stack.enter_context(connection(raw.values()))
        views = Views(con, project, slices(project, key))
        views.open(raw)
        Validator(views, load_contract(project), ring).run(tuple(raw), digests)
        for source in raw:
            frame = marks(views, source, ring.marker)
            own = frame[frame["own"]].reset_index(drop=True)
            released, dropped = decided_numbers(own, source, settled)
            of_sources[source] = Rows(own, frozenset(released), frozenset(dropped))
        frames = chosen_rows(loop.name, key, of_sources, chosen, how)
        for source, frame in frames.items():
            together = [*of_sources[source].released, *map(int, frame["n"])]
            if how == "release" and (problem := key_problem(views, source, together)):
                raise InputError(f"{loop.name}: partition {key}: {source}: these rows cannot be released: {problem}")
    return frames


def _counted(frame: pd.DataFrame) -> dict[str, int]:
    counts = frame["reasons"].explode().value_counts()
    return {str(why): int(count) for why, count in sorted(counts.items())}


def ensure_extracted(loop: Loop, key: str) -> None:
    """Read the sources again where the raw copies of a partition have left with the training window."""
    urls = [raw_url(loop.project, loop.settings, key, f"{source}.parquet") for source in loop.spec.data.sources]
    if not all(files.exists(url) for url in urls):
        extract(loop, key)


def rebuild(loop: Loop, key: str) -> tuple[str, ...]:
    """Make a partition anew, and the labels of its rows that matured at later ticks; keys of those that were published."""
    later = loop.store.partitions(loop.name, state=None, after=key)
    rebuilt = []
    for affected in (key, *_maturing(loop, key, [row.key for row in later])):
        ensure_extracted(loop, affected)
        try:
            validate(loop, affected)
        except PartitionRefused:
            continue  # recorded, and told
        publish(loop, affected)
        rebuilt.append(affected)
    return tuple(rebuilt)


def _maturing(loop: Loop, key: str, later: Sequence[str]) -> list[str]:
    """Those of some later partitions at whose ticks labels of a partition mature."""
    affected = []
    for candidate in later:
        if all(part.key != key for part in slices(loop.project, candidate)):
            break
        affected.append(candidate)
    return affected

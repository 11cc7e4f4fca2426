"""Partitions that should be published and are not: refused, failed, waited for, late, or never ingested. Each with its reason and the next step.

No more is looked at than a training window has: from an older partition nothing is learnt any more. One that cannot be mended is passed
over by a person (:func:`pass_over`); one that is published is wanted no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby, islice, takewhile
from typing import Any, Literal

from updraft.alerts import messages
from updraft.alerts.words import moment
from updraft.data.partitions import KEY_FORMAT, end_of_history, keys_before, next_tick
from updraft.errors import InputError, SourceBehind, SourceMissing
from updraft.spec.model import ProjectSpec
from updraft.store.records import FailedIngestion
from updraft.store.store import Store

PASS_OVER = "pass_over"
"""Kind of the decision that a partition stays unpublished."""
GRACE = timedelta(hours=1)
"""How long after its tick a partition is still being ingested, as far as the store can tell."""
_REASONS = 3
"""Reasons of a refusal that are told; the data docs have all of them."""

Fate = Literal["refused", "failed", "late", "missing", "waiting"]
"""``waiting``: for a file that is not late yet, which asks nothing of a person."""


@dataclass(frozen=True)
class Unpublished:
    """Ticks in a row of which the same is known."""

    project: str
    keys: tuple[str, ...]
    """Of the partitions, in order."""
    fate: Fate
    reason: str
    next_step: str

    @property
    def words(self) -> str:
        """One line for a person."""
        first, last = self.keys[0], self.keys[-1]
        which = f"partition {first}" if first == last else f"{len(self.keys)} partitions from {first} to {last}"
        return f"{which}, {self.fate}: {self.reason}. {self.next_step}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: value for name, value in asdict(self).items() if name != "project"}


@dataclass(frozen=True)
class Ingested:
    """What the store knows of the partitions of a training window, and of those that should have followed."""

    expected: tuple[str, ...]
    """Keys of the ticks that have passed, from the oldest of these partitions on."""
    states: Mapping[str, str]
    """State of each partition that ingestion has finished with."""
    refusals: Mapping[str, Sequence[str]]
    """Why the refused ones are."""
    failures: Mapping[str, FailedIngestion]
    """Last tries that failed."""
    now: datetime
    """Of the clock, when the store was asked."""
    passed_over: Collection[str] = ()
    """What a person said stays unpublished."""


def find_unpublished(store: Store, spec: ProjectSpec, now: datetime) -> list[Unpublished]:
    """The partitions of a project that are wanted, by the store and the clock, in order.

    :param now: of the clock: an open history has a partition for each tick up to now. One that has ended is loaded by hand, and is never late.
    """
    return list(_together(unpublished(spec, read_ingested(store, spec, now))))


def read_ingested(store: Store, spec: ProjectSpec, now: datetime) -> Ingested:
    """Ask the store for what :func:`unpublished` is told from."""
    name, window = spec.name, spec.training.window
    rows = store.partitions(name, state=None, newest=window)
    states = {row.key: str(row.state) for row in rows}
    failures = store.failed_ingestions(name, since=rows[0].key if rows else "", until=now.strftime(KEY_FORMAT))
    return Ingested(
        expected=tuple(_expected(spec, [row.key for row in rows], now)),
        states=states,
        refusals=store.refusals(name, [key for key, state in states.items() if state == "refused"]),
        failures=failures,
        now=now,
        passed_over={decision.subject for decision in store.decisions(name, kinds=(PASS_OVER,))},
    )


def _expected(spec: ProjectSpec, keys: Sequence[str], now: datetime) -> list[str]:
    """The newest ticks of a training window that have passed, from the oldest of some partitions on; none before the first partition is there."""
    if not keys:
        return []
    window, oldest, newest = spec.training.window, keys[0], keys[-1]
    ticked = [newest, *islice(takewhile(lambda key: key >= oldest, keys_before(spec, newest)), window)]
    # A partition at which the schedule does not tick is from before the schedule was changed: what it expects begins after that.
    changed_after = max(set(keys) - set(ticked), default="")
    ended = end_of_history(spec)
    open_still = ended is None or ended > now
    due = (now - GRACE).strftime(KEY_FORMAT)
    later = [*islice(takewhile(lambda key: key > newest, keys_before(spec, due)), window)] if open_still else []
    return [key for key in [*ticked[::-1], *later[::-1]] if key > changed_after][-window:]


def unpublished(spec: ProjectSpec, ingested: Ingested) -> Iterator[Unpublished | None]:
    """Each tick in order: what is wanted of its partition, None where nothing is. It reads nothing else."""
    for key in sorted({*ingested.expected, *ingested.states, *ingested.failures}):
        yield None if key in ingested.passed_over else _wanted(spec, ingested, key)


def _wanted(spec: ProjectSpec, ingested: Ingested, key: str) -> Unpublished | None:
    state, failed = ingested.states.get(key), ingested.failures.get(key)
    if failed is not None:
        return _failed(spec, failed, state, ingested.now)
    if state == "refused":
        return _refused(spec, key, ingested.refusals.get(key, ()))
    if state is not None:
        return None
    if key > max(ingested.states, default=""):
        reason = f"{spec.name}.ingest has not finished with it, and nothing says why"
        step = f"See its run; without one, look whether Airflow runs (updraft doctor) and start {spec.name}.ingest with the partition key {key}"
        return Unpublished(spec.name, (key,), "late", reason, step)
    reason = "later ones were ingested, and no run has finished with it"
    step = f"Start {spec.name}.ingest with the partition key {key}; {_or_pass_over(spec.name, key)}"
    return Unpublished(spec.name, (key,), "missing", reason, step)


def _refused(spec: ProjectSpec, key: str, refusals: Sequence[str]) -> Unpublished:
    more = len(refusals) - _REASONS
    reasons = [*refusals[:_REASONS], *([f"and {more} more"] if more > 0 else [])]
    step = f"Mend the source, or the contract in {spec.name}/expectations.yaml, and {_clear(spec.name, key)}"
    words = "; ".join(reasons) or "its data docs say why"
    return Unpublished(spec.name, (key,), "refused", words, f"{step}; {_or_pass_over(spec.name, key)}")


def _failed(spec: ProjectSpec, failed: FailedIngestion, state: str | None, now: datetime) -> Unpublished:
    name, key = spec.name, failed.key
    # An error begins with the project and ends with a full stop or not: here it stands in the middle of a line.
    said = " ".join(failed.words.split()).removeprefix(f"{name}: ").rstrip(".")
    reason = f"{failed.task}: {failed.error}" + (f": {said}" if said else "; its words are in the task's log")
    if failed.late_at is not None and state is None:
        return _awaited(spec, key, datetime.fromisoformat(failed.late_at), said, now)
    if failed.error in (SourceMissing.__name__, SourceBehind.__name__) and state is None:
        step = f"When the file is there, {_clear(name, key)}; {_or_pass_over(name, key)}"
        return Unpublished(name, (key,), "late", reason, step)
    mended = "It is tried again by itself; if it has failed for good," if failed.passes else "Mend the cause, and"
    if state == "published":
        step = f"What was published of it before stays. {mended} {_clear(name, key)}"
    else:
        step = f"{mended} {_clear(name, key)}; {_or_pass_over(name, key)}"
    return Unpublished(name, (key,), "failed", reason, step)


def _awaited(spec: ProjectSpec, key: str, late_at: datetime, said: str, now: datetime) -> Unpublished:
    """Of a partition whose file is waited for, or was until the next tick."""
    until = next_tick(spec, key)
    if now < late_at:
        step = f"It is read when it comes; from {moment(late_at)} on it is late, and on-call is told"
        return Unpublished(spec.name, (key,), "waiting", said, step)
    by_hand = f"{_clear(spec.name, key)} when the file is there; {_or_pass_over(spec.name, key)}"
    by_itself = f"It is read by itself if it comes before {moment(until)}; later, " if now < until else ""
    return Unpublished(spec.name, (key,), "late", said, by_itself + by_hand)


def _clear(project: str, key: str) -> str:
    return f"clear the run of {project}.ingest for {key}"


def _or_pass_over(project: str, key: str) -> str:
    return f"if it stays as it is: {messages.pass_over_command(project, key)}"


def _together(partitions: Iterable[Unpublished | None]) -> Iterator[Unpublished]:
    """Those that follow each other with the same fate and reason as one, whose next step is one of each key."""
    for _, alike in groupby(partitions, key=lambda partition: partition and (partition.fate, partition.reason)):
        first, *others = alike
        if first is not None:
            keys = (*first.keys, *(key for other in others if other is not None for key in other.keys))
            step = first.next_step.replace(first.keys[0], "KEY") if others else first.next_step
            yield replace(first, keys=keys, next_step=step)


def pass_over(store: Store, spec: ProjectSpec, keys: Sequence[str], *, by: str, reason: str, now: datetime) -> None:
    """Decide that partitions stay unpublished: they are wanted no more. Published later, they count as any other. Said twice, it is one decision.

    :raises InputError: when one of them is not wanted, naming those that are; nothing is decided then.
    """
    news = tuple(key for key in dict.fromkeys(keys) if store.decision(spec.name, PASS_OVER, key) is None)
    by_tick = unpublished(spec, read_ingested(store, spec, now))
    wanted = {partition.keys[0]: partition for partition in by_tick if partition is not None}
    for key in news:
        if key not in wanted:
            raise InputError(f"{spec.name}: partition {key} is not wanted; wanted are {', '.join(wanted) or 'none'}")
    newest = store.newest_partition(spec.name, state=None) or ""
    for key in news:
        body = {"partition": key, "fate": wanted[key].fate, "by": by, "reason": reason}
        store.decide(spec.name, key=newest or key, kind=PASS_OVER, subject=key, body=body)

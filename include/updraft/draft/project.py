"""A table as a project: everything that is understood of it, guessed, and settled, before a file is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from updraft.draft import event_time, features, key, label, leaks, limits, private, schedule
from updraft.draft.features import Chosen
from updraft.draft.key import Key
from updraft.draft.label import Label
from updraft.draft.limits import Limits
from updraft.draft.question import Settle
from updraft.draft.schedule import Volume
from updraft.draft.table import Column, Table, Written, read, typed
from updraft.errors import InputError
from updraft.spec.source import Source

_FEWEST_ROWS = 50


@dataclass(frozen=True)
class Said:
    """What somebody said beforehand, as the options of the command; None where nothing."""

    label: str | None = None
    time: str | None = None
    time_format: str | None = None
    time_zone: str | None = None
    key: tuple[str, ...] | None = None
    task: str | None = None
    schedule: str | None = None
    matures_after: timedelta | None = None
    decimal: str | None = None


@dataclass(frozen=True)
class Draft:
    """A project that is not written yet."""

    name: str
    owner: str
    source_name: str
    source: Source
    time_why: str
    rows: int
    timeless: int
    """Rows without an event time, which are in no partition."""
    columns: Mapping[str, Column]
    key: Key
    label: Label
    label_candidates: Sequence[str]
    outcomes: Mapping[str, str]
    """Columns that seem to be known only with the outcome, and why."""
    private: Mapping[str, str]
    """Columns that look private, and why."""
    chosen: Chosen
    volume: Volume
    limits: Limits


def draft(name: str, url: str, source_name: str, owner: str, said: Said, settle: Settle) -> Draft:
    """Read a table, and settle what a project has to say of it.

    :param settle: answers what cannot be guessed safely.
    :raises InputError: when the table does not read, something cannot be settled, or nothing can be learnt from it.
    """
    with read(url, source_name, decimal=said.decimal) as written:
        if written.rows < _FEWEST_ROWS:
            raise InputError(
                f"{url} has {written.rows} rows, too few to learn anything from (the least is {_FEWEST_ROWS}); bring a longer history"
            )
        return _drafted(name, owner, written, said, settle)


def _drafted(name: str, owner: str, written: Written, said: Said, settle: Settle) -> Draft:
    times = event_time.time_columns(written, said.time_format)
    source, time_why = event_time.choose(
        written, times, settle, column=said.time, time_format=said.time_format, time_zone=said.time_zone
    )
    same_form = [
        candidate.name
        for candidate in times
        if source.time_format is not None and source.time_format in candidate.formats
    ]
    table = typed(written, source, same_form)
    of_label, of_key = _label_and_key(table, said, settle)
    if wrong := sorted(set(of_key.columns) & set(of_label.columns)):
        raise InputError(
            f"--key {wrong[0]!r} is a column of the label, which is not known when a row is named; name others"
        )
    roles = {*of_label.columns, *of_key.columns, table.event_time}
    outcomes = leaks.suspects(table, of_label, roles)
    private_ones = private.looks_private(table, {*of_label.columns, table.event_time, *outcomes})
    left_out = {*of_label.columns, *outcomes, *private_ones}
    chosen = features.choose(table, key=of_key.columns, left_out=left_out)
    if not chosen.features:
        raise InputError(
            f"no column of {source.url} is left to learn from: {_all_unused(chosen, outcomes, private_ones)}"
        )
    volume = schedule.choose(table, stated=said.schedule, matures_after=of_label.matures_after)
    read_by_features = list(dict.fromkeys(feature.column for feature in chosen.features))
    stated = [column for column in read_by_features if column not in of_key.columns and column != table.event_time]
    learnt = limits.learn(table, volume, stated, typed=[*stated, *of_label.columns])
    return Draft(
        name, owner, written.name, source, time_why, table.rows, table.columns[table.event_time].missing, table.columns, of_key, of_label,
        label.candidates(table), outcomes, private_ones, chosen, volume, learnt,
    )  # fmt: skip


def _label_and_key(table: Table, said: Said, settle: Settle) -> tuple[Label, Key]:
    """Both, or everything that is to be said of either: it is read once for it, not twice."""
    wrong: list[str] = []
    of_label: Label | None = None
    try:
        of_label = label.choose(table, settle, stated=said.label, task=said.task, matures_after=said.matures_after)
    except InputError as error:
        wrong.append(str(error))
    try:
        of_key = key.choose(table, settle, columns=said.key, taken=of_label.columns if of_label else ())
    except InputError as error:
        wrong.append(str(error))
    if of_label is None or wrong:
        raise InputError("\n".join(wrong))
    return of_label, of_key


def _all_unused(chosen: Chosen, *others: Mapping[str, str]) -> str:
    return "; ".join(f"{column!r} {why}" for reasons in (chosen.unused, *others) for column, why in reasons.items())

"""``updraft readmit``: a feed that looked broken is right as it is, says a person."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from updraft.alerts.alert import cleaned
from updraft.cli.edge import console, explained, find_project, loop_of, open_store, who, write_json
from updraft.control.actions import answered, readmit_partition
from updraft.errors import InputError
from updraft.loop.alerting import learning_alerts
from updraft.loop.kept_out import count_signs, sign_words
from updraft.loop.readmission import Readmitted, readmit_signs, take_back
from updraft.monitoring.faults import Kind


def readmit(
    project: Annotated[str, typer.Argument(help="name of the project")],
    reason: Annotated[str, typer.Option(help="why, for the record")],
    partition: Annotated[
        str | None, typer.Argument(help="key of one partition, such as 2013-03-04T0500; else say which signs")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="every partition that signs of this column keep out; may be given again")
    ] = None,
    sign: Annotated[
        str | None, typer.Option(help="only signs of this kind, such as nulls; without a column: of whole partitions")
    ] = None,
    always: Annotated[bool, typer.Option("--always", help="from now on such a sign is no fault any more")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="take back an earlier --always: it is a fault again")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Let trainings learn again from what was kept out as its feed looked broken: it is right as it is.

    One partition; or, with --column or --sign, every partition that such signs alone keep out. --always says that it stays so, until --undo
    takes that back: a decision like any other, recorded with who and why.

    Example: updraft readmit flight_delays --column distance --always --reason "distances are in kilometres from now on"
    """
    with explained(), open_store() as store:
        loop = loop_of(find_project(project), store)
        name = loop.name
        columns, kind = [cleaned(column_name) for column_name in column or ()], None if sign is None else cleaned(sign)
        _check(partition, columns, kind, always=always, undo=undo)
        by, why = who(), cleaned(reason)
        if partition is not None:
            told: dict[str, object] = {"partition": cleaned(partition)}
            lines = [readmit_partition(loop, partition, by=by, reason=reason)]
        elif undo:
            signs = take_back(store, name, columns=columns, kind=kind, by=by, reason=why)
            told = {"signs": [list(taken) for taken in signs], "accepted": False}
            lines = [f"{name}: {', '.join(map(sign_words, signs))}: a fault again from the next partition on"]
        else:
            done = readmit_signs(store, name, columns=columns, kind=kind, always=always, by=by, reason=why)
            told = {"signs": [list(meant) for meant in done.signs], "accepted": always}
            told |= {"partitions": list(done.partitions), "left": [left.key for left in done.left]}
            lines = _lines(name, done, always=always)
            learning_alerts.readmitted(loop, done.partitions, answered(done, always=always), by=by, reason=why)
    if as_json:
        write_json({"project": project, **told, "reason": reason})
        return
    for line in lines:
        console.print(cleaned(line), markup=False, soft_wrap=True)


def _check(partition: str | None, columns: list[str], kind: str | None, *, always: bool, undo: bool) -> None:
    """Hold the options against each other.

    :raises InputError: saying what to give.
    """
    by_sign = bool(columns) or kind is not None
    if (partition is not None) == by_sign:
        raise InputError("name one PARTITION, or the signs that are meant: --column COLUMN, --sign KIND")
    if not by_sign and (always or undo):
        raise InputError("--always and --undo speak of signs: give --column COLUMN, or --sign KIND")
    if always and undo:
        raise InputError("--always and --undo contradict each other: give one of them")
    if kind is not None and kind not in get_args(Kind):
        raise InputError(f"--sign {kind!r}: no such kind of sign; there are {', '.join(get_args(Kind))}")


def _lines(name: str, done: Readmitted, *, always: bool) -> list[str]:
    signs = ", ".join(map(sign_words, done.signs))
    ends = f", from {done.partitions[0]} to {done.partitions[-1]}" if done.partitions else ""
    lines = [f"{name}: {signs}: the next training may learn from {len(done.partitions)} partitions again{ends}"]
    if always:
        lines.append(f"{name}: {signs}: no fault any more; `updraft readmit {name} ... --undo` takes that back")
    if done.left:
        others = [count for count in count_signs(done.left) if count.sign not in done.signs]
        words = ", ".join(count.words for count in others)
        lines.append(f"{name}: {len(done.left)} partitions stay kept out, as they show other signs beside: {words}")
    return lines

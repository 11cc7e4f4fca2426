"""``updraft quarantine``: which rows broke the contract, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from updraft.alerts.alert import cleaned
from updraft.cli.edge import console, explained, find_project, loop_of, open_store, who, write_json
from updraft.data.catalogue import MISFITS, NUMBER, REASONS
from updraft.loop.chosen_rows import Chosen
from updraft.loop.quarantined import Quarantined, quarantine_of, quarantined_partitions, quarantined_rows
from updraft.loop.settled import How
from updraft.loop.settling import Settled, settle_quarantine

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(help="Rows that broke the contract.", no_args_is_help=True)
_WIDEST = 60
"""Characters of a value that are shown."""


@app.command("list")
def list_quarantine(
    project: Annotated[str, typer.Argument(help="name of the project")],
    newest: Annotated[int, typer.Option(min=1, help="how many partitions at most, the newest ones")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """List the newest partitions that have rows in quarantine, with the reasons.

    Example: updraft quarantine list flight_delays
    """
    with explained(), open_store() as store:
        partitions = quarantined_partitions(loop_of(find_project(project), store), newest)
    if as_json:
        write_json({"project": project, "partitions": [partition.as_dict() for partition in partitions]})
        return
    if not partitions:
        console.print(f"{project}: no row is in quarantine", markup=False)
    for partition in partitions:
        _tell(partition)


@app.command("show")
def show_quarantine(
    project: Annotated[str, typer.Argument(help="name of the project")],
    partition: Annotated[str, typer.Argument(help="key of the partition, as `updraft quarantine list` shows it")],
    reason: Annotated[str | None, typer.Option(help="only the rows that are there for this reason")] = None,
    rows: Annotated[int, typer.Option(min=1, help="how many rows of each source at most")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Show the rows of a partition that are in quarantine, in the order of the file; private values as pseudonyms.

    They come back when the source is mended and the partition's run of PROJECT.ingest is cleared, when expectations.yaml lets them pass, or when
    a person releases them.

    Example: updraft quarantine show flight_delays 2013-04-01T0500 --rows 5
    """
    with explained(), open_store() as store:
        loop = loop_of(find_project(project), store)
        quarantined = quarantine_of(loop, cleaned(partition))
        frames = quarantined_rows(loop, quarantined, reason) if quarantined is not None else {}
    shown = {source: frame.head(rows).astype(object) for source, frame in frames.items()}
    values = {source: _texts(frame.where(frame.notna(), None)) for source, frame in shown.items()}
    if as_json:
        write_json({"project": project, "partition": partition, "rows": values})
        return
    if quarantined is None:
        console.print(f"{project}: no row of {partition} is in quarantine", markup=False)
        return
    _tell(quarantined)
    for source, frame in frames.items():
        for row in values[source]:
            cells = ", ".join(f"{name}={_cell(value)}" for name, value in row.items() if not name.startswith("_"))
            misfits = f" ({row[MISFITS]})" if row.get(MISFITS) else ""  # what the cell held that its column cannot hold
            console.print(cleaned(f"  {source}: {row[REASONS]}{misfits}{_number(row)}"), markup=False, soft_wrap=True)
            console.print(cleaned(f"    {cells}"), markup=False, soft_wrap=True)
        if len(frame) > rows:
            console.print(f"  {source}: and {len(frame) - rows} more (--rows)", markup=False)


_Project = Annotated[str, typer.Argument(help="name of the project")]
_Partition = Annotated[str, typer.Argument(help="key of the partition, as `updraft quarantine list` shows it")]
_Why = Annotated[str, typer.Option(help="why, for the record: it is kept in the decision")]
_Breach = Annotated[
    str | None, typer.Option(help="only the rows that are in quarantine for this reason, as `show` tells it")
]
_Source = Annotated[str | None, typer.Option(help="only the rows of this source")]
_Row = Annotated[list[int] | None, typer.Option(help="number of a row, as `show` tells it; may be given again")]
_AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]


@app.command("release")
def release(
    project: _Project,
    partition: _Partition,
    reason: _Why,
    breach: _Breach = None,
    source: _Source = None,
    row: _Row = None,
    as_json: _AsJson = False,
) -> None:
    """Publish rows that are right although they broke the contract: they enter their partition as a new revision.

    A decision like any other, recorded with who and why. The partition with its profile, its features, and the labels of its rows are made
    anew; predictions stay as they were served, so that released rows have none. What a cell held that its column cannot hold is missing.
    Interrupted, run it again: it goes on where it was.

    Example: updraft quarantine release flight_delays 2013-04-01T0500 --reason "a new airport" --breach "distance not in 10 to 6000"
    """
    _settle(project, partition, Chosen(breach, source, tuple(row or ())), how="release", reason=reason, as_json=as_json)


@app.command("drop")
def drop(
    project: _Project,
    partition: _Partition,
    reason: _Why,
    breach: _Breach = None,
    source: _Source = None,
    row: _Row = None,
    as_json: _AsJson = False,
) -> None:
    """Settle rows that are wrong and will not be mended: they are in quarantine no more, and never published.

    They no longer count for data.refuse_above: a partition that was refused for them alone is published without them. A decision like any
    other, recorded with who and why; a later release takes it back.

    Example: updraft quarantine drop flight_delays 2013-04-01T0500 --reason "test rows of the vendor"
    """
    _settle(project, partition, Chosen(breach, source, tuple(row or ())), how="drop", reason=reason, as_json=as_json)


def _settle(project: str, partition: str, chosen: Chosen, *, how: How, reason: str, as_json: bool) -> None:
    if not reason.strip():
        raise typer.BadParameter("say why, for the record", param_hint="--reason")
    with explained(), open_store() as store:
        loop = loop_of(find_project(project), store)
        settled = settle_quarantine(loop, cleaned(partition), chosen, how=how, by=who(), reason=cleaned(reason))
    if as_json:
        write_json({"project": project, **settled.as_dict()})
        return
    for line in _told(project, settled):
        console.print(cleaned(line), markup=False, soft_wrap=True)


def _told(project: str, settled: Settled) -> Iterator[str]:
    rows = ", ".join(f"{count:,} of {source}" for source, count in settled.rows.items())
    done = (
        f"rows are {'released' if settled.how == 'release' else 'dropped'}: {rows}"
        if rows
        else "all of it was decided before"
    )
    yield f"{project}: partition {settled.partition}: {done}"
    if settled.state == "published":
        yield f"  it is published with {settled.published:,} rows"
    else:
        yield f"  it is {settled.state} still; `updraft status {project}` says why"
    if others := [key for key in settled.rebuilt if key != settled.partition]:
        yield f"  labels of its rows were made anew in {', '.join(others)}"
    if settled.newly_published:
        yield f"  nothing has scored it yet: start {project}.score with the partition key {settled.partition}"


def _tell(partition: Quarantined) -> None:
    share = partition.quarantined / partition.rows if partition.rows else 0.0
    head = f"{partition.key}: {partition.quarantined:,} of {partition.rows:,} rows ({share:.1%}), {partition.state}"
    console.print(cleaned(head), markup=False)
    for source, reasons in partition.reasons.items():
        for reason, number in sorted(reasons.items(), key=lambda counted: (-counted[1], counted[0])):
            console.print(cleaned(f"  {source}: {reason}: {number:,}"), markup=False, soft_wrap=True)


def _texts(frame: pd.DataFrame) -> list[dict[str, str | None]]:
    return [
        {str(name): None if value is None else str(value) for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _number(row: Mapping[str, str | None]) -> str:
    """By which `release` and `drop` know the row; a quarantine of an earlier version has none."""
    return f" (row {row[NUMBER]})" if row.get(NUMBER) else ""


def _cell(value: str | None) -> str:
    if value is None:
        return "-"
    return value if len(value) <= _WIDEST else f"{value[:_WIDEST]}…"

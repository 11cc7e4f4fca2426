"""``updraft quarantine``: which rows broke the contract, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from updraft.alerts.alert import cleaned
from updraft.cli.edge import console, explained, find_project, loop_of, open_store, write_json
from updraft.data.catalogue import MISFITS, REASONS
from updraft.loop.quarantined import Quarantined, quarantine_of, quarantined_partitions, quarantined_rows

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

    They come back when the source is mended and the partition's run of PROJECT.ingest is cleared, or when expectations.yaml lets them pass.

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
            console.print(cleaned(f"  {source}: {row[REASONS]}{misfits}"), markup=False, soft_wrap=True)
            console.print(cleaned(f"    {cells}"), markup=False, soft_wrap=True)
        if len(frame) > rows:
            console.print(f"  {source}: and {len(frame) - rows} more (--rows)", markup=False)


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


def _cell(value: str | None) -> str:
    if value is None:
        return "-"
    return value if len(value) <= _WIDEST else f"{value[:_WIDEST]}…"

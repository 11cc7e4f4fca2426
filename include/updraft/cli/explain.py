"""``updraft explain``: which features moved a version's scores."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from updraft.alerts.alert import cleaned
from updraft.cli.edge import console, explained, find_project, loop_of, open_store, write_json
from updraft.loop.explanation import Explanation, explain

SHOWN = 15
"""Features in the table; --json has all of them."""


def explain_command(
    project: Annotated[str, typer.Argument(help="name of the project")],
    version: Annotated[
        str | None,
        typer.Argument(
            help="a version, as MLflow and `updraft status` number it; what served the partition when left out"
        ),
    ] = None,
    partition: Annotated[
        str | None, typer.Option(metavar="KEY", help="a published partition; the newest one when left out")
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(metavar="N", help="one row of it, by its number (`_row` of predictions and quarantine)"),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="the partition to hold it against; those the version was proved on when left out"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts, with every feature")] = False,
) -> None:
    """Tell which features moved a version's scores on a partition, or of one row, from what the version scored where it was proved.

    Shapley values by sampling, for every trainer alike, in units of the score; what is left out of the table is small. Nothing is
    decided by it; features that were not made yet are kept, as when it is scored.

    Example: updraft explain flight_delays --partition 2013-05-06T0500
    """
    with explained(), open_store() as store:
        told = explain(
            loop_of(find_project(project), store),
            cleaned(version) if version else None,
            partition,
            row=row,
            against=against,
        )
    if as_json:
        write_json(told.as_dict())
        return
    for line in _lines(told):
        console.print(cleaned(line), markup=False, soft_wrap=True)
    console.print(_table(told))


def _lines(told: Explanation) -> tuple[str, str]:
    of_class = f" for {told.label}" if told.label is not None else ""
    against = told.against[0] if len(told.against) == 1 else f"{told.against[0]} to {told.against[-1]}"
    what = f"row {told.row} of {told.key}" if told.row is not None else f"{told.rows:,} rows of {told.key}"
    mean = "" if told.row is not None else "mean "
    return (
        f"{told.project}: version {told.version} on {what}, against {against}",
        f"{mean}score{of_class} {told.score:.4f}, {told.expected:.4f} there: {told.score - told.expected:+.4f}",
    )


def _table(told: Explanation) -> Table:
    table = Table(box=None, pad_edge=False)
    moved = "moved the score by" if told.row is not None else "moved the mean score by"
    for heading in ("feature", *(("value",) if told.row is not None else ()), moved, "standard error"):
        table.add_column(heading, justify="left" if heading in ("feature", "value") else "right")
    if told.row is None:
        table.add_column("a row, either way", justify="right")
    for feature in told.features[:SHOWN]:
        table.add_row(
            Text(cleaned(feature.feature)),
            *((Text(cleaned(feature.value or "")),) if told.row is not None else ()),
            f"{feature.moved:+.4f}",
            f"{feature.standard_error:.4f}",
            *((f"{feature.size:.4f}",) if told.row is None else ()),
        )
    if rest := told.features[SHOWN:]:
        filler = ("",) if told.row is not None else ()
        ends = ("",) if told.row is None else ()
        table.add_row(
            f"{len(rest)} other{'' if len(rest) == 1 else 's'}",
            *filler,
            f"{sum(feature.moved for feature in rest):+.4f}",
            "",
            *ends,
        )
    return table

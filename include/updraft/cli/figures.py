"""``updraft figures``: how well projects deliver, by month."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from updraft.cli.edge import console, explained, find_project, open_store, settings, write_json
from updraft.control.delivery import Delivery, read_delivery
from updraft.pages.words import day, days
from updraft.spec.load import project_names

_HEADINGS = (
    "month",
    "promotions",
    "changes",
    "data to serving",
    "change to serving",
    "taken back",
    "after",
)


def figures(
    project: Annotated[str | None, typer.Argument(help="name of one project; all when left out")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts; spans are in days")] = False,
) -> None:
    """Tell how often new versions came to serve, how soon, how many were taken back and after how long, by month of the last year.

    The year ends with the newest tick of the project, and time is that of the ticks. Data to serving: from the newest tick that a version learnt
    from to its promotion. Change to serving: from the opening of a change's release to its promotion. Spans are medians.

    Example: updraft figures flight_delays
    """
    with explained(), open_store() as store:
        names = [find_project(project).name] if project else project_names(settings().projects)
        deliveries = [read_delivery(store, name) for name in names]
    if as_json:
        write_json({delivery.project: delivery.model_dump(mode="json") for delivery in deliveries})
        return
    for delivery in deliveries:
        _print(delivery)


def _print(delivery: Delivery) -> None:
    if delivery.year is None:
        console.print(f"{delivery.project}: nothing was promoted or taken back within a year", markup=False)
        return
    console.print(f"{delivery.project}: the year up to {day(delivery.until)}", markup=False)
    table = Table(*_HEADINGS)
    for month in (delivery.year, *delivery.months):
        rate = f" ({month.failure_rate:.0%})" if month.taken_back and month.failure_rate is not None else ""
        table.add_row(
            month.month or "all",
            str(month.promotions),
            str(month.changes),
            days(month.data_days),
            days(month.change_days),
            f"{month.taken_back}{rate}",
            days(month.restore_days),
        )
    console.print(table)

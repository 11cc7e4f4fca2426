"""``updraft cost``: what a project's trainings took, by month."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.table import Table

from updraft.cli.edge import console, errors, explained, find_project, open_store, settings, write_json
from updraft.control.cost import Spending, read_spending
from updraft.errors import SpecError
from updraft.pages.words import amount, day, gained
from updraft.spec.load import project_names
from updraft.spec.model import Project


def cost(
    project: Annotated[str | None, typer.Argument(help="name of one project; all when left out")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Tell the core and GPU hours of trainings by month of the last year, their price where deployment.yaml has prices, and what the newest gained.

    The year ends with the newest tick of the project, and a training counts in the month of its tick. Cores of a pod count for as long as it had
    them, here for as long as they were used. Refit trials and scoring are not counted.

    Example: updraft cost flight_delays
    """
    with explained(), open_store() as store:
        projects = [find_project(project)] if project else list(_readable(project_names(settings().projects)))
        deployment = settings().deployment
        spendings = [read_spending(store, read.name, read.spec.loss_metric.name, deployment) for read in projects]
    if as_json:
        write_json({spending.project: spending.model_dump(mode="json") for spending in spendings})
        return
    for spending in spendings:
        _print(spending)


def _readable(names: Iterable[str]) -> Iterator[Project]:
    """Of all projects those that can be read; what is wrong with the others is told."""
    for name in names:
        try:
            yield find_project(name)
        except SpecError as error:
            errors.print(f"{name} is left out: {error}", markup=False, soft_wrap=True)


def _print(spending: Spending) -> None:
    if spending.year is None:
        console.print(f"{spending.project}: no training of the last year has told what it took", markup=False)
        return
    console.print(f"{spending.project}: the year up to {day(spending.until)}", markup=False)
    money = [spending.currency] if spending.currency else []
    table = Table("month", "trainings", "refused", "core hours", "GPU hours", *money)
    for month in (spending.year, *spending.months):
        price = [amount(month.cost)] if money else []
        hours = (amount(month.cpu_hours), amount(month.gpu_hours))
        table.add_row(month.month or "all", str(month.trainings), str(month.refused), *hours, *price)
    console.print(table)
    if spending.newest is not None:
        console.print(gained(spending.newest, spending.currency), markup=False, soft_wrap=True)
    if spending.failed:
        console.print(
            f"{spending.failed} more brought nothing; what they took is not known", markup=False, soft_wrap=True
        )
    if spending.unpriced:
        console.print(f"Not priced: {spending.unpriced}", markup=False, soft_wrap=True)

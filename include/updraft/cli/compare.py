"""``updraft compare``: the project's trainers on the same holdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from updraft.alerts.alert import cleaned
from updraft.cli.edge import console, explained, find_project, loop_of, open_store, write_json
from updraft.loop.trainer_comparison import CHAMPION, Contender, TrainerComparison, compare_trainers


def compare_command(
    project: Annotated[str, typer.Argument(help="name of the project")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Let every trainer of training.trainers learn from the newest window, in this process, and compare them on the same holdout.

    What served the holdout stands beside them. Nothing is registered and nothing is started: the form of PROJECT.train starts the
    one that is better, as a change that has to prove itself in shadow.

    Example: updraft compare flight_delays
    """
    with explained(), open_store() as store:
        compared = compare_trainers(loop_of(find_project(project), store))
    if as_json:
        write_json(compared.as_dict())
        return
    window, holdout = compared.window, compared.holdout
    learnt = window[: len(window) - len(holdout)]
    learnt_from = f"{compared.project}: learnt from {learnt[0]} to {learnt[-1]} ({len(learnt)} partitions)"
    console.print(cleaned(f"{learnt_from}, compared on {_span(holdout)}"), markup=False, soft_wrap=True)
    console.print(_table(compared))
    for name, why in compared.left_out.items():
        console.print(cleaned(f"{name} is left out: {why}"), markup=False, soft_wrap=True)
    console.print(cleaned(_advice(compared)), markup=False, soft_wrap=True)


def _span(keys: Sequence[str]) -> str:
    """The first and the last of some partitions."""
    return keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"


def _table(compared: TrainerComparison) -> Table:
    metrics = list(compared.contenders[0].measured)
    table = Table(box=None, pad_edge=False)
    for heading in ("trainer", "rows", *metrics, f"gain in {compared.loss}", "seconds"):
        table.add_column(heading, justify="left" if heading == "trainer" else "right", no_wrap=True)
    for contender in compared.contenders:
        table.add_row(
            "what served" if contender.trainer == CHAMPION else contender.trainer,
            f"{contender.rows:,}",
            *(f"{contender.measured[name]:.4f}" if name in contender.measured else "" for name in metrics),
            contender.gain.words if contender.gain else "",
            "" if contender.seconds is None else f"{contender.seconds:.1f}",
        )
    return table


def _advice(compared: TrainerComparison) -> str:
    """What follows, in a sentence."""
    first = compared.contenders[0].trainer
    better = [c for c in compared.contenders if c.gain is not None and c.gain.shown_positive and c.trainer != CHAMPION]
    if better:
        best: Contender = max(better, key=lambda contender: contender.gain.gain if contender.gain else 0.0)
        return (
            f"{best.trainer} is shown better than {first}: start it by the form of {compared.project}.train (trainer: {best.trainer}); "
            "it has to prove itself in shadow"
        )
    others = [contender for contender in compared.contenders if contender.trainer not in (first, CHAMPION)]
    if not others:
        return "project.yaml lists one trainer: list more under training.trainers to compare them"
    return f"none is shown better than {first}, which comes first in project.yaml"

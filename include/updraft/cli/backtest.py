"""``updraft backtest``: the table and the pictures of what policies would have cost and gained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from updraft.backtest.picture import by_partition, frontier
from updraft.backtest.policies import PROJECT
from updraft.backtest.run import Played, loss_name
from updraft.backtest.run import backtest as play
from updraft.cli.edge import console, errors, explained, find_project, settings, write_json


def backtest(
    project: Annotated[str, typer.Argument(help="name of the project")],
    last: Annotated[int | None, typer.Option(help="only the first so many partitions")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="only this policy; may be given again")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Play a project's history under several policies, in process: loss and number of trainings of each.

    The steps are those of the DAGs. Writes backtest.png and weeks.png below the deployment's folder.

    Example: updraft backtest flight_delays
    """
    with explained():
        found = find_project(project)
        played = play(
            found,
            settings(),
            last=last,
            only=policy or (),
            say=lambda line: errors.print(line, markup=False, soft_wrap=True),
        )
        folder = settings().home / "backtest" / project
        folder.mkdir(parents=True, exist_ok=True)
        pictures = draw(played, folder, loss_name(found))
    if as_json:
        write_json({"policies": [one.as_dict() for one in played], "pictures": [str(path) for path in pictures]})
        return
    console.print(table(played, loss_name(found)))
    for path in pictures:
        console.print(str(path), soft_wrap=True)


def table(played: list[Played], loss: str) -> Table:
    """The table that `backtest` prints."""
    found = Table(title=f"mean {loss} by partition, each partition with the same weight")
    for name, justify in (
        ("policy", "left"),
        ("all", "right"),
        ("first half", "right"),
        ("second half", "right"),
        ("trainings", "right"),
    ):
        found.add_column(name, justify="right" if justify == "right" else "left")
    for one in played:
        figures = [
            f"{one.mean:.4f}",
            f"{one.half(second=False):.4f}",
            f"{one.half(second=True):.4f}",
            str(len(one.trainings)),
        ]
        found.add_row(one.policy, *figures, style="bold" if one.policy == PROJECT else None)
    return found


def draw(played: list[Played], folder: Path, loss: str) -> list[Path]:
    """Write the pictures."""
    paths = [folder / "backtest.png"]
    paths[0].write_bytes(frontier(played, loss))
    shown = {
        one.policy: list(zip(one.keys, one.losses, strict=True))
        for one in played
        if one.policy in ("never retrained", "every partition", PROJECT)
    }
    if PROJECT in shown:
        own = next(one for one in played if one.policy == PROJECT)
        paths.append(folder / "weeks.png")
        paths[1].write_bytes(by_partition(shown, own.events, loss))
    return paths

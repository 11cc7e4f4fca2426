"""``updraft backtest``: the table and the pictures of what policies would have cost and gained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from updraft.alerts.alert import cleaned
from updraft.backtest.picture import by_partition, frontier
from updraft.backtest.policies import PROJECT
from updraft.backtest.run import Backtest, Played
from updraft.backtest.run import backtest as play
from updraft.cli.edge import UNHEALTHY, console, errors, explained, find_project, settings, write_json
from updraft.loop.policy_limits import policy_notes
from updraft.tasks.clusters import FEWEST_CLUSTERS

LONGEST_NAME = 80
"""Characters of a picture's name: what a list of policies is cut to."""


def backtest(
    project: Annotated[str, typer.Argument(help="name of the project")],
    last: Annotated[int | None, typer.Option(help="only the first so many partitions")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="only this policy; may be given again")] = None,
    rivals: Annotated[bool, typer.Option(help="play the policies of the literature too: adwin, cara, upf")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Play a project's history under several policies, in process: loss and number of trainings of each.

    The steps are those of the DAGs. It begins with what the policy can and cannot do with this schedule, as `validate` says it.

    A partition whose ingestion fails or that is refused is left out, as it would be there, and listed with
    its reason; the exit code is 3 then, and when a policy scored nothing. Writes pictures below the deployment's folder: backtest.png and
    weeks.png, with --last and --policy in the name where they are given.

    Example: updraft backtest flight_delays
    """
    with explained():
        chosen = find_project(project)
        notes = policy_notes(chosen.spec)
        for note in notes:
            errors.print(note, markup=False, soft_wrap=True)
        outcome = play(
            chosen,
            settings(),
            last=last,
            only=policy or (),
            with_rivals=rivals,
            say=lambda line: errors.print(line, markup=False, soft_wrap=True),
        )
        folder = settings().home / "backtest" / project
        folder.mkdir(parents=True, exist_ok=True)
        headline = chosen.spec.task_type.headline
        pictures = draw(outcome.played, folder, headline.title, suffix(last, policy or (), rivals=rivals))
    if as_json:
        write_json(
            {
                "notes": notes,
                "warnings": [policy.warning for policy in outcome.played if policy.warning],
                "policies": [played.as_dict() for played in outcome.played],
                "unplayed": dict(outcome.unplayed),
                "left_out": [asdict(partition) for partition in outcome.left_out],
                "pictures": [str(path) for path in pictures],
            }
        )
    else:
        console.print(table(outcome.played, headline.name))
        for line in (*of_policies(outcome.played), *beneath(outcome)):
            style = "yellow" if line.startswith("warning") else None
            console.print(cleaned(line), markup=False, soft_wrap=True, style=style)
        for path in pictures:
            console.print(str(path), soft_wrap=True)
    if outcome.failures or outcome.unplayed:
        raise typer.Exit(UNHEALTHY)


def beneath(outcome: Backtest) -> list[str]:
    """What stands below the table: policies without a loss, and partitions that somebody has to mend."""
    lines = [f"no loss can be told of {reason}" for reason in outcome.unplayed.values()]
    if outcome.failures:
        number = len(outcome.failures)
        lines.append(
            "1 partition was not played:"
            if number == 1
            else f"{number} partitions were not played, each for its reason:"
        )
    lines += [f"  {partition.key} {partition.state}: {partition.reason}" for partition in outcome.failures]
    return lines


def suffix(last: int | None, only: Sequence[str], *, rivals: bool = False) -> str:
    """What a picture's name says of the part of the backtest that it shows; nothing of the usual whole."""
    part = f"-last-{last}" if last is not None else ""
    part += "-rivals" if rivals else ""
    for name in only:
        part += "-" + re.sub(r"[^a-z0-9]+", "-", name.lower().replace("'", ""))
    return part[:LONGEST_NAME]


def table(played: Sequence[Played], loss: str) -> Table:
    """The table that `backtest` prints."""
    figures_table = Table(title=f"mean {loss} by partition, each partition with the same weight")
    for name, justify in (
        ("policy", "left"),
        ("all", "right"),
        ("first half", "right"),
        ("second half", "right"),
        ("trainings", "right"),
        ("kept out", "right"),
    ):
        figures_table.add_column(name, justify="right" if justify == "right" else "left")
    for policy_run in played:
        figures = [
            f"{policy_run.mean:.4f}",
            f"{policy_run.half(second=False):.4f}",
            f"{policy_run.half(second=True):.4f}",
            str(len(policy_run.trainings)),
            f"{policy_run.kept_out} of {policy_run.published}",
        ]
        figures_table.add_row(policy_run.policy, *figures, style="bold" if policy_run.policy == PROJECT else None)
    return figures_table


def of_policies(played: Sequence[Played]) -> list[str]:
    """What stands below the table: why partitions were kept out, what could not be decided, and a warning where those kept out are many."""
    lines = [
        f"kept out, {shown.policy}: {', '.join(sign.words for sign in shown.signs)}"
        for shown in played
        if shown.signs and not shown.warning
    ]
    lines += [
        f"decided nothing, {shown.policy}: {', '.join(shown.undecided)} rested on fewer than {FEWEST_CLUSTERS} clusters; "
        "`updraft validate` says which windows hold too few"
        for shown in played
        if shown.undecided
    ]
    return [*lines, *(f"warning: {shown.warning}" for shown in played if shown.warning)]


def draw(played: Sequence[Played], folder: Path, loss: str, part: str = "") -> list[Path]:
    """Write the pictures.

    :param part: what of the backtest they show, as :func:`suffix` says.
    """
    paths = [folder / f"backtest{part}.png"]
    paths[0].write_bytes(frontier(played, loss))
    shown = {
        policy_run.policy: list(zip(policy_run.keys, policy_run.losses, strict=True))
        for policy_run in played
        if policy_run.policy in ("never retrained", "every partition", PROJECT)
    }
    if PROJECT in shown:
        own = next(policy_run for policy_run in played if policy_run.policy == PROJECT)
        paths.append(folder / f"weeks{part}.png")
        paths[1].write_bytes(by_partition(shown, own.events, loss))
    return paths

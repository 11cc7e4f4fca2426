"""``updraft reproduce``: a version trained again, and held against itself."""

from __future__ import annotations

from typing import Annotated

import typer

from updraft.alerts.alert import cleaned
from updraft.cli.edge import UNHEALTHY, console, explained, find_project, loop_of, open_store, write_json
from updraft.loop.reproduction import reproduce


def reproduce_command(
    project: Annotated[str, typer.Argument(help="name of the project")],
    version: Annotated[str, typer.Argument(help="a version, as MLflow and `updraft status` number it")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Train a version again from its record: the same request, snapshot, feature code and seed. Nothing of the deployment changes.

    With the same libraries on the same kind of machine the model is the same to the last bit. Else what differs is named, and it ends with 3.

    Example: updraft reproduce flight_delays 7
    """
    with explained(), open_store() as store:
        outcome = reproduce(loop_of(find_project(project), store), cleaned(version))
    if as_json:
        write_json(outcome.as_dict())
    else:
        print_ = console.print
        print_(cleaned(f"{outcome.project}: version {outcome.version}, of training {outcome.run}"), markup=False)
        if outcome.identical:
            words = (
                f"the same to the last bit: SHA-256 {outcome.again_sha256} (learnt again in {outcome.seconds:.1f} s)"
            )
            print_(f"  {words}", markup=False, soft_wrap=True)
        else:
            print_(
                f"  not the same: SHA-256 {outcome.first_sha256[:12]} then, {outcome.again_sha256[:12]} now",
                markup=False,
            )
            for difference in outcome.differences:
                print_(cleaned(f"  {difference.words}"), markup=False, soft_wrap=True)
            if outcome.largest_shift is not None:
                print_(f"  largest shift of a holdout row's margin: {outcome.largest_shift:.3g}", markup=False)
    if not outcome.identical:
        raise typer.Exit(UNHEALTHY)

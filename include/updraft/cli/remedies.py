"""``updraft remedies``: a person stops a project's remedies, and lets them go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from updraft.alerts.alert import cleaned
from updraft.cli.edge import console, explained, find_project, open_store, who, write_json
from updraft.loop.stopping import resume_remedies, stop_remedies

remedies_app = typer.Typer(
    help="Stop a project's trainings and recalibrations, and let them go on.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="name of the project")]
Reason = Annotated[str, typer.Option(help="why, for the record: it is kept in the decision")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]


@remedies_app.command("stop")
def stop(project: Name, reason: Reason, as_json: AsJson = False) -> None:
    """Start no training by itself and refit no calibration layer, until they are resumed. What serves goes on, and is measured.

    A decision like any other, recorded with who and why.

    Example: updraft remedies stop flight_delays --reason "the airport moves its clocks this week"
    """
    _decide(project, reason, stop_remedies, "are stopped", as_json=as_json)


@remedies_app.command("resume")
def resume(project: Name, reason: Reason, as_json: AsJson = False) -> None:
    """Let trainings and recalibrations go on that were stopped.

    Example: updraft remedies resume flight_delays --reason "the clocks are right again"
    """
    _decide(project, reason, resume_remedies, "go on", as_json=as_json)


def _decide(project: str, reason: str, decide: Callable[..., bool], words: str, *, as_json: bool) -> None:
    with explained(), open_store() as store:
        name = find_project(project).name
        changed = decide(store, name, by=who(), reason=cleaned(reason))
    if as_json:
        write_json({"project": name, "changed": changed, "reason": reason})
    else:
        console.print(f"{name}: the remedies {words}{'' if changed else ' already'}", markup=False)

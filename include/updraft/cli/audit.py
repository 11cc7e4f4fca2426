"""``updraft audit verify``: are the decisions whole, and as they were written?"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated

import typer

from updraft.cli.edge import (
    UNHEALTHY,
    ask_mlflow_once,
    console,
    explained,
    find_project,
    open_store,
    settings,
    write_json,
)
from updraft.errors import TrainingError

audit_app = typer.Typer(help="What was decided: whole, and as it was written.", no_args_is_help=True)


@audit_app.command("rewrite-state")
def rewrite_state(project: Annotated[str, typer.Argument(help="name of the project")]) -> None:
    """Write what is kept beside the chain (what serves, its layers, what was taken back, what is kept out, counts) anew as the decisions say.

    For when `audit verify` names a difference and you know where it comes from, such as an earlier Updraft that still ran during an upgrade.

    Example: updraft audit rewrite-state flight_delays
    """
    with explained(), open_store() as store:
        name = find_project(project).name
        before = store.state_problems(name)
        store.rewrite_state(name)
    console.print(f"{name}: {len(before)} differences set right", markup=False)
    for line in before:
        console.print(f"  {line}", markup=False, soft_wrap=True)


@audit_app.command("verify")
def verify(
    project: Annotated[str, typer.Argument(help="name of the project")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Hold the chain of a project's decisions against its signed anchors, in the lake and in MLflow. Ends with 3 when it is broken.

    Says which decisions are missing, changed, or were written by somebody else.

    Example: updraft audit verify flight_delays
    """
    from updraft.loop.auditing import audit_decisions
    from updraft.registry.mlflow_registry import ModelRegistry

    notes = []
    ask_mlflow_once(os.environ)
    with explained(), open_store() as store:
        name, known = find_project(project).name, settings()
        registry = ModelRegistry(known.mlflow, known.home) if known.mlflow else None
        try:
            audited = audit_decisions(store, known, name, registry)
        except TrainingError as error:
            notes.append(f"MLflow's copy of the head was not looked at: {error}")
            audited = audit_decisions(store, known, name, None)
    if as_json:
        write_json({**asdict(audited), "whole": not audited.problems, "notes": notes})
    else:
        console.print(
            audited.words if not audited.problems else f"{name}: the chain of decisions is broken", markup=False
        )
        for line in (*audited.problems, *notes):
            console.print(f"  {line}", markup=False, soft_wrap=True)
    if audited.problems:
        raise typer.Exit(UNHEALTHY)

"""``updraft rightsize``: what a project's pods should ask for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from updraft.cli.edge import console, explained, find_project, open_store, settings, write_json
from updraft.pods.rightsize import Used, rightsize
from updraft.spec.compute import pod_compute
from updraft.spec.deployment import load_deployment
from updraft.store.records import TrainingRow


def rightsize_command(
    project: Annotated[str, typer.Argument(help="name of the project")],
    last: Annotated[int, typer.Option(min=1, help="how many trainings to look at")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Propose requests for the project's training pods, from what its last trainings used, and say what they save.

    Example: updraft rightsize flight_delays --last 10
    """
    with explained(), open_store() as store:
        chosen = find_project(project)
        defaults = load_deployment(settings().deployment).kubernetes.defaults
        used = [usage for row in store.trainings(project) if (usage := _used(row)) is not None][-last:]
        compute = pod_compute(chosen.spec.training.compute, defaults)
        proposals = rightsize(compute, used)
    if as_json:
        write_json(
            {"project": project, "trainings": len(used), "proposals": [asdict(proposal) for proposal in proposals]}
        )
        return
    if not used:
        console.print(f"{project}: no training has told yet what it used")
    elif not proposals:
        console.print(f"{project}: its requests fit what {len(used)} trainings used")
    for proposal in proposals:
        line = f"training.compute.{proposal.key}: {proposal.now} -> {proposal.then}; {proposal.why}; over these trainings it {proposal.saving}"
        console.print(line, markup=False, soft_wrap=True)


def _used(row: TrainingRow) -> Used | None:
    kept = row.result
    if kept.get("peak_memory_mb") is None or kept.get("seconds") is None:
        return None
    return Used(row.id, kept["peak_memory_mb"], kept["seconds"], kept.get("cpu_seconds"), kept.get("gpu_percent"))

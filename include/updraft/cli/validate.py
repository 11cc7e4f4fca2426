"""``updraft validate``: is a project sound, and what can its policy show?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from updraft.cli.edge import BAD_INPUT, console, explained, settings, write_json
from updraft.errors import SpecError
from updraft.spec.load import BrokenProject, load_projects
from updraft.spec.model import Project


def validate(
    project: Annotated[str | None, typer.Argument(help="name of one project; all when left out")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Check project folders: every error at once, with file, key, value and what is allowed. Ends with 2 when one is broken.

    Columns are checked where a file of the source can be read; a note says where it cannot.

    With a history in the store it also says which gain a change can show within release.change.shadow.at_most.

    Example: updraft validate flight_delays
    """
    with explained():
        found = load_projects(settings().projects)
        if project is not None:
            if project not in found:
                raise SpecError(
                    f"no project {project!r} in {settings().projects}; there are {', '.join(found) or 'none'}"
                )
            found = {project: found[project]}
        told = {name: _judge(one) for name, one in found.items()}
    if as_json:
        write_json(told)
    else:
        for name, one in told.items():
            console.print(_headline(name, one))
            for line in [*one["problems"], *one["notes"]]:
                console.print(f"  {line}", markup=False, soft_wrap=True)
    if any(not one["sound"] for one in told.values()):
        raise typer.Exit(BAD_INPUT)


def _headline(name: str, one: dict[str, Any]) -> str:
    return (
        f"{name}: sound"
        if one["sound"]
        else f"{name}: {len(one['problems'])} problem{'s' if len(one['problems']) != 1 else ''}"
    )


def _judge(found: Project | BrokenProject) -> dict[str, Any]:
    from updraft.data.mentions import check_mentions

    problems: list[str] = []
    notes: list[str] = []
    if isinstance(found, BrokenProject):
        problems += [str(problem) for problem in found.problems]
    else:
        problems += _deeper(found)
    if found.spec is not None:
        mentions = check_mentions(
            found.folder, found.spec, found.broken if isinstance(found, BrokenProject) else frozenset()
        )
        problems += [str(problem) for problem in mentions.problems]
        notes += mentions.notes
    if not problems and isinstance(found, Project):
        notes += _power(found)
    return {"sound": not problems, "problems": list(dict.fromkeys(problems)), "notes": notes}


def _deeper(found: Project) -> list[str]:
    """What only loading shows: the feature function, the data contract, and for trainings in pods the deployment."""
    from updraft.data.contract import load_contract
    from updraft.spec.deployment import check_compute
    from updraft.spec.features import load_features

    checks: list[Callable[[], object]] = [partial(load_features, found), partial(load_contract, found)]
    if found.spec.training.compute.backend == "kubernetes":
        checks.append(partial(check_compute, found.spec.training.compute, settings().deployment))
    problems = []
    for check in checks:
        try:
            check()
        except SpecError as error:
            problems += str(error).splitlines()
    return problems


def _power(found: Project) -> list[str]:
    """Which gain a change can show within ``at_most``, from the evidence in the store; nothing when there is no store."""
    from updraft.data.partitions import partition
    from updraft.release.power import detectable_gain, spread
    from updraft.store.store import Store

    if not settings().store:
        return ["no store here, so the power of its policy cannot be told; `make up` starts one"]
    store = Store.open(settings().store)
    try:
        gains = [row.gain for release in store.releases(found.name) for row in store.evidence(found.name, release.id)]
        keys = [row.key for row in store.partitions(found.name)]
    finally:
        store.close()
    if len(gains) < 14 or not keys:
        return [f"{len(gains)} clusters of evidence so far: too few to tell the power of the policy"]
    sd, carried = spread(gains)
    span = partition(found.spec, keys[-1])
    length = {"hour": 3600, "day": 86400, "week": 7 * 86400}.get(found.spec.release.cluster)
    at_most = found.spec.release.change.shadow.at_most
    clusters = max(int(at_most * (span.tick - span.start).total_seconds() / length), 1) if length else at_most
    release = found.spec.release
    gain = detectable_gain(sd, carried, clusters, release.confidence, margin=release.margin)
    if gain > 0:
        words = f"a change must gain {gain:.4f} in {release.metric}"
    else:
        words = f"a change may cost up to {-gain:.4f} in {release.metric} (release.margin is {release.margin:g})"
    return [f"{words} to be shown good enough within {at_most} partitions with 80 % power"]
